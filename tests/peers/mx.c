/* The receiver of the unit tests: answers by rules, counts what came. Called by the test; what begins
 * with on_ runs on the receiver's own thread, which alone has the connections. */
#include "mx.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop.h"
#include "postern/must.h"
#include "socket.h"
#include "util.h"

#define FIRST_SITE 0x7f000901u /* 127.0.9.1 */
#define PORT_TRIES 50

struct mx_conn {
	struct io io;
	struct mx_conn *next, **prev;
	unsigned number;
	bool content, dead, silent;
	char site[20], source[20], sender[128], (*rcpts)[128];
	unsigned nrcpts, taken;
	char *in;
	size_t n, cap;
};

struct mx_thread {
	struct loop_thread thread;
	struct io listeners[MX_SITES];
	struct mx_conn *conns;
};

static void say(struct mx_conn *c, const char *reply)
{
	char line[600];
	int n;

	if (!strcmp(reply, MX_SILENCE)) {
		c->silent = true;
		return;
	}
	if (!reply[0]) {
		c->dead = true;
		return;
	}
	n = snprintf(line, sizeof(line), "%s\r\n", reply);
	if (send(c->io.fd, line, (size_t)n, MSG_NOSIGNAL) != n)
		c->dead = true;
}

/* The rule's answer, or the good one. */
static const char *reply_for(
	struct mx *m, struct mx_conn *c, enum mx_when when, const char *line, const char *good)
{
	const char *reply = good;

	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < m->nrules; i++) {
		struct mx_rule *r = &m->rules[i];

		if (r->when != when || (when == MX_MAIL && c->taken < m->session_max) ||
			(when == MX_RCPT && c->nrcpts < m->rcpts_max) ||
			(r->times && r->used >= r->times) ||
			(r->site && strcmp(r->site, c->site)) ||
			(r->source && strcmp(r->source, c->source)) ||
			(r->match && !strstr(line, r->match)))
			continue;
		r->used++;
		reply = r->reply;
		break;
	}
	pthread_mutex_unlock(&m->lock);
	return reply;
}

/* True: it was the good one. */
static bool answer(
	struct mx *m, struct mx_conn *c, enum mx_when when, const char *line, const char *good)
{
	const char *reply = reply_for(m, c, when, line, good);

	say(c, reply);
	return reply == good;
}

static void path_of(char out[128], const char *line)
{
	const char *from = strchr(line, '<'), *to = from ? strchr(from, '>') : NULL;

	out[0] = '\0';
	if (to)
		snprintf(out, 128, "%.*s", (int)(to - from - 1), from + 1);
}

static void note(struct mx *m, struct mx_conn *c, const char *content, size_t n)
{
	c->taken++;
	pthread_mutex_lock(&m->lock);
	m->transactions++;
	for (unsigned i = 0; i < c->nrcpts; i++) {
		struct mx_mail *x;

		m->mails = xrealloc(m->mails, (m->nmails + 1) * sizeof(*m->mails));
		x = &m->mails[m->nmails++];
		memset(x, 0, sizeof(*x));
		memcpy(x->site, c->site, sizeof(x->site));
		memcpy(x->source, c->source, sizeof(x->source));
		memcpy(x->sender, c->sender, sizeof(x->sender));
		memcpy(x->recipient, c->rcpts[i], sizeof(x->recipient));
		x->connection = c->number;
		x->size = (unsigned)n;
		x->by_dsn = !c->sender[0];
	}
	if (!c->sender[0]) {
		free(m->last_content);
		m->last_content = strndup(content, n);
	}
	pthread_mutex_unlock(&m->lock);
}

/* What is taken is noted before it is answered: who has seen the relay settle a message finds it. */
static void on_content(struct mx *m, struct mx_conn *c, size_t n)
{
	static const char good[] = "250 2.6.0 queued";
	const char *reply = reply_for(m, c, MX_EOD, c->sender, good);

	if (reply == good)
		note(m, c, c->in, n);
	say(c, reply);
}

