/* The outbound session's state machine. Pure. One per connection; used by one thread.
 *
 * States never jump backwards but for READY: BANNER → EHLO → (STARTTLS → TLS → EHLO) → READY →
 * (MAIL RCPT… DATA|BDAT in flights) → READY … → QUIT. Each has its own time-out.
 *
 * One transaction is one flight where PIPELINING and CHUNKING are offered: MAIL RCPT… BDAT n LAST
 * and the content. With PIPELINING alone: MAIL RCPT… DATA, then content. Without: a command a
 * flight. The commands in flight are remembered in order; each reply is credited to its own. After
 * a refused MAIL, or when all RCPT are refused, the following replies of the flight are echoes and
 * no verdict. */
#pragma once

#include "postern/message.h"
#include "postern/smtp_reply.h"

enum tls_mode { TLS_NONE, TLS_OPPORTUNISTIC, TLS_REQUIRE, TLS_VERIFY };

#define CLIENT_PHASES(X)                                                                           \
	X(CONNECT, connect)                                                                        \
	X(BANNER, banner)                                                                          \
	X(EHLO, ehlo)                                                                              \
	X(STARTTLS, starttls)                                                                      \
	X(TLS, tls)                                                                                \
	X(READY, ready)                                                                            \
	X(MAIL, mail) X(RCPT, rcpt) X(DATA, data) X(EOD, eod) X(RSET, rset) X(QUIT, quit)
enum client_phase {
#define X(name, text) PHASE_##name,
	CLIENT_PHASES(X)
#undef X
};
const char *client_phase_name(enum client_phase p); /* "mail": also what classifier and log use */

/* What hosts offer and we use. Some offer what they cannot do: who sees that remembers the host
 * without it. In the order in which they are given up where it is not plain which one it was. */
#define EXTENSIONS(X)                                                                              \
	X(CHUNKING, "CHUNKING", 0)                                                                 \
	X(PIPELINING, "PIPELINING", 1)                                                             \
	X(PARAMS, "MAIL parameters", 2) /* SIZE, 8BITMIME, DSN, also of RCPT */                    \
	X(SMTPUTF8, "SMTPUTF8", 3)                                                                 \
	X(TLS, "STARTTLS", 4)
enum extension {
#define X(name, text, bit) EXT_##name = 1 << (bit),
	EXTENSIONS(X)
#undef X
};
enum { EXTENSIONS_COUNT = 5 };
const char *client_extension_name(unsigned bit); /* the number of its bit */

/* Milliseconds, per phase; defaults of RFC 5321 section 4.5.3.2 or shorter. body: without progress.
 */
struct client_timeouts {
	ms_t connect, banner, ehlo, starttls, tls, mail, rcpt, data, body, eod, rset, quit;
};
void client_timeouts_default(struct client_timeouts *t);

struct smtp_client_params {
	const char *ehlo_name; /* borrowed for the machine's life, as are the others */
	enum tls_mode tls;
	bool tls_given_up; /* opportunistic, and TLS failed at this host lately: do not try */
	bool pipelining, chunking; /* false: not used even if offered */
	unsigned without;	   /* enum extension, likewise; EXT_TLS is tls_given_up */
	struct client_timeouts timeouts;
};

/* What became of one recipient of a transaction. */
enum rcpt_outcome {
	RCPT_PENDING,	/* not tried: nothing was said about it; give it to another connection */
	RCPT_DELIVERED, /* 2xx to the end of data: the receiver has it */
	RCPT_REPLIED,	/* refused; reply and phase say by what */
	RCPT_LOST,     /* connection lost or timed out before end of data was complete: may be tried
			  again safely */
	RCPT_IN_DOUBT, /* lost after the end of data was sent and a recipient of the transaction
			  accepted, and before the reply to it: may be a duplicate */
	RCPT_LOCAL, /* cannot be sent here by our own finding (SIZE, 8BITMIME, SMTPUTF8): reply is
		       ours */
};
struct rcpt_result {
	uint32_t index; /* struct recipient index */
	enum rcpt_outcome outcome;
	enum client_phase phase;
	bool dsn_passed_on; /* NOTIFY was given to a host that offers DSN: success DSN is not ours
			     */
	uint16_t reply;	    /* number of its reply in the transaction's replies; replies are shared.
			     * LOST, IN_DOUBT: of one with code 0 and the reason as its text, or of the
			     * 421 that ended the session. PENDING: none */
};

