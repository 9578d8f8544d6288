/* Outbound connections: how they come up, and all the ways in which they do not or end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hop.h"
#include "postern/must.h"

static void told(const struct outbound_event *e, const char *why)
{
	if (!strstr(e->why, why))
		fail_msg("expected %s, got %s", why, e->why);
}

/* Connects for this order; the script is what the next hop does. The event DOWN, to be freed. */
static struct outbound_event *down_after(
	struct rig *r, struct hop *h, struct outbound_connect *o, const char *const *script)
{
	order_post(r, &o->order);
	hop_accept(h);
	hop_run(h, script);
	return event_next(r, OUTBOUND_DOWN);
}

static void greetings_that_fail(void **state)
{
	const struct {
		const char *const *script;
		int error;
		uint16_t code;
		const char *why;
	} rows[] = {
		{ SCRIPT(">554 5.7.1 go away", "<QUIT"), -EPROTO, 554, "refused" },
		{ SCRIPT(">421 4.3.2 later", "x"), -EPROTO, 421, "refused" },
		{ SCRIPT("x"), -ECONNRESET, 0, "closed" },
		{ SCRIPT(">220 mx", "<EHLO", "x"), -ECONNRESET, 0, "closed" },
		{ SCRIPT(">220 mx", "<EHLO", ">450 4.7.1 no", "<QUIT"), -EPROTO, 450, "EHLO" },
		{ SCRIPT(">nonsense"), -EPROTO, 0, "not SMTP" },
	};
	struct rig r;
	struct hop h;

	hop_start(&r, &h);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct outbound_event *e;

		e = down_after(&r, &h, connect_order(&h, i + 1), rows[i].script);
		assert_int_equal(e->connection, i + 1);
		assert_int_equal(e->error, rows[i].error);
		assert_false(e->was_up || e->timed_out);
		assert_non_null(e->info);
		assert_int_equal(e->info->failure.code, rows[i].code);
		told(e, rows[i].why);
		outbound_event_free(e);
		peer_close(&h.p);
	}
	hop_down(&r, &h);
}

static void stalls(void **state)
{
	const struct {
		const char *const *script;
		bool transaction, was_up;
		enum rcpt_outcome outcome;
		const char *why;
	} rows[] = {
		{ SCRIPT("."), false, false, RCPT_PENDING, "banner" },
		{ SCRIPT(">220 mx.example.test ESMTP", "<EHLO", "."), false, false, RCPT_PENDING,
			"ehlo" },
		{ SCRIPT(">220 mx", "<EHLO", ">250-mx|250 STARTTLS", "<STARTTLS", "."), false,
			false, RCPT_PENDING, "starttls" },
		{ SCRIPT(BARE, "<MAIL", "."), true, true, RCPT_LOST, "mail" },
		{ SCRIPT(BARE, "<MAIL", ">250 ok", "<RCPT", "."), true, true, RCPT_LOST, "rcpt" },
		{ SCRIPT(BARE, "<MAIL", ">250 ok", "<RCPT", ">250 ok", "<DATA", "."), true, true,
			RCPT_LOST, "data" },
		{ SCRIPT(BARE, "<MAIL", ">250 ok", "<RCPT", ">250 ok", "<DATA", ">354 go", "d",
			  "."),
			true, true, RCPT_IN_DOUBT, "eod" },
	};
	struct rig r;
	struct hop h;

	hop_start(&r, &h);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct outbound_connect *o = connect_order(&h, 1 + i);
		struct client_timeouts *t = &o->timeouts;
		struct outbound_event *e;
		uint64_t number = 1 + i;

		if (!rows[i].transaction)
			connect_tls(o, TLS_OPPORTUNISTIC);
		t->banner = t->ehlo = t->starttls = t->mail = t->rcpt = t->data = t->eod = 300;
		if (rows[i].transaction) {
			hop_greet(&r, &h, o, SCRIPT(BARE));
			order_message(&r, "x\r\n", number);
			hop_run(&h, rows[i].script + 3);
			event_result(&r, RESULT({ rows[i].outcome, 0 }));
			e = event_next(&r, OUTBOUND_DOWN);
		} else {
			e = down_after(&r, &h, o, rows[i].script);
		}
		assert_int_equal(e->error, -ETIMEDOUT);
		assert_true(e->timed_out);
		assert_int_equal(e->was_up, rows[i].was_up);
		told(e, rows[i].why);
		outbound_event_free(e);
		peer_close(&h.p);
	}
	hop_down(&r, &h);
}

