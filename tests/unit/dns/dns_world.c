/* Resolver and name server together, and what the tests of both ask. */
#include "dns_world.h"

#include <stdio.h>
#include <stdlib.h>

static const struct dns_row zone[ZONE_ROWS] = {
	{ "ok.test", MX, .records = { { MX, 60, 20, "b.test" }, { MX, 60, 10, "a.test" } } },
	{ "a.test", A, .records = { { A, 60, 0, "192.0.2.1" }, { A, 60, 0, "192.0.2.11" } } },
	{ "b.test", A, .records = { { A, 60, 0, "192.0.2.2" } } },
	{ "b.test", AAAA, .records = { { AAAA, 60, 0, "2001:db8::2" } } },
	{ "null.test", MX, .records = { { MX, 60, 0, "." } } },
	{ "null.test", A, .records = { { A, 60, 0, "192.0.2.3" } } },
	{ "implicit.test", A, .records = { { A, 60, 0, "192.0.2.3" } } },
	{ "empty.test", TXT },
	{ "servfail.test", MX, SERVFAIL },
	{ "refused.test", MX, REFUSED },
	{ "drop.test", MX, .manner = DROP },
	{ "wrong.test", MX, .manner = WRONG_NAME, .records = { { MX, 60, 10, "a.test" } } },
	{ "garbage.test", MX, .manner = GARBAGE },
	{ "six.test", AAAA, .records = { { AAAA, 60, 0, "2001:db8::6" } } },
	{ "v6only.test", MX, .records = { { MX, 60, 10, "six.test" } } },
	{ "implicit6.test", AAAA, .records = { { AAAA, 60, 0, "2001:db8::7" } } },
	{ "noaddr.test", MX, .records = { { MX, 60, 10, "empty.test" } } },
	{ "cn.test", A,
		.records = { { CNAME, 60, 0, "real.test" },
			{ A, 60, 0, "192.0.2.5", .owner = "real.test" } } },
	{ "alias.test", MX, .records = { { MX, 60, 10, "cn.test" } } },
	{ "mxalias.test", MX,
		.records = { { CNAME, 60, 0, "other.test" },
			{ MX, 60, 10, "b.test", .owner = "other.test" } } },
	{ "stray.test", MX,
		.records = { { MX, 60, 5, "six.test", .owner = "elsewhere.test" },
			{ MX, 60, 10, "b.test" } } },
	{ "dead.test", A, SERVFAIL },
	{ "half.test", MX, .records = { { MX, 60, 10, "dead.test" }, { MX, 60, 20, "b.test" } } },
	{ "allfail.test", MX,
		.records = { { MX, 60, 10, "dead.test" }, { MX, 60, 20, "nohost.test" } } },
	{ "gone.test", MX, .records = { { MX, 60, 10, "nohost.test" }, { MX, 60, 20, "b.test" } } },
	{ "allgone.test", MX, .records = { { MX, 60, 10, "nohost.test" } } },
	{ "mixed6.test", MX,
		.records = { { MX, 60, 10, "six.test" }, { MX, 60, 20, "empty.test" } } },
	{ "trunc.test", MX, .manner = TRUNCATE, .records = { { MX, 60, 10, "b.test" } } },
	{ "dup.test", MX,
		.records = { { MX, 60, 20, "b.test" }, { MX, 60, 30, "a.test" },
			{ MX, 60, 10, "b.test" } } },
	{ "equal.test", MX, .records = { { MX, 60, 10, "b.test" }, { MX, 60, 10, "a.test" } } },
	{ "odd.test", MX,
		.records = { { MX, 60, 10, "bad name.test" }, { MX, 60, 20, "b.test" } } },
	{ "allodd.test", MX, .records = { { MX, 60, 10, "bad name.test" } } },
	{ "nullplus.test", MX, .records = { { MX, 60, 0, "." }, { MX, 60, 10, "b.test" } } },
	{ "1.2.0.192.in-addr.arpa", PTR, .records = { { PTR, 60, 0, "mail-am6.example.test" } } },
	{ "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", PTR,
		.records = { { PTR, 60, 0, "six.example.test" } } },
};

void world_new(void *arg)
{
	struct world *w = arg;
	char error[200];

	if (dns_new(&w->dns, w->r.loop, &w->params, error, sizeof(error)))
		fail_msg("%s", error);
}