/* One transaction: a message and recipients of it that go to this host. Borrowed until reported. */
struct smtp_client_txn {
	const struct message *message;
	const struct recipient *const *recipients;
	uint32_t n;
	struct rcpt_result *results; /* n, filled in by the machine */
	struct reply *replies;	     /* storage for distinct refusals and the final reply */
	uint16_t nreplies,
		max_replies; /* max: n + 2 never runs short; with fewer the last is shared */
	/* Filled in by the machine: */
	uint32_t answers; /* replies to its commands. 0: nothing that the host did says anything
			   * about this message */
	unsigned worked;  /* enum extension: used, and answered as it should be */
	unsigned suspect; /* one of them that may not work here, 0: none */
	bool refused;	  /* it was refused by reply number suspect_reply; else the host fell silent
			   * or hung up on it */
	uint16_t suspect_reply;
};

enum smtp_client_want {
	CLIENT_AGAIN,	  /* call feed again */
	CLIENT_READ,	  /* send the output, wait for input; all that was given is consumed */
	CLIENT_STARTTLS,  /* start TLS; then smtp_client_tls_started or _tls_failed. Input not
			     consumed is thrown away */
	CLIENT_IDLE,	  /* ready for smtp_client_begin or smtp_client_quit */
	CLIENT_BODY_RAW,  /* send the output, then the content as it is; then smtp_client_body_sent
			   */
	CLIENT_BODY_DOTS, /* the same with dot-stuffing and its end mark */
	CLIENT_DONE,  /* transaction finished: read results; then feed again (gives IDLE or CLOSE).
		       * Comes  before body_sent too, when content is refused early: stop sending it
		       */
	CLIENT_CLOSE, /* send the output, close; smtp_client_failure says why */
};

struct smtp_client;
int smtp_client_new(struct smtp_client **ret, const struct smtp_client_params *p);
struct smtp_client *smtp_client_free(struct smtp_client *c);
/* in may be empty. Input that *used does not cover is to be fed again after what *want asks for. 0,
 * or the error of out (-ENOMEM, -ENOBUFS): then smtp_client_lost is all that is left to call. */
int smtp_client_feed(struct smtp_client *c, struct slice in, size_t *used, struct buf *out,
	enum smtp_client_want *want);
void smtp_client_tls_started(struct smtp_client *c, const char *description, bool verified);
/* TLS was refused or broke. With opportunistic the caller reconnects with tls_given_up. */
void smtp_client_tls_failed(struct smtp_client *c, const char *why);
/* Starts a transaction when idle; t->n and t->max_replies are at least 1. Results may come at once
 * (CLIENT_DONE) when nothing can be sent. 0, -EBUSY (not idle: nothing was taken), errors as of
 * feed. Content of up to 1 MiB goes in the first flight; more waits until a recipient was accepted.
 */
int smtp_client_begin(struct smtp_client *c, struct smtp_client_txn *t, struct buf *out,
	enum smtp_client_want *want);
/* All content (and end mark) was handed to the stream: call it then, not when the write completes.
 * A 2xx to content that comes before is not believed. */
void smtp_client_body_sent(struct smtp_client *c);
/* Before smtp_client_lost: part of the content is known not to have reached the host. */
void smtp_client_body_held(struct smtp_client *c);
/* When idle; or, where the host offers PIPELINING, behind the content of the running transaction,
 * as the last command of its group (RFC 2920 section 3.1), which saves the round trip: after
 * smtp_client_body_sent, then. The session ends when all replies are there. 0, -EBUSY (neither, or
 * QUIT was sent already), errors as of feed. */
int smtp_client_quit(struct smtp_client *c, struct buf *out);
/* The connection ended or a time-out fired: settles what is open (LOST, IN_DOUBT, PENDING). why:
 * text for logs. After it, want is DONE if a transaction was open, then CLOSE. */
void smtp_client_lost(struct smtp_client *c, const char *why);
/* The same by our own doing: nothing is suspected of it. */
void smtp_client_stop(struct smtp_client *c, const char *why);
enum client_phase smtp_client_phase(const struct smtp_client *c);
/* Of the present phase, ms; 0: none. While content is sent after RCPT it is that of the body:
 * without progress. */
ms_t smtp_client_timeout(const struct smtp_client *c);
/* For the policy: banner host (first word), the reply that ended the session, what EHLO offered. */
struct smtp_client_info {
	char banner[256]; /* text of the 220 reply */
	struct ehlo ehlo;
	const char *tls; /* description, NULL in clear */
	bool tls_verified, tls_failed;
	unsigned suspect; /* the session failed before it was of use, perhaps by that: EXT_TLS */
	enum client_phase failed_in;
	uint32_t replies;      /* of the host, in all */
	uint32_t transactions; /* that came to their end by its replies */
	struct reply failure;  /* reply that made the session unusable (421, refused banner/EHLO);
				  code 0: lost */
	char why[128];
};
const struct smtp_client_info *smtp_client_info(const struct smtp_client *c);
