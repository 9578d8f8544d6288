/* postern doctor, of the way out: from each source's own address to an MX as a relay would find it,
 * up to STARTTLS; then what differs between the sources. Nothing is sent that is mail. Main thread of
 * a tool, which waits: ten seconds for each step. */
#include <errno.h>
#include <openssl/ssl.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "doctor.h"
#include "look_up.h"
#include "postern/text.h"

#define STEP_S	  10
#define REPLY_MAX 8192

struct host {
	char name[256];
	struct addr addr[2]; /* by family; ADDR_NONE: none */
	uint16_t port;
};
struct visit {
	int fd;
	char greeting[200], error[300], tls[100];
	bool starttls;
	double connect_ms;
};

/* ---- finding an MX ---- */

static uint16_t port_of(const struct config *c, const char *host)
{
	for (unsigned i = 0; i < c->policy.nproviders; i++) {
		const struct provider_params *p = &c->policy.providers[i];

		for (unsigned k = 0; k < p->nmx; k++)
			if (glob_match(slice_of(p->mx[k]), slice_of(host)))
				return p->transport.port;
	}
	return c->policy.providers[c->policy.nproviders - 1].transport.port;
}

static void address_of(struct doctor *d, struct host *h, enum look_up_type type, unsigned place)
{
	struct look_up found;
	char why[128];

	look_up(&found, d->dns, type, h->name, why, sizeof(why));
	if (!found.n || addr_parse(&h->addr[place], slice_of(look_up_text(&found, 0))))
		h->addr[place].family = ADDR_NONE;
	look_up_deinit(&found);
}

static bool find_host(struct doctor *d, struct host *h)
{
	struct look_up found;
	unsigned best = UINT32_MAX, preference;
	char name[256], why[128] = "";

	look_up(&found, d->dns, LOOK_UP_MX, d->to, why, sizeof(why));
	for (unsigned i = 0; i < found.n; i++)
		if (sscanf(look_up_text(&found, i), "%u %255s", &preference, name) == 2 &&
			preference < best) {
			best = preference;
			strcpy(h->name, name);
		}
	look_up_deinit(&found);
	if (h->name[0]) {
		address_of(d, h, LOOK_UP_A, 0);
		address_of(d, h, LOOK_UP_AAAA, 1);
		h->port = port_of(d->config, h->name);
		return true;
	}
	doctor_tell(d,
		&(struct finding){ FINDING_UNKNOWN, "reach", d->to,
			"the way out could not be tried", "name another domain: --to" },
		"no MX was found%s%s", why[0] ? ": " : "", why);
	return false;
}

/* ---- one visit ---- */

