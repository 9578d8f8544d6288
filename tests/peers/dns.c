/* A name server: DNS over UDP and TCP on one address and port, with answers that may come late. What
 * it says is the answerer's: a scenario (the simulator's dns_answer.c) or a table (unit tests).
 * Runs in the loop that it was opened for. */
#include "dns.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "socket.h"
#include "util.h"

#define QUERY_MAX   4096
#define TCP_MAX	    1024
#define TCP_IDLE_US 10000000
#define LATE_MAX    65536
#define PORT_TRIES  50

struct tcp_conn {
	struct io io;
	struct timer timer;
	struct dns_service *dns;
	struct tcp_conn *next, **prev;
	struct buf in, out;
	unsigned late; /* answers still to come */
	bool dead;
};

struct dns_service {
	struct io udp, tcp;
	struct loop *loop;
	dns_answerer *answerer;
	void *arg;
	struct buf out;
	struct tcp_conn *conns;
	size_t nconns, nlate;
	struct late *late;
};

struct late { /* an answer that a scenario delays */
	struct timer timer;
	struct dns_service *dns;
	struct late *next, **prev;
	struct sockaddr_in to;
	struct tcp_conn *conn; /* NULL: UDP */
	size_t n;
	uint8_t bytes[];
};

static void tcp_flush(struct tcp_conn *t);

static void late_free(struct late *l)
{
	*l->prev = l->next;
	if (l->next)
		l->next->prev = l->prev;
	l->dns->nlate--;
	free(l);
}

static void on_late(struct loop *lp, struct timer *timer)
{
	struct late *l = (struct late *)(void *)timer;

	if (!l->conn) {
		sendto(l->dns->udp.fd, l->bytes, l->n, MSG_NOSIGNAL, (struct sockaddr *)&l->to,
			sizeof(l->to));
	} else if (!l->conn->dead) {
		put(&l->conn->out, l->bytes, l->n);
		l->conn->late--;
		tcp_flush(l->conn);
	}
	late_free(l);
}

static void send_late(struct dns_service *d, const struct sockaddr_in *to, struct tcp_conn *conn,
	const void *p, size_t n, uint64_t delay)
{
	struct late *l;

	if (d->nlate >= LATE_MAX)
		return; /* a lost datagram */
	l = xcalloc(1, sizeof(*l) + n);
	l->timer = (struct timer){ .at = SIZE_MAX, .fn = on_late };
	l->dns = d;
	l->conn = conn;
	if (to)
		l->to = *to;
	l->n = n;
	memcpy(l->bytes, p, n);
	l->next = d->late;
	l->prev = &d->late;
	if (l->next)
		l->next->prev = &l->next;
	d->late = l;
	d->nlate++;
	if (conn)
		conn->late++;
	timer_set(d->loop, &l->timer, d->loop->now + delay);
}

/* The reply to a query is in d->out; false: none is to be given. */
static bool answer(struct dns_service *d, struct dns_query *q, size_t n, uint64_t *delay)
{
	static const struct dns_form plain = { 0 };
	int r = dns_parse(q->wire, n, &q->question);

	buf_reset(&d->out);
	*delay = 0;
	if (r < 0)
		return false;
	if (r) {
		struct answer none = { .rcode = r };

		q->question.wire_end = 0;
		dns_message(&plain, &q->question, q->wire, &none, 512, &d->out);
		return true;
	}
	return d->answerer(d->arg, q, &d->out, delay);
}

static void on_udp(struct loop *lp, struct io *io, uint32_t events)
{
	struct dns_service *d =
		(struct dns_service *)(void *)((char *)io - offsetof(struct dns_service, udp));
	uint8_t query[QUERY_MAX];
	struct sockaddr_in from;
	uint64_t delay;

	for (int i = 0; i < 64; i++) {
		socklen_t len = sizeof(from);
		ssize_t n =
			recvfrom(io->fd, query, sizeof(query), 0, (struct sockaddr *)&from, &len);

		struct dns_query q = { .wire = query, .port = ntohs(from.sin_port) };

		if (n < 0)
			break;
		if (!answer(d, &q, (size_t)n, &delay))
			continue;
		if (delay)
			send_late(d, &from, NULL, buf_slice(&d->out).p, buf_size(&d->out), delay);
		else
			sendto(io->fd, buf_slice(&d->out).p, buf_size(&d->out), MSG_NOSIGNAL,
				(struct sockaddr *)&from, len);
	}
}

static void tcp_free(struct tcp_conn *t)
{
	struct dns_service *d = t->dns;

	for (struct late *l = d->late, *next; l; l = next) {
		next = l->next;
		if (l->conn == t) {
			timer_stop(d->loop, &l->timer);
			late_free(l);
		}
	}
	timer_stop(d->loop, &t->timer);
	*t->prev = t->next;
	if (t->next)
		t->next->prev = t->prev;
	close(t->io.fd);
	buf_deinit(&t->in);
	buf_deinit(&t->out);
	d->nconns--;
	free(t);
}

static void tcp_flush(struct tcp_conn *t)
{
	while (buf_size(&t->out)) {
		ssize_t n = send(t->io.fd, buf_slice(&t->out).p, buf_size(&t->out), MSG_NOSIGNAL);

		if (n < 0)
			break;
		buf_consume(&t->out, (size_t)n);
	}
	io_mod(t->dns->loop, &t->io, EPOLLIN | (buf_size(&t->out) ? EPOLLOUT : 0U));
}

