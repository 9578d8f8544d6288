/* The other end of a connection: sockets, TLS and replies by hand, and scripts. Called by the tests of
 * sessions, on the test's thread. */
#include "peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../wait.h"
#include "postern/must.h"

void peer_adopt(struct peer *p, int fd)
{
	struct timeval t = { .tv_sec = WAIT_MS / 1000 };

	memset(p, 0, sizeof(*p));
	p->fd = fd;
	must(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) == 0);
	must(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)) == 0);
}

void peer_connect(struct peer *p, uint16_t port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(fd >= 0);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		fail_msg("connect: %s", strerror(errno));
	peer_adopt(p, fd);
}

void peer_close(struct peer *p)
{
	if (p->ssl) {
		SSL_shutdown(p->ssl);
		SSL_free(p->ssl);
		SSL_CTX_free(p->ctx);
		p->ssl = NULL;
	}
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

void peer_reset(struct peer *p)
{
	struct linger l = { .l_onoff = 1 };

	must(setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)) == 0);
	close(p->fd);
	p->fd = -1;
}

void peer_tls(struct peer *p)
{
	p->ctx = SSL_CTX_new(TLS_client_method());
	must(p->ctx);
	p->ssl = SSL_new(p->ctx);
	must(p->ssl && SSL_set_fd(p->ssl, p->fd) == 1);
	if (SSL_connect(p->ssl) != 1)
		fail_msg("TLS handshake failed");
}

bool peer_send(struct peer *p, const void *data, size_t n)
{
	const char *from = data;

	while (n > 0) {
		ssize_t r = p->ssl ? SSL_write(p->ssl, from, n > 1 << 20 ? 1 << 20 : (int)n)
				   : send(p->fd, from, n, MSG_NOSIGNAL);

		if (r <= 0)
			return false;
		from += r;
		n -= (size_t)r;
	}
	return true;
}

void peer_say(struct peer *p, const char *text)
{
	if (!peer_send(p, text, strlen(text)))
		fail_msg("the other side is gone before: %.60s", text);
}

/* More input; false at its end. */
static bool fill(struct peer *p)
{
	ssize_t r;

	must(p->n < sizeof(p->in));
	r = p->ssl ? SSL_read(p->ssl, p->in + p->n, (int)(sizeof(p->in) - p->n))
		   : recv(p->fd, p->in + p->n, sizeof(p->in) - p->n, 0);
	if (r < 0 && !p->ssl && errno == EAGAIN)
		fail_msg("no input from the other side in time");
	if (r <= 0)
		return false;
	p->n += (size_t)r;
	return true;
}

bool peer_line(struct peer *p, char *line, size_t max)
{
	char *lf;
	size_t n;

	while (!(lf = memchr(p->in, '\n', p->n))) {
		if (!fill(p))
			return false;
	}
	n = (size_t)(lf - p->in);
	must(n < max);
	memcpy(line, p->in, n);
	line[n > 0 && line[n - 1] == '\r' ? n - 1 : n] = '\0';
	p->n -= n + 1;
	memmove(p->in, lf + 1, p->n);
	return true;
}

bool peer_read(struct peer *p, void *to, size_t n)
{
	char *out = to;

	while (n > 0) {
		size_t k = p->n < n ? p->n : n;

		if (k == 0) {
			if (!fill(p))
				return false;
			continue;
		}
		memcpy(out, p->in, k);
		out += k;
		n -= k;
		p->n -= k;
		memmove(p->in, p->in + k, p->n);
	}
	return true;
}

void peer_expect(struct peer *p, const char *begin)
{
	char line[2048];

	p->reply[0] = '\0';
	do {
		if (!peer_line(p, line, sizeof(line)))
			fail_msg("expected %s, but the other side closed (after \"%s\")", begin,
				p->reply);
		must(strlen(p->reply) + strlen(line) + 2 < sizeof(p->reply));
		strcat(p->reply, line);
		strcat(p->reply, "\n");
	} while (strlen(line) > 3 && line[3] == '-');
	if (strncmp(p->reply, begin, strlen(begin)) != 0)
		fail_msg("expected %s, got %s", begin, p->reply);
}

