/* Streams and listeners on loopback, in clear text. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define BIG (24u * 1024u * 1024u)

struct pair {
	struct runner far, near; /* two loops, so that both ends really run at once */
	struct server server;
	struct end client;
};

static void pair_begin(struct pair *p, const char *addr, enum habit server, enum habit client)
{
	runner_start(&p->far, "far");
	runner_start(&p->near, "near");
	p->server.tls_context = NULL;
	server_start(&p->server, &p->far, addr, server);
	end_init(&p->client, &p->near, client);
}

static void pair_end(struct pair *p)
{
	end_deinit(&p->client);
	server_stop(&p->server);
	runner_stop(&p->near, NULL, NULL);
	runner_stop(&p->far, NULL, NULL);
}

static void pair_connect(struct pair *p, const char *source)
{
	struct addr from = source ? address(source) : (struct addr){ 0 };

	end_connect(&p->client, source ? &from : NULL, &p->server.addr, p->server.port);
	WAIT_FOR(p->client.connected == 1);
	assert_int_equal(p->client.connect_error, 0);
	WAIT_FOR(p->server.n == 1);
}

static void echoes(void **state)
{
	static const char *const addresses[] = { "127.0.0.1", "::1" };

	for (unsigned i = 0; i < 2; i++) {
		struct pair p;

		pair_begin(&p, addresses[i], END_ECHO, END_KEEP);
		pair_connect(&p, NULL);
		end_write(&p.client, SLICE_LIT("hello"));
		WAIT_FOR(buf_size(&p.client.got) == 5);
		assert_true(slice_eq(buf_slice(&p.client.got), SLICE_LIT("hello")));
		WAIT_FOR(p.client.drained == 1);
		assert_true(addr_eq(&p.client.peer, &p.server.addr));
		assert_int_equal(p.client.peer_port, p.server.port);
		pair_end(&p);
	}
}

/* What the far side sees as our address is the source. */
static void binds_to_its_source(void **state)
{
	static const struct {
		const char *server, *source;
	} rows[] = { { "127.0.0.1", "127.0.0.77" }, { "::1", "::1" } };

	for (unsigned i = 0; i < 2; i++) {
		struct addr source = address(rows[i].source);
		struct pair p;

		pair_begin(&p, rows[i].server, END_KEEP, END_KEEP);
		pair_connect(&p, rows[i].source);
		assert_true(addr_eq(&p.server.ends[0].peer, &source));
		assert_true(addr_eq(&p.client.local, &source));
		pair_end(&p);
	}
}

static void fails_closed_without_its_source(void **state)
{
	struct addr source = address("192.0.2.1");
	struct pair p;

	pair_begin(&p, "127.0.0.1", END_KEEP, END_KEEP);
	end_connect(&p.client, &source, &p.server.addr, p.server.port);
	WAIT_FOR(p.client.connected == 1);
	assert_int_equal(p.client.connect_error, STREAM_E_BIND);
	assert_non_null(strstr(p.client.why, "192.0.2.1"));
	/* a second one proves that the first never got there: it is the server's first */
	end_close(&p.client);
	p.client.connected = 0;
	pair_connect(&p, "127.0.0.78");
	source = address("127.0.0.78");
	assert_true(addr_eq(&p.server.ends[0].peer, &source));
	assert_int_equal(p.client.closed, 0);
	pair_end(&p);
}

static void reports_refusal(void **state)
{
	struct addr to = address("127.0.0.1");
	struct runner r;
	struct end e;
	uint16_t port;
	int fd;

	/* a port that was free a moment ago, kept from others by being bound without listening */
	assert_int_equal(listen_open(&fd, &to, 0, 1, LISTEN_ALONE, &port), 0);
	close(fd);
	runner_start(&r, "refused");
	end_init(&e, &r, END_KEEP);
	end_connect(&e, NULL, &to, port);
	WAIT_FOR(e.connected == 1);
	assert_int_equal(e.connect_error, -ECONNREFUSED);
	assert_string_equal(e.why, "connection refused");
	assert_int_equal(e.closed, 0);
	end_deinit(&e);
	runner_stop(&r, NULL, NULL);
}

/* The owner gives up a connection that does not come up: no callback after that. */
static void connect_is_cancelled(void **state)
{
	struct addr to = address("127.0.0.1");
	struct pair p;
	int fds[64], fd;
	uint16_t port;

	pair_begin(&p, "127.0.0.1", END_KEEP, END_KEEP);
	/* a full backlog: the kernel drops further connection requests */
	assert_int_equal(listen_open(&fd, &to, 0, 0, LISTEN_ALONE, &port), 0);
	for (unsigned i = 0; i < 64; i++) {
		struct sockaddr_storage sa;

		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		addr_to_sockaddr(&sa, &to, port);
		connect(fds[i], (struct sockaddr *)&sa, sizeof(struct sockaddr_in));
	}
	end_connect(&p.client, NULL, &to, port);
	end_write(&p.client, SLICE_LIT("never sent"));
	end_close(&p.client);
	assert_int_equal(p.client.connected, 0);
	assert_int_equal(p.client.closed, 0);
	for (unsigned i = 0; i < 64; i++)
		close(fds[i]);
	close(fd);
	pair_end(&p);
	assert_int_equal(p.client.connected, 0);
}

