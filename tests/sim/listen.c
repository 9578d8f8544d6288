/* One listening socket per front end, all on one port. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../peers/socket.h"
#include "conn.h"

#define PORT_TRIES 50

/* A full backlog: further SYNs are dropped, so that connecting times out. */
static void fill_backlog(struct listener *li, int port)
{
	struct sockaddr_in sin = socket_address(li->ip, port);

	for (size_t i = 0; i < sizeof(li->fillers) / sizeof(li->fillers[0]); i++) {
		li->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (li->fillers[i] >= 0 &&
			connect(li->fillers[i], (struct sockaddr *)&sin, sizeof(sin)) &&
			errno != EINPROGRESS)
			die("cannot fill the backlog: %s", strerror(errno));
	}
}

static void listener_close(struct listener *li)
{
	if (li->io.fd >= 0)
		close(li->io.fd);
	li->io.fd = -1;
	for (size_t i = 0; i < sizeof(li->fillers) / sizeof(li->fillers[0]); i++) {
		if (li->fillers[i] >= 0)
			close(li->fillers[i]);
		li->fillers[i] = -1;
	}
}

static int listener_open(struct sim *s, const struct host *h)
{
	enum listen_mode mode = h->cluster->listen;
	struct listener *li;
	int fd = socket_listen_at(h->ip, s->smtp_port, mode == LISTEN_BLACKHOLE ? 0 : 4096);

	if (fd < 0)
		return fd;
	if (!s->smtp_port)
		s->smtp_port = socket_port(fd);
	li = xcalloc(1, sizeof(*li));
	li->io = (struct io){ .fd = fd, .listener = true, .fn = conn_accept };
	li->ip = h->ip;
	li->mode = mode;
	memset(li->fillers, -1, sizeof(li->fillers));
	li->next = s->listeners;
	s->listeners = li;
	if (mode == LISTEN_BLACKHOLE)
		fill_backlog(li, s->smtp_port);
	else
		io_add(&s->loops[0], &li->io, EPOLLIN);
	return 0;
}

void sim_unlisten(struct sim *s)
{
	while (s->listeners) {
		struct listener *li = s->listeners;

		s->listeners = li->next;
		listener_close(li);
		free(li);
	}
	while (s->dead_listeners) {
		struct listener *li = s->dead_listeners;

		s->dead_listeners = li->next;
		free(li);
	}
}

/* Closes what the scenario no longer has. The memory stays: an event of this round may name it. */
static void drop_others(struct sim *s)
{
	for (struct listener **p = &s->listeners; *p;) {
		struct listener *li = *p;
		const struct host *h = scenario_host(s->sc, li->ip);

		if (h && h->cluster->listen == li->mode) {
			p = &li->next;
			continue;
		}
		*p = li->next;
		listener_close(li);
		li->next = s->dead_listeners;
		s->dead_listeners = li;
	}
}

static bool listening(const struct sim *s, uint32_t ip)
{
	for (const struct listener *li = s->listeners; li; li = li->next) {
		if (li->ip == ip)
			return true;
	}
	return false;
}

static int listen_all(struct sim *s, const char **which)
{
	static char text[IP_TEXT];

	for (size_t i = 0; i < s->sc->nby_ip; i++) {
		const struct host *h = &s->sc->by_ip[i];
		int r;

		if (h->cluster->listen == LISTEN_NO || listening(s, h->ip))
			continue;
		r = listener_open(s, h);
		if (r) {
			*which = ip_text(text, h->ip);
			return r;
		}
	}
	return 0;
}

int sim_listen(struct sim *s, struct buf *errors)
{
	bool chosen = s->opt.port != 0 || s->smtp_port != 0;
	const char *which = "";
	int r;

	drop_others(s);
	for (int i = 0;; i++) {
		r = listen_all(s, &which);
		if (r != -EADDRINUSE || chosen || i == PORT_TRIES)
			break;
		/* the kernel's choice is taken at another of our addresses */
		sim_unlisten(s);
		s->smtp_port = 0;
	}
	if (r)
		put_fmt(errors, "cannot listen on %s:%d: %s\n", which, s->smtp_port, strerror(-r));
	return r;
}

void sim_bind_names(struct sim *s, struct scenario *sc)
{
	for (size_t i = 0; i < sc->nclusters; i++)
		sc->clusters[i]->id = ledger_name(&s->ledger, sc->clusters[i]->name);
}

int sim_replace(struct sim *s, const char *text, struct buf *errors)
{
	struct scenario *sc;

	if (scenario_load(&sc, "scenario", text, errors))
		return -1;
	sim_bind_names(s, sc);
	scenario_unref(s->sc);
	s->sc = sc;
	return sim_listen(s, errors);
}
