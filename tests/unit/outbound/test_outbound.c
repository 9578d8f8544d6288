/* Outbound transactions against a next hop that follows a script. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hop.h"
#include "postern/must.h"

static void delivers(void **state)
{
	static const char text[] = "A: b\r\n\r\n.dot\r\n..\r\ntext\r\n";
	const struct {
		const char *const *greeting, *const *script;
	} rows[] = {
		{ SCRIPT(FULL), SCRIPT("<MAIL FROM:<amy@example.com>", "<RCPT TO:<bob@example.net>",
					"<RCPT TO:<carl@example.net>", "b", ">250 2.1.0 ok",
					">250 2.1.5 ok", ">250 2.1.5 ok", ">250 2.6.0 queued") },
		{ SCRIPT(PLAIN_PIPE),
			SCRIPT("<MAIL FROM:<amy@example.com>", "<RCPT TO:<bob@example.net>",
				"<RCPT TO:<carl@example.net>", "<DATA", ">250 2.1.0 ok",
				">250 2.1.5 ok", ">250 2.1.5 ok", ">354 go", "d",
				">250 2.6.0 queued") },
		{ SCRIPT(BARE), SCRIPT("<MAIL FROM:<amy@example.com>", ">250 ok",
					"<RCPT TO:<bob@example.net>", ">250 ok",
					"<RCPT TO:<carl@example.net>", ">250 ok", "<DATA",
					">354 go", "d", ">250 queued") },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sockaddr_in sa;
		socklen_t len = sizeof(sa);
		struct rig r;
		struct hop h;

		hop_up(&r, &h, rows[i].greeting);
		assert_int_equal(getpeername(h.p.fd, (struct sockaddr *)&sa, &len), 0);
		assert_int_equal(ntohl(sa.sin_addr.s_addr), 0x7f000007);
		/* twice on the same connection */
		for (int k = 0; k < 2; k++) {
			order_transact(&r, text, 2);
			hop_run(&h, rows[i].script);
			assert_int_equal(h.play.content_n, sizeof(text) - 1);
			assert_memory_equal(h.play.content, text, h.play.content_n);
			event_result(&r, RESULT({ RCPT_DELIVERED, 250 }, { RCPT_DELIVERED, 250 }));
		}
		order_quit(&r, 1);
		hop_run(&h, SCRIPT("<QUIT", ">221 bye", "."));
		event_down(&r, 0, "");
		hop_down(&r, &h);
	}
}

