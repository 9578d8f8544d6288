/* A receiving mail server inside a test, in a thread of its own, on several loopback addresses with
 * one port. It accepts all, but for what the rules say, which may change while it runs; it notes
 * what came from where. Where Microsoft 365 itself matters, or TLS: the simulator (tests/sim). Where
 * single bytes matter: a peer that the test plays (tests/unit/worker/peer.h). */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define MX_SITES 4

enum mx_when { MX_BANNER, MX_EHLO, MX_STARTTLS, MX_MAIL, MX_RCPT, MX_EOD };

struct mx_rule {
	enum mx_when when;
	const char *site, *source; /* addresses; NULL: any */
	const char *match;	   /* in the command; NULL: any */
	const char *reply;	   /* "" closes the connection; MX_SILENCE never answers */
	unsigned times;		   /* then no more; 0: for ever */
	unsigned used;
};
#define MX_SILENCE "-"

struct mx_mail {
	char site[20], source[20], sender[128], recipient[128];
	unsigned connection, size;
	bool by_dsn; /* from the null sender */
};

struct mx {
	uint16_t port;
	bool starttls;	      /* offers it */
	unsigned session_max; /* rules for MAIL hold only after so many messages of a connection */
	unsigned rcpts_max;   /* rules for RCPT only after so many recipients of a transaction */
	struct mx_rule *rules;
	unsigned nrules;
	pthread_mutex_t lock; /* of what follows, and of the rules */
	struct mx_mail *mails;
	unsigned nmails, transactions, connections, open, peak;
	char *last_content; /* of the last message from the null sender */
	/* the thread's */
	struct mx_thread *serving;
};

/* Listens on 127.0.9.1 to 127.0.9.4. */
void mx_start(struct mx *m, struct mx_rule *rules, unsigned nrules);
void mx_stop(struct mx *m);
unsigned mx_count(struct mx *m, const char *recipient, const char *source); /* NULL: any */
unsigned mx_mails(struct mx *m); /* a mail for each recipient taken */
void mx_forget(struct mx *m);	 /* the mails */
unsigned mx_dsns(struct mx *m);
struct mx_mail mx_first(struct mx *m);
unsigned mx_rule_used(struct mx *m, unsigned rule);