static void on_rcpt(struct mx *m, struct mx_conn *c, const char *line)
{
	if (!answer(m, c, MX_RCPT, line, "250 2.1.5 ok"))
		return;
	c->rcpts = xrealloc(c->rcpts, (c->nrcpts + 1) * sizeof(*c->rcpts));
	path_of(c->rcpts[c->nrcpts++], line);
}

static void on_line(struct mx *m, struct mx_conn *c, const char *line)
{
	if (!strncasecmp(line, "EHLO", 4)) {
		answer(m, c, MX_EHLO, line,
			m->starttls ? "250-mx.test\r\n250-STARTTLS\r\n250-PIPELINING\r\n250 DSN"
				    : "250-mx.test\r\n250-PIPELINING\r\n250 SIZE 1000000");
	} else if (!strncasecmp(line, "STARTTLS", 8)) {
		answer(m, c, MX_STARTTLS, line, "454 4.7.0 not now");
	} else if (!strncasecmp(line, "MAIL", 4)) {
		c->nrcpts = 0;
		c->sender[0] = '\0';
		if (answer(m, c, MX_MAIL, line, "250 2.1.0 ok"))
			path_of(c->sender, line);
		else
			memcpy(c->sender, "!", 2);
	} else if (!strncasecmp(line, "RCPT", 4)) {
		if (!strcmp(c->sender, "!"))
			say(c, "503 5.5.2 Need mail command");
		else
			on_rcpt(m, c, line);
	} else if (!strncasecmp(line, "DATA", 4)) {
		c->content = c->nrcpts > 0;
		say(c, c->content ? "354 go" : "503 5.5.2 Need rcpt command");
	} else if (!strncasecmp(line, "QUIT", 4)) {
		say(c, "221 2.0.0 bye");
		c->dead = true;
	} else {
		say(c, "250 2.0.0 ok");
	}
}

static void on_bytes(struct mx *m, struct mx_conn *c)
{
	while (!c->dead && !c->silent) {
		char *end = c->content ? memmem(c->in, c->n, "\r\n.\r\n", 5)
				       : memmem(c->in, c->n, "\r\n", 2);
		size_t used;

		if (!end)
			return;
		used = (size_t)(end - c->in) + (c->content ? 5 : 2);
		*end = '\0';
		if (c->content) {
			c->content = false;
			on_content(m, c, used - 3);
		} else {
			on_line(m, c, c->in);
		}
		memmove(c->in, c->in + used, c->n - used);
		c->n -= used;
	}
}

static void on_readable(struct mx *m, struct mx_conn *c)
{
	ssize_t n;

	if (c->cap - c->n < 65536) {
		c->cap = c->cap ? c->cap * 2 : 131072;
		c->in = xrealloc(c->in, c->cap);
	}
	n = recv(c->io.fd, c->in + c->n, c->cap - c->n, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		c->dead = true;
		return;
	}
	c->n += (size_t)n;
	on_bytes(m, c);
}

static void conn_free(struct mx *m, struct mx_conn *c)
{
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	close(c->io.fd);
	free(c->in);
	free(c->rcpts);
	free(c);
	pthread_mutex_lock(&m->lock);
	m->open--;
	pthread_mutex_unlock(&m->lock);
}

static void on_conn(struct loop *lp, struct io *io, uint32_t events)
{
	struct mx_conn *c = (struct mx_conn *)(void *)io;

	on_readable(lp->owner, c);
	if (c->dead)
		conn_free(lp->owner, c);
}

