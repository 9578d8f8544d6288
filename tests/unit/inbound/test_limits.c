/* Inbound sessions: limits in number and in time, draining, and listeners that go. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../worker/rig.h"
#include "postern/must.h"

#define ENVELOPE "MAIL FROM:<amy@example.com>\r\nRCPT TO:<bob@example.net>\r\n"

static void begin_content(struct peer *p)
{
	peer_say(p, ENVELOPE "DATA\r\n");
	peer_expect(p, "250");
	peer_expect(p, "250");
	peer_expect(p, "354");
}

/* ---- number ---- */

/* Two sessions are let in, the third is refused; a place that is left is free. */
static void two_at_most(struct rig *r, const char *refusal)
{
	struct peer p[3];

	rig_start(r);
	peer_hello(&p[0], r->port);
	peer_hello(&p[1], r->port);
	peer_connect(&p[2], r->port);
	peer_expect(&p[2], refusal);
	peer_expect_end(&p[2]);
	peer_close(&p[2]);
	assert_int_equal(rig_stats(r).sessions_refused, 1);
	peer_talk(&p[0], "QUIT\r\n", "221");
	peer_close(&p[0]);
	WAIT_UNTIL(rig_stats(r).open == 1);
	peer_hello(&p[2], r->port);
	peer_close(&p[2]);
	peer_close(&p[1]);
	rig_stop(r);
}

static void sessions_per_client(void **state)
{
	struct rig r;

	rig_init(&r);
	r.lp.sessions_per_client = 2;
	two_at_most(&r, "421 4.7.0 Too many sessions from your address");
}

static void sessions_in_all(void **state)
{
	struct rig r;

	rig_init(&r);
	r.lp.sessions_max = 2;
	two_at_most(&r, "421 4.3.2 Too many sessions here");
}

/* Two workers count together when they share the counts. */
static void shared_by_workers(void **state)
{
	struct session_limits *l = session_limits_new();
	struct rig r;
	struct worker *second = NULL;
	struct addr loopback;
	struct peer p[2];
	uint16_t port;
	int fd;

	rig_init(&r);
	r.lp.sessions_max = 1;
	r.wp.limits = l;
	rig_start(&r);
	r.wp.index = 1;
	must(addr_parse(&loopback, SLICE_LIT("127.0.0.1")) == 0);
	assert_int_equal(worker_new(&second, &r.wp), 0);
	must(listen_open(&fd, &loopback, 0, 64, LISTEN_ALONE, &port) == 0);
	assert_int_equal(worker_listen(second, &r.lp, fd, NULL, NULL), 0);
	assert_int_equal(worker_start(second), 0);
	peer_hello(&p[0], r.port);
	peer_connect(&p[1], port);
	peer_expect(&p[1], "421 4.3.2");
	peer_close(&p[1]);
	peer_close(&p[0]);
	WAIT_UNTIL(rig_stats(&r).open == 0);
	peer_hello(&p[1], port);
	peer_close(&p[1]);
	assert_null(worker_free(second));
	rig_stop(&r);
	session_limits_free(l);
}

/* Replies that nobody reads do not pile up. */
static void replies_not_read(void **state)
{
	char noops[6 * 1000 + 1] = "";
	struct rig r;
	struct peer p;
	ms_t end;
	size_t sent = 0, more;

	for (int i = 0; i < 1000; i++)
		strcpy(noops + 6 * i, "NOOP\r\n");
	rig_init(&r);
	rig_start(&r);
	peer_hello(&p, r.port);
	/* until the kernel takes no more from us because the relay does not */
	end = clock_mono_ms() + WAIT_MS;
	for (int blocked = 0; blocked < 100;) {
		ssize_t n = send(p.fd, noops + sent % 6, 5990, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (clock_mono_ms() > end)
			fail_msg("the relay takes commands without end");
		blocked = n > 0 ? 0 : blocked + 1;
		sent += n > 0 ? (size_t)n : 0;
		if (n < 0)
			wait_pause();
	}
	/* and goes on where it stopped */
	more = (6 - sent % 6) % 6;
	for (size_t i = 0; i < sent / 6; i++)
		peer_expect(&p, "250 2.0.0");
	if (more) {
		assert_true(peer_send(&p, &"NOOP\r\n"[6 - more], more));
		peer_expect(&p, "250 2.0.0");
	}
	peer_talk(&p, "QUIT\r\n", "221");
	peer_close(&p);
	rig_stop(&r);
}

static void too_many_errors(void **state)
{
	struct rig r;
	struct peer p;

	rig_init(&r);
	r.lp.smtp.errors_max = 3;
	rig_start(&r);
	peer_hello(&p, r.port);
	peer_talk(&p, "FOO\r\n", "500");
	peer_talk(&p, "BAR\r\n", "500");
	peer_talk(&p, "BAZ\r\n", "500");
	peer_expect(&p, "421 4.7.0");
	peer_expect_end(&p);
	peer_close(&p);
	rig_stop(&r);
}

/* ---- time ---- */

static void times_out(void **state)
{
	static const struct {
		const char *name, *say, *reply;
		bool envelope;
	} rows[] = {
		{ "between commands", "", "421 4.4.2 Timeout waiting for a command", false },
		{ "within a command", "NOO", "421 4.4.2 Timeout waiting for a command", false },
		{ "in content", "Subject: x\r\n", "421 4.4.2 Timeout waiting for message content",
			true },
	};
	struct rig r;
	struct peer p;

	rig_init(&r);
	r.lp.command_timeout = 500;
	r.lp.data_timeout = 400;
	rig_start(&r);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ms_t begin;

		peer_hello(&p, r.port);
		if (rows[i].envelope)
			begin_content(&p);
		begin = clock_mono_ms();
		peer_talk(&p, rows[i].say, rows[i].reply);
		assert_in_range(clock_mono_ms() - begin, 390, 5000);
		peer_expect_end(&p);
		peer_close(&p);
	}
	assert_int_equal(rig_waiting(&r), 0);
	rig_stop(&r);
}

