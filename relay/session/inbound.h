/* An inbound session, shared by the files inbound*.c. Owner: the worker's thread.
 *
 * Stages: (PREFACE) → (TLS) → SMTP. A session outlives its connection while jobs of it are with the
 * queue or the thread pool: refs counts those, the callbacks that are on the stack, and the open
 * connection itself. */
#pragma once

#include "worker_impl.h"

/* Why nothing is fed to the state machine now. */
enum session_wait {
	WAIT_PREFACE = 1,
	WAIT_TLS = 2,
	WAIT_COMMIT = 4,
	WAIT_APPEND = 8, /* all append slots are with the queue */
	WAIT_AUTH = 16,
	WAIT_OUTPUT = 32, /* the client does not read its replies */
	WAIT_MEMORY = 64,
};
/* Those in which the client has to wait for us: its time is not counted. */
#define WAIT_FOR_US (WAIT_COMMIT | WAIT_APPEND | WAIT_AUTH | WAIT_MEMORY)

#define INPUT_WAITING_MAX (64u * 1024u)
#define APPENDS_MAX	  2u

struct preface;
struct auth_check;

struct session {
	struct session *prev, *next;		   /* in worker->sessions while open */
	struct session *hungry_prev, *hungry_next; /* in worker->starved while WAIT_MEMORY */
	unsigned refs;
	bool closed;
	struct worker *w;
	struct inbound_listener *ln;
	uint64_t number;
	struct stream *stream; /* NULL before the preface is read, and once closed */
	struct smtp_server
		*server; /* NULL before TLS stands, where it comes first, and once closed */
	struct addr client;
	uint16_t client_port;
	bool counted_client; /* in the limits, by client */
	unsigned waits;	     /* enum session_wait */
	bool paused;
	struct buf in;	      /* received and not yet fed */
	const char *end_with; /* the reply to end with once the commit has its answer */

	struct loop_timer timer;
	ms_t started, since; /* mono; since: the last progress of what is timed now */
	ms_t window_start;
	uint64_t window_bytes;

	bool begun; /* content is coming in under `id` */
	uint64_t id;
	bool appended; /* parts of it are with the queue and not yet owned by an accepted message */
	bool discard_due; /* to be forgotten as soon as a slot is free */
	bool flush_due;
	int append_error;
	unsigned slots_busy; /* bit per slot */
	struct queue_append slots[APPENDS_MAX];
	struct queue_accept accept; /* one at a time: busy while WAIT_COMMIT or accepting */
	bool accepting;

	struct preface *preface;
	char tls[128]; /* description, "" in clear */
};

/* ---- inbound.c ---- */
void session_hold(struct session *s);
void session_release(struct session *s);
/* The peer's address is known (its own or from the preface): s->stream takes over fd. */
void session_open(struct session *s, int fd);
/* Writes what the state machine has put into the worker's buffer. */
void session_send(struct session *s);
/* Something that was waited for came. */
void session_ready(struct session *s, enum session_wait what);
/* Closes at once; log text may be NULL. */
void session_close(struct session *s, ms_t linger, const char *why);
/* Ends it with this reply, after a commit that is under way. */
void session_end(struct session *s, const char *reply);

/* ---- inbound_commit.c ---- */
void inbound_begin(struct session *s);
void inbound_flush(struct session *s);	 /* moves full blocks to the queue */
void inbound_discard(struct session *s); /* forgets what was moved */
void inbound_commit(struct session *s);
bool inbound_over_budget(const struct session *s);
void inbound_starve(struct session *s); /* waits for body memory */
void inbound_unstarve(struct session *s);

/* ---- inbound_auth.c ---- */
void inbound_auth(struct session *s);

/* ---- inbound_proxy.c ---- */
/* Reads the PROXY preface from fd, which it takes over; then session_open, or session_close. */
int preface_start(struct session *s, int fd);
void preface_stop(struct session *s);
