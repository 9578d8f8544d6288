/* From a domain's DNS answer to candidate hosts; hosts as shared between domains; what failed.
 * Called by dispatch.c with the resolver's answers, and by host.c; on the dispatcher's thread. A
 * host stays for as long as a route or a connection names it. */
#include <stdio.h>
#include <stdlib.h>

#include "dispatcher.h"
#include "expire.h"
#include "own.h"
#include "postern/must.h"

#define RENEWALS_MAX 500u  /* look-ups under way, over which expired routes stay in use */
#define ASK_AGAIN    30000 /* ms; an answer that could not be renewed stays in use that long */

/* ---- hosts ---- */

static struct host *host_get(
	struct dispatch *d, const struct addr *a, unsigned provider, const char *name)
{
	char key[sizeof(*a) + sizeof(provider) + 256];
	size_t n = sizeof(*a) + sizeof(provider), name_n = 0;
	struct host *h;

	memcpy(key, a, sizeof(*a));
	memcpy(key + sizeof(*a), &provider, sizeof(provider));
	/* a verified connection is good for one name alone */
	if (provider_of(d, provider)->transport.tls == TLS_VERIFY)
		name_n = strnlen(name, 256);
	memcpy(key + n, name, name_n);
	n += name_n;
	HASH_FIND(hh, d->hosts, key, n, h);
	if (h)
		goto found;
	h = calloc(1, sizeof(*h) + n);
	if (!h)
		return NULL;
	memcpy(h->key, key, n);
	h->key_n = n;
	h->addr = *a;
	h->proven = opening_proven(d, a);
	h->provider = provider;
	match_host_init(&h->match);
	addr_format(h->text, a);
	HASH_ADD_KEYPTR(hh, d->hosts, h->key, n, h);
	if (!h->hh.tbl) {
		free(h);
		return NULL;
	}
found:
	h->refs++;
	return h;
}

void host_unref(struct dispatch *d, struct host *h)
{
	must(h->refs > 0);
	if (--h->refs)
		return;
	if (!h->match.retired)
		HASH_DEL(d->hosts, h);
	free(h);
}

/* After a reload numbers of providers mean something else: nothing new is put on these. */
void hosts_retire(struct dispatch *d)
{
	struct host *h, *next;

	HASH_ITER (hh, d->hosts, h, next) {
		HASH_DEL(d->hosts, h);
		h->match.retired = true;
		if (!h->refs)
			free(h);
	}
}

/* ---- routes ---- */

void route_drop(struct dispatch *d, struct domain *m)
{
	for (struct flow *f = m->flows; f; f = f->next) {
		match_forget_hosts(&d->match, &f->match);
	}
	for (unsigned i = 0; i < m->nhosts; i++)
		host_unref(d, m->candidates[i].host);
	free(m->hosts);
	free(m->candidates);
	m->hosts = NULL;
	m->candidates = NULL;
	m->nhosts = 0;
	m->route = m->route ? dns_route_unref(m->route) : NULL;
	wake_clear(&d->wakes, &m->route_wake);
}

/* What failed in this cycle stays failed under a new answer. */
static void keep_failure(struct policy_host *ret, struct candidate *c, const struct domain *m)
{
	for (unsigned i = 0; i < m->nhosts; i++)
		if (addr_eq(&m->hosts[i].addr, &ret->addr)) {
			ret->failed = m->hosts[i].failed;
			ret->failed_from = m->hosts[i].failed_from;
			c->in_session = m->candidates[i].in_session;
			c->refused = m->candidates[i].refused;
		}
}

static bool add_candidate(struct dispatch *d, struct policy_host *hosts, struct candidate *c,
	unsigned *n, const struct domain *m, unsigned provider, const struct dns_host *h,
	const struct addr *a)
{
	for (unsigned i = 0; i < *n; i++)
		if (addr_eq(&hosts[i].addr, a))
			return true;
	c[*n].host = host_get(d, a, provider, h->name);
	if (!c[*n].host)
		return false;
	c[*n].name = h->name;
	hosts[*n] = (struct policy_host){
		.addr = *a,
		.preference = h->preference,
		.foreign = policy_provider(d->policy, slice_of(h->name)) != provider,
	};
	keep_failure(&hosts[*n], &c[*n], m);
	(*n)++;
	return true;
}

static void *shrink(void *p, size_t n)
{
	void *smaller = realloc(p, n);

	return smaller ? smaller : p;
}

/* Takes the route, as far as its hosts come before cut. What failed in this cycle stays failed. */
static bool set_route(
	struct dispatch *d, struct domain *m, struct dns_route *r, unsigned provider, uint32_t cut)
{
	struct policy_host *hosts = calloc(MATCH_HOSTS, sizeof(*hosts));
	struct candidate *candidates = calloc(MATCH_HOSTS, sizeof(*candidates));
	bool ok = hosts && candidates;
	unsigned n = 0;

