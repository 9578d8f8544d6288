/* Inbound sessions of one worker, shared by the files inbound*.c. Owner: the worker's thread.
 *
 * Stages: (PREFACE) → (TLS) → SMTP. A session outlives its connection while jobs of it are with the
 * queue or the thread pool: refs counts those, the callbacks that are on the stack, and the open
 * connection itself. */
#pragma once

#include "limits.h"
#include "postern/counter.h"
#include "postern/log.h"
#include "postern/must.h"
#include "session_state.h"

struct session;

/* A listening socket (or several) with one set of parameters, and the sessions that came in by it.
 */
struct inbound_listener {
	struct inbound_listener *prev, *next;
	struct inbound *ib;
	const struct listener_params *p;
	struct tls_context *tls;
	struct users *users;
	struct reject_counts *rejects; /* of the limits; NULL: too many listeners to count */
	struct listener *socket;       /* NULL: stopped, or another has it now */
	int fd;			       /* its descriptor: tells it apart */
	uint32_t sessions;	    /* alive, also those that wait for an answer after their end */
	bool removed;		    /* freed with its last session */
	void (*release)(void *arg); /* then: p may go; NULL: nobody wants to know */
	void *arg;
};

/* Each is written by the worker's thread alone, read by any. */
struct inbound_counters {
	atomic_uint_least64_t sessions, sessions_refused, messages, recipients, bytes,
		rejected_messages, auth_failures, tls_sessions;
	atomic_uint open;
};

/* What the sessions of one worker share. */
struct inbound {
	struct inbound_params p;
	struct loop *loop;
	struct loop_mailbox answers; /* of the queue */
	struct mpsc_batch jobs;	     /* posted once an iteration */
	struct buf out;		     /* replies under construction; empty between callbacks */
	struct log_line line;

	struct inbound_listener *listeners;
	struct session *sessions;
	uint32_t live;		      /* sessions, also those that only wait for answers */
	uint64_t session_count;	      /* numbers given out */
	struct session *starved;      /* sessions that wait for body memory, the longest first */
	ms_t closings_since;	      /* mono */
	uint32_t closings;	      /* since then, that linger */
	struct session *strangers;    /* not proven, the longest silent first */
	struct session *auth_waiting; /* passwords that wait to be checked */
	ms_t relieved;		      /* mono: the last search for silent holders of content */
	uv_timer_t starved_timer;
	unsigned starved_ticks;
	struct inbound_counters count;
	/* Refused sessions are told in the log once in a while, with their number. */
	ms_t refusals_told;
	uint64_t refusals;
	bool draining, stopping;
};

/* ---- listeners.c ---- */
void inbound_listener_unref(struct inbound_listener *ln); /* a session of it is gone */
void inbound_close_listeners(struct inbound *ib);	  /* accept no more */
void inbound_free_listeners(struct inbound *ib);	  /* without sessions */

/* ---- life.c ---- */
void inbound_post_job(struct inbound *ib, struct queue_job *job); /* with the iteration's others */
void inbound_session_gone(struct inbound *ib);			  /* a session was freed */

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

/* Content that is coming in, and its parts that go to the queue ahead of it. */
struct session_content {
	bool begun; /* it is coming in under `id` */
	uint64_t id;
	bool appended; /* parts of it are with the queue and not yet owned by an accepted message */
	enum slot_due due; /* as soon as a slot is free; by content_due alone */
	int error;	   /* of the first part that the queue did not take */
	unsigned busy;	   /* bit per slot */
	struct queue_append slots[APPENDS_MAX];
};

/* A password that waits to be checked: in inbound->auth_waiting. */
struct session_login {
	struct session *prev, *next;
	struct loop_timer timer;
	bool known;	  /* this user, or client, is no stranger */
	ms_t begun, from; /* mono; 0: none waits. from: before it no password is checked */
};

struct session {
	struct session *prev, *next;		   /* in inbound->sessions while open */
	struct session *hungry_prev, *hungry_next; /* in inbound->starved while WAIT_MEMORY */
	unsigned refs;
	enum session_input input; /* by session_input_to alone */
	struct inbound *ib;
	struct inbound_listener *ln;
	uint64_t number;
	struct stream *stream; /* NULL before the preface is read, and once closed */
	struct smtp_server
		*server; /* NULL before TLS stands, where it comes first, and once closed */
	struct addr client;
	uint16_t client_port;
	bool counted_client;  /* in the limits, by client */
	unsigned waits;	      /* enum session_wait */
	struct client *known; /* NULL before its address is known */
	/* Of clients that are not proven: in inbound->strangers, the longest silent first. */
	struct session *strange_prev, *strange_next;
	bool stranger;
	size_t charged_content, charged_envelope; /* to the client */
	struct buf in;				  /* received and not yet fed */
	const char *end_with; /* the reply to end with once the commit has its answer */

