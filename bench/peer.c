/* What the load generator (smtpload.c) and the sink (smtpsink.c) share: clock, arguments, a
 * connection with its buffers. One thread. */
#include "peer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

uint64_t number_arg(const char *name, const char *text, uint64_t min, uint64_t max)
{
	char *end;
	unsigned long long v = strtoull(text, &end, 10);

	if (!*text || *end || v < min || v > max)
		die("--%s: '%s' is not a number from %llu to %llu", name, text,
			(unsigned long long)min, (unsigned long long)max);
	return v;
}

void peer_out(struct peer *p, const char *data, size_t n)
{
	if (p->out_off == p->out_len)
		p->out_off = p->out_len = 0;
	if (p->out_cap - p->out_len < n) {
		size_t cap = (p->out_len + n) * 2;
		char *grown = realloc(p->out, cap);

		if (!grown)
			die("out of memory");
		p->out = grown;
		p->out_cap = cap;
	}
	memcpy(p->out + p->out_len, data, n);
	p->out_len += n;
}

bool peer_flush(struct peer *p, int epoll, void *tag)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = tag };
	bool blocked = false;

	while (p->out_off < p->out_len && !blocked) {
		ssize_t n = send(p->fd, p->out + p->out_off, p->out_len - p->out_off,
			MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n >= 0)
			p->out_off += (size_t)n;
		else if (errno == EAGAIN)
			blocked = true;
		else if (errno != EINTR)
			return false;
	}
	if (blocked != p->want_write) {
		p->want_write = blocked;
		ev.events |= blocked ? (uint32_t)EPOLLOUT : 0;
		epoll_ctl(epoll, EPOLL_CTL_MOD, p->fd, &ev);
	}
	return true;
}

bool peer_fill(struct peer *p)
{
	ssize_t n;

	if (p->in_off) {
		memmove(p->in, p->in + p->in_off, p->in_len - p->in_off);
		p->in_len -= p->in_off;
		p->in_off = 0;
	}
	if (p->in_len == sizeof(p->in))
		return false; /* a line as long as the buffer */
	do
		n = recv(p->fd, p->in + p->in_len, sizeof(p->in) - p->in_len, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return true;
	if (n <= 0)
		return false;
	p->in_len += (size_t)n;
	return true;
}

char *peer_line(struct peer *p, size_t *n)
{
	char *line = p->in + p->in_off;
	char *end = memchr(line, '\n', p->in_len - p->in_off);

	if (!end)
		return NULL;
	p->in_off = (size_t)(end + 1 - p->in);
	if (end > line && end[-1] == '\r')
		end--;
	*end = 0;
	*n = (size_t)(end - line);
	return line;
}
