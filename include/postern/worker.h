/* Workers: loop threads that run inbound and outbound sessions. The room knows sockets, state
 * machines and the queue, but not who decides: inbound messages go to the queue, outbound sessions
 * are told what to do by posts and answer with events to a mailbox. */
#pragma once

#include "postern/loop.h"
#include "postern/queue.h"
#include "postern/smtp_client.h"
#include "postern/smtp_server.h"
#include "postern/stream.h"

/* ---- inbound ---- */

struct listener_params {
	char *name;
	/* Of the listener of this name, also after a reload: its sessions are counted by it. 0: by
	 * these parameters. */
	uint32_t number;
	struct {
		struct addr addr;
		uint16_t port;
	} * addresses;
	unsigned naddresses;
	struct net *allow; /* networks that may relay without AUTH */
	unsigned nallow;
	struct net *proxy_from; /* with proxy: peers whose PROXY preface is believed; others are
				   refused */
	unsigned nproxy_from;
	bool proxy; /* a PROXY v1/v2 preface is demanded */
	bool implicit_tls;
	char *certificate, *key; /* NULL: no TLS offered */
	char *min_tls;
	char *users_file;      /* NULL: no AUTH */
	bool pool_by_user;     /* a user's own pool wins over the listener's */
	uint32_t sessions_max; /* of this listener */
	uint32_t sessions_per_client;
	uint32_t auth_failures_max; /* of late, before passwords are not looked at: 421; 0: no limit
				     */
	ms_t command_timeout;	    /* idle between commands: RFC 5321 section 4.5.3.2.7, 5 min */
	ms_t data_timeout;	    /* between data blocks: 3 min */
	ms_t session_max;	    /* life of a session in all; 0: none */
	uint64_t rate_min; /* bytes a second a content transfer must keep over 60 s; 0: none */
	struct smtp_server_params smtp;
};

/* Password file entries: user:crypt-hash[:pool]. Immutable after load; shared by reference. Errors
 * name file and line. */
struct users;
int users_load(struct users **ret, const char *path, char *error, size_t error_max);
struct users *users_ref(struct users *u);
struct users *users_unref(struct users *u);
/* The same from text, as the file of that name would hold it. */
int users_parse(
	struct users **ret, struct slice text, const char *name, char *error, size_t error_max);
uint64_t users_generation(const struct users *u); /* another for each load, at random */
/* Slow by intent (crypt_r): on libuv's pool, not on a loop. pool is copied or NULL. Unknown users
 * cost the same time. */
enum smtp_auth_result users_check(
	const struct users *u, const char *user, const char *password, char pool[64]);

/* Counts of open sessions, by listener and by client. One for all workers of a process, so that
 * sessions_max and sessions_per_client hold for them together. Thread-safe; must outlive the
 * workers. */
struct session_limits;
struct session_limits *session_limits_new(void); /* NULL when memory is out */
struct session_limits *session_limits_free(struct session_limits *l);
/* Before the workers start: sessions of all listeners together, and bytes that the envelopes of
 * their open transactions may hold; 0: no limit. */
void session_limits_bound(struct session_limits *l, uint32_t sessions_max, uint64_t envelope_max);
/* What was refused so far, by listener and reason, where it is not 0. Any thread. */
void session_limits_rejected(struct session_limits *l,
	void (*each)(void *arg, const char *listener, enum smtp_reject why, uint64_t n), void *arg);

struct worker_params {
	unsigned index;
	struct session_limits *limits; /* NULL: the worker counts for itself */
	struct queue *queue;
	struct log *log;
	struct mpsc *events;   /* outbound events go here (struct outbound_event); must outlive the
				  worker */
	uint32_t outbound_max; /* connections of this worker */
	uint64_t ahead_max;    /* bytes of content of this worker on its way to receivers, in
				* the process and the kernel; 0: no limit */
	uint64_t body_memory_max; /* bytes of content in memory in the whole process: over it a
				   * finished message's body is dropped and read back; inbound
				   * sessions pause */
};

struct inbound_stats {
	uint64_t sessions, sessions_refused, messages, recipients, bytes, rejected_messages,
		auth_failures, tls_sessions;
	uint32_t open;
};

struct worker;
int worker_new(struct worker **ret, const struct worker_params *p);
struct loop *worker_loop(struct worker *w);
/* Before start: accepts on fd (taken over) with p, which must live until the worker is freed. The
 * worker takes references of its own to tls and users. */
int worker_listen(struct worker *w, const struct listener_params *p, int fd,
	struct tls_context *tls, struct users *users);

/* A change of what a running worker listens to, in two steps, so that all workers change or none.
 */
struct worker_socket {
	int fd; /* of one that is open (it goes on under p), or of one that is added */
	bool added;
	/* NULL: accepts no more. Sessions go on under the parameters they began with. */
	const struct listener_params *p;
	struct tls_context *tls; /* the worker takes references */
	struct users *users;
	/* once, on any thread, when neither the socket nor a session needs p any more; only after a
	 * commit */
	void (*release)(void *arg);
	void *arg;
};
struct worker_change;
/* Takes all that it may need, and nothing changes yet: clients of an added socket wait. The fds
 * that are added are the worker's from now on, also when this fails (-ENOMEM, -ESHUTDOWN …). Waits
 * for the worker, so not on its thread. */
