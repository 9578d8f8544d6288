/* The sessions that are kept to be shown, and which of them the queue's file has. On the dispatcher's
 * thread. (transcripts.c, transcripts_saved.c) */
#pragma once

#include "dispatcher.h"
#include "postern/transcript.h"

struct shelf_lane {
	UT_hash_handle hh; /* in the order of what came last */
	struct kept {
		struct transcript *t;
		ms_t at; /* wall */
		uint64_t message;
		char session[20], address[ADDR_TEXT_MAX];
		bool changed;  /* since it was saved */
		ms_t saved_at; /* wall; the last one of this outcome; 0: none was */
	} kept[2];	       /* good, refused */
	char provider[64], source[64], subnet[ADDR_TEXT_MAX + 4], cluster[64];
	char key[140]; /* source, line end, cluster */
};
struct stored; /* one that the file has */
struct shelf {
	struct shelf_lane *lanes;
	size_t bytes;
	struct stored *stored; /* the oldest first */
	uint64_t stored_bytes;
};

/* The lane's place, which is the newest now, made as like if it is new. NULL: no memory. */
struct shelf_lane *shelf_lane(struct shelf *s, const struct shelf_lane *like);
/* Takes k's transcript, in place of the lane's last one of its outcome. */
void shelf_put(struct shelf *s, struct shelf_lane *l, struct kept *k);
void shelf_fit(struct shelf *s, uint64_t max); /* bytes */
void shelf_stored_free(struct shelf *s);