static void answers_of_all_kinds(void **state)
{
#define SENT "<MAIL", "<RCPT", "<RCPT", "b"
	const struct {
		const char *const *script;
		struct expected want[2];
		bool ends;
		int error;
		const char *why;
	} rows[] = {
		{ SCRIPT(SENT, ">250 ok", ">550 5.1.1 no", ">250 ok", ">250 queued"),
			{ { RCPT_REPLIED, 550 }, { RCPT_DELIVERED, 250 } }, false, 0, NULL },
		{ SCRIPT(SENT, ">451 4.7.500 busy", ">503 first MAIL", ">503 first MAIL",
			  ">503 first MAIL"),
			{ { RCPT_REPLIED, 451 }, { RCPT_REPLIED, 451 } }, false, 0, NULL },
		{ SCRIPT(SENT, ">250 ok", ">250 ok", ">452 4.5.3 many", ">554 5.6.0 no"),
			{ { RCPT_REPLIED, 554 }, { RCPT_REPLIED, 452 } }, false, 0, NULL },
		{ SCRIPT(SENT, ">250 ok", ">250 ok", ">421 4.3.2 going", "x"),
			{ { RCPT_LOST, 421 }, { RCPT_REPLIED, 421 } }, true, -EPROTO, "closes" },
		{ SCRIPT("<MAIL", "x"), { { RCPT_LOST, 0 }, { RCPT_LOST, 0 } }, true, -ECONNRESET,
			"" },
		{ SCRIPT(SENT, "x"), { { RCPT_LOST, 0 }, { RCPT_LOST, 0 } }, true, -ECONNRESET,
			"closed" },
		{ SCRIPT(SENT, ">250 ok", ">550 no", "x"), { { RCPT_LOST, 0 }, { RCPT_LOST, 0 } },
			true, -ECONNRESET, "closed" },
		{ SCRIPT(SENT, ">250 ok", ">250 ok", ">250 ok", "x"),
			{ { RCPT_IN_DOUBT, 0 }, { RCPT_IN_DOUBT, 0 } }, true, -ECONNRESET,
			"closed" },
		{ SCRIPT(SENT, ">250 ok", ">hello", ">x", "."),
			{ { RCPT_LOST, 0 }, { RCPT_LOST, 0 } }, true, -EPROTO, "not SMTP" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct expected want[2];
		struct rig r;
		struct hop h;

		memcpy(want, rows[i].want, sizeof(want));
		if (i == 6)
			want[0] = (struct expected){ RCPT_REPLIED, 550 };
		hop_up(&r, &h, SCRIPT(FULL));
		order_transact(&r, "A: b\r\n\r\ntext\r\n", 2);
		hop_run(&h, rows[i].script);
		event_result(&r, want);
		if (rows[i].ends) {
			event_down(&r, rows[i].error, rows[i].why);
		} else {
			/* the connection is as good as new */
			hop_quit(&r, &h, 1);
		}
		hop_down(&r, &h);
	}
}

/* QUIT after the work that was given before it; who does not answer it is not waited for long. */
static void quit_waits_for_work(void **state)
{
	struct outbound_connect *o;
	struct rig r;
	struct hop h;

	hop_start(&r, &h);
	o = connect_order(&h, 1);
	o->timeouts.quit = 300;
	hop_greet(&r, &h, o, SCRIPT(FULL));
	order_transact(&r, "x\r\n", 1);
	order_transact(&r, "y\r\n", 1);
	order_quit(&r, 1);
	hop_run(&h, SCRIPT(ONE_FLIGHT, ONE_TAKEN, ONE_FLIGHT, ONE_TAKEN, "<QUIT", "."));
	event_result(&r, DELIVERED);
	event_result(&r, DELIVERED);
	event_down(&r, 0, "");
	hop_down(&r, &h);
}

/* Where commands may go in groups QUIT does not wait for the answer to the content. */
static void quit_behind_content(void **state)
{
	struct rig r;
	struct hop h;

	hop_up(&r, &h, SCRIPT(FULL));
	order_transact(&r, "x\r\n", 1);
	hop_run(&h, SCRIPT(ONE_FLIGHT));
	order_quit(&r, 1);
	hop_run(&h, SCRIPT("<QUIT", ONE_TAKEN, ">221 bye"));
	event_result(&r, DELIVERED);
	event_down(&r, 0, "");
	hop_down(&r, &h);
}

/* The second starts by itself; if the connection ends first it comes back untried. */
static void second_transaction(void **state)
{
	struct rig r;
	struct hop h;

	hop_up(&r, &h, SCRIPT(FULL));
	order_transact(&r, "first\r\n", 1);
	order_transact(&r, "second\r\n", 1);
	order_transact(&r, "third\r\n", 1);
	hop_run(&h, SCRIPT(ONE_FLIGHT, ONE_TAKEN, ONE_FLIGHT));
	assert_memory_equal(h.play.content, "second\r\n", 8);
	event_result(&r, DELIVERED);
	hop_run(&h, SCRIPT(">421 4.3.2 enough", "x"));
	event_result(&r, RESULT({ RCPT_REPLIED, 421 }));
	event_result(&r, RESULT({ RCPT_PENDING, 0 }));
	event_down(&r, -EPROTO, "");
	hop_down(&r, &h);
}

/* ---- content from the queue ---- */

static void accept_into_queue(struct rig *r, struct message *m)
{
	struct queue_accept *a = calloc(1, sizeof(*a));
	struct mpsc_node *n = NULL;
	struct mpsc box;

	must(a);
	mpsc_init(&box, NULL, NULL);
	a->job.kind = QUEUE_ACCEPT;
	a->job.reply_to = &box;
	a->message = m;
	a->due = m->arrived;
	queue_post(r->queue, &a->job);
	WAIT_UNTIL((n = mpsc_take_all(&box)));
	assert_int_equal(a->job.result, 0);
	free(a);
}

/* Content that is in the queue alone. */
static struct message *stored(struct rig *r, const char *text, size_t n)
{
	struct message *m = message_make(r, text, n, 1);

	accept_into_queue(r, m);
	m->body = body_unref(m->body);
	return m;
}

static void content_from_the_queue(void **state)
{
	static const size_t sizes[] = { 0, 5, BODY_CHUNK, 65280, 65281, 900000 };
	const char *const *const greetings[] = { SCRIPT(FULL), SCRIPT(PLAIN_PIPE) };

	for (size_t g = 0; g < 2; g++) {
		struct rig r;
		struct hop h;

		hop_up(&r, &h, greetings[g]);
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			char *text = text_make(sizes[i] < 5 ? 5 : sizes[i]);

			order_post(&r, &transact_order(stored(&r, text, sizes[i]), 1)->order);
			if (g == 0)
				hop_run(&h, SCRIPT(ONE_FLIGHT, ONE_TAKEN));
			else
				hop_run(&h, SCRIPT("<MAIL", "<RCPT", "<DATA", ">250 ok", ">250 ok",
						    ">354 go", "d", ">250 queued"));
			event_result(&r, DELIVERED);
			assert_int_equal(h.play.content_n, sizes[i]);
			assert_memory_equal(h.play.content, text, sizes[i]);
			free(text);
		}
		hop_down(&r, &h);
	}
}

