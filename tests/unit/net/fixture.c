/* Loops, sockets and peers for the tests of relay/net. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_S 20

pthread_mutex_t fixture_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

void fixture_changed(void)
{
	pthread_cond_broadcast(&changed);
}

void fixture_wait(const char *what, const char *file, int line)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += DEADLINE_S;
	if (pthread_cond_timedwait(&changed, &fixture_lock, &until) == ETIMEDOUT) {
		/* other threads run on: no longjmp back into the test's frame */
		fprintf(stderr, "%s:%d: waited in vain for %s\n", file, line, what);
		abort();
	}
}

struct call {
	struct mpsc_node node;
	void (*fn)(void *arg);
	void *arg;
	bool done;
};

static void on_calls(void *arg, struct mpsc_node *first)
{
	while (first) {
		struct call *c = (struct call *)first;

		first = first->next;
		c->fn(c->arg);
		pthread_mutex_lock(&fixture_lock);
		c->done = true;
		fixture_changed();
		pthread_mutex_unlock(&fixture_lock);
	}
}

void runner_new(struct runner *r, const char *name)
{
	assert_int_equal(loop_new(&r->loop, name), 0);
	loop_mailbox_add(r->loop, &r->calls, on_calls, r);
}

void runner_start(struct runner *r, const char *name)
{
	runner_new(r, name);
	assert_int_equal(loop_start(r->loop, NULL, NULL), 0);
}

void runner_call(struct runner *r, void (*fn)(void *arg), void *arg)
{
	struct call c = { .fn = fn, .arg = arg };

	mpsc_post(&r->calls.mpsc, &c.node);
	WAIT_FOR(c.done);
}

void runner_stop(struct runner *r, void (*stopping)(void *arg), void *arg)
{
	loop_stop(r->loop, stopping, arg);
	r->loop = loop_free(r->loop);
}

struct addr address(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, slice_of(text)), 0);
	return a;
}

static void start_tls(struct end *e)
{
	assert_int_equal(stream_start_tls(e->s, e->tls_context, e->tls_name, e->tls_key), 0);
}

static void on_data(void *arg, struct slice in)
{
	struct end *e = arg;

	pthread_mutex_lock(&fixture_lock);
	e->reads++;
	e->bytes += in.n;
	if (e->habit != END_COUNT)
		buf_add_slice(&e->got, in);
	fixture_changed();
	pthread_mutex_unlock(&fixture_lock);
	if (e->habit == END_ECHO)
		stream_write(e->s, in);
	if (e->habit == END_PAUSE_IN_DATA)
		stream_pause(e->s);
	if (e->habit == END_CLOSE_IN_DATA) {
		stream_write(e->s, SLICE_LIT("bye"));
		stream_close(e->s, e->linger);
		pthread_mutex_lock(&fixture_lock);
		e->s = NULL;
		fixture_changed();
		pthread_mutex_unlock(&fixture_lock);
	}
}

static void on_drained(void *arg)
{
	struct end *e = arg;

	pthread_mutex_lock(&fixture_lock);
	e->drained++;
	fixture_changed();
	pthread_mutex_unlock(&fixture_lock);
}

static void note(struct end *e, unsigned *count, int *error, int r, const char *why)
{
	pthread_mutex_lock(&fixture_lock);
	(*count)++;
	*error = r;
	if (why)
		snprintf(e->why, sizeof(e->why), "%s", why);
	if (r == 0) {
		uint16_t port;

		stream_peer(e->s, &e->peer, &e->peer_port);
		stream_local(e->s, &e->local, &port);
		e->resumed = stream_tls_resumed(e->s);
		e->verified = stream_tls_verified(e->s);
		if (stream_tls_description(e->s))
			snprintf(e->description, sizeof(e->description), "%s",
				stream_tls_description(e->s));
	}
	fixture_changed();
	pthread_mutex_unlock(&fixture_lock);
}

static void on_closed(void *arg, int error, const char *why)
{
	struct end *e = arg;

	note(e, &e->closed, &e->close_error, error, why);
}

static void on_connected(void *arg, int error, const char *why)
{
	struct end *e = arg;

	note(e, &e->connected, &e->connect_error, error, why);
	if (error == 0 && e->tls_context)
		start_tls(e);
}

static void on_tls(void *arg, int error, const char *why)
{
	struct end *e = arg;

	note(e, &e->tls, &e->tls_error, error, why);
}

const struct stream_ops end_ops = {
	.on_data = on_data,
	.on_drained = on_drained,
	.on_closed = on_closed,
	.on_connected = on_connected,
	.on_tls = on_tls,
};

