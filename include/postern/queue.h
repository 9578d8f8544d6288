/* The durable queue (LMDB). One writer thread owns the write transaction and commits in groups: it
 * takes all jobs that wait, runs them in one transaction, syncs once, then answers every job. Jobs
 * are posted from any thread and come back to the mailbox named in them; nothing here calls back
 * into a caller's code.
 *
 * Promises
 * - QUEUE_ACCEPT answers 0 only after its transaction is on disk.
 * - A job's failure is its own where that is possible (-ENOSPC for new mail while deletes still
 * commit: space is kept back for settling); a failed commit fails all jobs of that transaction, and
 * none of it is visible.
 * - After a failed sync the environment is closed and opened again; meanwhile reads and jobs give
 * -EIO, until it works (looked at ten times a second).
 * - Ids are never used again, also after a crash or a rebuilt queue.
 * - Reads (what is due, body, list, show) use short read transactions on the calling thread; none is
 * open across calls, and body reads last one chunk copy. */
#pragma once

#include "postern/log.h"
#include "postern/message.h"
#include "postern/mpsc.h"
#include "postern/selector.h"

struct queue;

struct queue_params {
	const char *path;     /* directory; made when missing (0700) */
	uint64_t max_size;    /* LMDB map size, bytes */
	uint64_t reserve;     /* kept for settling when full; 0: max_size / 64, at least 4 MiB */
	uint32_t batch_max;   /* jobs a transaction at most; 0: 4096 */
	uint32_t gather_us;   /* how long the writer lets a small batch gather; 0: none */
	bool read_only;	      /* for tools; no writer thread */
	uint32_t snapshot_us; /* of queue_check: how long one is open; 0: 300 ms */
};

/* What a reader may know without a queue. Room: bytes of the file that new mail may take.
 * Footprint: those that a message of so many bytes to one recipient takes, about. */
uint64_t queue_room(const struct queue_params *p);
uint64_t queue_footprint(uint64_t bytes);

/* 0, or -errno with a sentence for people in error that names the file and what to do. */
int queue_open(struct queue **ret, const struct queue_params *p, char *error, size_t error_max);
struct queue *queue_close(struct queue *q); /* finishes the jobs that wait; NULL-safe */

uint64_t queue_new_id(struct queue *q); /* any thread, lock-free; never 0 */

/* ---- jobs ---- */

/* What waits is run in this order: new mail, outcomes, flags. While mail comes in, a backlog of the
 * others goes along in slices. */
enum queue_job_kind {
	QUEUE_ACCEPT,  /* struct queue_accept: store a message */
	QUEUE_APPEND,  /* struct queue_append: store body blocks of a message not yet accepted
			  (streaming) */
	QUEUE_DISCARD, /* struct queue_append without blocks: forget what was appended for that id
			*/
	QUEUE_SETTLE,  /* struct queue_settle: outcomes of recipients of one message */
	QUEUE_STATE, /* struct queue_state_put: learned state; waits up to a second for other jobs,
			or a fence */
	QUEUE_FLAG,  /* struct queue_flag: hold, release, make due now */
	QUEUE_FENCE, /* nothing; answered when all jobs before it are committed */
};

struct queue_job {
	struct mpsc_node node; /* in the writer's mailbox, then in reply_to */
	enum queue_job_kind kind;
	int result;	       /* 0, -ENOSPC, -EIO, -ENOENT (message gone), -ENOMEM … */
	struct mpsc *reply_to; /* NULL: no answer wanted (the job is freed with free()) */
	void *owner;	       /* the poster's */
	uint32_t tag; /* the poster's: what this node is, in a mailbox that carries several kinds */
};

struct queue_accept {
	struct queue_job job;
	struct message *message; /* sealed; a reference is held while the job is with the writer */
	ms_t due;		 /* wall; first attempt */
	bool appended; /* earlier blocks came by QUEUE_APPEND; body->taken bytes of them. -ENOENT:
			* not all of them are stored (one was refused): answer 4xx and DISCARD */
};
struct queue_append {
	struct queue_job job;
	uint64_t id;
	uint64_t offset; /* bytes of content before these blocks; a multiple of BODY_CHUNK */
	struct body_block *blocks; /* ownership moves; NULL for QUEUE_DISCARD */
};