enum { LARGE = 30 << 20 };

/* Large content to a slow reader: little of it is in memory at a time. */
static void large_content(void **state)
{
	char *text = text_make(LARGE);
	struct message *m;
	struct rig r;
	struct hop h;

	hop_up(&r, &h, SCRIPT(FULL));
	m = stored(&r, text, LARGE);
	WAIT_UNTIL(body_memory() == 0);
	order_post(&r, &transact_order(m, 1)->order);
	hop_run(&h, SCRIPT("<MAIL", "<RCPT", ">250 ok", ">250 ok", "b", ">250 queued"));
	event_result(&r, DELIVERED);
	assert_int_equal(h.play.content_n, LARGE);
	assert_memory_equal(h.play.content, text, LARGE);
	free(text);
	hop_down(&r, &h);
}

/* A receiver that gets large content, and as long for it without progress. */
static void begin_large(struct rig *r, struct hop *h, const char *text, ms_t patience)
{
	struct outbound_connect *o;

	hop_start(r, h);
	o = connect_order(h, 1);
	o->timeouts.body = patience;
	hop_greet(r, h, o, SCRIPT(FULL));
	order_post(r, &transact_order(message_make(r, text, LARGE, 1), 1)->order);
	hop_run(h, SCRIPT("<MAIL", "<RCPT", ">250 ok", ">250 ok"));
}

/* Who stops taking content is given up, who takes it slowly is not. */
static void slow_readers(void **state)
{
	char *text = text_make(LARGE), take[65536];

	for (int slow = 0; slow < 2; slow++) {
		struct rig r;
		struct hop h;

		begin_large(&r, &h, text, 1000);
		if (slow) {
			/* half of it takes several times as long as may pass without progress */
			char line[64];

			assert_true(peer_line(&h.p, line, sizeof(line)));
			for (size_t got = 0; got < LARGE; got += sizeof(take)) {
				assert_true(peer_read(&h.p, take, sizeof(take)));
				for (int k = 0; got < LARGE / 2 && k < 15; k++)
					wait_pause();
			}
			hop_run(&h, SCRIPT(">250 queued"));
			event_result(&r, DELIVERED);
		} else {
			event_result(&r, RESULT({ RCPT_LOST, 0 }));
			event_down(&r, -ETIMEDOUT, "eod");
		}
		hop_down(&r, &h);
	}
	free(text);
}

/* A yes that is longer than what is kept of it is a yes. */
static void long_yes(void **state)
{
	for (int many = 0; many < 2; many++) {
		char *yes = calloc(1, 16384);
		struct rig r;
		struct hop h;

		assert_non_null(yes);
		strcpy(yes, ">");
		for (int k = 0; many && k < 299; k++)
			strcat(yes, "250-2.6.0 part of a yes|");
		strcat(yes, "250 2.6.0 ");
		memset(yes + strlen(yes), 'x', many ? 10 : 3000);
		hop_up(&r, &h, SCRIPT(FULL));
		order_transact(&r, "x\r\n", 1);
		hop_run(&h, SCRIPT(ONE_FLIGHT, ">250 ok", ">250 ok", yes));
		event_result(&r, DELIVERED);
		hop_quit(&r, &h, 1);
		hop_down(&r, &h);
		free(yes);
	}
}

