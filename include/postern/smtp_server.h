/* The inbound session's state machine: bytes in, replies and requests out. Pure: no socket, no
 * clock (the caller passes wall time), no thread. One per connection, used by one thread.
 *
 * Order of states: (GREETING) → HELLO wanted → ready → MAIL → RCPT → DATA/BDAT → commit → ready.
 * The caller loops: feed while it returns SERVER_AGAIN, act on any other value, feed again (also
 * when it has no further bytes: an empty slice is fine).
 *
 * A command line that is not complete is not consumed: the caller gives it again together with what
 * came after it, hence its input buffer must hold at least line_max + 2 bytes. Content is always
 * consumed. What the server waits for stays: until the answer came (smtp_server_begun, _committed,
 * _authenticated, _tls_started), feeding consumes nothing and returns the same want. */
#pragma once

#include "postern/buf.h"
#include "postern/message.h"
#include "postern/smtp_command.h"
#include "postern/smtp_data.h"

struct smtp_class;
struct smtp_server_params { /* shared, immutable; one per listener */
	const char *hostname;
	const char *listener;
	const char *pool;	 /* default pool */
	uint64_t size_max;	 /* message size, bytes; announced by SIZE */
	uint32_t recipients_max; /* per message; above: 452 4.5.3 */
	uint32_t line_max; /* command line bytes (RFC 5321: 512; with parameters more); default 4096
			    */
	uint32_t content_line_max; /* text line bytes; 0: no limit */
	uint32_t header_max;
	uint32_t errors_max;	   /* bad commands of late before 421 4.7.0 */
	uint32_t received_max;	   /* hops before 554 5.4.6 */
	uint32_t transactions_max; /* messages per connection, 0 for no limit; above: 421 */
	enum bare_newline bare_newline;
	bool require_tls;	    /* MAIL before TLS: 530 5.7.0 */
	bool require_auth;	    /* MAIL before AUTH: 530 5.7.0 */
	bool offer_auth_plain_text; /* offer AUTH without TLS to any client (default: to loopback
				       only) */
	bool strict_addresses;	    /* refuse what struct smtp_path calls lax */
	/* Where mail for <postmaster> goes (RFC 5321 section 4.5.1); NULL: to postmaster at the
	 * domain that hostname lies in. */
	const char *postmaster;
	bool pool_header; /* X-Postern-Pool chooses the pool */
	/* Names of header fields whose text the message keeps, HEADER_KEPT_MAX at most. */
	const char *const *keep_headers;
	unsigned nkeep_headers;
	/* Is there such a pool? May be NULL: every name is. Pure function of immutable
	 * configuration. */
	bool (*pool_known)(void *arg, const char *name);
	/* The pool for a sender domain, or NULL for none. May itself be NULL. */
	const char *(*pool_for_sender)(void *arg, struct slice domain);
	bool class_header; /* X-Postern-Class chooses the class */
	/* The class of a complete message; wanted: by X-Postern-Class, NULL: not named. False: there
	 * is no class of that name. NULL: there are no classes. */
	bool (*class_of)(
		void *arg, const struct message *m, const char *wanted, struct smtp_class *ret);
	/* Domain with U-labels (RFC 5890) to A-labels, lower case, NUL-terminated. 0, -EINVAL (no
	 * such form), -ENOSPC, -ENOMEM. NULL: recipients at non-ASCII domains are refused. Called
	 * from any thread. */
	int (*domain_to_ascii)(struct slice in, char *out, size_t out_max);
	void *arg;
	/* Content bytes held before SERVER_FLUSH asks to move full blocks on; 0: never. */
	uint64_t stream_over;
	ms_t expire;	  /* life of a message, ms */
	int zone_minutes; /* of dates written into headers */
};

struct smtp_class {
	const char *name; /* borrowed; NULL: none */
	ms_t expire;	  /* life of the message */
};

/* Why something was refused: for the log, and as a label of metrics. The second group is refused by
 * the session, the third before there is one. */
#define SMTP_REJECTS(X)                                                                            \
	X(NONE, "")                                                                                \
	X(SYNTAX, "syntax")                                                                        \
	X(ORDER, "order")                                                                          \
	X(RELAY, "relay-denied")                                                                   \
	X(AUTH_REQUIRED, "auth-required")                                                          \
	X(TLS_REQUIRED, "tls-required")                                                            \
	X(AUTH_FAILED, "auth-failed")                                                              \
	X(AUTH_UNAVAILABLE, "auth-unavailable")                                                    \
	X(AUTH_LIMIT, "auth-limit")                                                                \
	X(SENDER, "sender-address")                                                                \
	X(RECIPIENT, "recipient-address")                                                          \
	X(RECIPIENTS, "recipients")                                                                \
	X(SIZE, "size")                                                                            \
	X(CONTENT, "content")                                                                      \
	X(LOOP, "loop")                                                                            \
	X(POOL, "pool")                                                                            \
	X(CLASS, "class")                                                                          \
	X(MESSAGES, "messages")                                                                    \
	X(ERRORS, "errors")                                                                        \
	X(QUEUE, "queue")                                                                          \
	X(MEMORY, "memory")                                                                        \
	X(SHUTDOWN, "shutdown")                                                                    \
	X(TIMEOUT, "timeout")                                                                      \
	X(SLOW, "slow")                                                                            \
	X(SILENT, "silent")                                                                        \
	X(PROXY, "proxy")                                                                          \
	X(SESSIONS, "sessions")                                                                    \
	X(CLIENT_SESSIONS, "client-sessions")
enum smtp_reject {
#define X(name, text) REJECT_##name,
	SMTP_REJECTS(X)
#undef X
		REJECT_COUNT
};
const char *smtp_reject_name(enum smtp_reject r);

