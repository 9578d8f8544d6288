/* Sink: takes everything, counts it, and tells when the last of an expected number came. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

struct client {
	struct peer peer;
	bool data;	/* in DATA */
	unsigned match; /* bytes of "\r\n.\r\n" seen */
	uint64_t chunk; /* BDAT bytes still to come */
	bool last;
};

static struct {
	struct sockaddr_in at;
	bool chunking, pipelining;
	uint64_t expect;
} opt = { .pipelining = true };

static uint64_t messages, bytes, connections, first_us, last_us;
static volatile sig_atomic_t stop;
static int epoll;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

static void say(struct client *c, const char *line)
{
	peer_out(&c->peer, line, strlen(line));
}

static void count_message(struct client *c)
{
	last_us = now_us();
	if (!messages++)
		first_us = last_us;
	say(c, "250 2.0.0 Ok\r\n");
	if (opt.expect && messages == opt.expect)
		stop = 1;
}

/* Consumes DATA content; the end mark may be split over reads. */
static void eat_data(struct client *c)
{
	static const char mark[] = "\r\n.\r\n";
	struct peer *p = &c->peer;

	while (p->in_off < p->in_len && c->data) {
		char *from = p->in + p->in_off, *at = from;
		size_t n = p->in_len - p->in_off;

		if (c->match == 0) {
			at = memchr(from, '\r', n);
			if (!at) {
				p->in_off = p->in_len;
				bytes += n;
				return;
			}
		}
		c->match = *at == mark[c->match] ? c->match + 1 : *at == '\r' ? 1 : 0;
		bytes += (size_t)(at + 1 - from);
		p->in_off += (size_t)(at + 1 - from);
		if (c->match == 5) {
			c->data = false;
			count_message(c);
		}
	}
}

static void eat_chunk(struct client *c)
{
	struct peer *p = &c->peer;
	uint64_t n = p->in_len - p->in_off;

	if (n > c->chunk)
		n = c->chunk;
	p->in_off += n;
	c->chunk -= n;
	bytes += n;
	if (c->chunk)
		return;
	if (c->last)
		count_message(c);
	else
		say(c, "250 2.0.0 Ok\r\n");
	c->last = false;
}

static void greet(struct client *c)
{
	say(c, "250-sink.example\r\n250-8BITMIME\r\n250-SIZE 157286400\r\n250-DSN\r\n");
	if (opt.pipelining)
		say(c, "250-PIPELINING\r\n");
	if (opt.chunking)
		say(c, "250-CHUNKING\r\n");
	say(c, "250 ENHANCEDSTATUSCODES\r\n");
}

/* False after QUIT. */
static bool on_command(struct client *c, char *line)
{
	if (!strncasecmp(line, "EHLO", 4) || !strncasecmp(line, "HELO", 4)) {
		greet(c);
	} else if (!strncasecmp(line, "DATA", 4)) {
		say(c, "354 Go\r\n");
		c->data = true;
		c->match = 2;
	} else if (!strncasecmp(line, "BDAT ", 5)) {
		c->chunk = strtoull(line + 5, NULL, 10);
		c->last = strcasestr(line, " LAST") != NULL;
		if (!c->chunk)
			eat_chunk(c);
	} else if (!strncasecmp(line, "QUIT", 4)) {
		say(c, "221 2.0.0 Bye\r\n");
		return false;
	} else {
		say(c, "250 2.0.0 Ok\r\n");
	}
	return true;
}

static void drop(struct client *c)
{
	close(c->peer.fd);
	free(c->peer.out);
	free(c);
}

static void on_event(struct client *c)
{
	bool alive = peer_fill(&c->peer), open = true;
	char *line;
	size_t n;

	while (open && c->peer.in_off < c->peer.in_len) {
		if (c->data)
			eat_data(c);
		else if (c->chunk)
			eat_chunk(c);
		else if ((line = peer_line(&c->peer, &n)))
			open = on_command(c, line);
		else
			break;
	}
	if (!peer_flush(&c->peer, epoll, c) || !alive || !open)
		drop(c);
}

static void on_accept(int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct client *c;
	int one = 1, conn;

	while ((conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		c = calloc(1, sizeof(*c));
		if (!c)
			die("out of memory");
		setsockopt(conn, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		c->peer.fd = conn;
		ev.data.ptr = c;
		epoll_ctl(epoll, EPOLL_CTL_ADD, conn, &ev);
		connections++;
		say(c, "220 sink.example ESMTP\r\n");
		if (!peer_flush(&c->peer, epoll, c))
			drop(c);
	}
}

static int listen_at(void)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };
	socklen_t n = sizeof(opt.at);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&opt.at, sizeof(opt.at)) || listen(fd, 1024))
		die("cannot listen: %s", strerror(errno));
	getsockname(fd, (struct sockaddr *)&opt.at, &n);
	epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev);
	printf("{\"port\":%u}\n", ntohs(opt.at.sin_port));
	fflush(stdout);
	return fd;
}

static void set_address(const char *arg)
{
	char host[64];
	const char *colon = strrchr(arg, ':');

	if (!colon || (size_t)(colon - arg) >= sizeof(host))
		die("--listen: expected ADDRESS:PORT");
	snprintf(host, sizeof(host), "%.*s", (int)(colon - arg), arg);
	opt.at.sin_port = htons((uint16_t)number_arg("listen", colon + 1, 0, 65535));
	if (!inet_aton(host, &opt.at.sin_addr))
		die("--listen: '%s' is not an address", host);
}

static void parse(int argc, char **argv)
{
	static const struct option longs[] = { { "listen", 1, 0, 'l' }, { "chunking", 0, 0, 'c' },
		{ "no-pipelining", 0, 0, 'n' }, { "expect", 1, 0, 'e' }, { "help", 0, 0, 'h' },
		{ 0 } };
	int c;

	opt.at.sin_family = AF_INET;
	opt.at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'l':
			set_address(optarg);
			break;
		case 'c':
			opt.chunking = true;
			break;
		case 'n':
			opt.pipelining = false;
			break;
		case 'e':
			opt.expect = number_arg("expect", optarg, 1, UINT64_MAX);
			break;
		case 'h':
			puts("usage: smtpsink [--listen ADDRESS:PORT] [--chunking] "
			     "[--no-pipelining] [--expect MESSAGES]\n"
			     "Listens (by default on 127.0.0.1, any port) and prints its port; "
			     "ends after MESSAGES, or at SIGTERM, with counts.");
			exit(0);
		default:
			exit(64);
		}
	}
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_term };
	struct epoll_event events[256];
	int fd;

	parse(argc, argv);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	fd = listen_at();
	while (!stop) {
		int n = epoll_wait(epoll, events, 256, 1000);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				on_event(events[i].data.ptr);
			else
				on_accept(fd);
		}
	}
	printf("{\"messages\":%llu,\"bytes\":%llu,\"connections\":%llu,\"first_us\":%llu,\"last_"
	       "us\":%llu}\n",
		(unsigned long long)messages, (unsigned long long)bytes,
		(unsigned long long)connections, (unsigned long long)first_us,
		(unsigned long long)last_us);
	return 0;
}