/* One whose end never comes is a yes all the same; the connection is of no use behind it. */
static void endless_yes(void **state)
{
	static const char line[] = "250-2.6.0 taken, and a word more about it\r\n";
	struct rig r;
	struct hop h;

	hop_up(&r, &h, SCRIPT(FULL));
	order_transact(&r, "x\r\n", 1);
	hop_run(&h, SCRIPT(ONE_FLIGHT, ">250 ok", ">250 ok"));
	for (int k = 0; k < 3000 && peer_send(&h.p, line, sizeof(line) - 1); k++)
		;
	event_result(&r, DELIVERED);
	event_down(&r, -EPROTO, "without an end");
	hop_down(&r, &h);
}

/* Who takes a byte now and then is no better than who takes none. */
static void content_drips(void **state)
{
	char *text = text_make(LARGE), line[64], take[512];
	struct rig r;
	struct hop h;

	begin_large(&r, &h, text, 4000);
	assert_true(peer_line(&h.p, line, sizeof(line)));
	for (int k = 0; k < WAIT_MS && !r.events_taken; k++) {
		r.events_taken = mpsc_take_all(&r.events);
		if (k % 500 == 0) /* under 256 bytes a second */
			recv(h.p.fd, take, 8, MSG_DONTWAIT);
		wait_pause();
	}
	event_result(&r, RESULT({ RCPT_LOST, 0 }));
	event_down(&r, -ETIMEDOUT, "timed out");
	hop_down(&r, &h);
	free(text);
}

static void content_is_gone(void **state)
{
	struct outbound_event *e;
	struct message *m;
	struct rig r;
	struct hop h;

	hop_up(&r, &h, SCRIPT(FULL));
	/* never was there: nothing is said to the receiver, and the connection is still of use */
	m = message_make(&r, "x\r\n", 3, 2);
	m->body = body_unref(m->body);
	order_post(&r, &transact_order(m, 1)->order);
	e = event_next(&r, OUTBOUND_RESULT);
	assert_int_equal(e->transact->results[0].outcome, RCPT_LOCAL);
	assert_int_equal(e->transact->results[1].outcome, RCPT_LOCAL);
	assert_int_equal(e->transact->results[1].index, 1);
	assert_int_equal(e->transact->replies[e->transact->results[1].reply].code, 451);
	outbound_event_free(e);
	/* shorter than the envelope says: found in the middle of it, so the connection has to go */
	m = stored(&r, "x\r\n", 3);
	m->size = 4;
	order_post(&r, &transact_order(m, 1)->order);
	event_result(&r, RESULT({ RCPT_LOCAL, 451 }));
	event_down(&r, -EBADMSG, "content cannot be read");
	hop_down(&r, &h);
}

/* The worker's end returns everything. */
static void stops_at_any_time(void **state)
{
	struct rig r;
	struct hop h;

	hop_up(&r, &h, SCRIPT(FULL));
	order_transact(&r, "x\r\n", 1);
	order_transact(&r, "y\r\n", 1);
	hop_run(&h, SCRIPT(ONE_FLIGHT));
	order_post(&r, &connect_order(&h, 2)->order);
	rig_stop_worker(&r);
	event_result(&r, RESULT({ RCPT_LOST, 0 }));
	event_result(&r, RESULT({ RCPT_PENDING, 0 }));
	for (int i = 0; i < 2; i++)
		outbound_event_free(event_next(&r, OUTBOUND_DOWN));
	hop_down(&r, &h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delivers),
		cmocka_unit_test(answers_of_all_kinds),
		cmocka_unit_test(quit_waits_for_work),
		cmocka_unit_test(quit_behind_content),
		cmocka_unit_test(second_transaction),
		cmocka_unit_test(content_from_the_queue),
		cmocka_unit_test(large_content),
		cmocka_unit_test(slow_readers),
		cmocka_unit_test(long_yes),
		cmocka_unit_test(endless_yes),
		cmocka_unit_test(content_drips),
		cmocka_unit_test(content_is_gone),
		cmocka_unit_test(stops_at_any_time),
	};

	return cmocka_run_group_tests(tests, hop_setup, hop_teardown);
}
