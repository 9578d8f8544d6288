/* struct queue, shared by the writer's side and the reading side. */
#pragma once

#include "gather.h"
#include "store.h"
#include "txn.h"

#define FIXES_MAX 64u

/* Jobs in order, each linked by its node. */
struct job_list {
	struct mpsc_node *first, *last;
	uint32_t n, mail; /* all; those that bring new mail */
};

/* readers.c: the writer's, as of its last check */
struct readers {
	uint64_t txn; /* of the oldest; UINT64_MAX: none */
	int pid;
	uint64_t since_us, look_us, clear_us;
};

/* New mail that the queue did not take. */
struct refused {
	uint64_t n, at_us; /* the last time */
	int error;	   /* of that one */
};
/* Found by readers, repaired by the writer. Full: found again later. */
struct fix_list {
	struct fix all[FIXES_MAX];
	uint32_t n;
};
/* The store is opened anew after what a commit cannot go on from. */
struct reopen {
	bool suspect;	/* a commit failed for a reason other than space: reopen first */
	uint64_t at_us; /* not before */
	int error;	/* why the store has no environment */
};
/* Moving young entries into the due index, domain by domain. */
struct sweep {
	struct young_domain *domains;
	uint32_t n, pos;
};

struct queue {
	struct store store;
	struct queue_params params;
	uint64_t reserve;

	atomic_uint_least64_t next_id, id_limit;
	atomic_bool ids_short; /* the writer shall extend id_limit */

	struct mpsc inbox;
	_Atomic(struct mpsc *) fresh; /* where new messages are told; NULL: nowhere */
	struct gather gather;
	atomic_uint_least64_t answered; /* of the jobs posted */

	bool started;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows, up to the next comment */
	pthread_cond_t cond;
	bool woken, closing;
	struct queue_stats stats; /* as of the last commit */
	struct readers readers_seen;
	struct refused refused;
	struct fix_list fixes;

	/* the writer's own */
	struct qtxn txn;
	/* new mail first, then outcomes, then operators' passes; a fence waits behind them all */
	struct job_list todo, outcomes, later;
	struct job_list lazy; /* learned state, waits for company */
	uint64_t lazy_since_us;
	struct queue_job **batch;
	uint32_t batch_max;
	uint64_t mail_us;		    /* when new mail was here last */
	uint64_t last_commit_us, commit_us; /* how long it took */
	struct reopen reopen;
	struct sweep sweep;
	uint64_t chores_at_us;	/* not before, after they failed */
	bool loose_waits;	/* bodies to remove are left */
	struct queue_stats now; /* copied to stats after each transaction */
	struct readers readers;
};

/* writer.c */
void *queue_writer(void *arg);

/* inbox.c */
#define LAZY_US	 1000000u /* how long learned state waits for company */
#define LAZY_MAX 1024u
struct queue_job *jobs_first(const struct job_list *l); /* likewise */
struct queue_job *jobs_take(struct job_list *l);	/* of a list that is not empty */
void inbox_collect(struct queue *q);			/* what was posted, into its lists */
uint32_t inbox_waiting(const struct queue *q);		/* of those that batches gather */
void inbox_wait(struct queue *q, uint64_t until_us /* 0: for ever */);
void queue_wake(void *arg);
bool queue_ask_fix(struct queue *q, const struct fix *f); /* any thread; false: full */

/* read.c, for who reads: by a cursor of `mail` */
int mail_at(MDB_cursor *c, uint64_t id, uint32_t sub, struct slice *ret);
int envelope_at(MDB_cursor *c, uint64_t id, struct message **ret);

/* sweep.c: the writer's */
int sweep_load(struct queue *q); /* at start: the index of young recipients from their tree */
int sweep_step(struct queue *q); /* in a transaction */
bool sweep_waits(struct queue *q);

/* readers.c: the writer's */
int readers_clear(struct queue *q); /* slots of processes that are gone; how many */
bool readers_look(struct queue *q); /* once a second at most; whether it did */
void readers_told(const struct readers *r, struct queue_stats *ret);

#define QUEUE_ID_BLOCK (1ull << 32)
