/* A receiver in a thread of its own for the dispatcher's tests: answers by a script, counts what
 * came. */
#include "mx.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "postern/must.h"

#define CONNS_MAX 256

struct mx_conn {
	struct mx_conn *next;
	int fd;
	unsigned number;
	bool content, dead, silent;
	char site[20], source[20], sender[128], (*rcpts)[128];
	unsigned nrcpts, taken;
	char *in;
	size_t n, cap;
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
	if (send(c->fd, line, (size_t)n, MSG_NOSIGNAL) != n)
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

		m->mails = realloc(m->mails, (m->nmails + 1) * sizeof(*m->mails));
		must(m->mails);
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
	c->rcpts = realloc(c->rcpts, (c->nrcpts + 1) * sizeof(*c->rcpts));
	must(c->rcpts);
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
		c->in = realloc(c->in, c->cap);
		must(c->in);
	}
	n = recv(c->fd, c->in + c->n, c->cap - c->n, MSG_DONTWAIT);
	if (n <= 0) {
		c->dead = true;
		return;
	}
	c->n += (size_t)n;
	on_bytes(m, c);
}

static void on_accept(struct mx *m, int fd)
{
	struct sockaddr_in peer, self;
	socklen_t n = sizeof(peer), k = sizeof(self);
	struct mx_conn *c;
	int s = accept4(fd, (struct sockaddr *)&peer, &n, SOCK_CLOEXEC), one = 1;

	if (s < 0)
		return;
	c = calloc(1, sizeof(*c));
	must(c && getsockname(s, (struct sockaddr *)&self, &k) == 0);
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->fd = s;
	inet_ntop(AF_INET, &self.sin_addr, c->site, sizeof(c->site));
	inet_ntop(AF_INET, &peer.sin_addr, c->source, sizeof(c->source));
	c->next = m->conns;
	m->conns = c;
	pthread_mutex_lock(&m->lock);
	c->number = m->connections++;
	if (++m->open > m->peak)
		m->peak = m->open;
	pthread_mutex_unlock(&m->lock);
	answer(m, c, MX_BANNER, "", "220 mx.test ESMTP");
}

static void reap(struct mx *m, bool all)
{
	for (struct mx_conn **p = &m->conns; *p;) {
		struct mx_conn *c = *p;

		if (!c->dead && !all) {
			p = &c->next;
			continue;
		}
		*p = c->next;
		close(c->fd);
		free(c->in);
		free(c->rcpts);
		free(c);
		pthread_mutex_lock(&m->lock);
		m->open--;
		pthread_mutex_unlock(&m->lock);
	}
}

static void *serve(void *arg)
{
	struct mx *m = arg;

	for (;;) {
		struct pollfd fds[CONNS_MAX + MX_SITES + 1];
		nfds_t n = 0;

		fds[n++] = (struct pollfd){ .fd = m->stop[0], .events = POLLIN };
		for (int i = 0; i < MX_SITES; i++)
			fds[n++] = (struct pollfd){ .fd = m->listeners[i], .events = POLLIN };
		for (struct mx_conn *c = m->conns; c && n < CONNS_MAX; c = c->next)
			fds[n++] = (struct pollfd){ .fd = c->fd, .events = POLLIN };
		if (poll(fds, n, -1) < 0)
			continue;
		if (fds[0].revents)
			break;
		n = 1 + MX_SITES;
		for (struct mx_conn *c = m->conns; c && n < CONNS_MAX; c = c->next)
			if (fds[n++].revents)
				on_readable(m, c);
		for (int i = 0; i < MX_SITES; i++)
			if (fds[1 + i].revents)
				on_accept(m, m->listeners[i]);
		reap(m, false);
	}
	reap(m, true);
	return NULL;
}

static bool listen_all(struct mx *m)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof(a);
	int one = 1;

	for (int i = 0; i < MX_SITES; i++) {
		a.sin_addr.s_addr = htonl(0x7f000901u + (unsigned)i);
		m->listeners[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		must(m->listeners[i] >= 0);
		setsockopt(m->listeners[i], SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (bind(m->listeners[i], (struct sockaddr *)&a, sizeof(a)) ||
			listen(m->listeners[i], 256)) {
			for (; i >= 0; i--)
				close(m->listeners[i]);
			return false;
		}
		getsockname(m->listeners[i], (struct sockaddr *)&a, &n);
	}
	m->port = ntohs(a.sin_port);
	return true;
}

void mx_start(struct mx *m, struct mx_rule *rules, unsigned nrules)
{
	memset(m, 0, sizeof(*m));
	m->rules = rules;
	m->nrules = nrules;
	pthread_mutex_init(&m->lock, NULL);
	/* the port that the first got may be taken at another address */
	for (int i = 0; !listen_all(m); i++)
		must(i < 20);
	must(pipe2(m->stop, O_CLOEXEC) == 0);
	must(pthread_create(&m->thread, NULL, serve, m) == 0);
}

void mx_stop(struct mx *m)
{
	must(write(m->stop[1], "", 1) == 1);
	pthread_join(m->thread, NULL);
	for (int i = 0; i < MX_SITES; i++)
		close(m->listeners[i]);
	close(m->stop[0]);
	close(m->stop[1]);
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