	for (unsigned i = 0; ok && i < r->nhosts; i++)
		for (unsigned k = 0; ok && k < r->hosts[i].naddrs && n < MATCH_HOSTS; k++)
			if (r->hosts[i].preference < cut &&
				!own_never(d->own, &r->hosts[i].addrs[k]))
				ok = add_candidate(d, hosts, candidates, &n, m, provider,
					&r->hosts[i], &r->hosts[i].addrs[k]);
	if (!ok || !n) {
		for (unsigned i = 0; i < n; i++)
			host_unref(d, candidates[i].host);
		free(hosts);
		free(candidates);
		dns_route_unref(r);
		return false;
	}
	route_drop(d, m);
	m->route = r;
	/* tens of thousands of domains may wait at a time: most have two hosts or four */
	m->hosts = shrink(hosts, n * sizeof(*hosts));
	m->candidates = shrink(candidates, n * sizeof(*candidates));
	m->nhosts = n;
	m->provider = provider;
	unrouted_known(d, m);
	return true;
}

/* All that waits for this domain meets our own finding. */
static void fail_domain(struct dispatch *d, struct domain *m, enum finding_end end,
	const char *status, const char *text)
{
	const struct own_finding finding = { end, status, text, HOLD_DNS };

	for (struct flow *f = m->flows; f; f = f->next)
		while (!list_empty(&f->match.ready)) {
			struct work *w = container(f->match.ready.next, struct work, match.in_flow);

			flow_remove(d, w);
			result_local(d, w, &finding);
		}
}

static void no_route(struct dispatch *d, struct domain *m, const struct dns_route *r)
{
	char text[400];

	switch (r->status) {
	case DNS_NXDOMAIN:
		snprintf(text, sizeof(text), "Domain %s does not exist", m->name);
		fail_domain(d, m, FINDING_BOUNCES, "5.1.2", text);
		break;
	case DNS_NULL_MX:
		snprintf(text, sizeof(text), "Domain %s does not accept mail (null MX)", m->name);
		fail_domain(d, m, FINDING_BOUNCES, "5.1.10", text);
		break;
	case DNS_NO_ADDRESS:
		snprintf(text, sizeof(text), "Domain %s has no mail host with an address", m->name);
		fail_domain(d, m, FINDING_BOUNCES, "5.4.4", text);
		break;
	case DNS_OTHER_FAMILY:
		snprintf(text, sizeof(text),
			"Domain %s has addresses only of a family that is not used here", m->name);
		fail_domain(d, m, FINDING_DEFERS, "4.4.4", text);
		break;
	case DNS_OK: /* all that could be used is gone for the time being */
	case DNS_TEMPORARY:
	case DNS_BAD:
		snprintf(text, sizeof(text), "DNS look-up for %s failed: %s", m->name,
			r->detail[0] ? r->detail : dns_status_name(r->status));
		fail_domain(d, m, FINDING_DEFERS, "4.4.3", text);
		break;
	}
}

/* Nothing of the route may be used: whose fault is that? True: it was said. */
static bool not_for_us(
	struct dispatch *d, struct domain *m, const struct dns_route *r, const struct own_view *v)
{
	char text[640];

	if (v->usable || v->lost_temp || !(v->ours || v->refused))
		return false;
	route_drop(d, m);
	if (v->refused) {
		snprintf(text, sizeof(text),
			"Domain %s has no mail host that may be connected to: %s has an address "
			"that never is",
			m->name, v->refused);
		fail_domain(d, m, FINDING_BOUNCES, "5.4.4", text);
		return true;
	}
	if (v->lost && r->status != DNS_OK)
		return false; /* what was found out about the hosts before ours is told */
	snprintf(text, sizeof(text),
		"Mail for %s would come back to this relay, which is its mail host %s", m->name,
		v->ours);
	fail_domain(d, m, FINDING_BOUNCES, "5.4.6", text);
	return true;
}

static void ask_all(struct dispatch *d, struct domain *m)
{
	for (struct flow *f = m->flows; f; f = f->next)
		if (f->match.nready)
			flow_ask(d, f);
}

void route_answer(void *dispatch, void *domain, struct dns_route *r)
{
	struct dispatch *d = dispatch;
	struct domain *m = domain;
	ms_t now = loop_mono(d->loop);
	struct own_view v;
	unsigned provider;

	m->asked = false;
	d->routes.renewing -= m->renewing;
	unrouted_answered(d, m);
	if (d->life.stopping) {
		dns_route_unref(r);
		return;
	}
	own_refresh(d->own, now);
	provider = policy_provider(d->policy, slice_of(r->nhosts ? r->hosts[0].name : ""));
	v = own_look(d->own, r, provider_of(d, provider)->transport.port);
	if (not_for_us(d, m, r, &v)) {
		dns_route_unref(r);
		return;
	}
	if (r->status == DNS_OK && v.usable) {
		ms_t expires = r->expires;

		if (set_route(d, m, r, provider, v.cut)) {
			wake_set(&d->wakes, &m->route_wake, expires > now ? expires : now + 1000);
			ask_all(d, m);
			domain_feed(d, m, FEED_ON_LOOK, NULL);
			return;
		}
		fail_domain(d, m, FINDING_DEFERS, "4.3.0", "Out of memory");
		return;
	}
	if (m->route &&
		(r->status == DNS_OK || r->status == DNS_TEMPORARY || r->status == DNS_BAD)) {
		/* the old answer is better than none */
		wake_set(&d->wakes, &m->route_wake, now + ASK_AGAIN);
		ask_all(d, m);
	} else {
		route_drop(d, m);
		no_route(d, m, r);
	}
	dns_route_unref(r);
}

