/* The transport of a connection: socket, TLS, the delay of a round trip, closing. */
#include "conn.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "postern/must.h"

#define LINGER_US  2000000
#define OUT_MAX	   (4 << 20)
#define IDLE_CONNS 256

static void conn_arm(struct conn *c);

/* OpenSSL reads from the bytes just received and writes to the delayed output. */
static int bio_read(BIO *b, char *p, int n)
{
	struct conn *c = BIO_get_data(b);
	size_t k = (size_t)n < c->bio_in_n ? (size_t)n : c->bio_in_n;

	BIO_clear_retry_flags(b);
	if (!k) {
		BIO_set_retry_read(b);
		return -1;
	}
	memcpy(p, c->bio_in, k);
	c->bio_in += k;
	c->bio_in_n -= k;
	return (int)k;
}

static int bio_write(BIO *b, const char *p, int n)
{
	struct conn *c = BIO_get_data(b);

	put(&c->out, p, (size_t)n);
	return n;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	return cmd == BIO_CTRL_FLUSH || cmd == BIO_CTRL_DUP;
}

BIO_METHOD *conn_bio_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "m365sim");

	if (!m)
		die("out of memory");
	BIO_meth_set_read(m, bio_read);
	BIO_meth_set_write(m, bio_write);
	BIO_meth_set_ctrl(m, bio_ctrl);
	return m;
}

static void tls_start(struct conn *c)
{
	BIO *b = BIO_new(c->loop->sim->bio);

	c->ssl = SSL_new(c->loop->sim->ctx[c->cluster->certificate]);
	if (!c->ssl || !b)
		die("out of memory");
	BIO_set_data(b, c);
	BIO_set_init(b, 1);
	SSL_set_bio(c->ssl, b, b);
	SSL_set_accept_state(c->ssl);
}

/* What was added to out since the last call is on the wire one round trip from now. */
static void seal_segment(struct conn *c)
{
	size_t end = buf_size(&c->out);
	uint64_t now = c->loop->now, due;

	due = (c->line_free > now ? c->line_free : now) + c->cluster->latency_us;
	if (c->nseg && c->seg[c->nseg - 1].end == end)
		return;
	if (!end)
		return;
	if (!c->nseg && !c->started)
		due += c->cluster->latency_us; /* the TCP handshake's */
	if (c->nseg == SEGMENTS || (c->nseg && c->seg[c->nseg - 1].due >= due)) {
		c->seg[c->nseg - 1].end = end;
		if (c->seg[c->nseg - 1].due < due)
			c->seg[c->nseg - 1].due = due;
		return;
	}
	c->seg[c->nseg].end = end;
	c->seg[c->nseg++].due = due;
}

/* Replies of this round go to the wire: one write for the flight. */
static void conn_push(struct conn *c)
{
	struct slice s = buf_slice(&c->reply);

	if (s.n) {
		if (!c->ssl)
			put(&c->out, s.p, s.n);
		else if (SSL_write(c->ssl, s.p, (int)s.n) <= 0)
			c->abort = true;
		buf_reset(&c->reply);
	}
	if (c->closing && c->ssl && !c->abort && !c->no_goodbye && SSL_is_init_finished(c->ssl))
		SSL_shutdown(c->ssl);
	seal_segment(c);
	c->started = true;
	if (c->tls_begin) {
		c->tls_begin = false;
		if (c->tls_next == TLS_WORKS)
			tls_start(c);
		else
			c->tls_broken = true;
	}
}

static void want_events(struct conn *c, uint32_t events)
{
	if (events != c->epoll_events) {
		c->epoll_events = events;
		io_mod(c->loop, &c->io, events);
	}
}

static void uncount(struct conn *c)
{
	if (!c->counted)
		return;
	c->counted = false;
	sim_lock(c->loop->sim);
	smtp_end(c);
	sim_unlock(c->loop->sim);
}

static void conn_free(struct conn *c)
{
	struct loop *lp = c->loop;

	if (c->dead)
		return;
	uncount(c);
	timer_stop(lp, &c->timer);
	close(c->io.fd);
	c->io.fd = -1;
	SSL_free(c->ssl);
	c->ssl = NULL;
	c->dead = true;
	sim_lock(lp->sim); /* the first loop adds what it accepts */
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	sim_unlock(lp->sim);
	c->next = lp->conns->dead;
	lp->conns->dead = c;
}