enum queue_outcome { OUTCOME_GONE /* delivered, bounced, removed, expired */, OUTCOME_DEFER };
/* State of a waiting recipient, stored with it. */
struct queue_rcpt_state {
	ms_t due;		   /* wall; next attempt */
	ms_t last_attempt;	   /* wall; 0: never tried */
	uint16_t attempts;	   /* tries that counted; holds do not */
	uint16_t code;		   /* of the last reply */
	uint8_t verdict;	   /* enum verdict of the last attempt */
	uint8_t flags;		   /* RCPT_STATE_* */
	const char *reply;	   /* last reply, one line; cut at 512 bytes; NULL for none */
	const char *host, *source; /* of the last attempt; NULL for none */
};
enum {
	RCPT_STATE_DELAY_SENT = 1 /* delay notice was sent */,
	RCPT_STATE_SPLIT = 2 /* one recipient a transaction */,
	RCPT_STATE_HELD = 4,	/* by an order: in no index until FLAG_RELEASE or FLAG_FREE */
	RCPT_STATE_DOUBT = 32,	/* how often it was in doubt: three bits from here on */
	RCPT_STATE_DOUBTS = 224 /* their mask */
};

struct queue_settle_rcpt {
	uint32_t index;
	enum queue_outcome outcome;
	struct queue_rcpt_state state; /* for OUTCOME_DEFER */
	const char *domain;	       /* of the recipient */
	ms_t old_due; /* the due time it was read or accepted with. The stored record's own wins;
		       * this one serves when the record is damaged */
};
struct queue_settle {
	struct queue_job job;
	uint64_t id;
	uint32_t n;
	struct queue_settle_rcpt *rcpts; /* all pointers live until the answer */
	/* Notifications about it, stored in the same transaction: all or nothing. */
	struct queue_accept **dsn; /* ndsn of them; their own reply_to is not used */
	uint32_t ndsn;
};

struct queue_state_put {
	struct queue_job job;
	bool urgent; /* its answer is waited for: goes with the next commit, after all before it */
	uint32_t n;
	struct queue_state_entry {
		struct slice key, value; /* value.p NULL: delete. Keys at most 400 bytes */
	} * entries;
};

/* FLAG_RESTAMP: it came at a time that is still to come, by a clock that was set back since: it has
 * come now, and has its whole life before it. Changes no recipient. */
enum queue_flag_op {
	FLAG_HOLD,    /* the message, by hand */
	FLAG_RELEASE, /* the message, and those of its recipients that an order held */
	FLAG_FREE,    /* these alone */
	FLAG_DUE_NOW,
	FLAG_RESTAMP
};
struct queue_flag {
	struct queue_job job;
	enum queue_flag_op op;
	uint64_t id; /* one message */
	/* FLAG_DUE_NOW: of its recipients only these, by index; NULL: all. Lives until the answer. */
	const uint32_t *only;
	uint32_t nonly;
	ms_t now;	  /* wall: new due time for FLAG_RELEASE and FLAG_DUE_NOW, new arrival */
	uint32_t changed; /* out: recipients concerned */
};

void queue_post(struct queue *q, struct queue_job *job);
void queue_post_batch(struct queue *q, struct mpsc_batch *b); /* queue_job.node's */

/* Every message that a commit made durable (accepted ones and DSNs) is posted here by its
 * fresh_node, with a reference of its own and first_due set: so a fresh message is delivered
 * without being read back. Posted in the same batch as the answers. Set before the first job. Set to
 * NULL before a fence: after the fence's answer nothing comes to the mailbox any more, and it may be
 * freed; mail that is committed later waits in the queue. Any thread. */
void queue_set_fresh(struct queue *q, struct mpsc *fresh);

/* ---- reading ---- */

/* One waiting recipient as the due index and its record tell. Text lives in the reading's arena. */
struct queue_due {
	uint64_t id;
	uint32_t index;
	ms_t due;
	struct recipient recipient;
	struct queue_rcpt_state state;
	struct message
		*message; /* a reference; shared by neighbours of the same message; body NULL.
			   * Its recipients array is empty: the reading gives them one by one */
};
/* A place in a domain's order of waiting recipients. */
struct queue_place {
	ms_t due;
	uint64_t id;
	uint32_t index;
};
/* One reading of the due index: what of a domain is due, as many as were asked for. */
struct queue_reading {
	struct arena arena;
	struct queue_due *items;
	uint32_t n, max;
	struct queue_place last; /* of the entries looked at; with more: go on behind it */
	ms_t next_due; /* due time of the first entry not taken (later than now, or left out by the
			  limit); 0: no more */
	bool more;     /* entries already due were left out because of the limit */
};
/* Which entries. The functions run inside the read transaction, and must not call the queue. */
struct queue_look {
	ms_t now;	/* due by then */
	uint32_t limit; /* at most so many */
	uint32_t skipped_max;
	bool (*skip)(void *arg, uint64_t id, uint32_t index); /* in memory already; NULL: none */
	bool (*wanted)(void *arg, const struct message *m);   /* by its envelope; NULL: all */
	void *arg;
	const struct queue_place *after; /* only behind that place; NULL: from the first */
};
/* Reads entries of the domain, oldest first, without those skipped or not wanted. Held messages are
 * left out. Bounded work: looks at no more than limit + skipped_max entries; those not wanted count
 * against the limit. */
