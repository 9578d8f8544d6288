/* What the front ends say, in the forms that Microsoft's have (or plainly, for other receivers). */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "conn.h"
#include "postern/clock.h"

static void dates(struct sim *s)
{
	ms_t wall = clock_wall_ms();

	if (wall / 1000 != s->date_at) {
		s->date_at = wall / 1000;
		clock_rfc5322(s->date, wall, 0);
	}
	clock_rfc3339(s->stamp, wall);
}

const char *host_domain(const struct conn *c)
{
	if (c->cluster->form == FORM_PLAIN)
		return ".example.net";
	return c->cluster->consumer ? ".olc.protection.outlook.com"
				    : ".mail.protection.outlook.com";
}

static void put_session(struct buf *b, const struct conn *c)
{
	put_fmt(b, "08DD%012llX", (unsigned long long)(hash_mix(c->session) & 0xffffffffffffULL));
}

static void put_tail(struct buf *b, struct conn *c)
{
	const struct cluster *cl = c->cluster;

	if (cl->form == FORM_PLAIN || !cl->tails)
		return;
	if (cl->form == FORM_OLD) {
		put_fmt(b, "[%s.eop-%s.prod.protection.outlook.com]", c->host->name, cl->name);
		return;
	}
	dates(c->loop->sim);
	if (cl->consumer)
		PUT_LIT(b, "[Name=Protocol Filter Agent][AGT=PFA][MxId=11BC7DD4C6F5A8C2] ");
	put_fmt(b, "[%s.%s.prod.outlook.com %s ", c->host->name, cl->forest, c->loop->sim->stamp);
	put_session(b, c);
	PUT_LIT(b, "]");
}

void reply(struct conn *c, const char *text)
{
	put_str(&c->reply, text);
}

void reply_tail(struct conn *c, const char *text)
{
	put_str(&c->reply, text);
	if (c->cluster->form != FORM_PLAIN && c->cluster->tails) {
		PUT_LIT(&c->reply, " ");
		put_tail(&c->reply, c);
	}
	PUT_LIT(&c->reply, "\r\n");
}

static void put_age(struct buf *b, struct conn *c)
{
	uint64_t s = (sim_time(c->loop) - c->opened_sim) / 1000000;

	put_fmt(b, "%02u:%02u:%02u", (unsigned)(s / 3600), (unsigned)(s / 60 % 60),
		(unsigned)(s % 60));
}

static bool put_placeholder(
	struct buf *b, struct conn *c, const char *name, size_t n, const char *rcpt)
{
	char ip[IP_TEXT];
	struct slice s = { name, n };

#define IS(lit) slice_eq(s, SLICE_LIT(lit))
	if (IS("ip")) {
		put_str(b, ip_text(ip, c->peer_ip));
	} else if (IS("subnet")) {
		put_str(b, ip_text(ip, c->peer_ip & ~255U));
		PUT_LIT(b, "/24");
	} else if (IS("host")) {
		put_str(b, c->host->name);
		put_str(b, host_domain(c));
	} else if (IS("hostip")) {
		put_str(b, ip_text(ip, c->host->ip));
	} else if (IS("tail")) {
		put_tail(b, c);
	} else if (IS("time")) {
		dates(c->loop->sim);
		put_str(b, c->loop->sim->stamp);
	} else if (IS("date")) {
		dates(c->loop->sim);
		put_str(b, c->loop->sim->date);
	} else if (IS("id")) {
		put_session(b, c);
	} else if (IS("age")) {
		put_age(b, c);
	} else if (IS("rcpt")) {
		put_str(b, rcpt ? rcpt : c->nrcpts ? c->rcpt_text.p + c->rcpts[0].at : "");
	} else if (IS("from")) {
		put_str(b, c->from);
	} else if (IS("domain")) {
		put_str(b, c->domain);
	} else if (IS("ehlo")) {
		put_str(b, c->ehlo);
	} else if (IS("cluster")) {
		put_str(b, c->cluster->name);
	} else if (IS("forest")) {
		put_str(b, c->cluster->forest);
	} else {
		return false;
	}
#undef IS
	return true;
}