bool route_ready(struct dispatch *d, struct domain *m)
{
	if (m->asked)
		return m->route != NULL;
	if (m->route && loop_mono(d->loop) < m->route->expires)
		return true;
	if (m->route && m->route_wake.pos && m->route_wake.at > loop_mono(d->loop))
		return true; /* expired, but its renewal failed a moment ago */
	/* an old answer will do for a while, when very many want theirs renewed */
	if (m->route && d->routes.renewing >= RENEWALS_MAX) {
		wake_set(&d->wakes, &m->route_wake, loop_mono(d->loop) + 1000);
		return true;
	}
	/* our own want of room or memory is nothing to defer mail for */
	if (resolver_resolve(d->resolver, m->name, m)) {
		wake_set(&d->wakes, &m->route_wake, loop_mono(d->loop) + 1000);
		return m->route != NULL;
	}
	m->asked = true;
	m->renewing = m->known;
	d->routes.renewing += m->renewing;
	unrouted_asked(d, m);
	return m->route != NULL;
}

/* ---- failures of hosts ---- */

static void say_failed(const struct host *h, struct domain *m, unsigned i, const char *why)
{
	size_t n = m->failure ? strlen(m->failure) : 0;
	char text[512], *joined;

	snprintf(text, sizeof(text), "%s%s[%s]: %.160s", n ? "; " : "", m->candidates[i].name,
		h->text, why);
	if (n > 400)
		return;
	joined = realloc(m->failure, n + strlen(text) + 1);
	if (joined) {
		strcpy(joined + n, text);
		m->failure = joined;
	}
}

static void mark(struct dispatch *d, struct domain *m, const struct host *h,
	const struct host_failure *failure)
{
	for (unsigned i = 0; i < m->nhosts; i++) {
		struct policy_host *k = &m->hosts[i];

		if (m->candidates[i].host != h || k->failed)
			continue;
		k->failed_from |= failure->from;
		k->failed = k->failed_from == POLICY_FROM_ALL;
		m->candidates[i].in_session |= failure->in_session;
		m->candidates[i].refused |= failure->refused;
		if (!m->failed_at)
			m->failed_at = loop_mono(d->loop);
		say_failed(h, m, i, failure->why);
	}
	route_relink(d, m);
}

void route_relink(struct dispatch *d, struct domain *m)
{
	for (struct flow *f = m->flows; f; f = f->next) {
		match_unlink(&d->match, &f->match);
		if (f->match.nready)
			flow_ask(d, f);
	}
}

void route_host_failed(
	struct dispatch *d, struct domain *m, struct host *h, const struct host_failure *f)
{
	if (m)
		mark(d, m, h, f);
	if (f->in_session)
		return;
	for (struct match_link *l; (l = match_links_first(&h->match));)
		mark(d, container(l->flow, struct flow, match)->domain, h, f);
}

bool route_all_failed(const struct domain *m)
{
	for (unsigned i = 0; i < m->nhosts; i++)
		if (!m->hosts[i].failed)
			return false;
	return m->nhosts > 0;
}

void route_clear_failures(struct domain *m)
{
	for (unsigned i = 0; i < m->nhosts; i++) {
		m->hosts[i].failed = false;
		m->candidates[i].in_session = m->candidates[i].refused = false;
		m->hosts[i].failed_from = 0;
	}
	m->failed_at = 0;
	free(m->failure);
	m->failure = NULL;
}

const char *route_name_of(const struct domain *m, const struct host *h)
{
	for (unsigned i = 0; i < m->nhosts; i++)
		if (m->candidates[i].host == h)
			return m->candidates[i].name;
	return NULL;
}

void route_host_well(struct domain *m, const struct host *h)
{
	for (unsigned i = 0; i < m->nhosts; i++)
		if (m->candidates[i].host == h && !m->candidates[i].in_session) {
			m->hosts[i].failed = false;
			m->hosts[i].failed_from = 0;
		}
}

void route_exhausted(struct dispatch *d, struct domain *m)
{
	char text[600];

	snprintf(text, sizeof(text), "No mail host of %s could be reached: %s", m->name,
		m->failure ? m->failure : "connection failed");
	fail_domain(d, m, FINDING_DEFERS, "4.4.1", text);
	route_clear_failures(m);
}