void world_free(void *arg)
{
	struct world *w = arg;

	w->dns = dns_free(w->dns);
}

struct dns_params world_params(void)
{
	return (struct dns_params){ .timeout = 60, .tries = 2, .ipv4 = true, .ttl_min = 100 };
}

void world_serve(struct world *w, struct dns_params p)
{
	static const char *servers[1];

	memcpy(w->rows, zone, sizeof(zone));
	dns_server_start(&w->server, w->rows, COUNT_OF(zone));
	servers[0] = w->server.address;
	w->params = p;
	w->params.servers = servers;
	w->params.nservers = 1;
}

void world_begin(struct world *w, struct dns_params p)
{
	world_serve(w, p);
	runner_start(&w->r, "dns");
	runner_call(&w->r, world_new, w);
}

void world_end(struct world *w)
{
	runner_stop(&w->r, world_free, w);
	dns_server_stop(&w->server);
}

static void on_route(void *arg, struct dns_route *r)
{
	struct ask *a = arg;

	pthread_mutex_lock(&fixture_lock);
	a->route = r;
	a->answers++;
	fixture_changed();
	pthread_mutex_unlock(&fixture_lock);
}

void ask_now(void *arg)
{
	struct ask *a = arg;
	unsigned before = a->answers;

	dns_resolve(a->w->dns, a->domain, on_route, a);
	a->inside = a->answers > before;
}

void ask_unref(void *arg)
{
	struct ask *a = arg;

	a->route = dns_route_unref(a->route);
}

void ask_forget(void *arg)
{
	struct ask *a = arg;

	dns_forget(a->w->dns, a->domain);
}

static void do_stats(void *arg)
{
	struct ask *a = arg;
	struct dns_stats *s = (struct dns_stats *)(uintptr_t)a->domain;

	dns_stats(a->w->dns, s);
}

struct dns_stats world_stats(struct world *w)
{
	struct dns_stats s;
	struct ask a = { .w = w, .domain = (const char *)&s };

	runner_call(&w->r, do_stats, &a);
	return s;
}

unsigned world_asked(struct world *w)
{
	unsigned n;

	pthread_mutex_lock(&w->server.lock);
	n = w->server.asked;
	pthread_mutex_unlock(&w->server.lock);
	return n;
}

unsigned world_asked_for(struct world *w, const char *name, unsigned type, bool tcp)
{
	const struct dns_row *row;
	unsigned n;

	pthread_mutex_lock(&w->server.lock);
	row = dns_server_row(&w->server, name, type);
	n = tcp ? row->by_tcp : row->by_udp;
	pthread_mutex_unlock(&w->server.lock);
	return n;
}

void set_record(struct world *w, const char *name, unsigned type, unsigned i, const char *data)
{
	pthread_mutex_lock(&w->server.lock);
	dns_server_row(&w->server, name, type)->records[i] =
		(struct dns_record){ .type = type, .ttl = 0, .data = data };
	pthread_mutex_unlock(&w->server.lock);
}

/* "ok 10 a.test 192.0.2.1 192.0.2.11, 20 b.test 192.0.2.2"; "+" before addresses that are not
 * current. */
void describe(const struct dns_route *r, struct buf *out)
{
	char text[ADDR_TEXT_MAX];

	buf_reset(out);
	buf_printf(out, "%s%s", dns_status_name(r->status), r->implicit ? " implicit" : "");
	for (unsigned i = 0; i < r->nhosts; i++) {
		const struct dns_host *h = &r->hosts[i];

		buf_printf(out, "%s %u %s", i ? "," : "", h->preference, h->name);
		for (unsigned j = 0; j < h->naddrs; j++) {
			addr_format(text, &h->addrs[j]);
			buf_printf(out, " %s%s", j >= h->ncurrent ? "+" : "", text);
		}
	}
	buf_add(out, "", 1);
}

/* Asks and waits; the route is given back at once. */
bool world_resolve(struct world *w, const char *domain, struct buf *out, char detail[128])
{
	struct ask a = { .w = w, .domain = domain };

	runner_call(&w->r, ask_now, &a);
	WAIT_FOR(a.answers == 1);
	describe(a.route, out);
	if (detail)
		memcpy(detail, a.route->detail, sizeof(a.route->detail));
	runner_call(&w->r, ask_unref, &a);
	assert_int_equal(a.answers, 1);
	return a.inside;
}
