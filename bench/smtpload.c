/* Load generator: like Postfix's smtp-source (a command, a reply; the same connection for many
 * messages), with latencies, tenants and identities. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peer.h"

enum step { BANNER, EHLO, MAIL, RCPT, DATA, BODY, QUIT };

struct session {
	struct peer peer;
	enum step step;
	uint64_t sent; /* messages on this connection */
	uint64_t id, begun_us;
	bool open;
};

static struct {
	struct sockaddr_in to;
	uint64_t messages, sessions, size, per_connection, domains;
	const char *pattern, *prefix;
	bool json, until_gone;
} opt = { .messages = 1000,
	.sessions = 20,
	.size = 4096,
	.domains = 1,
	.pattern = "user@example.net",
	.prefix = "load" };

static uint64_t started, done, refused;
static uint32_t *latency_us;
static char *text;
static FILE *acked;
static bool gone;
static int epoll;

/* Lines of 70 letters, made once: content must not cost the generator anything. */
static void make_text(void)
{
	text = malloc(opt.size + 8);
	if (!text)
		die("out of memory");
	for (uint64_t i = 0; i < opt.size; i++)
		text[i] = i % 72 == 70	 ? '\r'
			  : i % 72 == 71 ? '\n'
					 : (char)('a' + (i * 7 + i / 72) % 26);
	if (opt.size >= 2)
		memcpy(text + opt.size - 2, "\r\n", 2);
	memcpy(text + opt.size, ".\r\n", 4);
}

static void open_session(struct session *s)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = s };
	int one = 1;
	bool up;

	s->peer.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	up = s->peer.fd >= 0 && !connect(s->peer.fd, (struct sockaddr *)&opt.to, sizeof(opt.to));
	gone |= !up && opt.until_gone;
	if (gone)
		return;
	if (!up)
		die("connect to %s port %u: %s", inet_ntoa(opt.to.sin_addr), ntohs(opt.to.sin_port),
			strerror(errno));
	setsockopt(s->peer.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	s->step = BANNER;
	s->sent = 0;
	s->open = true;
	s->peer.in_off = s->peer.in_len = s->peer.out_off = s->peer.out_len = 0;
	s->peer.want_write = false;
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, s->peer.fd, &ev))
		die("epoll_ctl: %s", strerror(errno));
}

static void say(struct session *s, const char *line)
{
	peer_out(&s->peer, line, strlen(line));
}

static void begin_message(struct session *s)
{
	if (started == opt.messages || (opt.per_connection && s->sent == opt.per_connection)) {
		say(s, "QUIT\r\n");
		s->step = QUIT;
		return;
	}
	s->id = started++;
	s->sent++;
	say(s, "MAIL FROM:<sender@load.example>\r\n");
	s->step = MAIL;
}

static void send_recipient(struct session *s)
{
	char line[512], address[400];

	if (strchr(opt.pattern, '%'))
		snprintf(address, sizeof(address), "user@t%llu%s",
			(unsigned long long)(s->id % opt.domains), strchr(opt.pattern, '%') + 1);
	else
		snprintf(address, sizeof(address), "%s", opt.pattern);
	snprintf(line, sizeof(line), "RCPT TO:<%s>\r\n", address);
	say(s, line);
	s->step = RCPT;
}

static void send_content(struct session *s)
{
	char head[512];
	int n = snprintf(head, sizeof(head),
		"From: <sender@load.example>\r\nTo: <user@example.net>\r\nSubject: load\r\nDate: "
		"Sun, 22 Nov 2026 00:00:00 +0000\r\n"
		"Message-ID: <%s-%llu@load.example>\r\nX-Test-Id: %s-%llu\r\n\r\n",
		opt.prefix, (unsigned long long)s->id, opt.prefix, (unsigned long long)s->id);

	peer_out(&s->peer, head, (size_t)n);
	s->begun_us = now_us();
	peer_out(&s->peer, text, opt.size + 3);
	s->step = BODY;
}

static void close_session(struct session *s)
{
	close(s->peer.fd);
	s->open = false;
	if (!gone && started < opt.messages)
		open_session(s);
}

static void finish_message(struct session *s, bool accepted)
{
	if (accepted && acked)
		fprintf(acked, "%s-%llu\n", opt.prefix, (unsigned long long)s->id);
	if (!accepted)
		refused++;
	else if (done < opt.messages)
		latency_us[done++] = (uint32_t)(now_us() - s->begun_us);
	begin_message(s);
}

static void on_reply(struct session *s, const char *line, size_t n)
{
	bool ok = *line == '2' || *line == '3';

	if (n >= 4 && line[3] == '-')
		return;
	if (!ok && s->step < MAIL)
		die("refused: %s", line);
	switch (s->step) {
	case BANNER:
		say(s, "EHLO load.example\r\n");
		s->step = EHLO;
		break;
	case EHLO:
		begin_message(s);
		break;
	case MAIL:
	case RCPT:
	case DATA:
		if (!ok) {
			if (!refused)
				fprintf(stderr, "first refusal: %s\n", line);
			say(s, "RSET\r\n");
			s->step = EHLO; /* the reply to RSET begins the next one */
			refused++;
		} else if (s->step == MAIL) {
			send_recipient(s);
		} else if (s->step == RCPT) {
			say(s, "DATA\r\n");
			s->step = DATA;
		} else {
			send_content(s);
		}
		break;
	case BODY:
		if (!ok && !refused)
			fprintf(stderr, "first refusal: %s\n", line);
		finish_message(s, ok);
		break;
	case QUIT:
		break;
	}
}