void peer_talk(struct peer *p, const char *text, const char *begin)
{
	peer_say(p, text);
	peer_expect(p, begin);
}

void peer_expect_end(struct peer *p)
{
	if (p->n > 0 || fill(p))
		fail_msg("expected the end, got: %.*s", (int)p->n, p->in);
}

void peer_hello(struct peer *p, uint16_t port)
{
	peer_connect(p, port);
	peer_expect(p, "220 ");
	peer_talk(p, "EHLO client.example.test\r\n", "250-");
}

static void play_tls(struct peer *p, const struct play *play)
{
	p->ctx = SSL_CTX_new(TLS_server_method());
	must(SSL_CTX_use_certificate_chain_file(p->ctx, play->files->good) == 1);
	must(SSL_CTX_use_PrivateKey_file(p->ctx, play->files->key, SSL_FILETYPE_PEM) == 1);
	p->ssl = SSL_new(p->ctx);
	must(SSL_set_fd(p->ssl, p->fd) == 1);
	if (SSL_accept(p->ssl) != 1)
		fail_msg("TLS handshake failed");
}

static void play_bdat(struct peer *p, struct play *play)
{
	char line[256];
	unsigned long n = 0;

	if (!peer_line(p, line, sizeof(line)) || sscanf(line, "BDAT %lu LAST", &n) != 1)
		fail_msg("expected BDAT, got %s", line);
	free(play->content);
	play->content = malloc(n + 1);
	play->content_n = n;
	must(play->content);
	if (!peer_read(p, play->content, n))
		fail_msg("the content ended early");
}

/* Up to the end mark; takes the dots off. */
static void play_data(struct peer *p, struct play *play)
{
	char line[4096];

	free(play->content);
	play->content = calloc(1, 1 << 20);
	play->content_n = 0;
	must(play->content);
	for (;;) {
		const char *from = line;

		if (!peer_line(p, line, sizeof(line)))
			fail_msg("the content ended early");
		if (strcmp(line, ".") == 0)
			return;
		if (line[0] == '.')
			from++;
		must(play->content_n + strlen(from) + 3 < 1 << 20);
		play->content_n += (size_t)sprintf(play->content + play->content_n, "%s\r\n", from);
	}
}

void peer_play(struct peer *p, struct play *play, const char *const *script)
{
	char line[4096], out[8192];

	for (; *script; script++) {
		const char *s = *script;
		size_t n = 0;

		switch (*s) {
		case '<':
			if (!peer_line(p, line, sizeof(line)))
				fail_msg("expected %s, got the end", s + 1);
			if (strncmp(line, s + 1, strlen(s + 1)) != 0)
				fail_msg("expected %s, got %s", s + 1, line);
			break;
		case '>':
			for (s++; *s; s++) {
				must(n + 4 < sizeof(out));
				if (*s == '|')
					out[n++] = '\r';
				out[n++] = *s == '|' ? '\n' : *s;
			}
			memcpy(out + n, "\r\n", 2);
			assert_true(peer_send(p, out, n + 2));
			break;
		case 'b':
			play_bdat(p, play);
			break;
		case 'd':
			play_data(p, play);
			break;
		case 't':
			play_tls(p, play);
			break;
		case 'x':
			peer_close(p);
			break;
		case 'r':
			peer_reset(p);
			break;
		case '.':
			peer_expect_end(p);
			break;
		default:
			fail_msg("bad script: %s", s);
		}
	}
}

char *text_make(size_t n)
{
	char *p = malloc(n + 1);
	size_t i = 0;

	must(p);
	while (i < n) {
		size_t line = 60 + i % 13;

		for (size_t k = 0; k < line && i < n; k++, i++)
			p[i] = k == 0 && i % 5 == 0 ? '.' : (char)('a' + (i / 7 + k) % 26);
		if (i + 2 <= n) {
			p[i++] = '\r';
			p[i++] = '\n';
		}
	}
	/* it ends with a line end in any case */
	must(n >= 4);
	memcpy(p + n - 4, "zz\r\n", 4);
	if (p[n - 5] == '\r')
		p[n - 5] = 'z';
	p[n] = '\0';
	return p;
}