/* One refusal, as it is said to the client. Borrowed for the call. */
struct smtp_rejection {
	enum smtp_reject reason;
	const char *reply; /* one line, without line end */
	const char *user;  /* who authenticated, or tried to; NULL: nobody. The client's text */
	struct slice sender, recipient; /* p NULL: none. The client's text */
};

struct smtp_server_peer { /* about this connection */
	struct addr client;
	char client_text[ADDR_TEXT_MAX];
	bool trusted;	    /* in the listener's allow list: may relay without AUTH */
	bool tls_available; /* STARTTLS may be offered */
	bool tls;	    /* already encrypted (implicit TLS) */
	bool certified;	    /* by smtp_server_certified: the user is a name of a certificate */
	bool auth_available;
	/* What the owner of the connection wants to hear and to be asked; each may be NULL. They
	 * are called inside the functions below and must not call them. */
	void (*rejected)(void *arg, const struct smtp_rejection *r);
	/* May the envelope, which holds so many bytes, grow? Asked each time it has doubled. */
	bool (*envelope_room)(void *arg, size_t bytes);
	void *arg;
};

enum smtp_server_want {
	SERVER_AGAIN, /* many replies were made and there may be more in `in`: send, then call again
		       */
	SERVER_READ,  /* needs more bytes */
	SERVER_BEGIN, /* a message begins: give it an id with smtp_server_begun */
	SERVER_FLUSH, /* large content: move the body's full blocks to the queue
		       * (smtp_server_message), then feed again when there is room */
	SERVER_COMMIT, /* message complete: smtp_server_take_message, commit, smtp_server_committed
			*/
	SERVER_ABORT,  /* a message that was begun and flushed in part is given up: tell the queue
			* (smtp_server_message says which); then feed again */
	SERVER_AUTH,   /* check smtp_server_credentials, then smtp_server_authenticated */
	SERVER_STARTTLS, /* send the output, throw away all input not yet consumed, start TLS, then
			  * smtp_server_tls_started */
	SERVER_CLOSE,	 /* send the output, then close */
};

enum smtp_commit_result {
	COMMIT_OK,	 /* 250 2.0.0 with the queue id */
	COMMIT_FULL,	 /* 452 4.3.1 */
	COMMIT_ERROR,	 /* 451 4.3.0 */
	COMMIT_SHUTDOWN, /* 421 4.3.2 */
};

struct smtp_server;
int smtp_server_new(struct smtp_server **ret, const struct smtp_server_params *p,
	const struct smtp_server_peer *peer, uint64_t session); /* params borrowed for its life */
/* Drops an unfinished message too. The caller tells the queue first when smtp_server_message is
 * there and its body has taken > 0: parts of it were flushed. NULL-safe, returns NULL. */
struct smtp_server *smtp_server_free(struct smtp_server *s);
/* Adds the 220 greeting to out (RFC 5321 section 4.2). */
int smtp_server_greet(struct smtp_server *s, struct buf *out);
/* Consumes from in (count in *used), appends replies to out. wall: for dates. -ENOMEM is the only
 * error. */
int smtp_server_feed(struct smtp_server *s, struct slice in, size_t *used, struct buf *out,
	ms_t wall, enum smtp_server_want *want);
/* The message begins with a Received field that names its id, hence before content. id 0: the queue
 * is full or closing (why != COMMIT_OK): replies now and refuses the transaction. */
int smtp_server_begun(struct smtp_server *s, uint64_t id, enum smtp_commit_result why,
	struct buf *out, ms_t wall);
/* Bytes of memory that the open transaction holds. */
void smtp_server_held(const struct smtp_server *s, size_t *envelope, size_t *content);
struct message *smtp_server_message(struct smtp_server *s); /* borrowed; NULL when none */
struct message *smtp_server_take_message(
	struct smtp_server *s); /* sealed; ownership to the caller */
int smtp_server_committed(struct smtp_server *s, enum smtp_commit_result r, struct buf *out);
struct smtp_credentials {
	const char *user,
		*password; /* borrowed until smtp_server_authenticated, which wipes them; UTF-8 */
};
void smtp_server_credentials(const struct smtp_server *s, struct smtp_credentials *ret);
/* pool: the user's pool or NULL (copied). The pool of a message: X-Postern-Pool where the listener
 * has pool_header, else the user's, else the sender domain's, else the listener's. */
/* LIMITED: not checked, since too many failed before; ends the session. */
enum smtp_auth_result { AUTH_OK, AUTH_BAD, AUTH_TEMPORARY, AUTH_LIMITED };
int smtp_server_authenticated(
	struct smtp_server *s, enum smtp_auth_result r, const char *pool, struct buf *out);
void smtp_server_tls_started(
	struct smtp_server *s, const char *description); /* back to HELLO wanted */
/* After _tls_started, before anything is fed: the client's certificate has this name (copied, cut),
 * and the listener lets it relay. The name stands for the user until AUTH gives another; RFC 3848's
 * "A" is for AUTH alone. */
void smtp_server_certified(struct smtp_server *s, const char *name);
/* Ends the session from outside: adds the reply (421 4.4.2 for time-outs, 421 4.3.2 for shutdown;
 * without line end). Feed again for SERVER_ABORT and SERVER_CLOSE. Not while a commit is under way:
 * its answer comes first. */
int smtp_server_shutdown(struct smtp_server *s, const char *reply_line, struct buf *out);
bool smtp_server_idle(
	const struct smtp_server *s); /* between transactions: may be closed politely */
/* For logs: user, HELO name, messages and bytes taken, errors. */
struct smtp_server_stats {
	const char *helo, *user;
	uint32_t messages, errors;
	uint64_t bytes;
	bool tls;
};
void smtp_server_stats(const struct smtp_server *s, struct smtp_server_stats *ret);
