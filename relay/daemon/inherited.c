/* Listening sockets that the service manager holds and hands over (systemd's socket activation, by its
 * documented protocol: descriptors from 3 on, LISTEN_PID, LISTEN_FDS). Clients that connect while
 * the relay restarts wait in them, and are not refused. Called by the main thread at the start, and
 * by whoever reloads.
 *
 * A listener's address for which a socket was handed over is not bound: each worker gets a
 * duplicate of that one. Sockets of our own, joined to it, would lose what waits in them at the
 * restart, which is what this is for. What was handed over and belongs to no listener is an error:
 * its clients would wait for ever. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "service_private.h"

#define FIRST_FD 3

/* A whole number from the environment; 0: there is none. */
static unsigned long number(const char *name)
{
	const char *text = getenv(name);
	unsigned long v;
	char *end;

	if (!text || *text < '0' || *text > '9')
		return 0;
	errno = 0;
	v = strtoul(text, &end, 10);
	return *end || errno ? 0 : v;
}

static bool is_listening(int fd)
{
	int on = 0, type = 0;
	socklen_t n = sizeof(on), m = sizeof(type);

	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &n) && on &&
	       !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &m) && type == SOCK_STREAM;
}

static int take(struct inherited_socket *s, int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int flags;

	s->fd = fd;
	if (!is_listening(fd) || getsockname(fd, (struct sockaddr *)&sa, &len) ||
		addr_from_sockaddr(&s->addr, &s->port, (struct sockaddr *)&sa))
		return -ENOTSOCK;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) || fcntl(fd, F_SETFD, FD_CLOEXEC))
		return -errno;
	return 0;
}

int inherited_init(struct inherited *ret, char *error, size_t error_max)
{
	unsigned long n = number("LISTEN_FDS");

	*ret = (struct inherited){ 0 };
	if (!n || number("LISTEN_PID") != (unsigned long)getpid())
		return EX_OK;
	if (n > INHERITED_MAX) {
		snprintf(error, error_max, "the service manager hands over %lu sockets: %d at most",
			n, INHERITED_MAX);
		return EX_CONFIG;
	}
	for (unsigned i = 0; i < n; i++) {
		int r = take(&ret->sockets[i], FIRST_FD + (int)i);

		if (r) {
			snprintf(error, error_max,
				"descriptor %u, which the service manager hands over, cannot be "
				"used as a listening TCP socket: %s",
				FIRST_FD + i, strerror(-r));
			return EX_CONFIG;
		}
		ret->n++;
	}
	return EX_OK;
}

int inherited_find(const struct inherited *h, const struct addr *addr, uint16_t port)
{
	for (unsigned i = 0; i < h->n; i++)
		if (port && h->sockets[i].port == port && addr_eq(&h->sockets[i].addr, addr))
			return h->sockets[i].fd;
	return -1;
}

int inherited_check(
	const struct inherited *h, const struct listening *l, char *error, size_t error_max)
{
	char text[ADDR_TEXT_MAX];

	for (unsigned i = 0; i < h->n; i++) {
		const struct inherited_socket *s = &h->sockets[i];
		bool used = false;

		for (unsigned k = 0; k < l->n && !used; k++)
			used = l->bound[k].port == s->port && addr_eq(&l->bound[k].addr, &s->addr);
		if (used)
			continue;
		addr_format(text, &s->addr);
		snprintf(error, error_max,
			"the service manager hands over a socket at %s port %u, which no listener "
			"has among its addresses: its clients would wait for ever",
			text, s->port);
		return EX_CONFIG;
	}
	return EX_OK;
}