static void put_expanded(struct buf *b, struct conn *c, const char *p, size_t n, const char *rcpt)
{
	while (n) {
		const char *open = memchr(p, '{', n), *close;
		size_t text = open ? (size_t)(open - p) : n;

		put(b, p, text);
		p += text;
		n -= text;
		if (!n)
			break;
		close = memchr(p, '}', n);
		if (close && put_placeholder(b, c, p + 1, (size_t)(close - p - 1), rcpt)) {
			n -= (size_t)(close - p + 1);
			p = close + 1;
		} else {
			put(b, p++, 1);
			n--;
		}
	}
}

void reply_template(struct conn *c, const char *tmpl, const char *rcpt)
{
	const char *code = tmpl;

	while (*tmpl) {
		size_t n = strcspn(tmpl, "\r\n");
		const char *text = tmpl, *next = tmpl + n;
		bool last;

		next += strspn(next, "\r\n");
		last = *next == '\0';
		if (n >= 3 && memcmp(text, code, 3) == 0)
			text += 3;
		put(&c->reply, code, 3);
		put(&c->reply, last ? " " : "-", 1);
		if (text != tmpl && (*text == ' ' || *text == '-'))
			text++;
		put_expanded(&c->reply, c, text, (size_t)(tmpl + n - text), rcpt);
		/* what a placeholder without value left at the end */
		while (c->reply.len > c->reply.off && c->reply.p[c->reply.len - 1] == ' ' && n > 4)
			c->reply.len--;
		PUT_LIT(&c->reply, "\r\n");
		tmpl = next;
	}
}

void reply_banner(struct conn *c)
{
	dates(c->loop->sim);
	if (c->cluster->form == FORM_PLAIN) {
		put_fmt(&c->reply, "220 %s%s ESMTP\r\n", c->host->name, host_domain(c));
		return;
	}
	put_fmt(&c->reply, "220 %s%s Microsoft ESMTP MAIL Service ready at %s", c->host->name,
		host_domain(c), c->loop->sim->date);
	if (c->cluster->form == FORM_NEW) {
		PUT_LIT(&c->reply, " [");
		put_session(&c->reply, c);
		PUT_LIT(&c->reply, "]");
	}
	PUT_LIT(&c->reply, "\r\n");
}

static void put_features(struct conn *c)
{
	unsigned f = c->cluster->features;

	if (c->ssl)
		f &= ~(unsigned)F_STARTTLS;
	for (unsigned i = 0; feature_names[i]; i++) {
		if (!(f & 1U << i))
			continue;
		put_fmt(&c->reply, "250-%s", feature_names[i]);
		if (1U << i == F_SIZE)
			put_fmt(&c->reply, " %llu", (unsigned long long)c->cluster->size);
		if (1U << i == F_AUTH)
			PUT_LIT(&c->reply, " PLAIN LOGIN");
		PUT_LIT(&c->reply, "\r\n");
	}
}

void reply_ehlo(struct conn *c, bool ehlo)
{
	size_t last = c->reply.len;
	char ip[IP_TEXT];

	put_fmt(&c->reply, "250-%s%s", c->host->name, host_domain(c));
	if (c->cluster->form != FORM_PLAIN)
		put_fmt(&c->reply, " Hello [%s]", ip_text(ip, c->peer_ip));
	PUT_LIT(&c->reply, "\r\n");
	if (ehlo)
		put_features(c);
	/* the last line has no dash */
	for (size_t i = c->reply.len - 2; i > last; i--) {
		if (c->reply.p[i - 1] == '\n') {
			last = i;
			break;
		}
	}
	c->reply.p[last + 3] = ' ';
}

void reply_queued(struct conn *c)
{
	uint64_t h = hash_mix(c->session ^ (uint64_t)c->messages << 40);
	double took = (double)(h % 900 + 100) / 1000;

	if (c->cluster->form == FORM_PLAIN) {
		put_fmt(&c->reply, "250 2.0.0 Ok: queued as %010llX\r\n",
			(unsigned long long)(h & 0xffffffffffULL));
		return;
	}
	put_fmt(&c->reply,
		"250 2.6.0 %s [InternalId=%llu, Hostname=%.3sPR0%uMB%04u.%s.prod.outlook.com] %llu "
		"bytes in "
		"%.3f, %.3f KB/sec Queued mail for delivery\r\n",
		c->message_id[0] ? c->message_id : "<no-id>", (unsigned long long)(h >> 20),
		c->cluster->site, (unsigned)(h & 7) + 1, (unsigned)(h >> 8 & 8191),
		c->cluster->forest, (unsigned long long)c->size, took,
		(double)c->size / 1024 / took);
}