static void on_event(struct session *s)
{
	bool alive = peer_fill(&s->peer);
	char *line;
	size_t n;

	while ((line = peer_line(&s->peer, &n)))
		on_reply(s, line, n);
	if (!alive && s->step != QUIT && opt.until_gone)
		gone = true;
	else if (!alive && s->step != QUIT)
		die("connection closed by the relay in step %d", (int)s->step);
	if (!alive || !peer_flush(&s->peer, epoll, s))
		close_session(s);
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static double percentile(double p)
{
	return done ? latency_us[(uint64_t)((double)(done - 1) * p)] / 1000.0 : 0;
}

static void report(double seconds)
{
	qsort(latency_us, done, sizeof(*latency_us), compare_u32);
	printf(opt.json ? "{\"messages\":%llu,\"refused\":%llu,\"seconds\":%.3f,\"per_second\":%."
			  "0f,\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"max_ms\":%.2f}\n"
			: "%llu messages accepted, %llu refused, %.3f s, %.0f/s; end of data to "
			  "250: p50 %.2f ms, p99 %.2f ms, max %.2f ms\n",
		(unsigned long long)done, (unsigned long long)refused, seconds,
		(double)done / seconds, percentile(0.5), percentile(0.99), percentile(1));
}

static void set_address(const char *arg)
{
	char host[64];
	const char *colon = strrchr(arg, ':');

	if (!colon || (size_t)(colon - arg) >= sizeof(host))
		die("--to: expected ADDRESS:PORT");
	snprintf(host, sizeof(host), "%.*s", (int)(colon - arg), arg);
	opt.to.sin_family = AF_INET;
	opt.to.sin_port = htons((uint16_t)number_arg("to", colon + 1, 1, 65535));
	if (!inet_aton(host, &opt.to.sin_addr) || (ntohl(opt.to.sin_addr.s_addr) >> 24) != 127)
		die("--to: only addresses of 127.0.0.0/8: this is a load generator");
}

static _Noreturn void usage(void)
{
	puts("usage: smtpload --to 127.0.0.1:PORT [--messages N] [--sessions N] [--size BYTES] "
	     "[--per-connection N]\n"
	     "                [--rcpt ADDRESS | --rcpt %.SUFFIX --domains N] [--prefix TEXT] "
	     "[--json]\n"
	     "                [--acked FILE] [--until-gone]\n"
	     "--rcpt %.example --domains 1000: recipients user@t0.example … user@t999.example in "
	     "turn\n"
	     "--acked: the identities of the messages that were answered 250, a line each\n"
	     "--until-gone: a relay that goes away is the end, not an error");
	exit(0);
}

static void parse(int argc, char **argv)
{
	static const struct option longs[] = { { "to", 1, 0, 't' }, { "messages", 1, 0, 'm' },
		{ "sessions", 1, 0, 's' }, { "size", 1, 0, 'z' }, { "per-connection", 1, 0, 'p' },
		{ "rcpt", 1, 0, 'r' }, { "domains", 1, 0, 'd' }, { "prefix", 1, 0, 'x' },
		{ "acked", 1, 0, 'a' }, { "until-gone", 0, 0, 'g' }, { "json", 0, 0, 'j' },
		{ "help", 0, 0, 'h' }, { 0 } };
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 't':
			set_address(optarg);
			break;
		case 'm':
			opt.messages = number_arg("messages", optarg, 1, 100000000);
			break;
		case 's':
			opt.sessions = number_arg("sessions", optarg, 1, 10000);
			break;
		case 'z':
			opt.size = number_arg("size", optarg, 2, 1u << 30);
			break;
		case 'p':
			opt.per_connection = number_arg("per-connection", optarg, 1, 1000000);
			break;
		case 'r':
			opt.pattern = optarg;
			break;
		case 'd':
			opt.domains = number_arg("domains", optarg, 1, 10000000);
			break;
		case 'x':
			opt.prefix = optarg;
			break;
		case 'a':
			acked = fopen(optarg, "we");
			if (!acked)
				die("--acked: cannot write %s: %s", optarg, strerror(errno));
			break;
		case 'g':
			opt.until_gone = true;
			break;
		case 'j':
			opt.json = true;
			break;
		case 'h':
			usage();
		default:
			exit(64);
		}
	}
	if (!opt.to.sin_port)
		die("--to is missing");
}

static uint64_t count_open(const struct session *sessions)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < opt.sessions; i++)
		n += sessions[i].open;
	return n;
}

int main(int argc, char **argv)
{
	struct epoll_event events[256];
	struct session *sessions;
	uint64_t start, open = 0;

	parse(argc, argv);
	make_text();
	epoll = epoll_create1(EPOLL_CLOEXEC);
	sessions = calloc(opt.sessions, sizeof(*sessions));
	latency_us = calloc(opt.messages, sizeof(*latency_us));
	if (epoll < 0 || !sessions || !latency_us)
		die("out of memory");
	start = now_us();
	for (uint64_t i = 0; i < opt.sessions; i++)
		open_session(&sessions[i]);
	/* a relay that went away may have left answers behind: they are read before the end */
	while (started < opt.messages || (open && done + refused < opt.messages)) {
		int n;

		if (gone && !count_open(sessions))
			break;
		n = epoll_wait(epoll, events, 256, 60000);

		if (n == 0)
			die("no reply for 60 s; %llu of %llu accepted", (unsigned long long)done,
				(unsigned long long)opt.messages);
		for (int i = 0; i < n; i++)
			on_event(events[i].data.ptr);
		open = started == opt.messages ? count_open(sessions) : 0;
	}
	if (acked && fclose(acked))
		die("--acked: cannot write: %s", strerror(errno));
	report((double)(now_us() - start) / 1e6);
	return refused ? 1 : 0;
}