int worker_change_new(struct worker_change **ret, struct worker *w,
	const struct worker_socket *sockets, unsigned n);
/* Takes c; cannot fail. When it returns, new sessions begin under what was changed to. */
void worker_change_commit(struct worker_change *c);
struct worker_change *worker_change_free(
	struct worker_change *c); /* nothing has changed; NULL-safe */
int worker_start(struct worker *w);
/* Stops accepting; ends idle sessions with 421 4.3.2; lets transactions finish until the deadline
 * (ms from now). Any thread; answers by done on the worker's thread when no inbound session is
 * left. Outbound ones are the dispatcher's to end. Once in a worker's life. */
void worker_drain(struct worker *w, ms_t deadline, void (*done)(void *arg), void *arg);
/* Drops all sessions and connections, waits for the jobs they have with the queue (so the queue
 * must still be open) and stops the thread. The last events are in the mailbox then. Nobody may
 * post to the worker any more. */
struct worker *worker_free(struct worker *w);
void worker_inbound_stats(struct worker *w, struct inbound_stats *ret); /* any thread */
/* Any thread. content: bytes reserved for content on its way; waiting: connections without room. */
struct outbound_stats {
	uint64_t content, waiting;
};
void worker_outbound_stats(struct worker *w, struct outbound_stats *ret);

/* ---- outbound ---- */

/* What the dispatcher posts, from malloc. Ownership moves to the worker, which frees CONNECT and
 * QUIT. */
enum outbound_order_kind { OUTBOUND_CONNECT, OUTBOUND_TRANSACT, OUTBOUND_QUIT };

struct outbound_order {
	struct mpsc_node node;
	enum outbound_order_kind kind;
	uint64_t connection; /* number chosen by the dispatcher, never used twice */
};

struct outbound_connect {
	struct outbound_order order;
	struct addr source, to;
	uint16_t port;
	char host[256]; /* MX host name: SNI, verification, logs */
	char ehlo[256];
	enum tls_mode tls;
	bool tls_given_up;
	struct tls_context *tls_context; /* a reference; NULL with TLS_NONE */
	bool pipelining, chunking;
	unsigned without; /* enum extension: offered there and of no use */
	struct client_timeouts timeouts;
};

enum outbound_event_kind {
	OUTBOUND_UP,	 /* session ready: info */
	OUTBOUND_RESULT, /* transact came back */
	/* The connection is gone, or never came up. After it comes no event of this connection but
	 * the RESULT, all RCPT_PENDING, of a transact that was posted before DOWN was seen. */
	OUTBOUND_DOWN,
};
struct outbound_transact;
struct outbound_event {
	struct mpsc_node node;
	enum outbound_event_kind kind;
	uint64_t connection;
	/* RESULT: ownership returns. The event lies in the transact: it goes with it. Whoever keeps
	 * the transact sets this to NULL; outbound_event_free then leaves both alone, and
	 * outbound_transact_free ends them. */
	struct outbound_transact *transact;
	/* UP and DOWN: */
	struct smtp_client_info
		*info; /* heap, owned by the receiver; NULL when nothing was learnt */
	/* DOWN:
	 *   0               after QUIT, or a polite end of an idle session
	 *   -EPROTO         the peer refused or broke the protocol: info->failure and why tell
	 *   -ENOBUFS        over outbound_max
	 *   -errno          anything else of the socket
	 *   STREAM_E_BIND   the source address could not be bound
	 *   STREAM_E_TLS    the handshake failed */
	int error;
	bool was_up, timed_out;
	char why[160];
	ms_t connect_ms, tls_ms;
};

/* One transaction. The dispatcher may post a second while the first runs: it starts without a round
 * trip through the dispatcher; at most 4 may wait. If the connection ends first, all its recipients
 * come back RCPT_PENDING. */
struct outbound_transact {
	struct outbound_order order;
	struct message *message;	     /* a reference */
	const struct recipient **recipients; /* n; heap */
	struct rcpt_result *results; /* n; heap, made by the poster, filled in by the worker */
	struct reply *replies; /* in the event: nreplies distinct replies that results name; heap,
				  made by the worker */
	uint16_t nreplies;
	uint32_t n;
	/* In the event: as of struct smtp_client_txn. */
	uint32_t answers;
	unsigned worked, suspect;
	bool refused;
	uint16_t suspect_reply;
	struct {
		ms_t queued, begun, sent, done;
	} at;	     /* mono: queued: came to the worker; begun: MAIL sent; sent: content
		      * handed to the kernel; done. 0: did not come to it */
	void *owner; /* the dispatcher's */
	struct outbound_event event; /* the worker's: the RESULT, so that it needs no memory */
};
/* Frees also what hangs below: info, transact with its arrays and message reference. */
void outbound_event_free(struct outbound_event *e);
void outbound_transact_free(
	struct outbound_transact *t); /* with arrays, replies and message reference; NULL-safe */
void worker_post(struct worker *w, struct mpsc_batch *orders); /* any thread */
