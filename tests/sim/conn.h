/* One SMTP connection: transport (conn.c) and session (smtp*.c) in one struct. Owned by its loop.
 */
#pragma once

#include "sim.h"

enum smtp_state {
	ST_CONNECT,
	ST_COMMAND,
	ST_DATA,
	ST_BDAT,
	ST_AUTH_LOGIN,
	ST_AUTH_PASS,
	ST_AUTH_PLAIN
};
enum data_state { DS_BOL, DS_DOT, DS_DOTCR, DS_LINE };
enum resume { RESUME_NONE, RESUME_CONNECT, RESUME_LINE, RESUME_EOD };

#define LINE_MAX_BYTES 8192
#define SEGMENTS       16
#define ID_MAX	       160

struct rcpt {
	uint32_t at, params; /* offsets in rcpt_text */
};

struct conn {
	struct io io;
	struct timer timer;
	struct loop *loop;
	struct conn *next, **prev;
	struct scenario *sc;
	const struct host *host;
	struct cluster *cluster;
	struct gauge *gauges[G_N];
	struct addr peer;
	uint32_t peer_ip;
	uint16_t peer_port;
	uint64_t opened, opened_sim, last_input, session;

	/* transport */
	SSL *ssl;
	const char *bio_in;
	size_t bio_in_n;
	struct buf out, reply; /* on the wire; still clear */
	struct {
		size_t end; /* bytes of out, counted from out.off */
		uint64_t due;
	} seg[SEGMENTS];
	unsigned nseg;
	struct buf held; /* input that waits for the end of a delay */
	uint64_t hold_until, trickle_us, trickle_next, linger_until;
	uint64_t
		line_free; /* when all that came in would have come in at the cluster's bandwidth */
	uint32_t epoll_events;
	bool started, counted, peer_gone, closing, abort, stalled, dead, linger, flushed,
		no_goodbye, tls_broken;
	enum tls_mode tls_next; /* mode after the 220 to STARTTLS */
	bool tls_begin, tls_drop;

	/* session */
	enum smtp_state state;
	enum resume resume;
	bool skip_rules; /* the rule of this phase has had its delay */
	bool greeted, esmtp, sync_wait, early_noted;
	bool over_cap, authenticated;
	char auth_user[256];
	uint32_t errors, messages, flights, flights_told;
	char ehlo[128];
	char line[LINE_MAX_BYTES];
	size_t line_n;
	bool line_skip; /* too long: discard up to its end */

	/* transaction */
	bool mail, mail_failed, rcpt_failed, data_failed, bdat_last, bdat_bad, bdat_ruled, chunking;
	bool utf8, binary, eightbit, has_body, noted_bare, noted_long, noted_8bit;
	char from[320], mail_params[256];
	struct buf rcpt_text;
	struct rcpt *rcpts;
	uint32_t nrcpts, rcpts_cap;
	struct tenant *tenant;
	uint32_t tenant_index;
	char domain[NAME_MAX_TEXT];
	uint64_t declared, size, bdat_left;
	enum data_state ds;
	bool prev_cr;
	size_t text_line;
	bool in_header, take_fold;
	char hdr[256];
	size_t hdr_n;
	char test_id[ID_MAX], message_id[ID_MAX];
	EVP_MD_CTX *md;
	char sha256[65];
	struct buf body;
};

/* conn.c */
void conn_accept(struct loop *lp, struct io *listener, uint32_t events);
void conn_rearm_all(struct loop *lp); /* after `advance` */
void conn_close_all(struct loop *lp);
void conn_reap(struct loop *lp);
BIO_METHOD *conn_bio_method(void);

/* smtp.c: both under the lock. */
void smtp_connect(struct conn *c);
size_t smtp_input(
	struct conn *c, const char *p, size_t n); /* consumed; less only when held or closing */
void smtp_resume(struct conn *c);
void smtp_end(struct conn *c); /* the connection is gone */
void smtp_tls_started(struct conn *c);
void smtp_timeout(struct conn *c, const char *reply);

/* smtp_mail.c */
void smtp_mail(struct conn *c, char *args);
void smtp_rcpt(struct conn *c, char *args);
void smtp_reset(struct conn *c);

/* smtp_data.c */
void smtp_data(struct conn *c, char *args);
void smtp_bdat(struct conn *c, char *args);
size_t data_feed(struct conn *c, const char *p, size_t n);
size_t bdat_feed(struct conn *c, const char *p, size_t n);
void smtp_eod(struct conn *c);

/* reply.c */
void reply(struct conn *c, const char *text);	   /* whole lines with CRLF, as they are */
void reply_tail(struct conn *c, const char *text); /* without CRLF; the cluster's tail is added */
/* A template: placeholders, lines split at \n, codes filled in. */
void reply_template(struct conn *c, const char *tmpl, const char *rcpt);
void reply_banner(struct conn *c);
void reply_ehlo(struct conn *c, bool ehlo);
void reply_queued(struct conn *c);
const char *host_domain(const struct conn *c);

/* rules.c */
/* Is there a rule or limit for this moment? true: it has been carried out and the normal course is
 * off. */
bool rules_apply(struct conn *c, enum phase ph, const char *rcpt);
void limits_opened(struct conn *c);
void limits_closed(struct conn *c);
/* A refusal of the front end's own, in its ledger. */
void refuse(struct conn *c, enum phase ph, const char *by, const char *tmpl, const char *rcpt);

void violation(struct conn *c, const char *kind, const char *text, size_t n);

#define REPLY_LIT(c, s) put(&(c)->reply, (s), sizeof(s) - 1)
