/* The listening sockets: bound by the main thread at the start, before privileges are dropped, and
 * by whoever reloads. Each worker has one of its own of each address (LISTEN_FIRST, then
 * LISTEN_JOIN). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "service_private.h"

#define BACKLOG 1024

static int complain(const struct listener_params *p, const struct bound *b, int r, char *error,
	size_t error_max)
{
	char text[ADDR_TEXT_MAX];

	addr_format(text, &b->addr);
	snprintf(error, error_max, "listener \"%s\": cannot listen on %s port %u: %s%s", p->name,
		text, b->port, strerror(-r),
		r == -EACCES ? ": ports below 1024 need root or CAP_NET_BIND_SERVICE, at a reload "
			       "too"
		: r == -EADDRINUSE ? ": another program has it"
				   : "");
	return r == -EACCES ? EX_NOPERM : EX_OSERR;
}

/* One worker's socket. The first one decides the port, when the kernel is to choose: the others join
 * it. Of a socket that was handed over each has a duplicate (inherited.c). */
static int open_socket(struct bound *b, const struct inherited *inherited, uint16_t *port)
{
	int fd = inherited_find(inherited, &b->addr, b->port);

	if (fd < 0)
		return listen_open(&b->fd, &b->addr, *port, BACKLOG,
			b->worker ? LISTEN_JOIN : LISTEN_FIRST, port);
	b->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return b->fd < 0 ? -errno : 0;
}

/* Sockets of all workers at one address of one listener. */
static int bind_address(struct listening *l, const struct listener_params *p, struct bound b,
	const struct listening_from *from, char *error, size_t error_max)
{
	uint16_t port = b.port;
	int r;

	b.ours = true;
	for (unsigned w = 0; w < from->nworkers; w++) {
		b.worker = w;
		r = open_socket(&b, from->inherited, &port);
		if (r)
			return complain(p, &b, r, error, error_max);
		b.actual = port;
		l->bound[l->n++] = b;
	}
	return EX_OK;
}

/* The sockets of the same address in before that nobody has taken yet; NULL: none. The same
 * listener's own if there are several, as with ports that the kernel chose. */
static const struct bound *find_before(const struct listening *before, const struct bound *want,
	const struct listening *taken, unsigned nworkers)
{
	for (unsigned i = 0; before && i < before->n; i += nworkers) {
		const struct bound *b = &before->bound[i];

		if (b->port == want->port && addr_eq(&b->addr, &want->addr) &&
			(b->port || b->listener == want->listener) && !listening_has(taken, b->fd))
			return b;
	}
	return NULL;
}

int listening_new(struct listening *ret, const struct generation *g,
	const struct listening_from *from, char *error, size_t error_max)
{
	const struct config *c = g->config;
	unsigned nworkers = from->nworkers;
	struct listening l = { 0 };
	unsigned total = 0;
	int r = EX_OK;

	for (unsigned i = 0; i < c->nlisteners; i++)
		total += c->listeners[i].naddresses * nworkers;
	l.bound = calloc(total + 1, sizeof(*l.bound));
	if (!l.bound) {
		snprintf(error, error_max, "out of memory");
		return EX_OSERR;
	}
	for (unsigned i = 0; i < c->nlisteners; i++) {
		const struct listener_params *p = &c->listeners[i];

		for (unsigned a = 0; r == EX_OK && a < p->naddresses; a++) {
			struct bound want = { .listener = i,
				.addr = p->addresses[a].addr,
				.port = p->addresses[a].port };
			const struct bound *old = find_before(from->before, &want, &l, nworkers);

			for (unsigned w = 0; old && w < nworkers; w++) {
				l.bound[l.n] = old[w];
				l.bound[l.n].ours = false;
				l.bound[l.n++].listener = i;
			}
			if (!old)
				r = bind_address(&l, p, want, from, error, error_max);
		}
	}
	if (r == EX_OK)
		*ret = l;
	else
		listening_close(&l);
	return r;
}

void listening_close(struct listening *l)
{
	for (unsigned i = 0; i < l->n; i++)
		if (l->bound[i].ours)
			close(l->bound[i].fd);
	free(l->bound);
	*l = (struct listening){ 0 };
}

bool listening_has(const struct listening *l, int fd)
{
	for (unsigned i = 0; i < l->n; i++)
		if (l->bound[i].fd == fd)
			return true;
	return false;
}

struct dispatch_endpoint *listening_endpoints(const struct listening *l, unsigned *n)
{
	struct dispatch_endpoint *e = calloc(l->n + 1, sizeof(*e));

	*n = 0;
	for (unsigned i = 0; e && i < l->n; i++)
		if (l->bound[i].worker == 0)
			e[(*n)++] =
				(struct dispatch_endpoint){ l->bound[i].addr, l->bound[i].actual };
	return e;
}

static void say(const struct bound *b, const struct listener_params *p, struct log *log)
{
	char text[ADDR_TEXT_MAX], full[ADDR_TEXT_MAX + 16];
	struct log_line ln;

	addr_format(text, &b->addr);
	snprintf(full, sizeof(full), b->addr.family == ADDR_V6 ? "[%s]:%u" : "%s:%u", text,
		b->actual);
	log_line_init(&ln);
	log_line_begin(&ln, clock_wall_ms(), log_event_name(EVENT_LISTENING));
	log_line_cstr(&ln, "listener", p->name);
	log_line_cstr(&ln, "address", full);
	log_line_bool(&ln, "tls", p->certificate != NULL);
	log_emit(log, &ln);
	log_line_deinit(&ln);
}

void listening_say(const struct listening *l, const struct generation *g, struct log *log,
	const struct listening *before)
{
	for (unsigned i = 0; i < l->n; i++)
		if (l->bound[i].worker == 0 && !(before && listening_has(before, l->bound[i].fd)))
			say(&l->bound[i], &g->config->listeners[l->bound[i].listener], log);
}
