/* Scripted peers of the outbound machine. A script is lines:
 *   <text    the host says this line             >text   the machine has said this line (in order)
 *   =want    the last want (also after begin)    .        nothing more was said
 *   begin    starts the transaction              sent     body_sent
 *   feed     feeds what was left over            lost     connection lost
 *   tls / tls-unverified / tls-failed            quit
 *   phase P  present phase is P                  #outcomes: outcome/phase/code per recipient
 *   fail P C the session failed in phase P with reply code C
 *   suspect X    "CHUNKING", with "!" before it when it was refused; "" nothing. stop: our own end
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "postern/smtp_client.h"

#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))
#define RCPTS_MAX 4

#define ALL                                                                                        \
	"<220 mx ready\n>EHLO out\n<250-mx\n<250-PIPELINING\n<250-DSN\n<250-SIZE "                 \
	"1000000\n<250-8BITMIME\n<250-BINARYMIME\n<250-SMTPUTF8\n<250 CHUNKING\n=idle\n"
#define PIPE "<220 mx\n>EHLO out\n<250-mx\n<250 PIPELINING\n=idle\n"
#define BARE "<220 mx\n>EHLO out\n<250 mx\n=idle\n"

struct row {
	const char *name;
	uint32_t n;
	const char *script;
	enum tls_mode tls;
	bool given_up;
	void (*edit)(struct message *m, struct recipient *r);
	const struct client_timeouts *timeouts; /* NULL: the defaults */
};

struct peer {
	struct smtp_client *c;
	struct smtp_client_txn t;
	struct message m;
	struct recipient rcpt[RCPTS_MAX];
	const struct recipient *list[RCPTS_MAX];
	struct rcpt_result results[RCPTS_MAX];
	struct reply replies[RCPTS_MAX + 2];
	struct buf in, out;
	enum smtp_client_want want;
};

static const char *const wants[] = { "again", "read", "starttls", "idle", "raw", "dots", "done",
	"close" };
static const char *const outcomes[] = { "pending", "delivered", "replied", "lost", "doubt",
	"local" };

static inline void peer_open(struct peer *p, const struct row *w)
{
	static const char *const names[] = { "a@x.example", "b@x.example", "c@x.example",
		"d@x.example" };
	struct smtp_client_params params = { .ehlo_name = "out",
		.tls = w->tls,
		.tls_given_up = w->given_up,
		.pipelining = true,
		.chunking = true };

	memset(p, 0, sizeof(*p));
	if (w->timeouts)
		params.timeouts = *w->timeouts;
	else
		client_timeouts_default(&params.timeouts);
	assert_int_equal(smtp_client_new(&p->c, &params), 0);
	p->m.sender = "s@y.example";
	p->m.size = 100;
	for (uint32_t i = 0; i < RCPTS_MAX; i++) {
		p->rcpt[i].address = names[i];
		p->rcpt[i].index = i;
		p->list[i] = &p->rcpt[i];
	}
	if (w->edit)
		w->edit(&p->m, p->rcpt);
	p->t = (struct smtp_client_txn){ .message = &p->m,
		.recipients = p->list,
		.n = w->n,
		.results = p->results,
		.replies = p->replies,
		.max_replies = (uint16_t)(w->n + 2) };
	buf_init(&p->in, 0);
	buf_init(&p->out, 0);
}

static inline void peer_close(struct peer *p)
{
	p->c = smtp_client_free(p->c);
	buf_deinit(&p->in);
	buf_deinit(&p->out);
}

static inline void feed(struct peer *p)
{
	size_t used;

	do {
		assert_int_equal(
			smtp_client_feed(p->c, buf_slice(&p->in), &used, &p->out, &p->want), 0);
		buf_consume(&p->in, used);
	} while (p->want == CLIENT_AGAIN);
}

/* outcome/phase/code of each recipient */
static inline const char *results_text(struct peer *p, char got[512])
{
	got[0] = '\0';
	for (uint32_t i = 0; i < p->t.n; i++) {
		const struct rcpt_result *r = &p->results[i];
		unsigned code = r->outcome == RCPT_PENDING ? 0 : p->replies[r->reply].code;

		if (r->outcome != RCPT_PENDING)
			assert_true(r->reply < p->t.nreplies);
		assert_int_equal(r->index, i);
		snprintf(got + strlen(got), 512 - strlen(got), "%s%s/%s/%u", i ? " " : "",
			outcomes[r->outcome], client_phase_name(r->phase), code);
	}
	return got;
}