/* A time limit is that of a whole reply: a receiver that sends a byte, or a line of many, now and
 * then gets no more time by it. */
static void drips(void **state)
{
	const struct {
		const char *const *script; /* as far as it behaves */
		bool up, transact;
		const char *drop, *why;
		enum rcpt_outcome outcome;
	} rows[] = {
		{ SCRIPT(""), false, false, "2", "banner", 0 },
		{ SCRIPT(""), false, false, "220-wait\r\n", "banner", 0 },
		{ SCRIPT(">220 mx", "<EHLO"), false, false, "250-mx\r\n", "ehlo", 0 },
		{ SCRIPT(">220 mx", "<EHLO", ">250-mx|250 STARTTLS", "<STARTTLS"), false, false,
			"220-wait\r\n", "starttls", 0 },
		{ SCRIPT(">220 mx", "<EHLO", ">250-mx|250 STARTTLS", "<STARTTLS", ">220 go"), false,
			false, "\x16\x03\x03\x3f\xff", "tls", 0 },
		{ SCRIPT("<MAIL"), true, true, "250-wait\r\n", "mail", RCPT_LOST },
		{ SCRIPT("<MAIL", "<RCPT", ">250 ok"), true, true, "250-wait\r\n", "rcpt",
			RCPT_LOST },
		{ SCRIPT(ONE_FLIGHT, ">250 ok", ">250 ok"), true, true, "250-wait\r\n", "eod",
			RCPT_IN_DOUBT },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct outbound_connect *o;
		struct outbound_event *e;
		struct rig r;
		struct hop h;

		hop_start(&r, &h);
		o = connect_order(&h, 1);
		if (!rows[i].up)
			connect_tls(o, TLS_OPPORTUNISTIC);
		o->timeouts.banner = o->timeouts.ehlo = o->timeouts.starttls = o->timeouts.tls =
			o->timeouts.mail = o->timeouts.rcpt = o->timeouts.eod = 500;
		if (rows[i].up) {
			hop_greet(&r, &h, o, SCRIPT(FULL));
			order_transact(&r, "x\r\n", 1);
		} else {
			order_post(&r, &o->order);
			hop_accept(&h);
		}
		if (rows[i].script[0][0])
			hop_run(&h, rows[i].script);
		for (int k = 0; !r.events_taken; k++) {
			assert_in_range(k, 0, 5000);
			r.events_taken = mpsc_take_all(&r.events);
			if (k % 50 == 0)
				peer_send(&h.p, rows[i].drop, strlen(rows[i].drop));
			wait_pause();
		}
		if (rows[i].transact)
			event_result(&r, RESULT({ rows[i].outcome, 0 }));
		e = event_next(&r, OUTBOUND_DOWN);
		assert_true(e->timed_out);
		told(e, rows[i].why);
		outbound_event_free(e);
		hop_down(&r, &h);
	}
}

/* ---- TLS ---- */

#define OFFERS_TLS                                                                                 \
	">220 mx.example.test ESMTP", "<EHLO", ">250-mx|250-PIPELINING|250-CHUNKING|250 STARTTLS", \
		"<STARTTLS"

static void tls_works(void **state)
{
	static const enum tls_mode modes[] = { TLS_OPPORTUNISTIC, TLS_REQUIRE, TLS_VERIFY };
	struct rig r;
	struct hop h;

	hop_start(&r, &h);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		struct outbound_connect *o = connect_order(&h, 1 + i);
		struct outbound_event *e;

		connect_tls(o, modes[i]);
		order_post(&r, &o->order);
		hop_accept(&h);
		/* what is injected in clear behind the answer is not believed */
		hop_run(&h, SCRIPT(OFFERS_TLS, ">220 go|250 mallory", "t", "<EHLO out.example.test",
				    ">250-mx|250-PIPELINING|250 CHUNKING"));
		e = event_next(&r, OUTBOUND_UP);
		assert_memory_equal(e->info->tls, "TLS", 3);
		assert_int_equal(e->info->tls_verified, modes[i] == TLS_VERIFY);
		assert_true(e->info->ehlo.chunking);
		outbound_event_free(e);
		order_message(&r, "x\r\n", 1 + i);
		hop_run(&h, SCRIPT(ONE_FLIGHT, ONE_TAKEN));
		event_result(&r, DELIVERED);
		hop_quit(&r, &h, 1 + i);
		peer_close(&h.p);
	}
	hop_down(&r, &h);
}