static char big_byte(size_t i)
{
	return (char)(i * 7 + i / 251 + i / 65521);
}

static char *big_bytes;

/* Copies and references in turn, and an empty reference. */
static void write_big(struct end *e)
{
	end_write_pieces(e, big_bytes, BIG, 3000);
	assert_int_equal(stream_write_ref(e->s, (struct slice){ NULL, 0 }, end_released, e), 0);
}

static size_t pending;

static void read_pending(struct end *e)
{
	pending = stream_pending(e->s);
}

static void pause_it(struct end *e)
{
	stream_pause(e->s);
}

static void resume_it(struct end *e)
{
	stream_resume(e->s);
}

/* A reader that starts paused: the socket fills up, nothing is lost, references are released once.
 */
static void slow_reader_gets_everything(void **state)
{
	struct pair p;
	struct end *far;

	big_bytes = malloc(BIG);
	for (size_t i = 0; i < BIG; i++)
		big_bytes[i] = big_byte(i);
	pair_begin(&p, "127.0.0.1", END_KEEP, END_KEEP);
	pair_connect(&p, NULL);
	far = &p.server.ends[0];
	end_call(far, pause_it);
	end_call(&p.client, write_big);
	assert_int_equal(p.client.drained, 0);
	end_call(&p.client, read_pending);
	assert_true(pending > 0);
	assert_int_equal(far->bytes, 0);
	end_call(far, resume_it);
	WAIT_FOR(far->bytes == BIG);
	WAIT_FOR(p.client.drained == 1);
	assert_memory_equal(buf_slice(&far->got).p, big_bytes, BIG);
	/* one of four of 3000, what was left, and the empty one */
	assert_int_equal(p.client.released, 752);
	pair_end(&p);
	free(big_bytes);
}

static void pause_in_data_holds(void **state)
{
	struct pair p;
	struct end *far;

	pair_begin(&p, "127.0.0.1", END_PAUSE_IN_DATA, END_KEEP);
	pair_connect(&p, NULL);
	far = &p.server.ends[0];
	end_write(&p.client, SLICE_LIT("one"));
	WAIT_FOR(far->reads == 1);
	end_write(&p.client, SLICE_LIT("two"));
	WAIT_FOR(p.client.drained == 2);
	/* the end of input waits behind what is held */
	end_close(&p.client);
	end_call(far, pause_it);
	assert_int_equal(far->reads, 1);
	assert_int_equal(far->closed, 0);
	end_call(far, resume_it);
	WAIT_FOR(far->reads == 2);
	end_call(far, resume_it);
	WAIT_FOR(far->closed == 1);
	assert_int_equal(far->close_error, 0);
	assert_true(slice_eq(buf_slice(&far->got), SLICE_LIT("onetwo")));
	pair_end(&p);
}

/* Writes of one iteration reach the other side together, in one piece. */
static void write_many(struct end *e)
{
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(stream_write(e->s, SLICE_LIT("0123456789")), 0);
	assert_int_equal(stream_pending(e->s), 1000);
}

static void gathers_writes(void **state)
{
	struct pair p;

	pair_begin(&p, "127.0.0.1", END_KEEP, END_KEEP);
	pair_connect(&p, NULL);
	end_call(&p.client, write_many);
	WAIT_FOR(p.server.ends[0].bytes == 1000);
	assert_int_equal(p.server.ends[0].reads, 1);
	WAIT_FOR(p.client.drained == 1);
	pair_end(&p);
}

static void close_inside_data_sends_the_rest(void **state)
{
	struct pair p;

	pair_begin(&p, "127.0.0.1", END_CLOSE_IN_DATA, END_KEEP);
	pair_connect(&p, NULL);
	end_write(&p.client, SLICE_LIT("QUIT"));
	WAIT_FOR(p.client.closed == 1);
	assert_int_equal(p.client.close_error, 0);
	assert_true(slice_eq(buf_slice(&p.client.got), SLICE_LIT("bye")));
	pair_end(&p);
	assert_int_equal(p.server.ends[0].closed, 0);
}

/* Unread input at the close must not make the kernel reset the connection under our last words. */
static void last_words_survive_unread_input(void **state)
{
	struct pair p;
	char *much = calloc(1, 300000);

	pair_begin(&p, "127.0.0.1", END_CLOSE_IN_DATA, END_KEEP);
	pair_connect(&p, NULL);
	end_write(&p.client, (struct slice){ much, 300000 });
	WAIT_FOR(p.client.closed == 1);
	assert_int_equal(p.client.close_error, 0);
	assert_true(slice_eq(buf_slice(&p.client.got), SLICE_LIT("bye")));
	pair_end(&p);
	free(much);
}

