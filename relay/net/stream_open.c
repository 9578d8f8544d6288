/* How streams begin: a socket accepted, or a connection made from a chosen source address. Called
 * by sessions, on the loop's thread. A source that cannot be bound is told apart (STREAM_E_BIND):
 * that is our trouble, and no receiver's. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stream_private.h"

static int set_nodelay(int fd)
{
	int on = 1;

	return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ? -errno : 0;
}

static int set_send_buffer(int fd)
{
	int size = (int)STREAM_SEND_BUFFER;

	return setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) ? -errno : 0;
}

int stream_accept(
	struct stream **ret, struct loop *l, int fd, const struct stream_ops *ops, void *arg)
{
	struct stream *s;
	int r;

	r = stream_new(&s, l, ops, arg);
	if (r)
		return r;
	r = set_nodelay(fd);
	if (!r)
		r = uv_tcp_open(&s->tcp, fd);
	if (r) {
		stream_destroy(s);
		return r;
	}
	stream_to(s, STREAM_OPEN);
	stream_start_reading(s);
	*ret = s;
	return 0;
}

static void on_connect(uv_connect_t *req, int status)
{
	struct stream *s = req->data;
	char text[96];

	if (s->state != STREAM_CONNECTING)
		return;
	if (status) {
		/* the kernel picks the local port only now: none left for this address */
		int error = status == UV_EADDRNOTAVAIL ? STREAM_E_BIND : status;

		stream_to(s, STREAM_FAILED);
		s->ops->on_connected(s->arg, error, stream_error_text(status, text, sizeof(text)));
		return;
	}
	stream_to(s, STREAM_OPEN);
	stream_start_reading(s);
	if (stream_pending(s) > 0)
		stream_mark(s);
	s->ops->on_connected(s->arg, 0, NULL);
}

/* The local port is left to connect, which can then share it between destinations; without that a
 * source address would run out of ports at 28,000 connections in all. */
static int bind_source(int fd, const struct addr *source)
{
	struct sockaddr_storage sa;
	socklen_t len = source->family == ADDR_V6 ? sizeof(struct sockaddr_in6)
						  : sizeof(struct sockaddr_in);
	int on = 1;

	if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)))
		return -errno;
	addr_to_sockaddr(&sa, source, 0);
	return bind(fd, (struct sockaddr *)&sa, len) ? -errno : 0;
}

/* 0, or the error to report with its sentence in why. */
static int begin_connect(struct stream *s, const struct addr *source, const struct addr *to,
	uint16_t port, char why[160])
{
	struct sockaddr_storage sa;
	char text[80], name[ADDR_TEXT_MAX];
	int r, fd;

	fd = socket(to->family == ADDR_V6 ? AF_INET6 : AF_INET,
		SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		r = -errno;
		goto out;
	}
	r = source ? bind_source(fd, source) : 0;
	if (r) {
		addr_format(name, source);
		snprintf(why, 160, "source address %s cannot be used: %s", name,
			stream_error_text(r, text, sizeof(text)));
		close(fd);
		return STREAM_E_BIND;
	}
	r = set_nodelay(fd);
	if (!r)
		r = set_send_buffer(fd);
	if (!r)
		r = uv_tcp_open(&s->tcp, fd);
	if (r) {
		close(fd);
		goto out;
	}
	addr_to_sockaddr(&sa, to, port);
	s->connect.data = s;
	r = uv_tcp_connect(&s->connect, &s->tcp, (struct sockaddr *)&sa, on_connect);
out:
	if (r)
		stream_error_text(r, why, 160);
	return r == UV_EADDRNOTAVAIL ? STREAM_E_BIND : r;
}

int stream_connect(struct stream **ret, struct loop *l, const struct addr *source,
	const struct addr *to, uint16_t port, const struct stream_ops *ops, void *arg)
{
	struct stream *s;
	int r;

	if (to->family == ADDR_NONE || (source && source->family != to->family))
		return -EINVAL;
	r = stream_new(&s, l, ops, arg);
	if (r)
		return r;
	s->peer = *to;
	s->peer_port = port;
	r = begin_connect(s, source, to, port, s->end_text);
	if (r)
		stream_end_later(s, r);
	*ret = s;
	return 0;
}