static void tls_fails(void **state)
{
	const struct {
		enum tls_mode mode;
		const char *const *script;
		int error;
		bool tls_failed, timed_out;
	} rows[] = {
		{ TLS_OPPORTUNISTIC, SCRIPT(OFFERS_TLS, ">220 go", ">garbage, no TLS at all"),
			STREAM_E_TLS, true, false },
		{ TLS_OPPORTUNISTIC, SCRIPT(OFFERS_TLS, ">220 go", "x"), STREAM_E_TLS, true,
			false },
		{ TLS_REQUIRE, SCRIPT(OFFERS_TLS, ">220 go"), STREAM_E_TLS, true, true },
		{ TLS_REQUIRE, SCRIPT(OFFERS_TLS, ">454 4.7.0 not now", "<QUIT"), -EPROTO, false,
			false },
		{ TLS_REQUIRE, SCRIPT(BARE, "<QUIT"), -EPROTO, false, false },
	};
	struct rig r;
	struct hop h;

	hop_start(&r, &h);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct outbound_connect *o = connect_order(&h, 1 + i);
		struct outbound_event *e;

		connect_tls(o, rows[i].mode);
		o->timeouts.tls = 400;
		e = down_after(&r, &h, o, rows[i].script);
		assert_int_equal(e->error, rows[i].error);
		assert_int_equal(e->timed_out, rows[i].timed_out);
		assert_non_null(e->info);
		assert_int_equal(e->info->tls_failed, rows[i].tls_failed);
		outbound_event_free(e);
		peer_close(&h.p);
	}
	hop_down(&r, &h);
}

/* ---- connections that do not come up, or go ---- */

static void cannot_connect(void **state)
{
	struct outbound_connect *o;
	struct rig r;
	struct hop h;

	rig_init(&r);
	r.wp.outbound_max = 1;
	rig_start(&r);
	hop_open(&h);
	o = connect_order(&h, 1);
	must(addr_parse(&o->source, SLICE_LIT("192.0.2.1")) == 0);
	order_post(&r, &o->order);
	event_down(&r, STREAM_E_BIND, "192.0.2.1");
	/* over the number of connections */
	order_post(&r, &connect_order(&h, 2)->order);
	order_post(&r, &connect_order(&h, 3)->order);
	event_down(&r, -ENOBUFS, "all the connections");
	hop_accept(&h);
	/* not wanted any more before it is up */
	order_quit(&r, 2);
	event_down(&r, 0, "");
	peer_close(&h.p);
	close(h.listening);
	order_post(&r, &connect_order(&h, 4)->order);
	event_down(&r, -ECONNREFUSED, "refused");
	/* orders for connections that are gone */
	order_message(&r, "x\r\n", 4);
	event_result(&r, RESULT({ RCPT_PENDING, 0 }));
	order_quit(&r, 4);
	h.listening = -1;
	hop_down(&r, &h);
}

static void polite_ends(void **state)
{
	const char *const *const rows[] = { SCRIPT("x"), SCRIPT(">421 4.4.2 idle too long", "x") };

	for (size_t i = 0; i < 2; i++) {
		struct outbound_event *e;
		struct rig r;
		struct hop h;

		hop_up(&r, &h, SCRIPT(FULL));
		hop_run(&h, rows[i]);
		e = event_next(&r, OUTBOUND_DOWN);
		assert_int_equal(e->error, 0);
		assert_true(e->was_up);
		outbound_event_free(e);
		hop_down(&r, &h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(greetings_that_fail),
		cmocka_unit_test(stalls),
		cmocka_unit_test(drips),
		cmocka_unit_test(tls_works),
		cmocka_unit_test(tls_fails),
		cmocka_unit_test(cannot_connect),
		cmocka_unit_test(polite_ends),
	};

	return cmocka_run_group_tests(tests, hop_setup, hop_teardown);
}
