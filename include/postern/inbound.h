/* Inbound sessions of one worker: from an accepted socket to a message in the queue. The room
 * knows streams, the SMTP server's state machine and the queue, not who delivers. Also what the
 * workers of a process share about clients (struct session_limits), and the password file. */
#pragma once

#include "postern/dkim.h"
#include "postern/loop.h"
#include "postern/queue.h"
#include "postern/smtp_server.h"
#include "postern/stream.h"

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
	char **certificates; /* further ones, by the name that a client asks for */
	unsigned ncertificates;
	char *client_ca;     /* NULL: clients are asked for no certificate */
	char **client_names; /* patterns: who of client_ca may relay */
	unsigned nclient_names;
	char *users_file;      /* NULL: no AUTH */
	bool pool_by_user;     /* a user's own pool wins over the listener's */
	uint32_t sessions_max; /* of this listener */
	uint32_t sessions_per_client;
	uint32_t auth_failures_max; /* of late, before passwords are not checked: 421; 0: no limit
				     */
	ms_t command_timeout;	    /* idle between commands: RFC 5321 section 4.5.3.2.7, 5 min */
	ms_t data_timeout;	    /* between data blocks: 3 min */
	ms_t session_max;	    /* life of a session in all; 0: none */
	/* Signs what comes in; NULL: nobody does. Borrowed: lives as long as these parameters. */
	struct dkim_set *dkim;
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

struct inbound_stats {
	uint64_t sessions, sessions_refused, messages, recipients, bytes, rejected_messages,
		auth_failures, tls_sessions;
	uint32_t open;
};

/* ---- for the worker that has it; all on its thread unless said otherwise ---- */

struct inbound_params {
	unsigned index; /* of the worker: sessions are numbered by it */
	struct loop *loop;
	struct session_limits *limits;
	struct queue *queue;
	struct log *log;
	uint64_t body_memory_max;
	/* The last session is gone; also once for a drain or stop that finds none. */
	void (*empty)(void *arg);
	void *arg;
};

struct inbound;
/* Before the loop starts; its mailboxes stand behind those that the loop has already. */
int inbound_new(struct inbound **ret, const struct inbound_params *p);
struct inbound *inbound_free(struct inbound *ib); /* without sessions; NULL-safe */
void inbound_started(struct inbound *ib);
void inbound_stopping(struct inbound *ib); /* closes its handles */
/* The end of an iteration: posts what sessions have for the queue. */
void inbound_post(struct inbound *ib);
/* Accepts on fd, which it takes over only when it returns 0; takes references to tls and users.
 * What cannot be listened on is told in the log. */
int inbound_listen(struct inbound *ib, const struct listener_params *p, int fd,
	struct tls_context *tls, struct users *users);
/* Accepts no more, and ends idle sessions; `empty` comes, perhaps inside the call. */
void inbound_drain(struct inbound *ib);
void inbound_end_all(struct inbound *ib, const char *reply);
/* Ends all; `empty` comes, perhaps inside the call. */
void inbound_stop(struct inbound *ib, const char *reply);
void inbound_stats(struct inbound *ib, struct inbound_stats *ret); /* any thread */

/* A socket in a change of what is listened to. */
struct inbound_socket {
	int fd; /* of one that is open (it goes on under p), or of one that is added */
	bool added;
	/* NULL: accepts no more. Sessions go on under the parameters they began with. */
	const struct listener_params *p;
	struct tls_context *tls; /* the room takes references */
	struct users *users;
	/* once, on any thread, when neither the socket nor a session needs p any more; only after a
	 * commit */
	void (*release)(void *arg);
	void *arg;
};
/* What will have the socket; nothing is taken over before the commit but the descriptor of one that
 * is added. *ret NULL, and 0: the socket closes with the commit. */
struct inbound_listener;
int inbound_socket_prepare(
	struct inbound *ib, struct inbound_socket *s, struct inbound_listener **ret);
/* Cannot fail; takes ln (NULL: accepts no more on s->fd). */
void inbound_socket_commit(
	struct inbound *ib, const struct inbound_socket *s, struct inbound_listener *ln);
/* Closes what was added; ln NULL-safe. */
void inbound_socket_abandon(struct inbound_socket *s, struct inbound_listener *ln);
bool inbound_is_ending(const struct inbound *ib); /* drains or stops */
