/* Order of judgement: every combination of what can be said to MX, A and AAAA. Temporary comes
 * before permanent: whoever did not answer may know an address. */
#include "dns_world.h"

#include <stdio.h>
#include <stdlib.h>

enum said { ANSWERED, EMPTY, NX, FAILS, SILENT, REFUSES, FORMERR, LOOPS, SAID_COUNT };

static const char *const said_names[SAID_COUNT] = { "answer", "empty", "nxdomain", "servfail",
	"timeout", "refused", "formerr", "loop" };

#define COMBINATIONS (SAID_COUNT * SAID_COUNT * SAID_COUNT)

struct plan {
	enum said mx, a, aaaa;
	char domain[24], host[24], other[24];
	struct ask ask;
};

static struct plan plans[COMBINATIONS];
static struct dns_row rows[COMBINATIONS * 4];
static unsigned nrows;

static void add_row(
	const char *name, unsigned type, enum said s, const char *data, const char *alias)
{
	static const unsigned rcodes[SAID_COUNT] = {
		[NX] = 3, [FAILS] = 2, [REFUSES] = 5, [FORMERR] = 1
	};
	struct dns_row *row = &rows[nrows++];

	*row = (struct dns_row){ .name = name,
		.type = type,
		.rcode = rcodes[s],
		.manner = s == SILENT ? DROP : ANSWER };
	if (s == ANSWERED)
		row->records[0] = (struct dns_record){ type, 60, 10, data, NULL };
	if (s == LOOPS) {
		row->records[0] = (struct dns_record){ CNAME, 60, 0, alias, NULL };
		row->records[1] = (struct dns_record){ CNAME, 60, 0, name, alias };
	}
}

static void plan_all(void)
{
	unsigned n = 0;

	nrows = 0;
	for (unsigned mx = 0; mx < SAID_COUNT; mx++)
		for (unsigned a = 0; a < SAID_COUNT; a++)
			for (unsigned aaaa = 0; aaaa < SAID_COUNT; aaaa++, n++) {
				struct plan *p = &plans[n];
				const char *asked;

				*p = (struct plan){ .mx = mx, .a = a, .aaaa = aaaa };
				snprintf(p->domain, sizeof(p->domain), "d%u.test", n);
				snprintf(p->host, sizeof(p->host), "h%u.test", n);
				snprintf(p->other, sizeof(p->other), "o%u.test", n);
				asked = mx == EMPTY ? p->domain : p->host;
				add_row(p->domain, MX, mx, p->host, p->other);
				add_row(asked, A, a, "192.0.2.1", p->other);
				add_row(asked, AAAA, aaaa, "2001:db8::1", p->other);
			}
}

static bool temporary(enum said s)
{
	return s == FAILS || s == SILENT || s == REFUSES || s == FORMERR;
}

static enum dns_status right(const struct plan *p, bool ipv6)
{
	enum said a = p->a, aaaa = p->aaaa;

	if (temporary(p->mx))
		return DNS_TEMPORARY;
	if (p->mx == LOOPS)
		return DNS_BAD;
	if (p->mx == NX)
		return DNS_NXDOMAIN;
	if (a == ANSWERED || (ipv6 && aaaa == ANSWERED))
		return DNS_OK;
	/* the family without a source is asked for only where the other one has nothing */
	if (!ipv6 && a != EMPTY)
		aaaa = a;
	if (temporary(a) || temporary(aaaa))
		return DNS_TEMPORARY;
	if (a == LOOPS || aaaa == LOOPS)
		return DNS_BAD;
	if (aaaa == ANSWERED)
		return DNS_OTHER_FAMILY;
	if (p->mx == EMPTY && (a == NX || aaaa == NX))
		return DNS_NXDOMAIN;
	return DNS_NO_ADDRESS;
}

static void ask_all(void *arg)
{
	for (unsigned i = 0; i < COMBINATIONS; i++) {
		plans[i].ask = (struct ask){ .w = arg, .domain = plans[i].domain };
		ask_now(&plans[i].ask);
	}
}

static void unref_all(void *arg)
{
	for (unsigned i = 0; i < COMBINATIONS; i++)
		ask_unref(&plans[i].ask);
}

static bool all_answered(void)
{
	for (unsigned i = 0; i < COMBINATIONS; i++)
		if (!plans[i].ask.answers)
			return false;
	return true;
}

static void judge(bool ipv6)
{
	static const char *servers[1];
	struct world w = { 0 };

	plan_all();
	dns_server_start(&w.server, rows, nrows);
	servers[0] = w.server.address;
	w.params = world_params();
	w.params.servers = servers;
	w.params.nservers = 1;
	w.params.ipv6 = ipv6;
	w.params.running_max = 100; /* what the server's socket buffer holds */
	w.params.timeout = 400;
	w.params.tries = 2;
	runner_start(&w.r, "dns");
	runner_call(&w.r, world_new, &w);
	runner_call(&w.r, ask_all, &w);
	WAIT_FOR(all_answered());
	for (unsigned i = 0; i < COMBINATIONS; i++) {
		const struct plan *p = &plans[i];
		enum dns_status want = right(p, ipv6), got = p->ask.route->status;

		if (got != want)
			fail_msg("MX %s, A %s, AAAA %s (%s): %s, not %s", said_names[p->mx],
				said_names[p->a], said_names[p->aaaa], ipv6 ? "both" : "IPv4",
				dns_status_name(got), dns_status_name(want));
	}
	runner_call(&w.r, unref_all, &w);
	runner_stop(&w.r, world_free, &w);
	dns_server_stop(&w.server);
}

static void both_families(void **state)
{
	judge(true);
}

static void one_family(void **state)
{
	judge(false);
}

/* What is known of the hosts without an address is told: who we are, and whether it is for good. */
static void lost_hosts_are_named(void **state)
{
	struct dns_route *r;
	struct ask a = { .domain = "allfail.test" };
	struct world w;

	world_begin(&w, world_params());
	a.w = &w;
	runner_call(&w.r, ask_now, &a);
	WAIT_FOR(a.answers == 1);
	r = a.route;
	assert_int_equal(r->status, DNS_TEMPORARY);
	assert_int_equal(r->nhosts, 0);
	assert_int_equal(r->nlost, 2);
	assert_string_equal(r->lost[0].name, "dead.test");
	assert_int_equal(r->lost[0].preference, 10);
	assert_int_equal(r->lost[0].status, DNS_TEMPORARY);
	assert_string_equal(r->lost[1].name, "nohost.test");
	assert_int_equal(r->lost[1].status, DNS_NXDOMAIN);
	runner_call(&w.r, ask_unref, &a);
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_families),
		cmocka_unit_test(one_family),
		cmocka_unit_test(lost_hosts_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
