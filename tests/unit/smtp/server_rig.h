/* Plays the caller of the inbound state machine for tests: feeds bytes in pieces, does what it asks
 * for, and keeps what came of it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "body_text.h"
#include "postern/rng.h"
#include "postern/smtp_server.h"

#define RIG_WALL 1000000

struct rig {
	struct smtp_server_params params;
	struct smtp_server_peer peer;
	struct smtp_server *server;
	struct buf in, out;
	struct buf content;   /* of all messages committed, each ended by '\f' */
	struct message *last; /* the last message committed */
	uint64_t next_id;
	enum smtp_commit_result begin_result, commit_result;
	enum smtp_auth_result auth_result; /* for the right password "pass" */
	const char *user_pool;
	unsigned begins, commits, flushes, aborts, auths;
	uint64_t flushed;  /* bytes moved out by SERVER_FLUSH */
	uint64_t held_max; /* most bytes that the body held */
	bool tls_now, closed, hold_commit;
	ms_t wall;
};

static inline void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->params = (struct smtp_server_params){
		.hostname = "out.example",
		.listener = "internal",
		.pool = "main",
		.size_max = 100000,
		.recipients_max = 100,
		.line_max = 600,
		.header_max = 10000,
		.errors_max = 10,
		.received_max = 5,
		.expire = 5000,
	};
	r->peer = (struct smtp_server_peer){ .client_text = "192.0.2.7", .trusted = true };
	addr_parse(&r->peer.client, SLICE_LIT("192.0.2.7"));
	r->next_id = 1;
	r->wall = RIG_WALL;
	buf_init(&r->in, 0);
	buf_init(&r->out, 0);
	buf_init(&r->content, 0);
}

static inline void rig_open(struct rig *r)
{
	assert_int_equal(smtp_server_new(&r->server, &r->params, &r->peer, 1), 0);
}

static inline void rig_close(struct rig *r)
{
	smtp_server_free(r->server);
	message_unref(r->last);
	buf_deinit(&r->in);
	buf_deinit(&r->out);
	buf_deinit(&r->content);
}

static inline void rig_commit(struct rig *r)
{
	struct message *m = smtp_server_take_message(r->server);
	char *text;

	assert_non_null(m);
	assert_null(smtp_server_message(r->server));
	assert_true(m->body->sealed);
	assert_int_equal(m->size, m->body->size);
	assert_true(m->nrecipients > 0);
	assert_true(m->size > 0 && m->pool && m->client);
	r->commits++;
	text = body_text(m->body);
	assert_int_equal(buf_add_str(&r->content, text), 0);
	assert_int_equal(buf_add(&r->content, "\f", 1), 0);
	free(text);
	message_unref(r->last);
	r->last = m;
	if (!r->hold_commit)
		assert_int_equal(smtp_server_committed(r->server, r->commit_result, &r->out), 0);
}

static inline void rig_auth(struct rig *r)
{
	struct smtp_credentials c;
	bool right;

	smtp_server_credentials(r->server, &c);
	right = strcmp(c.user, "user") == 0 && strcmp(c.password, "pass") == 0;
	r->auths++;
	assert_int_equal(smtp_server_authenticated(r->server, right ? r->auth_result : AUTH_BAD,
				 r->user_pool, &r->out),
		0);
}

static inline void rig_flush(struct rig *r)
{
	struct message *m = smtp_server_message(r->server);
	uint64_t before = m->body->taken;
	struct body_block *blocks = body_take_full(m->body);

	assert_non_null(blocks);
	r->flushes++;
	r->flushed += m->body->taken - before;
	body_blocks_free(blocks);
}

/* Does what the server wants. True when it may be fed again. */
static inline bool rig_act(struct rig *r, enum smtp_server_want want)
{
	switch (want) {
	case SERVER_AGAIN:
		return true;
	case SERVER_READ:
		return false;
	case SERVER_BEGIN:
		r->begins++;
		assert_int_equal(smtp_server_begun(r->server,
					 r->begin_result == COMMIT_OK ? r->next_id++ : 0,
					 r->begin_result, &r->out, r->wall),
			0);
		return true;
	case SERVER_FLUSH:
		rig_flush(r);
		return true;
	case SERVER_COMMIT:
		rig_commit(r);
		return !r->hold_commit;
	case SERVER_ABORT:
		assert_non_null(smtp_server_message(r->server));
		assert_true(smtp_server_message(r->server)->body->taken > 0);
		r->aborts++;
		return true;
	case SERVER_AUTH:
		rig_auth(r);
		return true;
	case SERVER_STARTTLS:
		buf_reset(&r->in);
		r->tls_now = true;
		smtp_server_tls_started(r->server, "TLS1.3:TEST");
		return true;
	case SERVER_CLOSE:
		r->closed = true;
		return false;
	}
	return false;
}

static inline void rig_pump(struct rig *r)
{
	enum smtp_server_want want;
	size_t used;

	do {
		struct message *m;

		assert_int_equal(smtp_server_feed(r->server, buf_slice(&r->in), &used, &r->out,
					 r->wall, &want),
			0);
		assert_true(used <= buf_size(&r->in));
		buf_consume(&r->in, used);
		m = smtp_server_message(r->server);
		if (m && m->body && m->body->size - m->body->taken > r->held_max)
			r->held_max = m->body->size - m->body->taken;
	} while (rig_act(r, want));
	/* what is not consumed is at most a line that is not complete */
	if (!r->closed && !r->hold_commit)
		assert_true(buf_size(&r->in) <= r->params.line_max + 2u);
}

static inline void rig_send(struct rig *r, struct slice s)
{
	if (r->closed)
		return;
	assert_int_equal(buf_add_slice(&r->in, s), 0);
	rig_pump(r);
}

/* The bytes as a string; they stay as they are. */
static inline const char *rig_text(struct buf *b)
{
	assert_int_equal(buf_reserve(b, 1), 0);
	b->p[b->len] = '\0';
	return b->p + b->off;
}

/* seed 0: in one piece; 1: byte by byte; others: pieces of random size */
static inline void rig_play(struct rig *r, struct slice s, uint64_t seed)
{
	struct rng rng;

	rng_seed(&rng, seed);
	while (s.n > 0) {
		size_t n = seed == 0 ? s.n : seed == 1 ? 1 : 1 + rng_below(&rng, 40);

		if (n > s.n)
			n = s.n;
		rig_send(r, (struct slice){ s.p, n });
		s = slice_from(s, n);
	}
}

/* The replies so far as "250 2.1.0, 354": codes of the last lines, with enhanced codes. Replies are
 * forgotten. */
static inline const char *rig_codes(struct rig *r)
{
	static char text[8192];
	struct slice out = buf_slice(&r->out);
	size_t n = 0;

	text[0] = '\0';
	while (out.n > 0) {
		const char *cr = memchr(out.p, '\r', out.n);
		size_t len, shown;

		assert_non_null(cr);
		len = (size_t)(cr - out.p);
		assert_true(len >= 4 && cr[1] == '\n');
		shown = 3;
		/* an enhanced code has the class of the reply */
		if (len > 8 && out.p[4] == out.p[0] && out.p[5] == '.') {
			const char *space = memchr(out.p + 4, ' ', len - 4);

			shown = space ? (size_t)(space - out.p) : len;
		}
		if (out.p[3] == ' ')
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s", n ? ", " : "",
				(int)shown, out.p);
		out = slice_from(out, len + 2);
	}
	buf_reset(&r->out);
	return text;
}
