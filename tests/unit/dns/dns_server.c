/* A name server in a thread of its own: answers by a table, or late, or not at all. */
#include "dns_server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "postern/must.h"

#define MESSAGE_MAX 4096

struct message {
	uint8_t p[MESSAGE_MAX];
	size_t n;
};

static void put8(struct message *m, unsigned v)
{
	must(m->n < MESSAGE_MAX);
	m->p[m->n++] = (uint8_t)v;
}

static void put16(struct message *m, unsigned v)
{
	put8(m, v >> 8);
	put8(m, v & 255);
}

static void put_name(struct message *m, const char *name)
{
	while (*name && strcmp(name, ".") != 0) {
		size_t n = strcspn(name, ".");

		put8(m, (unsigned)n);
		for (size_t i = 0; i < n; i++)
			put8(m, (uint8_t)name[i]);
		name += n + (name[n] == '.');
	}
	put8(m, 0);
}

static void put_record(struct message *m, const struct dns_record *r)
{
	size_t size_at;

	if (r->owner)
		put_name(m, r->owner);
	else
		put16(m, 0xc00c); /* the question's name */
	put16(m, r->type);
	put16(m, 1);
	put16(m, r->ttl >> 16);
	put16(m, r->ttl & 0xffff);
	size_at = m->n;
	put16(m, 0);
	if (r->type == 1 || r->type == 28) {
		must(m->n + 16 < MESSAGE_MAX);
		must(inet_pton(r->type == 1 ? AF_INET : AF_INET6, r->data, m->p + m->n) == 1);
		m->n += r->type == 1 ? 4 : 16;
	} else {
		if (r->type == 15)
			put16(m, r->preference);
		put_name(m, r->data);
	}
	m->p[size_at] = (uint8_t)((m->n - size_at - 2) >> 8);
	m->p[size_at + 1] = (uint8_t)(m->n - size_at - 2);
}

/* The question's name as text; returns where its type begins. */
static size_t question(const uint8_t *p, size_t n, char name[256])
{
	size_t at = 12, out = 0;

	while (at < n && p[at]) {
		size_t len = p[at++];

		must(len < 64 && at + len < n && out + len + 2 < 256);
		if (out)
			name[out++] = '.';
		memcpy(name + out, p + at, len);
		out += len;
		at += len;
	}
	name[out] = '\0';
	return at + 1;
}

static struct dns_row *find(struct dns_server *s, const char *name, unsigned type, bool *known)
{
	*known = false;
	for (unsigned i = 0; i < s->nrows; i++) {
		if (strcasecmp(s->rows[i].name, name) != 0)
			continue;
		*known = true;
		if (s->rows[i].type == type)
			return &s->rows[i];
	}
	return NULL;
}

struct dns_row *dns_server_row(struct dns_server *s, const char *name, unsigned type)
{
	bool known;
	struct dns_row *row = find(s, name, type, &known);

	must(row);
	return row;
}

/* False: no answer. */
static bool reply(struct dns_server *s, const uint8_t *q, size_t n, bool tcp, struct message *m)
{
	char name[256];
	size_t at = question(q, n, name);
	unsigned type = (unsigned)(q[at] << 8 | q[at + 1]), count = 0;
	bool known;
	struct dns_row *row = find(s, name, type, &known);
	bool truncate = row && row->manner == TRUNCATE && !tcp;

	s->asked++;
	if (row && tcp)
		row->by_tcp++;
	else if (row)
		row->by_udp++;
	if (row && row->manner == DROP)
		return false;
	m->n = 0;
	memcpy(m->p, q, at + 4);
	m->n = at + 4;
	if (row && row->manner == WRONG_NAME)
		m->p[13] ^= 1;
	for (const struct dns_record *r = row ? row->records : NULL;
		r && r->data && !truncate && r < row->records + ROW_RECORDS; r++) {
		put_record(m, r);
		count++;
	}
	if (row && row->manner == GARBAGE) {
		count = 3;
		for (unsigned i = 0; i < 40; i++)
			put8(m, 0xc0 | i);
	}
	m->p[2] = (uint8_t)(0x84 | (truncate ? 2 : 0));
	m->p[3] = (uint8_t)(0x80 | (row ? row->rcode : known ? 0 : 3));
	memset(m->p + 4, 0, 8);
	m->p[5] = 1;
	m->p[7] = (uint8_t)count;
	return true;
}

