/* The reading thread, as the dispatcher sees it: reader.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

/* A reading of the due index, made by the reading thread for the dispatcher. */
#define READINGS_MAX 64u
#define WITHOUT_MAX  8u
struct reading {
	struct mpsc_node node;
	struct reading *next;
	struct domain *domain; /* the thread looks at its name, which stays as it is */
	ms_t wall;
	uint32_t limit;
	bool first;		/* of a domain that never had a route */
	struct item_key *known; /* what was in memory when it was asked for: a table with places */
	size_t size, mask;
	uint32_t nknown;
	const void *without[WITHOUT_MAX]; /* struct pool: whose mail is not wanted */
	unsigned nwithout;
	struct queue_place after;	 /* id 0: from the first */
	struct party *many[WITHOUT_MAX]; /* ahead.c: not theirs; a reference each */
	unsigned nmany;
	int result;
	struct queue_reading window;
};

/* answers: the mailbox that readings come back to, by their node. 0, -ENOMEM … */
int reader_new(struct reader **ret, struct queue *queue, struct mpsc *answers);
int reader_start(struct reader *r);
struct reader *reader_free(struct reader *r); /* when no reading is under way; NULL-safe */
bool reader_room(const struct reader *r);
/* At most limit of what is due; posted by reader_flush. False: no memory. */
bool reader_ask(struct dispatch *d, struct domain *m, uint32_t limit);
/* Mail due that is none of these parties'; takes the references, if it can. */
bool reader_ask_ahead(
	struct dispatch *d, struct domain *m, uint32_t limit, struct party **many, unsigned nmany);
void reader_flush(struct reader *r);
void reader_done(struct dispatch *d, struct reading *r); /* was taken; it is the reader's again */