static void conn_destroy(struct conn *c)
{
	buf_deinit(&c->out);
	buf_deinit(&c->reply);
	buf_deinit(&c->held);
	buf_deinit(&c->body);
	buf_deinit(&c->rcpt_text);
	free(c->rcpts);
	EVP_MD_CTX_free(c->md);
	free(c);
}

/* Events of this round may still name a closed connection: its memory lasts until the end of it. */
void conn_reap(struct loop *lp)
{
	while (lp->conns->dead) {
		struct conn *c = lp->conns->dead;

		lp->conns->dead = c->next;
		sim_lock(lp->sim);
		scenario_unref(c->sc);
		sim_unlock(lp->sim);
		if (lp->conns->nidle < IDLE_CONNS &&
			c->out.cap + c->held.cap + c->body.cap < 1 << 20) {
			c->next = lp->conns->idle;
			lp->conns->idle = c;
			lp->conns->nidle++;
			continue;
		}
		conn_destroy(c);
	}
}

static void conn_reset(struct conn *c)
{
	struct linger now = { .l_onoff = 1 };

	setsockopt(c->io.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	conn_free(c);
}

/* All is sent: FIN first, and the socket once the peer has closed too, so that no RST overtakes the
 * last reply. For the receiver the connection ends here. */
static void conn_finish(struct conn *c)
{
	uncount(c);
	if (c->peer_gone) {
		conn_free(c);
		return;
	}
	shutdown(c->io.fd, SHUT_WR);
	c->linger = true;
	c->linger_until = c->loop->now + LINGER_US;
	want_events(c, EPOLLIN | EPOLLRDHUP);
}

static ssize_t write_due(struct conn *c)
{
	size_t n = 0;

	if (c->trickle_us) {
		if (c->loop->now < c->trickle_next || !buf_size(&c->out))
			return 0;
		c->trickle_next = c->loop->now + c->trickle_us;
		n = 1;
	} else {
		for (unsigned i = 0; i < c->nseg && c->seg[i].due <= c->loop->now; i++)
			n = c->seg[i].end;
	}
	return n ? send(c->io.fd, buf_slice(&c->out).p, n, MSG_NOSIGNAL) : 0;
}

static void sent(struct conn *c, size_t n)
{
	unsigned gone = 0;

	buf_consume(&c->out, n);
	for (unsigned i = 0; i < c->nseg; i++) {
		c->seg[i].end = c->seg[i].end > n ? c->seg[i].end - n : 0;
		if (!c->seg[i].end)
			gone = i + 1;
	}
	if (gone) {
		c->nseg -= gone;
		memmove(c->seg, c->seg + gone, c->nseg * sizeof(c->seg[0]));
	}
}

/* Sends what is due; closes when that was the last. The connection may be dead afterwards. */
static void conn_flush(struct conn *c)
{
	ssize_t n = write_due(c);
	bool blocked = false, listens;

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		conn_free(c);
		return;
	}
	if (n < 0)
		blocked = true;
	if (n > 0)
		sent(c, (size_t)n);
	if (n > 0 && c->nseg && c->seg[0].due <= c->loop->now && !c->trickle_us)
		blocked = true; /* the socket is full */
	if (!buf_size(&c->out)) {
		buf_reset(&c->out);
		c->sync_wait = false;
		c->flushed = true;
		c->trickle_us = 0;
		if (c->tls_drop)
			c->abort = true;
		if (c->closing) {
			conn_finish(c);
			if (!c->dead)
				conn_arm(c);
			return;
		}
	}
	if (c->abort) {
		conn_reset(c);
		return;
	}
	/* who asks without reading the replies is not read either */
	listens = !c->hold_until && !c->stalled && !c->trickle_us && !c->closing &&
		  buf_size(&c->out) < OUT_MAX;
	want_events(c, EPOLLRDHUP | (blocked ? EPOLLOUT : 0U) | (listens ? EPOLLIN : 0U));
	conn_arm(c);
}

static void arm_at(uint64_t *due, uint64_t at)
{
	if (at < *due)
		*due = at;
}

