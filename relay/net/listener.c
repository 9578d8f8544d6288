/* Listening sockets: accepts in small batches and hands the descriptors on. On the loop's thread,
 * but for listen_open, which only makes the socket.
 *
 * When the process has no descriptors left, accepting pauses for a moment: clients wait in the
 * kernel's backlog meanwhile. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop_private.h"
#include "postern/must.h"
#include "postern/stream.h"

#define ACCEPT_BATCH 32 /* then the connections that are there get their turn */
#define ACCEPT_PAUSE 100

struct listener {
	uv_poll_t poll;
	uv_timer_t timer;
	int fd;
	int open_handles;
	bool stopping;
	uint64_t pauses;
	void (*accepted)(void *arg, int fd, const struct addr *peer, uint16_t port);
	void *arg;
};

static int set_flag(int fd, int level, int name)
{
	int on = 1;

	return setsockopt(fd, level, name, &on, sizeof(on)) ? -errno : 0;
}

/* SO_REUSEPORT set before the bind would also let in who has the port already: another relay of the
 * same user, which would then share the mail. So the first socket of a port is bound and listens
 * alone, which the kernel refuses beside any other that listens there; only then is it opened to
 * those of ours that join it. A second relay's first socket never joins. */
static int prepare_socket(
	int fd, const struct addr *a, uint16_t port, int backlog, enum listen_share share)
{
	struct sockaddr_storage sa;
	socklen_t len =
		a->family == ADDR_V6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	int r;

	r = set_flag(fd, SOL_SOCKET, SO_REUSEADDR);
	if (!r && share == LISTEN_JOIN)
		r = set_flag(fd, SOL_SOCKET, SO_REUSEPORT);
	/* "::" and "0.0.0.0" are two listeners, here as in the configuration */
	if (!r && a->family == ADDR_V6)
		r = set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY);
	if (r)
		return r;
	addr_to_sockaddr(&sa, a, port);
	if (bind(fd, (struct sockaddr *)&sa, len) || listen(fd, backlog))
		return -errno;
	return share == LISTEN_FIRST ? set_flag(fd, SOL_SOCKET, SO_REUSEPORT) : 0;
}

int listen_open(int *fd, const struct addr *a, uint16_t port, int backlog, enum listen_share share,
	uint16_t *bound)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct addr at;
	int r, s;

	s = socket(a->family == ADDR_V6 ? AF_INET6 : AF_INET,
		SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s < 0)
		return -errno;
	r = prepare_socket(s, a, port, backlog, share);
	if (!r && bound) {
		r = getsockname(s, (struct sockaddr *)&sa, &len) ? -errno : 0;
		if (!r)
			r = addr_from_sockaddr(&at, bound, (struct sockaddr *)&sa);
	}
	if (r) {
		close(s);
		return r;
	}
	*fd = s;
	return 0;
}

static void on_ready(uv_poll_t *h, int status, int events);

static void on_pause_over(uv_timer_t *t)
{
	struct listener *ln = t->data;

	uv_poll_start(&ln->poll, UV_READABLE, on_ready);
}

/* 0, or the negative errno after which accepting ends for now. */
static int accept_one(struct listener *ln)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct addr peer = { 0 };
	uint16_t port = 0;
	int fd;

	do
		fd = accept4(ln->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return -errno;
	addr_from_sockaddr(&peer, &port, (struct sockaddr *)&sa);
	ln->accepted(ln->arg, fd, &peer, port);
	return 0;
}

static void on_ready(uv_poll_t *h, int status, int events)
{
	struct listener *ln = h->data;
	int r = 0;

	for (int n = 0; n < ACCEPT_BATCH && !ln->stopping; n++) {
		r = accept_one(ln);
		/* that connection ended before we got to it; others may wait (accept(2): treat
		 * pending network errors like EAGAIN by trying again, at the next event) */
		if (r == -ECONNABORTED)
			continue;
		if (r)
			break;
	}
	if (r == -EMFILE || r == -ENFILE || r == -ENOBUFS || r == -ENOMEM) {
		/* the socket stays readable: without a pause the loop would spin */
		ln->pauses++;
		uv_poll_stop(&ln->poll);
		uv_timer_start(&ln->timer, on_pause_over, ACCEPT_PAUSE, 0);
	}
}

int listener_new(struct listener **ret, struct loop *l, int fd,
	void (*accepted)(void *arg, int fd, const struct addr *peer, uint16_t port), void *arg)
{
	struct listener *ln = calloc(1, sizeof(*ln));
	int r;

	if (!ln)
		return -ENOMEM;
	r = uv_poll_init(&l->uv, &ln->poll, fd);
	if (r) {
		free(ln);
		return r;
	}
	must(uv_timer_init(&l->uv, &ln->timer) == 0);
	ln->poll.data = ln->timer.data = ln;
	ln->open_handles = 2;
	ln->fd = fd;
	ln->accepted = accepted;
	ln->arg = arg;
	*ret = ln;
	return 0;
}

void listener_accept(struct listener *ln)
{
	must(uv_poll_start(&ln->poll, UV_READABLE, on_ready) == 0);
}

void listener_hand_over(struct listener *ln, void *arg)
{
	ln->arg = arg;
}

static void on_handle_closed(uv_handle_t *h)
{
	struct listener *ln = h->data;

	if (--ln->open_handles == 0)
		free(ln);
}

void listener_stop(struct listener *ln)
{
	if (!ln)
		return;
	must(!ln->stopping);
	ln->stopping = true;
	uv_poll_stop(&ln->poll);
	uv_close((uv_handle_t *)&ln->poll, on_handle_closed);
	uv_close((uv_handle_t *)&ln->timer, on_handle_closed);
	close(ln->fd);
}

uint64_t listener_pauses(const struct listener *ln)
{
	return ln->pauses;
}
