/* What was saved, with any bytes in it: entries are taken or refused, and what was taken is saved
 * and loaded again; the policy then decides, and never for longer than its own longest rest. Input:
 * lines "key TAB value". */
#include <errno.h>
#include <stdlib.h>

#include "postern/must.h"
#include "postern/policy.h"
#include "postern/smtp_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WALL 1795000000000
#define HOUR 3600000

static struct source_params sources[2];
static struct pool_params pool;
static __typeof__(*((struct pool_params *)0)->members) members[2] = { { 0, 1 }, { 1, 1 } };
static struct provider_params providers[2];
static ms_t schedule[1] = { 300000 };
static uint32_t ladder[2] = { 100, 200 };
static unsigned cold[1] = { 1 };
static struct warmup_params plan;
static struct policy_params params;

static void set_up(void)
{
	static char *mx[] = { (char *)(uintptr_t) "*.mail.protection.outlook.com" };

	if (params.nsources)
		return;
	for (unsigned i = 0; i < 2; i++) {
		sources[i].name = (char *)(uintptr_t)(i ? "b1" : "a1");
		sources[i].ehlo = (char *)(uintptr_t) "out.example.net";
		must(!addr_parse(&sources[i].address, slice_of(i ? "198.51.100.1" : "192.0.2.1")));
		sources[i].subnet = net_of(&sources[i].address, 24, 64);
		providers[i].name = (char *)(uintptr_t)(i ? "default" : "microsoft365");
		providers[i].connections_per_lane = 3;
	}
	providers[0].mx = mx;
	providers[0].nmx = 1;
	providers[0].clusters = CLUSTERS_MICROSOFT;
	pool = (struct pool_params){ (char *)(uintptr_t) "main", 2, (void *)members };
	params = (struct policy_params){ .sources = sources,
		.pools = &pool,
		.npools = 1,
		.providers = providers,
		.nproviders = 2,
		.retry = { .schedule = schedule,
			.nschedule = 1,
			.expire = 48 * HOUR,
			.subnets_per_cycle = 2 } };
	plan = (struct warmup_params){ .name = (char *)(uintptr_t) "cold",
		.sources = cold,
		.nsources = 1,
		.start = 1,
		.daily = ladder,
		.ndaily = 2,
		.pace = PACE_EVEN,
		.advance_at = 0.9,
		.hold_at = 0.005,
		.step_back_at = 0.05,
		.pause_at = 0.2,
		.idle_reset = 30 };
	params.warmups = &plan;
	params.nwarmups = 1;
	params.nsources = 2;
}

static void load_again(void *arg, struct slice key, struct slice value)
{
	if (value.p)
		must(policy_load(arg, key, value) == 0);
}

static void load_all(struct policy *p, struct slice in)
{
	while (in.n) {
		const char *end = memchr(in.p, '\n', in.n);
		size_t n = end ? (size_t)(end - in.p) : in.n;
		const char *tab = memchr(in.p, '\t', n);
		int r;

		if (tab) {
			size_t k = (size_t)(tab - in.p);

			r = policy_load(
				p, (struct slice){ in.p, k }, (struct slice){ tab + 1, n - k - 1 });
			must(r == 0 || r == -EINVAL || r == -ENOMEM || r == -ENOSPC);
		}
		in = slice_from(in, end ? n + 1 : n);
	}
}

static void decide(struct policy *p, unsigned provider)
{
	struct policy_now now = { 1000, WALL };
	struct policy_host host = { .preference = 10 };
	struct policy_want w = { .provider = provider,
		.domain = "example.org",
		.sender = "s.example",
		.hosts = &host,
		.nhosts = 1 };
	struct classification good = { .verdict = VERDICT_DELIVERED };
	struct policy_tried tried = { .sender = "s.example" };
	struct policy_choice c, why;
	struct policy_verdict v;
	struct policy_txn txn = { 0 };

	must(!addr_parse(&host.addr, slice_of("203.0.113.1")));
	policy_choose(p, now, &w, &c);
	if (!c.go)
		return;
	if (policy_admit(p, now, c.slot, &w, &txn, &why)) {
		policy_result(p, now, &txn, w.domain, &good, &tried, &v);
		policy_txn_end(p, &txn, TXN_SENT);
	}
	policy_disconnected(p, now, c.slot, NULL, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct policy *p, *again;
	struct policy_summary s;

	set_up();
	must(!policy_new(&p, &params, 7) && !policy_new(&again, &params, 7));
	load_all(p, (struct slice){ (const char *)data, size });
	policy_begin(p, (struct policy_now){ 1000, WALL });
	decide(p, 0);
	decide(p, 1);
	policy_tick(p, (struct policy_now){ 2000, WALL + 1000 });
	policy_end(p, (struct policy_now){ 2000, WALL + 1000 });
	policy_save(p, load_again, again);
	policy_summary(again, (struct policy_now){ 2000, WALL + 1000 }, &s);
	policy_free(p);
	policy_free(again);
	return 0;
}