static int open_from(
	struct visit *v, const struct source_params *s, const struct addr *to, uint16_t port)
{
	const struct timeval limit = { .tv_sec = STEP_S };
	struct sockaddr_storage from, peer;
	struct timespec a, b;
	socklen_t n =
		to->family == ADDR_V4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);

	addr_to_sockaddr(&from, &s->address, 0);
	addr_to_sockaddr(&peer, to, port);
	v->fd = socket(peer.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (v->fd < 0)
		return -errno;
	setsockopt(v->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(v->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (bind(v->fd, (const struct sockaddr *)&from, n))
		return -errno;
	clock_gettime(CLOCK_MONOTONIC, &a);
	if (connect(v->fd, (const struct sockaddr *)&peer, n))
		return errno == EINPROGRESS ? -ETIMEDOUT : -errno;
	clock_gettime(CLOCK_MONOTONIC, &b);
	v->connect_ms = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
	return 0;
}

/* One reply, of all its lines; its code, 0: none came. */
static int read_reply(struct visit *v, char text[REPLY_MAX])
{
	size_t n = 0, line = 0;

	while (n < REPLY_MAX - 1 && recv(v->fd, text + n, 1, 0) == 1) {
		if (text[n++] != '\n')
			continue;
		text[n] = '\0';
		if (n - line < 4 || text[line + 3] != '-')
			return atoi(text + line);
		line = n;
	}
	text[n] = '\0';
	return 0;
}

static int say(struct visit *v, const char *command, const char *argument, char reply[REPLY_MAX])
{
	char line[400];
	int n = snprintf(line, sizeof(line), "%s%.300s\r\n", command, argument);

	return send(v->fd, line, (size_t)n, MSG_NOSIGNAL) == n ? read_reply(v, reply) : 0;
}

static void handshake(struct visit *v, const char *host)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = ctx ? SSL_new(ctx) : NULL;
	char name[256]; /* OpenSSL's macro takes const away, and copies */

	snprintf(name, sizeof(name), "%.255s", host);
	if (ssl && SSL_set_fd(ssl, v->fd) && SSL_set_tlsext_host_name(ssl, name) &&
		SSL_connect(ssl) == 1)
		snprintf(v->tls, sizeof(v->tls), "%s %s", SSL_get_version(ssl),
			SSL_get_cipher_name(ssl));
	SSL_free(ssl);
	SSL_CTX_free(ctx);
}

static void talk(struct visit *v, const struct source_params *s, const char *host)
{
	char reply[REPLY_MAX];
	int code = read_reply(v, reply);

	snprintf(v->greeting, sizeof(v->greeting), "%.*s", (int)strcspn(reply, "\r\n"), reply);
	if (code != 220) {
		snprintf(v->error, sizeof(v->error), "it greets with: %.200s",
			code ? v->greeting : "nothing");
		return;
	}
	code = say(v, "EHLO ", s->ehlo, reply);
	if (code != 250) {
		snprintf(v->error, sizeof(v->error), "EHLO is answered by: %.*s",
			(int)strcspn(reply, "\r\n"), reply);
		return;
	}
	v->starttls = strcasestr(reply, "STARTTLS") != NULL;
	if (v->starttls && say(v, "STARTTLS", "", reply) == 220)
		handshake(v, host);
	else
		say(v, "QUIT", "", reply);
}

static bool try_source(
	struct doctor *d, const struct source_params *s, const struct host *h, struct visit *v)
{
	struct finding f = { FINDING_WRONG, "reach", s->name, "no mail can leave this way",
		"ask the network's owner to let port 25 out; many close it until asked" };
	const struct addr *to = &h->addr[s->address.family == ADDR_V6];
	int r;

	*v = (struct visit){ .fd = -1 };
	if (to->family == ADDR_NONE) {
		f.level = FINDING_UNKNOWN;
		f.advice = "name another domain: --to";
		doctor_tell(d, &f, "%s has no address of its family", h->name);
		return false;
	}
	r = open_from(v, s, to, h->port);
	if (!r)
		talk(v, s, h->name);
	if (v->fd >= 0)
		close(v->fd);
	if (r) {
		doctor_tell(
			d, &f, "cannot connect to %s, port %u: %s", h->name, h->port, strerror(-r));
	} else if (v->error[0]) {
		f.advice = "the reply tells; `postern classify` says what the relay makes of it";
		doctor_tell(d, &f, "%s takes no session: %s", h->name, v->error);
	} else if (!v->starttls || !v->tls[0]) {
		f.level = FINDING_WARNING;
		f.why = "mail goes in clear text, or not at all where TLS is required";
		f.advice = "look for a box on the way that takes STARTTLS out or breaks it";
		doctor_tell(d, &f, "%s %s", h->name,
			v->starttls ? "offers STARTTLS, and the handshake fails"
				    : "offers no STARTTLS");
	} else {
		doctor_good(d, "reach", s->name, "%s, %.1f ms, %s: %s", h->name, v->connect_ms,
			v->tls, v->greeting);
	}
	return !r && !v->error[0];
}

/* Sources that one receiver treats differently, though nothing was sent. */
static void compare(struct doctor *d, const struct source_params *s, const struct visit *v,
	const struct source_params *first, const struct visit *one)
{
	bool tls = strcmp(v->tls, one->tls) != 0;

	if (!tls && v->connect_ms < 4 * one->connect_ms + 50 &&
		one->connect_ms < 4 * v->connect_ms + 50)
		return;
	doctor_tell(d,
		&(struct finding){ FINDING_WARNING, "differs", s->name,
			"a subnet that is led another way, or through a box of its own, fares differently",
			"compare the routes of both" },
		"beside %s: %s %s, %.1f ms instead of %.1f", first->name,
		tls ? "TLS is" : "TLS is the same,", tls ? (v->tls[0] ? v->tls : "none") : "",
		v->connect_ms, one->connect_ms);
}

void doctor_reach(struct doctor *d)
{
	const struct source_params *first = NULL;
	struct host h = { .port = 0 };
	struct visit one = { .fd = -1 };

	if (!find_host(d, &h))
		return;
	for (unsigned i = 0; i < d->config->policy.nsources; i++) {
		const struct source_params *s = &d->config->policy.sources[i];
		struct visit v;

		if (!doctor_wants(d, s) || !try_source(d, s, &h, &v))
			continue;
		if (first) {
			compare(d, s, &v, first, &one);
		} else {
			first = s;
			one = v;
		}
	}
}
