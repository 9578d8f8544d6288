/* Inside relay/dispatch: what was, for people: the history and sessions' transcripts. On the
 * dispatcher's thread. */
#pragma once

#include "postern/history.h"

struct connection;
struct dispatch;
struct log_attempt;
struct shelf;
struct transcript;

/* What was, for people. */
struct past {
	struct history *history;
	struct shelf *shelf; /* of transcripts; never NULL once the dispatcher runs */
};

/* ---- chronicle.c ---- */
int chronicle_new(struct dispatch *d); /* 0, -ENOMEM */
void chronicle_free(struct dispatch *d);
void chronicle_load(struct dispatch *d);
bool chronicle_due(const struct dispatch *d); /* a minute is over */
/* Closes the minute, or what there is of it. */
void chronicle_keep(struct dispatch *d, history_put *put, void *arg);
void chronicle_attempt(struct dispatch *d, const struct log_attempt *a);
void chronicle_connection(struct dispatch *d, const struct connection *c, bool well);

/* ---- transcripts.c ---- */
/* Takes it, NULL too. message: 0 none. */
void transcript_keep(
	struct dispatch *d, const struct connection *c, struct transcript **take, uint64_t message);
void transcripts_free(struct dispatch *d);

/* ---- transcripts_saved.c ---- */
void transcripts_load(struct dispatch *d);
/* Puts what changed into the queue's file, and deletes what has no place there any more. */
void transcripts_save(struct dispatch *d, history_put *put, void *arg);