/* One byte now and then keeps no session open: neither in a command nor in content. */
static void trickle(void **state)
{
	static const struct {
		const char *reply;
		bool envelope;
	} rows[] = {
		{ "421 4.4.2 Timeout waiting for a command", false },
		{ "421 4.4.2 Content comes in too slowly", true },
	};
	struct rig r;
	struct peer p;

	rig_init(&r);
	r.lp.command_timeout = 600;
	r.lp.data_timeout = 600;
	r.lp.rate_min = 1 << 20;
	rig_start(&r);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		peer_hello(&p, r.port);
		if (rows[i].envelope)
			begin_content(&p);
		for (int k = 0; recv(p.fd, p.in, 1, MSG_PEEK | MSG_DONTWAIT) < 0; k++) {
			assert_in_range(k, 0, WAIT_MS);
			if (k % 50 == 0)
				assert_true(peer_send(&p, "x", 1));
			wait_pause();
		}
		peer_expect(&p, rows[i].reply);
		peer_close(&p);
	}
	rig_stop(&r);
}

static void life_of_a_session(void **state)
{
	struct rig r;
	struct peer p;

	rig_init(&r);
	r.lp.session_max = 500;
	rig_start(&r);
	peer_hello(&p, r.port);
	for (int k = 0; recv(p.fd, p.in, 1, MSG_PEEK | MSG_DONTWAIT) < 0; k++) {
		assert_in_range(k, 0, WAIT_MS);
		wait_pause();
	}
	peer_expect(&p, "421 4.4.2 Session lasted too long");
	peer_close(&p);
	rig_stop(&r);
}

static void handshakes_time_out(void **state)
{
	struct rig r;
	struct peer p;

	rig_init(&r);
	r.lp.command_timeout = 300;
	r.lp.proxy = true;
	r.lp.proxy_from = malloc(sizeof(struct net));
	must(r.lp.proxy_from && net_parse(r.lp.proxy_from, SLICE_LIT("127.0.0.0/8")) == 0);
	r.lp.nproxy_from = 1;
	rig_start(&r);
	peer_connect(&p, r.port);
	peer_say(&p, "PROXY TCP4 192.0.2.7");
	peer_expect_end(&p);
	peer_close(&p);
	WAIT_UNTIL(rig_stats(&r).open == 0);
	rig_stop(&r);
}

/* ---- the end ---- */

static void on_done(void *arg)
{
	sem_post(arg);
}

static void drains(void **state)
{
	struct rig r;
	struct peer idle, busy, late;
	sem_t done;

	must(sem_init(&done, 0, 0) == 0);
	rig_init(&r);
	rig_start(&r);
	peer_hello(&idle, r.port);
	peer_hello(&busy, r.port);
	begin_content(&busy);
	worker_drain(r.worker, 60000, on_done, &done);
	peer_expect(&idle, "421 4.3.2");
	peer_expect_end(&idle);
	peer_close(&idle);
	/* nobody comes in any more */
	memset(&late, 0, sizeof(late));
	{
		struct sockaddr_in sa = { .sin_family = AF_INET,
			.sin_port = htons(r.port),
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), -1);
		close(fd);
	}
	assert_int_equal(sem_trywait(&done), -1);
	/* what was begun is finished */
	peer_talk(&busy, "Subject: x\r\n\r\nx\r\n.\r\n", "250 2.0.0");
	peer_expect(&busy, "421 4.3.2");
	peer_expect_end(&busy);
	peer_close(&busy);
	assert_int_equal(sem_wait(&done), 0);
	assert_int_equal(rig_waiting(&r), 1);
	rig_stop(&r);
	sem_destroy(&done);
}

static void drain_deadline(void **state)
{
	struct rig r;
	struct peer busy;
	sem_t done;

	must(sem_init(&done, 0, 0) == 0);
	rig_init(&r);
	rig_start(&r);
	peer_hello(&busy, r.port);
	begin_content(&busy);
	worker_drain(r.worker, 300, on_done, &done);
	peer_expect(&busy, "421 4.3.2");
	peer_close(&busy);
	assert_int_equal(sem_wait(&done), 0);
	rig_stop(&r);
	sem_destroy(&done);
}