static void conn_arm(struct conn *c)
{
	uint64_t due = UINT64_MAX, now = c->loop->now;

	if (c->linger) {
		timer_set(c->loop, &c->timer, c->linger_until);
		return;
	}
	if (c->trickle_us)
		arm_at(&due, c->trickle_next);
	else if (c->nseg)
		arm_at(&due, c->seg[0].due > now ? c->seg[0].due : now + 1000);
	if (c->hold_until)
		arm_at(&due, c->hold_until);
	if (!c->stalled && !c->closing && !c->hold_until) {
		uint64_t age = sim_time(c->loop) - c->opened_sim;

		if (c->cluster->session_us && !c->tls_broken)
			arm_at(&due,
				now + (age < c->cluster->session_us ? c->cluster->session_us - age
								    : 0));
		if (c->cluster->idle_us)
			arm_at(&due, c->last_input + c->cluster->idle_us);
	}
	if (due == UINT64_MAX)
		timer_stop(c->loop, &c->timer);
	else
		timer_set(c->loop, &c->timer, due);
}

static void process(struct conn *c, const char *p, size_t n)
{
	size_t used = 0;

	if (c->tls_broken || c->closing || c->abort)
		return; /* whatever it says now is not listened to */
	if (!c->hold_until && !c->stalled) {
		sim_lock(c->loop->sim);
		used = smtp_input(c, p, n);
		sim_unlock(c->loop->sim);
	}
	if (used < n && (c->hold_until || c->stalled))
		put(&c->held, p + used, n - used);
}

static void process_tls(struct conn *c, const char *p, size_t n)
{
	bool was_done = SSL_is_init_finished(c->ssl);

	c->bio_in = p;
	c->bio_in_n = n;
	for (;;) {
		int r;

		ERR_clear_error();
		r = SSL_read(c->ssl, c->loop->conns->pbuf, READ_MAX);
		if (!was_done && SSL_is_init_finished(c->ssl)) {
			was_done = true;
			sim_lock(c->loop->sim);
			smtp_tls_started(c);
			sim_unlock(c->loop->sim);
		}
		if (r > 0) {
			process(c, c->loop->conns->pbuf, (size_t)r);
			continue;
		}
		r = SSL_get_error(c->ssl, r);
		if (r == SSL_ERROR_ZERO_RETURN)
			c->peer_gone = true;
		else if (r != SSL_ERROR_WANT_READ && r != SSL_ERROR_WANT_WRITE)
			c->closing = true; /* the alert is in out */
		return;
	}
}

/* Ends a delay, or what a rule left undone. */
static void release(struct conn *c)
{
	struct buf held = c->held;

	c->hold_until = 0;
	buf_init(&c->held, 0);
	sim_lock(c->loop->sim);
	smtp_resume(c);
	sim_unlock(c->loop->sim);
	if (buf_size(&held)) {
		struct slice s = buf_slice(&held);

		if (!c->closing && !c->abort)
			process(c, s.p, s.n);
	}
	buf_deinit(&held);
	conn_push(c);
}

static void on_timer(struct loop *lp, struct timer *t)
{
	struct conn *c = (struct conn *)(void *)((char *)t - offsetof(struct conn, timer));
	uint64_t age = sim_time(lp) - c->opened_sim;

	if (c->linger) {
		conn_free(c);
		return;
	}
	if (c->hold_until && c->hold_until <= lp->now)
		release(c);
	if (!c->stalled && !c->closing && !c->hold_until && !c->tls_broken) {
		const char *why = NULL;

		if (c->cluster->session_us && age >= c->cluster->session_us)
			why = "421 4.4.1 Connection timed out. Total session duration: {age}";
		else if (c->cluster->idle_us && lp->now - c->last_input >= c->cluster->idle_us)
			why = "421 4.4.1 Connection timed out";
		if (why) {
			sim_lock(lp->sim);
			smtp_timeout(c, why);
			sim_unlock(lp->sim);
			conn_push(c);
		}
	} else if (c->tls_broken && lp->now - c->last_input >= c->cluster->idle_us) {
		conn_free(c);
		return;
	}
	conn_flush(c);
}

static void on_eof(struct conn *c)
{
	c->peer_gone = true;
	conn_free(c);
}

static void on_readable(struct conn *c)
{
	ssize_t n = recv(c->io.fd, c->loop->conns->rbuf, READ_MAX, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		on_eof(c);
		return;
	}
	if (c->linger)
		return;
	c->last_input = c->loop->now;
	if (c->cluster->bandwidth) {
		if (c->line_free < c->loop->now)
			c->line_free = c->loop->now;
		c->line_free += (uint64_t)n * 1000000 / c->cluster->bandwidth;
	}
	if (c->flushed) {
		c->flushed = false;
		c->flights++;
	}
	if (c->ssl)
		process_tls(c, c->loop->conns->rbuf, (size_t)n);
	else
		process(c, c->loop->conns->rbuf, (size_t)n);
	if (c->tls_broken && c->tls_next == TLS_GARBAGE && !c->closing) {
		PUT_LIT(&c->out, "\x16\x03\x01\x00\x10this is no TLS!!");
		c->closing = true;
	}
	conn_push(c);
	conn_flush(c);
}