static inline void check_results(struct peer *p, const char *expected)
{
	char got[512];

	assert_string_equal(results_text(p, got), expected);
}

static inline void check_said(struct peer *p, const char *line)
{
	struct slice s = buf_slice(&p->out);
	const char *lf = s.n ? memchr(s.p, '\n', s.n) : NULL;
	char got[512] = "";

	if (lf && lf > s.p)
		snprintf(got, sizeof(got), "%.*s", (int)(lf - s.p - 1), s.p);
	assert_string_equal(got, line);
	buf_consume(&p->out, (size_t)(lf - s.p) + 1);
}

static inline void check_failure(struct peer *p, const char *expected)
{
	const struct smtp_client_info *info = smtp_client_info(p->c);
	char got[64];

	snprintf(got, sizeof(got), "%s %u", client_phase_name(info->failed_in), info->failure.code);
	assert_string_equal(got, expected);
	assert_true(info->why[0] != '\0');
}

static inline void check_suspect(struct peer *p, const char *expected)
{
	unsigned bits = p->t.suspect ? p->t.suspect : smtp_client_info(p->c)->suspect;
	char got[64] = "";

	for (unsigned n = 0; n < EXTENSIONS_COUNT; n++)
		if (bits & (1u << n))
			snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s",
				p->t.refused ? "!" : "", client_extension_name(n));
	assert_string_equal(got, expected);
}

static inline void act(struct peer *p, const char *word)
{
	if (!strcmp(word, "begin"))
		assert_int_equal(smtp_client_begin(p->c, &p->t, &p->out, &p->want), 0);
	else if (!strcmp(word, "sent"))
		smtp_client_body_sent(p->c);
	else if (!strcmp(word, "feed"))
		feed(p);
	else if (!strcmp(word, "lost"))
		smtp_client_lost(p->c, "connection lost");
	else if (!strcmp(word, "stop"))
		smtp_client_stop(p->c, "the relay stops");
	else if (!strcmp(word, "tls"))
		smtp_client_tls_started(p->c, "TLS1.3", true);
	else if (!strcmp(word, "tls-unverified"))
		smtp_client_tls_started(p->c, "TLS1.3", false);
	else if (!strcmp(word, "tls-failed"))
		smtp_client_tls_failed(p->c, "handshake broke");
	else if (!strcmp(word, "quit"))
		assert_int_equal(smtp_client_quit(p->c, &p->out), 0);
	else
		fail_msg("no such word: %s", word);
}

static inline void step(struct peer *p, const char *line)
{
	if (line[0] == '<') {
		/* the next line may hang on the same read */
		buf_add_str(&p->in, line + 1);
		buf_add_str(&p->in, "\r\n");
		feed(p);
	} else if (line[0] == '>') {
		check_said(p, line + 1);
	} else if (line[0] == '=') {
		assert_string_equal(wants[p->want], line + 1);
	} else if (line[0] == '.') {
		assert_int_equal(buf_size(&p->out), 0);
	} else if (line[0] == '#') {
		check_results(p, line + 1);
	} else if (!strncmp(line, "phase ", 6)) {
		assert_string_equal(client_phase_name(smtp_client_phase(p->c)), line + 6);
	} else if (!strncmp(line, "suspect ", 8)) {
		check_suspect(p, line + 8);
	} else if (!strncmp(line, "fail ", 5)) {
		check_failure(p, line + 5);
	} else {
		act(p, line);
	}
}

/* Plays the lines of a script. */
static inline void play(struct peer *p, const char *s)
{
	while (*s) {
		size_t n = strcspn(s, "\n");
		char line[512];

		assert_true(n < sizeof(line));
		memcpy(line, s, n);
		line[n] = '\0';
		step(p, line);
		s += n + (s[n] == '\n');
	}
}

static inline void run(const struct row *w)
{
	struct peer p;

	print_message("  %s\n", w->name);
	peer_open(&p, w);
	play(&p, w->script);
	peer_close(&p);
}

static inline void run_all(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		run(&rows[i]);
}