static void tcp_query(struct tcp_conn *t, const uint8_t *p, size_t n)
{
	struct dns_service *d = t->dns;
	struct dns_query q = { .wire = p, .tcp = true };
	uint64_t delay;
	uint8_t len[2];
	struct buf framed;

	if (!answer(d, &q, n, &delay))
		return;
	buf_init(&framed, 0);
	len[0] = (uint8_t)(buf_size(&d->out) >> 8);
	len[1] = (uint8_t)buf_size(&d->out);
	put(&framed, len, 2);
	put(&framed, buf_slice(&d->out).p, buf_size(&d->out));
	if (delay)
		send_late(d, NULL, t, buf_slice(&framed).p, buf_size(&framed), delay);
	else
		put(&t->out, buf_slice(&framed).p, buf_size(&framed));
	buf_deinit(&framed);
}

static void on_tcp(struct loop *lp, struct io *io, uint32_t events)
{
	struct tcp_conn *t = (struct tcp_conn *)(void *)io;
	uint8_t block[QUERY_MAX];
	ssize_t n = recv(io->fd, block, sizeof(block), 0);

	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		tcp_free(t);
		return;
	}
	if (n > 0)
		put(&t->in, block, (size_t)n);
	for (;;) {
		struct slice s = buf_slice(&t->in);
		const uint8_t *p = (const uint8_t *)s.p;
		size_t len = s.n >= 2 ? (size_t)(p[0] << 8 | p[1]) : 0;

		if (s.n < 2 || s.n < len + 2)
			break;
		tcp_query(t, p + 2, len);
		buf_consume(&t->in, len + 2);
	}
	if (buf_size(&t->out) > 1 << 20) {
		tcp_free(t); /* asks, and never reads */
		return;
	}
	tcp_flush(t);
	timer_set(lp, &t->timer, lp->now + TCP_IDLE_US);
}

static void on_tcp_idle(struct loop *lp, struct timer *timer)
{
	struct tcp_conn *t =
		(struct tcp_conn *)(void *)((char *)timer - offsetof(struct tcp_conn, timer));

	if (t->late)
		timer_set(lp, timer, lp->now + TCP_IDLE_US);
	else
		tcp_free(t);
}

static void on_tcp_accept(struct loop *lp, struct io *io, uint32_t events)
{
	struct dns_service *d =
		(struct dns_service *)(void *)((char *)io - offsetof(struct dns_service, tcp));
	int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct tcp_conn *t;

	if (fd < 0)
		return;
	if (d->nconns >= TCP_MAX) {
		close(fd);
		return;
	}
	t = xcalloc(1, sizeof(*t));
	t->io = (struct io){ .fd = fd, .fn = on_tcp };
	t->timer = (struct timer){ .at = SIZE_MAX, .fn = on_tcp_idle };
	t->dns = d;
	buf_init(&t->in, 0);
	buf_init(&t->out, 0);
	t->next = d->conns;
	t->prev = &d->conns;
	if (t->next)
		t->next->prev = &t->next;
	d->conns = t;
	d->nconns++;
	io_add(lp, &t->io, EPOLLIN);
	timer_set(lp, &t->timer, lp->now + TCP_IDLE_US);
}

/* UDP and TCP on the same port: with a port of the kernel's choice, until one is free for both. */
static int listen_both(const char *address, char **text, int *udp, int *tcp)
{
	char *again = NULL;

	*tcp = -1;
	for (int i = 0; i < PORT_TRIES && *tcp < 0; i++) {
		*udp = socket_listen(address, SOCK_DGRAM, text);
		if (*udp < 0)
			return *udp;
		*tcp = socket_listen(*text, SOCK_STREAM, &again);
		if (*tcp < 0) {
			close(*udp);
			free(*text);
			*text = NULL;
		}
	}
	free(again);
	return *tcp < 0 ? *tcp : 0;
}

int dns_open(struct dns_service **ret, struct loop *lp, const char *address, dns_answerer *answerer,
	void *arg, char **text)
{
	struct dns_service *d;
	int udp, tcp, size = 4 << 20, r = listen_both(address, text, &udp, &tcp);

	if (r)
		return r;
	d = xcalloc(1, sizeof(*d));
	setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	d->loop = lp;
	d->answerer = answerer;
	d->arg = arg;
	buf_init(&d->out, 0);
	d->udp = (struct io){ .fd = udp, .fn = on_udp };
	d->tcp = (struct io){ .fd = tcp, .listener = true, .fn = on_tcp_accept };
	io_add(lp, &d->udp, EPOLLIN);
	io_add(lp, &d->tcp, EPOLLIN);
	*ret = d;
	return 0;
}

struct dns_service *dns_close(struct dns_service *d)
{
	if (!d)
		return NULL;
	while (d->conns)
		tcp_free(d->conns);
	while (d->late) {
		timer_stop(d->loop, &d->late->timer);
		late_free(d->late);
	}
	close(d->udp.fd);
	close(d->tcp.fd);
	buf_deinit(&d->out);
	free(d);
	return NULL;
}
