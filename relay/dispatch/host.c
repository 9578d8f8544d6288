/* Hosts that fail: where a domain's mail goes then, in this cycle. Called when a connection did not
 * come up (connection.c), or a session broke or told of trouble of its own (result.c).
 *
 * The policy says for which of our subnets a host has failed, and leaves it alone for a while for
 * everybody. Here it is marked until the domain's cycle ends, so that the next host of the
 * same preference is asked at once, then those of the next one, and no retry is used up. When
 * nothing is left, what waits is deferred by its schedule. A domain's last host is marked only if
 * it could not be reached: one message may break it, and the others are to go on. */
#include "host.h"

#include "candidate.h"
#include "finding.h"
#include "flow.h"
#include "waiting.h"

#define AGAIN 1000 /* ms */

/* Hosts other than this that have not failed; worst: only up to that preference. */
static bool others_left(const struct domain *m, const struct host *h, unsigned worst)
{
	for (unsigned i = 0; i < m->nhosts; i++)
		if (!m->hosts[i].failed && m->candidates[i].host != h &&
			m->hosts[i].preference <= worst)
			return true;
	return false;
}

/* The same as seen from some of our subnets, which can go to hosts of its family alone: what one of
 * them was told at a door says nothing of what the others will be. */
static bool others_left_from(const struct domain *m, const struct host *h, uint64_t from)
{
	for (unsigned i = 0; i < m->nhosts; i++)
		if (!m->hosts[i].failed && !(m->hosts[i].failed_from & from) &&
			m->candidates[i].host != h && m->hosts[i].addr.family == h->addr.family)
			return true;
	return false;
}

static unsigned preference_of(const struct domain *m, const struct host *h)
{
	for (unsigned i = 0; i < m->nhosts; i++)
		if (m->candidates[i].host == h)
			return m->hosts[i].preference;
	return UINT16_MAX;
}

void host_not_reached(struct dispatch *d, struct connection *c, struct flow *f,
	const struct classification *k, const char *text)
{
	struct domain *m = f ? f->domain : NULL;
	/* others have it: the host is well, this attempt was one too many */
	bool no_room = k && policy_no_room(d->policy, c->match.slot, k);
	bool crowded = c->host->match.up || no_room;
	struct host_failure failure = { .why = text };

	/* words about the source's or the subnet's connections say nothing of the host */
	if (!no_room || k->verdict != VERDICT_SOURCE_THROTTLE)
		failure.from = policy_host_failed(
			d->policy, now_of(d), c->match.slot, k ? HOST_SAYS_AT_DOOR : HOST_SILENT);
	if (!crowded)
		route_host_failed(d, m, c->host, &failure);
	else if (m && !others_left(m, c->host, preference_of(m, c->host)))
		flow_wait(d, f, HOLD_CAP, loop_mono(d->loop) + AGAIN);
	else if (m)
		route_relink(d, m);
}

/* Others first, for some seconds; else the same again, with more time. */
void host_cut_short(struct dispatch *d, struct connection *c, struct flow *f)
{
	d->stats.connect_failures++;
	chronicle_connection(d, c, false);
	policy_host_failed(d->policy, now_of(d), c->match.slot, HOST_SILENT);
	if (f)
		route_relink(d, f->domain);
}

bool host_refuses(struct dispatch *d, struct connection *c, struct flow *f,
	const struct classification *k, const char *text)
{
	struct host_failure failure = { .in_session = true, .refused = true, .why = text };

	/* Microsoft's front ends are one system: one of them speaks for all */
	if (!f || k->verdict != VERDICT_SOURCE_BLOCK ||
		provider_of(d, c->match.provider)->clusters == CLUSTERS_MICROSOFT)
		return false;
	failure.from = policy_host_failed(d->policy, now_of(d), c->match.slot, HOST_REFUSES);
	if (!others_left_from(f->domain, c->host, failure.from))
		return false;
	route_host_failed(d, f->domain, c->host, &failure);
	c->refused = false; /* nobody is blamed before all have said so */
	return true;
}

bool host_broke(struct dispatch *d, struct connection *c, struct domain *m,
	enum policy_host_fault fault, const char *why)
{
	struct host_failure failure = { .in_session = true, .why = why };
	bool others = others_left(m, c->host, UINT16_MAX);

	if (!c->broke)
		c->broke_from = policy_host_failed(d->policy, now_of(d), c->match.slot, fault);
	c->broke = true;
	failure.from = c->broke_from;
	if (!others && failure.from == POLICY_FROM_ALL)
		return false;
	route_host_failed(d, m, c->host, &failure);
	return true;
}

void host_late(struct dispatch *d, struct connection *c)
{
	struct match_flow *by = c->match.asked_by;
	struct match_work *w = by ? match_first(by) : NULL;
	struct flow *f = by ? container(by, struct flow, match) : NULL;
	struct policy_want want;

	if (!w || f->pool->index < 0)
		return;
	want_of(f, container(w, struct work, match), &want);
	if (!policy_host_late(d->policy, now_of(d), c->match.slot, &want))
		return;
	match_opening_over(&c->match);
	route_relink(d, f->domain);
}

bool host_used_up(struct dispatch *d, struct domain *m)
{
	bool any = false, in_session = true;

	for (unsigned i = 0; i < m->nhosts; i++) {
		if (!m->hosts[i].failed_from)
			continue;
		any = true;
		in_session &= m->candidates[i].in_session && !m->candidates[i].refused;
	}
	if (!any)
		return false;
	if (!in_session) {
		finding_no_host(d, m);
		return true;
	}
	/* broken sessions are counted by each message: the others go on, and a new round begins;
	 * nobody counts doors that were shut */
	route_clear_failures(m);
	route_relink(d, m);
	return true;
}
