/* What client.c (session) and client_txn.c (transaction) share. */
#pragma once

#include "postern/smtp_client.h"

/* Session states. They never jump backwards but for READY ⇄ TXN and TLS → EHLO. */
#define CLIENT_STATES(X)                                                                           \
	X(BANNER, PHASE_BANNER)                                                                    \
	X(EHLO, PHASE_EHLO)                                                                        \
	X(HELO, PHASE_EHLO)                                                                        \
	X(STARTTLS, PHASE_STARTTLS)                                                                \
	X(TLS, PHASE_TLS)                                                                          \
	X(READY, PHASE_READY)                                                                      \
	X(TXN, PHASE_MAIL)                                                                         \
	X(QUIT, PHASE_QUIT)                                                                        \
	X(CLOSED, PHASE_QUIT)
enum client_state {
#define X(name, phase) STATE_##name,
	CLIENT_STATES(X)
#undef X
};

/* The commands of a transaction in the order in which they are sent and answered. BDAT is sent at
 * DATA and answered at EOD; content follows it at once, content after DATA waits for 354. */
enum txn_step { STEP_RSET, STEP_MAIL, STEP_RCPT, STEP_DATA, STEP_EOD, STEP_END };

/* A place in that order. */
struct txn_place {
	enum txn_step step;
	uint32_t rcpt; /* at STEP_RCPT: which */
};

/* Because the order is fixed, the commands in flight need no list: they are those from `expect`
 * (the oldest unanswered) up to `send` (the next to be sent). Invariant: expect <= send. */
struct txn_state {
	struct smtp_client_txn *txn; /* NULL: none open */
	struct txn_place send, expect;
	uint32_t undecided,
		accepted; /* recipients; both 0: all that follows in the flight is echoes */
	bool bdat, utf8;
	bool behind; /* what is in flight was sent while something was unanswered */
	bool mail_accepted;
	bool body_open; /* content was asked for and is not all handed over */
	bool body_sent;
	bool content; /* the end of data, when answered, is a verdict on content */
};

struct smtp_client {
	struct smtp_client_params p;
	enum client_state state;
	bool hello_due;		   /* TLS stands: EHLO is to be sent */
	bool done_due;		   /* a transaction was settled outside of feed */
	bool rset_due;		   /* the host may still hold a failed transaction */
	bool ours;		   /* the session ends by our own doing */
	bool quit_sent;		   /* behind the content of the running transaction */
	bool pipelining, chunking; /* usable here */
	struct txn_state t;
	struct smtp_client_info info;
	char tls[128];
	struct reply_parser parser;
};

/* client.c */
/* The session cannot go on. reply: what ended it, NULL when the connection or our own demands did.
 * The first reason stands. */
void client_fail(
	struct smtp_client *c, enum client_phase phase, const struct reply *reply, const char *why);
void client_set_state(struct smtp_client *c, enum client_state to);

/* client_txn.c */
int txn_begin(struct smtp_client *c, struct smtp_client_txn *t, struct buf *out,
	enum smtp_client_want *want);
/* Credits c->parser.reply to the oldest command in flight. */
int txn_reply(struct smtp_client *c, struct buf *out, enum smtp_client_want *want);
/* The connection is of no use any more: settles what is undecided and closes the transaction. */
void txn_abandon(struct smtp_client *c, const char *why);
enum client_phase txn_phase(const struct smtp_client *c);

/* client_cmd.c: command lines. 0, -ENOMEM, -ENOBUFS */
bool cmd_mail_has_params(const struct smtp_client *c); /* but for SMTPUTF8 */
bool cmd_rcpt_has_params(const struct smtp_client *c, const struct recipient *r);
int cmd_hello(struct buf *out, bool esmtp, const char *name);
int cmd_mail(struct buf *out, const struct smtp_client *c);
int cmd_rcpt(struct buf *out, const struct smtp_client *c, const struct recipient *r);
int cmd_bdat(struct buf *out, uint64_t size);
bool text_is_ascii(const char *s);