static void write_over_bound(struct end *e)
{
	char some[100] = { 0 };

	stream_set_write_max(e->s, 150);
	assert_int_equal(stream_write(e->s, (struct slice){ some, 100 }), 0);
	assert_int_equal(stream_write(e->s, (struct slice){ some, 51 }), -ENOBUFS);
	assert_int_equal(stream_write(e->s, (struct slice){ some, 50 }), 0);
	assert_int_equal(
		stream_write_ref(e->s, (struct slice){ some, 1 }, end_released, e), -ENOBUFS);
}

static void writes_are_bounded(void **state)
{
	struct pair p;

	pair_begin(&p, "127.0.0.1", END_COUNT, END_KEEP);
	pair_connect(&p, NULL);
	end_call(&p.client, write_over_bound);
	WAIT_FOR(p.server.ends[0].bytes == 150);
	assert_int_equal(p.client.released, 1);
	pair_end(&p);
}

static void write_to_the_dead(struct end *e)
{
	static char some[65536];

	for (unsigned i = 0; i < 100; i++)
		stream_write_ref(e->s, (struct slice){ some, sizeof(some) }, end_released, e);
}

/* The other side resets while we send: one report, all references released. */
static void broken_connection_is_reported_once(void **state)
{
	struct pair p;

	pair_begin(&p, "127.0.0.1", END_KEEP, END_KEEP);
	pair_connect(&p, NULL);
	end_call(&p.server.ends[0], pause_it);
	end_call(&p.client, write_to_the_dead);
	/* more is under way than the far side takes while it is paused: so some lies unread there
	 */
	do
		end_call(&p.client, read_pending);
	while (pending > 100 * 65536 - 160000);
	/* unread input there: the kernel answers with a reset */
	p.server.ends[0].linger = 0;
	end_close(&p.server.ends[0]);
	WAIT_FOR(p.client.closed == 1);
	assert_true(p.client.close_error < 0);
	end_close(&p.client);
	WAIT_FOR(p.client.released == 100);
	pair_end(&p);
	assert_int_equal(p.client.closed, 1);
	assert_int_equal(p.client.released, 100);
}

static void close_all(void *arg)
{
	struct pair *p = arg;

	stream_close(p->server.ends[0].s, 0);
	listener_stop(p->server.listener);
}

/* A loop ends with streams open as soon as stopping closed them, and waits for lingering ones. */
static void loop_stops_with_streams_open(void **state)
{
	struct pair p;

	pair_begin(&p, "127.0.0.1", END_KEEP, END_KEEP);
	pair_connect(&p, NULL);
	end_write(&p.client, SLICE_LIT("something"));
	WAIT_FOR(p.server.ends[0].reads == 1);
	runner_stop(&p.far, close_all, &p);
	buf_deinit(&p.server.ends[0].got);
	WAIT_FOR(p.client.closed == 1);
	end_deinit(&p.client);
	runner_stop(&p.near, NULL, NULL);
}

static uint64_t pauses;

static void read_pauses(void *arg)
{
	struct pair *p = arg;

	pauses = listener_pauses(p->server.listener);
}

/* Runs out of descriptors: accepting pauses, and goes on when there are some again. */
static void accepting_survives_exhaustion(void **state)
{
	struct rlimit old, low;
	struct pair p;
	int fds[4], probe;

	pair_begin(&p, "127.0.0.1", END_KEEP, END_KEEP);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	for (unsigned i = 0; i < 4; i++) {
		struct sockaddr_storage sa;

		addr_to_sockaddr(&sa, &p.server.addr, p.server.port);
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_true(fds[i] >= 0);
	}
	probe = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_true(probe >= 0);
	close(probe);
	low = old;
	low.rlim_cur = (rlim_t)probe;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	for (unsigned i = 0; i < 4; i++) {
		struct sockaddr_storage sa;

		addr_to_sockaddr(&sa, &p.server.addr, p.server.port);
		assert_int_equal(
			connect(fds[i], (struct sockaddr *)&sa, sizeof(struct sockaddr_in)), 0);
	}
	while (pauses == 0)
		runner_call(&p.far, read_pauses, &p);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	WAIT_FOR(p.server.n == 4);
	for (unsigned i = 0; i < 4; i++)
		close(fds[i]);
	pair_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(echoes),
		cmocka_unit_test(binds_to_its_source),
		cmocka_unit_test(fails_closed_without_its_source),
		cmocka_unit_test(reports_refusal),
		cmocka_unit_test(connect_is_cancelled),
		cmocka_unit_test(slow_reader_gets_everything),
		cmocka_unit_test(pause_in_data_holds),
		cmocka_unit_test(gathers_writes),
		cmocka_unit_test(close_inside_data_sends_the_rest),
		cmocka_unit_test(last_words_survive_unread_input),
		cmocka_unit_test(writes_are_bounded),
		cmocka_unit_test(broken_connection_is_reported_once),
		cmocka_unit_test(loop_stops_with_streams_open),
		cmocka_unit_test(accepting_survives_exhaustion),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