void end_init(struct end *e, struct runner *r, enum habit habit)
{
	*e = (struct end){ .runner = r, .habit = habit, .linger = 5000 };
	buf_init(&e->got, 0);
}

struct end_call {
	struct end *e;
	void (*fn)(struct end *e);
	const struct addr *source, *to;
	uint16_t port;
	struct slice data;
};

static void do_call(void *arg)
{
	struct end_call *c = arg;

	c->fn(c->e);
}

void end_call(struct end *e, void (*fn)(struct end *e))
{
	struct end_call c = { .e = e, .fn = fn };

	runner_call(e->runner, do_call, &c);
}

static void do_connect(void *arg)
{
	struct end_call *c = arg;

	assert_int_equal(stream_connect(&c->e->s, c->e->runner->loop, c->source, c->to, c->port,
				 &end_ops, c->e),
		0);
	/* never inside the call */
	assert_int_equal(c->e->connected, 0);
}

void end_connect(struct end *e, const struct addr *source, const struct addr *to, uint16_t port)
{
	struct end_call c = { .e = e, .source = source, .to = to, .port = port };

	runner_call(e->runner, do_connect, &c);
}

static void do_write(void *arg)
{
	struct end_call *c = arg;

	assert_int_equal(stream_write(c->e->s, c->data), 0);
}

void end_write(struct end *e, struct slice data)
{
	struct end_call c = { .e = e, .data = data };

	runner_call(e->runner, do_write, &c);
}

void end_released(void *arg)
{
	struct end *e = arg;

	pthread_mutex_lock(&fixture_lock);
	e->released++;
	fixture_changed();
	pthread_mutex_unlock(&fixture_lock);
}

void end_write_pieces(struct end *e, const char *bytes, size_t n, unsigned pieces)
{
	size_t at = 0;

	stream_set_write_max(e->s, n);
	for (unsigned i = 0; i < pieces; i++) {
		struct slice piece = { bytes + at, 1 + i * 13 % 9000 };

		at += piece.n;
		if (i % 4 == 0)
			assert_int_equal(stream_write_ref(e->s, piece, end_released, e), 0);
		else
			assert_int_equal(stream_write(e->s, piece), 0);
		if (i % 1000 == 999)
			stream_flush(e->s);
	}
	assert_int_equal(
		stream_write_ref(e->s, (struct slice){ bytes + at, n - at }, end_released, e), 0);
}

static void do_close(struct end *e)
{
	struct stream *s = e->s;

	pthread_mutex_lock(&fixture_lock);
	e->s = NULL;
	pthread_mutex_unlock(&fixture_lock);
	if (s)
		stream_close(s, e->linger);
}

void end_close(struct end *e)
{
	end_call(e, do_close);
}

void end_deinit(struct end *e)
{
	e->linger = 0;
	end_close(e);
	buf_deinit(&e->got);
}

static void on_accepted(void *arg, int fd, const struct addr *peer, uint16_t port)
{
	struct server *sv = arg;
	struct end *e = &sv->ends[sv->n];

	if (sv->n == SERVER_ENDS) {
		close(fd);
		return;
	}
	end_init(e, sv->runner, sv->habit);
	assert_int_equal(stream_accept(&e->s, sv->runner->loop, fd, &end_ops, e), 0);
	if (sv->tls_context) {
		e->tls_context = sv->tls_context;
		start_tls(e);
	}
	pthread_mutex_lock(&fixture_lock);
	e->peer = *peer;
	e->peer_port = port;
	sv->n++;
	fixture_changed();
	pthread_mutex_unlock(&fixture_lock);
}

static void do_listen(void *arg)
{
	struct server *sv = arg;
	int fd;

	assert_int_equal(listen_open(&fd, &sv->addr, 0, 128, LISTEN_ALONE, &sv->port), 0);
	assert_int_equal(listener_new(&sv->listener, sv->runner->loop, fd, on_accepted, sv), 0);
	listener_accept(sv->listener);
}

void server_start(struct server *sv, struct runner *r, const char *addr, enum habit habit)
{
	struct tls_context *tls = sv->tls_context;

	*sv = (struct server){ .runner = r, .habit = habit, .addr = address(addr) };
	sv->tls_context = tls;
	runner_call(r, do_listen, sv);
}

static void do_stop(void *arg)
{
	struct server *sv = arg;

	listener_stop(sv->listener);
}

void server_stop(struct server *sv)
{
	runner_call(sv->runner, do_stop, sv);
	for (unsigned i = 0; i < sv->n; i++)
		end_deinit(&sv->ends[i]);
}