int queue_read_due(struct queue *q, const char *domain, const struct queue_look *look,
	struct queue_reading *w);
void queue_reading_init(struct queue_reading *w);
void queue_reading_clear(struct queue_reading *w);  /* drops message references and texts */
void queue_reading_deinit(struct queue_reading *w); /* the same, and its memory */

/* Each domain that has waiting recipients, with its earliest due time, by skip-scan: cost grows
 * with the number of domains, not of messages. fn is called inside a read transaction and must not
 * call the queue. Stops when fn returns nonzero, and returns that. */
int queue_domains(struct queue *q, int (*fn)(void *arg, const char *domain, ms_t due), void *arg);

/* How many recipients wait for the domain, as far as max: its cost grows with them. Those that are
 * moving on disk meanwhile may count twice. */
int queue_count(struct queue *q, const char *domain, uint32_t max, uint32_t *ret);

/* Messages as a listing or a count needs them, without their texts and content. */
struct queue_brief {
	struct selector_message who; /* borrowed, as all slices here */
	uint64_t size;
	bool held;
	uint32_t n;
	const struct queue_brief_rcpt {
		struct selector_rcpt who;
		uint32_t index;
		uint8_t flags; /* RCPT_STATE_* */
		ms_t due;
		struct slice reply, host; /* of the last attempt */
	} * rcpts;
};
/* Up to max messages from *id on in one read transaction, whose pages are kept for that long; *id
 * is then behind the last one. Damaged ones are left out. fn must not call the queue. 0, -ENOENT:
 * there are no more, -errno. */
int queue_walk(struct queue *q, uint64_t *id, uint32_t max,
	void (*fn)(void *arg, const struct queue_brief *m), void *arg);

/* Copies content bytes [offset, offset+max) into out; *n says how many; 0 at the end. -ENOENT:
 * gone. -EBADMSG: what is stored is damaged or not complete (each chunk has a CRC); nothing of it
 * may be sent. */
int queue_body_read(
	struct queue *q, uint64_t id, uint64_t offset, char *out, size_t max, size_t *n);

/* The whole envelope with states, for show and the tools. *ret has one reference; states is an
 * array for its recipients in the message's arena. -ENOENT. */
int queue_load(
	struct queue *q, uint64_t id, struct message **ret, struct queue_rcpt_state **states);
/* The next message id >= *id; 0 or -ENOENT. For listings: one short read transaction each. */
int queue_next_message(struct queue *q, uint64_t *id);

/* Recipients that wait for their time or their turn: all but those of messages that are held. */
int queue_indexed(struct queue *q, uint64_t *ret); /* 0, -EIO … */

/* Learned state with this key prefix. fn must not call the queue. */
int queue_state_scan(struct queue *q, struct slice prefix,
	int (*fn)(void *arg, struct slice key, struct slice value), void *arg);

struct queue_stats {
	uint64_t messages, recipients, content_bytes; /* waiting */
	/* Since start. accepted: messages, notifications too; settled: recipients that went; syncs:
	 * two a commit (the data, then LMDB's meta page through a synchronous descriptor) */
	uint64_t accepted, settled, commits, syncs, failed_commits, jobs;
	uint64_t bytes_used, bytes_max; /* of the map; pages in use, not the file's length */
	uint64_t largest_batch, commit_us_total, waiting_jobs;
	bool full; /* new mail is refused for lack of space */
	/* New mail that was not stored; of the last one why, and how long ago. 0: there was none.
	 */
	uint64_t refused, refused_ago_ms;
	int refused_error;
	/* The reader that keeps the oldest state of the file, and with it all pages freed since:
	 * for how long, and its process. 0: none for more than a moment. */
	int reader_pid;
	uint64_t reader_ms;
};
void queue_stats(struct queue *q, struct queue_stats *ret); /* any thread, at once */