static void on_accept(struct loop *lp, struct io *io, uint32_t events)
{
	struct mx *m = lp->owner;
	struct sockaddr_in peer, self;
	socklen_t n = sizeof(peer), k = sizeof(self);
	struct mx_conn *c;
	int fd = accept4(io->fd, (struct sockaddr *)&peer, &n, SOCK_CLOEXEC), one = 1;

	if (fd < 0)
		return;
	c = xcalloc(1, sizeof(*c));
	must(getsockname(fd, (struct sockaddr *)&self, &k) == 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->io = (struct io){ .fd = fd, .fn = on_conn };
	inet_ntop(AF_INET, &self.sin_addr, c->site, sizeof(c->site));
	inet_ntop(AF_INET, &peer.sin_addr, c->source, sizeof(c->source));
	c->next = m->serving->conns;
	c->prev = &m->serving->conns;
	if (c->next)
		c->next->prev = &c->next;
	m->serving->conns = c;
	pthread_mutex_lock(&m->lock);
	c->number = m->connections++;
	if (++m->open > m->peak)
		m->peak = m->open;
	pthread_mutex_unlock(&m->lock);
	answer(m, c, MX_BANNER, "", "220 mx.test ESMTP");
	if (c->dead)
		conn_free(m, c);
	else
		io_add(lp, &c->io, EPOLLIN);
}

/* One port at all sites: the one that the first gets may be taken at another. */
static bool listen_all(struct mx *m)
{
	int fds[MX_SITES];

	m->port = 0;
	for (unsigned i = 0; i < MX_SITES; i++) {
		fds[i] = socket_listen_at(FIRST_SITE + i, m->port, 256);
		if (fds[i] < 0) {
			while (i--)
				close(fds[i]);
			return false;
		}
		m->port = (uint16_t)socket_port(fds[i]);
	}
	for (unsigned i = 0; i < MX_SITES; i++) {
		m->serving->listeners[i] =
			(struct io){ .fd = fds[i], .listener = true, .fn = on_accept };
		io_add(&m->serving->thread.loop, &m->serving->listeners[i], EPOLLIN);
	}
	return true;
}

void mx_start(struct mx *m, struct mx_rule *rules, unsigned nrules)
{
	memset(m, 0, sizeof(*m));
	m->rules = rules;
	m->nrules = nrules;
	m->serving = xcalloc(1, sizeof(*m->serving));
	pthread_mutex_init(&m->lock, NULL);
	loop_thread_init(&m->serving->thread, m);
	for (int i = 0; !listen_all(m); i++)
		must(i < PORT_TRIES);
	loop_thread_start(&m->serving->thread);
}

void mx_stop(struct mx *m)
{
	loop_thread_stop(&m->serving->thread);
	while (m->serving->conns)
		conn_free(m, m->serving->conns);
	for (int i = 0; i < MX_SITES; i++)
		close(m->serving->listeners[i].fd);
	loop_thread_deinit(&m->serving->thread);
	free(m->serving);
	free(m->mails);
	free(m->last_content);
	pthread_mutex_destroy(&m->lock);
}

unsigned mx_count(struct mx *m, const char *recipient, const char *source)
{
	unsigned n = 0;

	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < m->nmails; i++)
		n += (!recipient || !strcmp(m->mails[i].recipient, recipient)) &&
		     (!source || !strcmp(m->mails[i].source, source));
	pthread_mutex_unlock(&m->lock);
	return n;
}

unsigned mx_mails(struct mx *m)
{
	return mx_count(m, NULL, NULL);
}

void mx_forget(struct mx *m)
{
	pthread_mutex_lock(&m->lock);
	m->nmails = 0;
	pthread_mutex_unlock(&m->lock);
}

unsigned mx_dsns(struct mx *m)
{
	unsigned n = 0;

	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < m->nmails; i++)
		n += m->mails[i].by_dsn;
	pthread_mutex_unlock(&m->lock);
	return n;
}

struct mx_mail mx_first(struct mx *m)
{
	struct mx_mail x;

	pthread_mutex_lock(&m->lock);
	must(m->nmails > 0);
	x = m->mails[0];
	pthread_mutex_unlock(&m->lock);
	return x;
}

unsigned mx_rule_used(struct mx *m, unsigned rule)
{
	unsigned n;

	pthread_mutex_lock(&m->lock);
	n = m->rules[rule].used;
	pthread_mutex_unlock(&m->lock);
	return n;
}