static void on_conn(struct loop *lp, struct io *io, uint32_t events)
{
	struct conn *c = (struct conn *)(void *)io;

	if (!c->greeted) {
		c->greeted = true;
		sim_lock(lp->sim);
		smtp_connect(c);
		sim_unlock(lp->sim);
		conn_push(c);
		conn_flush(c);
		return; /* input, if any, is reported again */
	}
	if (events & EPOLLIN) {
		/* closed by the peer: read to the end now, so that it is not counted any longer */
		do
			on_readable(c);
		while (events & EPOLLRDHUP && !c->dead && c->epoll_events & EPOLLIN);
	} else if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
		/* not reading now (a delay, a stall): the client has given up */
		on_eof(c);
		return;
	}
	if (!c->dead && events & EPOLLOUT)
		conn_flush(c);
}

static struct conn *conn_new(struct loop *lp)
{
	struct conn *c = lp->conns->idle, old;

	if (!c) {
		c = xcalloc(1, sizeof(*c));
		buf_init(&c->out, 0);
		buf_init(&c->reply, 0);
		buf_init(&c->held, 0);
		buf_init(&c->body, 0);
		buf_init(&c->rcpt_text, 0);
		return c;
	}
	lp->conns->idle = c->next;
	lp->conns->nidle--;
	old = (struct conn){ .out = c->out,
		.reply = c->reply,
		.held = c->held,
		.body = c->body,
		.rcpt_text = c->rcpt_text,
		.rcpts = c->rcpts,
		.rcpts_cap = c->rcpts_cap,
		.md = c->md };
	*c = old;
	buf_reset(&c->out);
	buf_reset(&c->reply);
	buf_reset(&c->held);
	buf_reset(&c->body);
	buf_reset(&c->rcpt_text);
	return c;
}

/* One connection a call; with several threads they take turns. */
void conn_accept(struct loop *lp, struct io *io, uint32_t events)
{
	struct listener *li = (struct listener *)(void *)io;
	struct sim *s = lp->sim;
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);
	int one = 1,
	    fd = accept4(io->fd, (struct sockaddr *)&sin, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct conn *c;
	struct loop *to;

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c = conn_new(lp);
	to = &s->loops[s->next_loop++ % s->nloops];
	c->io = (struct io){ .fd = fd, .fn = on_conn };
	c->timer = (struct timer){ .at = SIZE_MAX, .fn = on_timer };
	c->loop = to;
	c->peer_ip = ntohl(sin.sin_addr.s_addr);
	c->peer_port = ntohs(sin.sin_port);
	c->opened = c->last_input = lp->now;
	sim_lock(s);
	c->opened_sim = sim_time(lp);
	c->sc = scenario_ref(s->sc);
	c->host = scenario_host(c->sc, li->ip);
	must(c->host);
	c->cluster = c->host->cluster;
	addr_from_sockaddr(&c->peer, &c->peer_port, (struct sockaddr *)&sin);
	ledger_opened(&s->ledger, c);
	limits_opened(c);
	c->counted = true;
	c->next = to->conns->open;
	c->prev = &to->conns->open;
	if (c->next)
		c->next->prev = &c->next;
	to->conns->open = c;
	c->epoll_events = EPOLLIN | EPOLLOUT | EPOLLRDHUP;
	io_add(to, &c->io,
		c->epoll_events); /* writable at once: that starts it, in its own thread */
	sim_unlock(s);
}

void conn_rearm_all(struct loop *lp)
{
	sim_lock(lp->sim);
	for (struct conn *c = lp->conns->open; c; c = c->next)
		conn_arm(c);
	sim_unlock(lp->sim);
}

void conn_close_all(struct loop *lp)
{
	while (lp->conns->open)
		conn_free(lp->conns->open);
	conn_reap(lp);
	while (lp->conns->idle) {
		struct conn *c = lp->conns->idle;

		lp->conns->idle = NULL;
		for (struct conn *next; c; c = next) {
			next = c->next;
			conn_destroy(c);
		}
	}
}
