/* The PROXY preface: who the client really is, told by a load balancer in front of us. Called by
 * inbound_accept.c on the worker's thread, before the stream exists.
 *
 * It is read with MSG_PEEK and only its own bytes are taken from the socket: what follows, a TLS
 * client's hello perhaps, stays there for the stream. Only peers of proxy_from are believed. waits
 * → whole (the session begins) or bad, too late (closed) */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "inbound.h"
#include "postern/smtp_proxy.h"

struct preface {
	uv_poll_t poll;
	struct session *s;
	int fd;
	bool done; /* fd goes on to the stream; else it is closed */
};

/* The kernel wakes us when more than this is there: without it, an unfinished preface that is left
 * in the socket would be readable all the time. */
static void wake_over(int fd, size_t n)
{
	int low = (int)n + 1;

	/* where it does not work, the session's time limit still ends it */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low));
}

static void on_poll_closed(uv_handle_t *h)
{
	struct preface *f = h->data;
	struct session *s = f->s;

	if (f->done && !session_is_closed(s)) {
		s->preface = NULL;
		s->waits &= ~(unsigned)WAIT_PREFACE;
		session_open(s, f->fd);
	} else {
		close(f->fd);
	}
	free(f);
	session_release(s);
}

static void finish(struct preface *f)
{
	if (!uv_is_closing((uv_handle_t *)&f->poll))
		uv_close((uv_handle_t *)&f->poll, on_poll_closed);
}

void preface_stop(struct session *s)
{
	struct preface *f = s->preface;

	s->preface = NULL;
	if (f)
		finish(f);
}

static void preface_take(struct preface *f, const struct proxy_header *h, size_t used)
{
	struct session *s = f->s;
	char gone[PROXY_V2_MAX];

	wake_over(f->fd, 0);
	if (recv(f->fd, gone, used, MSG_DONTWAIT) != (ssize_t)used) {
		session_close(s, 0, "the PROXY preface cannot be read");
		return;
	}
	if (!h->local) {
		s->client = h->client;
		s->client_port = h->client_port;
	}
	f->done = true;
	finish(f);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct preface *f = poll->data;
	struct proxy_header h = { 0 };
	char in[PROXY_V2_MAX];
	size_t used = 0;
	ssize_t n;

	n = status ? -1 : recv(f->fd, in, sizeof(in), MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && !status && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		session_close(f->s, 0, n == 0 ? NULL : "the connection broke in the PROXY preface");
		return;
	}
	switch (proxy_parse(&h, (struct slice){ in, (size_t)n }, &used)) {
	case PROXY_DONE:
		preface_take(f, &h, used);
		break;
	case PROXY_MORE:
		if ((size_t)n < sizeof(in)) {
			/* an end of input cannot be told from slowness while bytes wait: POLLRDHUP
			 * does */
			if (events & UV_DISCONNECT)
				session_close(f->s, 0, NULL);
			else
				wake_over(f->fd, (size_t)n);
			break;
		}
		session_close(f->s, 0, "the PROXY preface is too long");
		break;
	case PROXY_BAD:
		session_close(f->s, 0, "not a PROXY preface");
		break;
	}
}

static bool believed(const struct session *s)
{
	const struct listener_params *p = s->ln->p;

	for (unsigned i = 0; i < p->nproxy_from; i++) {
		if (net_contains(&p->proxy_from[i], &s->client))
			return true;
	}
	return false;
}

int preface_start(struct session *s, int fd)
{
	struct preface *f = believed(s) ? calloc(1, sizeof(*f)) : NULL;
	int r = f ? 0 : -EACCES;

	if (f) {
		f->s = s;
		f->fd = fd;
		f->poll.data = f;
		r = uv_poll_init(loop_uv(s->ib->loop), &f->poll, fd);
	}
	if (r) {
		free(f);
		close(fd);
		return r;
	}
	session_hold(s);
	s->preface = f;
	r = uv_poll_start(&f->poll, UV_READABLE | UV_DISCONNECT, on_readable);
	if (r)
		preface_stop(s);
	return r;
}
