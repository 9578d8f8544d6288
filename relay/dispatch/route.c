/* From a domain's DNS answer to its candidates (candidate.c), or to what is said of its mail
 * (finding.c). Called by assign.c for a domain whose mail is to go, and by dispatch.c with the
 * resolver's answers, on the dispatcher's thread. */
#include "route.h"

#include <stdio.h>
#include <stdlib.h>

#include "candidate.h"
#include "domain.h"
#include "finding.h"
#include "flow.h"
#include "own.h"
#include "post.h"
#include "postern/must.h"
#include "unrouted.h"

#define RENEWALS_MAX 500u  /* look-ups under way, over which expired routes stay in use */
#define ASK_AGAIN    30000 /* ms; an answer that could not be renewed stays in use that long */

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
	c[*n].host = host_by_address(d, a, provider, h->name);
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

static void no_route(struct dispatch *d, struct domain *m, const struct dns_route *r)
{
	char text[400];

	switch (r->status) {
	case DNS_NXDOMAIN:
		snprintf(text, sizeof(text), "Domain %s does not exist", m->name);
		finding_domain(d, m, FINDING_BOUNCES, "5.1.2", text);
		break;
	case DNS_NULL_MX:
		snprintf(text, sizeof(text), "Domain %s does not accept mail (null MX)", m->name);
		finding_domain(d, m, FINDING_BOUNCES, "5.1.10", text);
		break;
	case DNS_NO_ADDRESS:
		snprintf(text, sizeof(text), "Domain %s has no mail host with an address", m->name);
		finding_domain(d, m, FINDING_BOUNCES, "5.4.4", text);
		break;
	case DNS_OTHER_FAMILY:
		snprintf(text, sizeof(text),
			"Domain %s has addresses only of a family that is not used here", m->name);
		finding_domain(d, m, FINDING_DEFERS, "4.4.4", text);
		break;
	case DNS_OK: /* all that could be used is gone for the time being */
	case DNS_TEMPORARY:
	case DNS_BAD:
		snprintf(text, sizeof(text), "DNS look-up for %s failed: %s", m->name,
			r->detail[0] ? r->detail : dns_status_name(r->status));
		finding_domain(d, m, FINDING_DEFERS, "4.4.3", text);
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
		finding_domain(d, m, FINDING_BOUNCES, "5.4.4", text);
		return true;
	}
	if (v->lost && r->status != DNS_OK)
		return false; /* what was found out about the hosts before ours is told */
	snprintf(text, sizeof(text),
		"Mail for %s would come back to this relay, which is its mail host %s", m->name,
		v->ours);
	finding_domain(d, m, FINDING_BOUNCES, "5.4.6", text);
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
		finding_domain(d, m, FINDING_DEFERS, "4.3.0", "Out of memory");
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