	struct loop_timer timer;
	ms_t started, since; /* mono; since: the last progress of what is timed now */
	ms_t interval_start;
	uint64_t interval_bytes;

	struct signing *signing; /* of the content that is coming in; NULL: nobody signs */
	struct session_content content;
	struct queue_accept accept; /* one at a time: busy while it has a message */

	struct session_login login;

	struct preface *preface;
	char tls[128]; /* description, "" in clear */
};

static inline bool session_is_closed(const struct session *s)
{
	return s->input == SESSION_CLOSED;
}

static inline void session_input_to(struct session *s, enum session_input to)
{
	must(session_may(s->input, to));
	s->input = to;
}

static inline void content_due(struct session *s, enum slot_due due)
{
	must(s->content.due == due || due_may(s->content.due, due));
	s->content.due = due;
}

/* ---- inbound.c ---- */
void inbound_end_idle(struct inbound *ib);
void inbound_accepted(void *arg, int fd, const struct addr *peer, uint16_t port);
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

/* Something came from the client, or went to it. */
void session_progress(struct session *s);
/* The state machine begins to speak, or TLS does. */
void session_start(struct session *s);
extern const struct stream_ops session_stream_ops;

/* ---- inbound_accept.c ---- */
/* The timer checks the limits of time. */
void session_arm(struct session *s);

/* ---- rejects.c ---- */
/* Counts a refusal, and tells it in the log, as often as its client may be told of. */
void session_rejected(struct session *s, const struct smtp_rejection *r);
void session_rejected_for(struct session *s, enum smtp_reject why, const char *reply);

/* ---- inbound_stress.c ---- */
/* The client is known, or becomes so only later (PROXY): a stranger until it is proven. */
void stress_begin(struct session *s);
/* It is no stranger any more, or ends. */
void stress_leave(struct session *s);
void stress_progress(struct session *s);
/* How long the session may be silent while places or memory are short; 0: as long as ever. */
ms_t stress_patience(const struct session *s);
/* Ends the stranger that has been silent longest. False: there is none that one may end. */
bool stress_make_room(struct inbound *ib);

/* ---- inbound_budget.c ---- */
/* Charges the client with what its open transaction holds now. */
void budget_charge(struct session *s);
bool budget_envelope_room(void *arg, size_t bytes);
/* Content is over what may be in memory: may this session go on all the same? */
bool budget_may_go_on(struct session *s);
/* Moves content of silent sessions to the queue, and ends those of strangers if that is not enough.
 */
void budget_relieve(struct inbound *ib);

/* ---- inbound_commit.c ---- */
void inbound_answers(void *arg, struct mpsc_node *first);
void inbound_begin(struct session *s);
void inbound_flush(struct session *s); /* moves full blocks to the queue */
/* Moves all whole chunks; how many bytes. 0 when there are none, or no way to move them now. */
uint64_t inbound_evict(struct session *s);
void inbound_discard(struct session *s); /* forgets what was moved */
void inbound_commit(struct session *s);
bool inbound_over_budget(const struct session *s);
void inbound_starve(struct session *s); /* waits for body memory */
void inbound_unstarve(struct session *s);

/* ---- inbound_sign.c ---- */
/* Content of a new message begins. 0, -ENOMEM. */
int sign_begin(struct session *s);
/* It has seen all of the content that is in memory now; before some of it leaves for the queue, and
 * at the end. */
void sign_catch_up(struct session *s, const struct message *m);
/* It is not wanted any more. */
void sign_drop(struct session *s);
/* Content is complete. True: m is the job's, and sign_done in inbound_commit.c comes later. False:
 * *error says whether it goes on without (0), or not at all. */
bool sign_start(struct session *s, struct message *m, int *error);
size_t sign_held(const struct session *s);
/* ---- back in inbound_commit.c ---- */
void inbound_signed(struct session *s, struct message *m, int error);

/* ---- inbound_auth.c ---- */
void inbound_auth_init(struct session *s);
void inbound_auth(struct session *s);
void inbound_auth_stop(struct session *s); /* the session ends */

/* ---- inbound_proxy.c ---- */
/* Reads the PROXY preface from fd, which it takes over; then session_open, or session_close. */
int preface_start(struct session *s, int fd);
void preface_stop(struct session *s);