static void count_port(struct dns_server *s, uint16_t port)
{
	unsigned n = ++s->by_port[port];

	s->nports += n == 1;
	if (n > s->port_most)
		s->port_most = n;
}

static void serve_udp(struct dns_server *s)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	uint8_t q[1024];
	struct message m;
	ssize_t n = recvfrom(s->udp, q, sizeof(q), 0, (struct sockaddr *)&from, &len);
	bool answered;

	if (n < 17)
		return;
	pthread_mutex_lock(&s->lock);
	count_port(s, ntohs(from.sin_port));
	answered = reply(s, q, (size_t)n, false, &m);
	pthread_mutex_unlock(&s->lock);
	if (answered)
		sendto(s->udp, m.p, m.n, 0, (struct sockaddr *)&from, len);
}

/* One question a connection; the client sends it at once. */
static void serve_tcp(struct dns_server *s)
{
	int fd = accept(s->tcp, NULL, NULL);
	uint8_t q[1024], size[2];
	struct message m;
	bool answered;

	if (fd < 0)
		return;
	if (recv(fd, size, 2, MSG_WAITALL) == 2) {
		size_t n = (size_t)(size[0] << 8 | size[1]);

		if (n >= 17 && n <= sizeof(q) && recv(fd, q, n, MSG_WAITALL) == (ssize_t)n) {
			pthread_mutex_lock(&s->lock);
			answered = reply(s, q, n, true, &m);
			pthread_mutex_unlock(&s->lock);
			size[0] = (uint8_t)(m.n >> 8);
			size[1] = (uint8_t)m.n;
			if (answered && send(fd, size, 2, MSG_NOSIGNAL | MSG_MORE) == 2)
				send(fd, m.p, m.n, MSG_NOSIGNAL);
		}
	}
	close(fd);
}

static void *serve(void *arg)
{
	struct dns_server *s = arg;
	struct pollfd fds[3] = { { .fd = s->udp, .events = POLLIN },
		{ .fd = s->tcp, .events = POLLIN }, { .fd = s->stop[0], .events = POLLIN } };

	for (;;) {
		poll(fds, 3, -1);
		if (fds[2].revents)
			return NULL;
		if (fds[0].revents)
			serve_udp(s);
		if (fds[1].revents)
			serve_tcp(s);
	}
}

/* Both sockets on one port: tries until the port that TCP got is free for UDP too. */
static void open_sockets(struct dns_server *s)
{
	for (unsigned tries = 0; tries < 100; tries++) {
		struct sockaddr_in a = { .sin_family = AF_INET,
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		socklen_t len = sizeof(a);

		s->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		s->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		must(s->tcp >= 0 && s->udp >= 0);
		must(bind(s->tcp, (struct sockaddr *)&a, len) == 0 && listen(s->tcp, 16) == 0);
		must(getsockname(s->tcp, (struct sockaddr *)&a, &len) == 0);
		s->port = ntohs(a.sin_port);
		if (bind(s->udp, (struct sockaddr *)&a, len) == 0)
			return;
		close(s->tcp);
		close(s->udp);
	}
	must_failed("a port free for both UDP and TCP", __FILE__, __LINE__);
}

void dns_server_start(struct dns_server *s, struct dns_row *rows, unsigned nrows)
{
	*s = (struct dns_server){ .rows = rows, .nrows = nrows };
	must(pthread_mutex_init(&s->lock, NULL) == 0);
	open_sockets(s);
	snprintf(s->address, sizeof(s->address), "127.0.0.1:%u", s->port);
	must(pipe(s->stop) == 0);
	must(pthread_create(&s->thread, NULL, serve, s) == 0);
}

void dns_server_stop(struct dns_server *s)
{
	must(write(s->stop[1], "x", 1) == 1);
	pthread_join(s->thread, NULL);
	close(s->udp);
	close(s->tcp);
	close(s->stop[0]);
	close(s->stop[1]);
	pthread_mutex_destroy(&s->lock);
}