/* The listening socket of the rig's worker. */
static int listening_fd(const struct rig *r)
{
	for (int fd = 3; fd < 1024; fd++) {
		struct sockaddr_in sa;
		socklen_t len = sizeof(sa), n = sizeof(int);
		int on = 0;

		if (!getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &n) && on &&
			!getsockname(fd, (struct sockaddr *)&sa, &len) &&
			ntohs(sa.sin_port) == r->port)
			return fd;
	}
	fail();
	return -1;
}

static void change(struct rig *r, const struct listener_params *p, sem_t *released)
{
	struct inbound_socket s = {
		.fd = listening_fd(r), .p = p, .release = released ? on_done : NULL, .arg = released
	};
	struct worker_change *c = NULL;

	/* one that is given up changes nothing */
	assert_int_equal(worker_change_new(&c, r->worker, &s, 1), 0);
	worker_change_free(c);
	assert_int_equal(worker_change_new(&c, r->worker, &s, 1), 0);
	worker_change_commit(c);
}

/* A socket goes on under new parameters: new sessions begin under them, running ones keep theirs,
 * which are released with the last of these; all count as the same listener's. */
static void new_parameters(void **state)
{
	struct listener_params second, third;
	struct peer p, q;
	struct rig r;
	sem_t second_gone, third_gone;

	must(sem_init(&second_gone, 0, 0) == 0);
	must(sem_init(&third_gone, 0, 0) == 0);
	rig_init(&r);
	r.lp.number = 7;
	rig_start(&r);
	second = third = r.lp;
	second.smtp.size_max = 1000;
	third.sessions_max = 1;
	change(&r, &second, &second_gone);
	peer_hello(&p, r.port);
	peer_talk(&p, "MAIL FROM:<a@x.example> SIZE=5000\r\n", "552");
	change(&r, &third, &third_gone);
	peer_connect(&q, r.port);
	peer_expect(&q, "421 4.3.2");
	peer_close(&q);
	peer_talk(&p, "MAIL FROM:<a@x.example> SIZE=5000\r\n", "552");
	assert_int_equal(sem_trywait(&second_gone), -1);
	peer_talk(&p, "QUIT\r\n", "221");
	peer_close(&p);
	assert_int_equal(sem_wait(&second_gone), 0);
	peer_hello(&p, r.port);
	change(&r, NULL, NULL);
	/* its session goes on; its parameters are needed until it ends */
	begin_content(&p);
	peer_talk(&p, "Subject: x\r\n\r\nx\r\n.\r\n", "250 2.0.0");
	assert_int_equal(sem_trywait(&third_gone), -1);
	peer_talk(&p, "QUIT\r\n", "221");
	peer_close(&p);
	assert_int_equal(sem_wait(&third_gone), 0);
	rig_stop(&r);
	sem_destroy(&second_gone);
	sem_destroy(&third_gone);
}

/* Stops with sessions in every stage, and with commits on their way. */
static void stops_at_any_time(void **state)
{
	for (int round = 0; round < 20; round++) {
		struct rig r;
		struct peer p[4];
		unsigned said;

		rig_init(&r);
		rig_start(&r);
		peer_connect(&p[0], r.port);
		peer_hello(&p[1], r.port);
		peer_hello(&p[2], r.port);
		begin_content(&p[2]);
		peer_hello(&p[3], r.port);
		begin_content(&p[3]);
		peer_say(&p[3], "Subject: x\r\n\r\nx\r\n.\r\n");
		if (round % 2)
			WAIT_UNTIL(rig_waiting(&r) == 1);
		rig_stop_worker(&r);
		/* the last one was told what became of it: 250 if and only if it is in the queue */
		peer_expect(&p[3], "");
		said = strncmp(p[3].reply, "250", 3) == 0;
		assert_int_equal(rig_waiting(&r), said);
		for (int i = 0; i < 4; i++)
			peer_close(&p[i]);
		rig_stop(&r);
	}
}

static void never_started(void **state)
{
	struct worker_params p = { .outbound_max = 1 };
	struct listener_params lp = { 0 };
	struct worker *w;
	struct addr loopback;
	uint16_t port;
	int fd;

	must(addr_parse(&loopback, SLICE_LIT("127.0.0.1")) == 0);
	must(listen_open(&fd, &loopback, 0, 64, LISTEN_ALONE, &port) == 0);
	assert_int_equal(worker_new(&w, &p), 0);
	assert_int_equal(worker_listen(w, &lp, fd, NULL, NULL), 0);
	assert_null(worker_free(w));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sessions_per_client),
		cmocka_unit_test(sessions_in_all),
		cmocka_unit_test(shared_by_workers),
		cmocka_unit_test(replies_not_read),
		cmocka_unit_test(too_many_errors),
		cmocka_unit_test(times_out),
		cmocka_unit_test(trickle),
		cmocka_unit_test(life_of_a_session),
		cmocka_unit_test(handshakes_time_out),
		cmocka_unit_test(drains),
		cmocka_unit_test(drain_deadline),
		cmocka_unit_test(new_parameters),
		cmocka_unit_test(stops_at_any_time),
		cmocka_unit_test(never_started),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
