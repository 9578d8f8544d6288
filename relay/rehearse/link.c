/* Connections: opened for a flow, given work in turn, closed when idle; as relay/dispatch does it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "state.h"

#define CONNECT_AFTER 30000 /* ms; when a host that does not answer is given up, at most */
#define FULL_WAIT     1000  /* ms; after a receiver that had no room */

static ms_t about(struct rehearsal *r, ms_t t)
{
	double v = (double)t * (0.8 + 0.4 * rng_unit(&r->rng));

	return v < 1 ? 1 : (ms_t)v;
}

static uint32_t link_new(struct rehearsal *r)
{
	uint32_t i = r->free_link;

	if (i != NONE) {
		r->free_link = r->links[i].flow;
		return i;
	}
	if (r->nlinks == r->links_cap) {
		uint32_t cap = r->links_cap ? r->links_cap * 2 : 256;
		struct link *a = realloc(r->links, cap * sizeof(*a));

		if (!a) {
			r->no_memory = true;
			return NONE;
		}
		r->links = a;
		r->links_cap = cap;
	}
	r->links[r->nlinks].generation = 0;
	return r->nlinks++;
}

static bool enter(struct rehearsal *r, uint32_t i)
{
	struct receiver *v = &r->receivers[r->links[i].cluster];

	if (v->nlinks == v->links_cap) {
		uint32_t cap = v->links_cap ? v->links_cap * 2 : 16;
		uint32_t *a = realloc(v->links, cap * sizeof(*a));

		if (!a) {
			r->no_memory = true;
			return false;
		}
		v->links = a;
		v->links_cap = cap;
	}
	v->links[v->nlinks++] = i;
	return true;
}

static void leave(struct rehearsal *r, uint32_t i)
{
	struct receiver *v = &r->receivers[r->links[i].cluster];
	uint32_t at = 0;

	while (at < v->nlinks && v->links[at] != i)
		at++;
	if (at < v->nlinks) {
		memmove(v->links + at, v->links + at + 1, (v->nlinks - at - 1) * sizeof(*v->links));
		v->nlinks--;
	}
	r->links[i].state = LINK_FREE;
	r->links[i].generation++;
	r->links[i].flow = r->free_link;
	r->free_link = i;
	r->links_used--;
}

void link_open(struct rehearsal *r, uint32_t flow, const struct policy_choice *choice)
{
	unsigned cluster = r->flows[flow].cluster;
	const struct scenario_cluster *c = &r->s->clusters[cluster];
	uint32_t i = link_new(r);
	struct link *k;

	if (i == NONE)
		return;
	k = &r->links[i];
	*k = (struct link){ .state = LINK_OPENING,
		.slot = choice->slot,
		.generation = k->generation + 1,
		.flow = flow,
		.source = choice->source,
		.cluster = cluster,
		.host = choice->host,
		.running = NONE };
	if (!enter(r, i))
		return;
	r->flows[flow].opening++;
	r->connects++;
	if (++r->links_used > r->most_connections)
		r->most_connections = r->links_used;
	receiver_connect(r, k);
	post(r, r->now + (k->unreachable ? CONNECT_AFTER : about(r, c->connect_time)), EVENT_UP, i,
		k->generation);
}

void link_close(struct rehearsal *r, uint32_t i)
{
	struct link *k = &r->links[i];

	k->state = LINK_CLOSING;
	post(r, r->now + about(r, r->s->clusters[k->cluster].connect_time / 3), EVENT_CLOSED, i,
		k->generation);
}

void link_give_up_idle(struct rehearsal *r, const struct policy_choice *why)
{
	uint32_t best = NONE;

	for (uint32_t i = 0; i < r->nlinks; i++) {
		const struct link *k = &r->links[i];

		if (k->state != LINK_UP || k->count || !policy_frees(r->policy, k->slot, why))
			continue;
		if (best == NONE || k->waking < r->links[best].waking ||
			(k->waking == r->links[best].waking &&
				k->idle_since < r->links[best].idle_since))
			best = i;
	}
	if (best != NONE)
		link_close(r, best);
}

/* ---- the next step of an idle connection ---- */

/* One tenant waits: in a queue of many only its own mail does. */
static void tenant_waits(struct rehearsal *r, uint32_t flow, const struct policy_choice *why)
{
	const struct flow *f = &r->flows[flow];
	const struct receiver *v = &r->receivers[f->cluster];
	uint32_t i;

	if (f->group < v->ngroups - v->nshared) {
		mail_unlink(r, flow);
		mail_wait(r, flow, why);
		return;
	}
	i = mail_take(r, flow, 1);
	if (i != NONE)
		post(r, why->until - MONO, EVENT_RETRY, i, 0);
}

static bool tried_here(const struct rehearsal *r, uint32_t flow, unsigned source)
{
	const struct policy_tried *t = &r->letters[r->flows[flow].first].tried;

	for (unsigned i = 0; i < t->n; i++)
		if (t->source[i] == source)
			return true;
	return false;
}

ms_t link_sending(const struct rehearsal *r, const struct link *k, uint64_t bytes)
{
	return (ms_t)((double)bytes * 1000 / (double)r->s->clusters[k->cluster].bandwidth);
}

static void begin(struct rehearsal *r, uint32_t i, uint32_t flow, uint32_t n, unsigned says)
{
	struct link *k = &r->links[i];
	ms_t t = r->s->clusters[k->cluster].message_time * n;

	k->flow = flow;
	k->count = n;
	k->says = says;
	k->next_bad = says == SAYS_YES && k->then && n == k->then_after;
	k->running = mail_take(r, flow, n);
	/* a refused one's content, too: it is sent in one flight with the commands */
	t += link_sending(r, k, mail_bytes(r, k->running, n));
	r->steps++;
	receiver_saw(r, k, n, says);
	post(r, r->now + about(r, t), EVENT_DONE, i, k->generation);
}

enum offer { OFFER_TAKEN, OFFER_OTHER, OFFER_NONE };

static enum offer offer(struct rehearsal *r, uint32_t i, uint32_t flow)
{
	struct link *k = &r->links[i];
	struct policy_host hosts[HOSTS_MAX];
	struct policy_choice why;
	struct policy_want w;
	unsigned says;

	if (tried_here(r, flow, k->source))
		return OFFER_OTHER;
	mail_want(r, flow, &w, hosts);
	w.count = receiver_judge(r, k, r->flows[flow].first,
		r->flows[flow].diverted ? 1 : r->flows[flow].messages, &says);
	if (policy_admit(r->policy, policy_time(r), k->slot, &w, &k->txn, &why)) {
		begin(r, i, flow, why.count ? why.count : 1, says);
		return OFFER_TAKEN;
	}
	switch (match_declined(&why)) {
	case MATCH_RETIRE:
		link_close(r, i);
		return OFFER_NONE;
	case MATCH_SET_ASIDE:
		end_hold(r, mail_take(r, flow, 1), why.until - MONO);
		return OFFER_OTHER;
	case MATCH_DOMAIN_WAITS:
		tenant_waits(r, flow, &why);
		return OFFER_OTHER;
	case MATCH_OTHER_FLOW:
		return OFFER_OTHER;
	case MATCH_PAUSE:
		k->waking = true;
		post(r, why.until - MONO > r->now ? why.until - MONO : r->now + 1, EVENT_LINK, i,
			k->generation);
		return OFFER_NONE;
	case MATCH_STAY:
		break;
	}
	return OFFER_NONE;
}

/* Which source may carry whose mail the policy says. */
void link_assign(struct rehearsal *r, uint32_t i)
{
	struct link *k = &r->links[i];
	struct list *turns = &r->receivers[k->cluster].turns;

	if (k->state != LINK_UP || k->count || k->waking)
		return;
	for (unsigned n = 0; n < MATCH_TRIES; n++) {
		struct turn_link *l = turns_next(turns, NULL, NULL);

		if (!l)
			return;
		if (offer(r, i, (uint32_t)(container(l, struct flow, turn) - r->flows)) !=
			OFFER_OTHER)
			return;
	}
}

/* ---- what happens to it ---- */

static void banner(const struct rehearsal *r, const struct link *k, struct smtp_client_info *info)
{
	const char *name = r->s->clusters[k->cluster].name;

	memset(info, 0, sizeof(*info));
	/* front ends that name their cluster, as they used to; the others show a place only */
	if (receiver_named(name))
		snprintf(info->banner, sizeof(info->banner),
			"DB5%.5sFT%03u.mail.protection.outlook.com Microsoft ESMTP", name, k->host);
	else
		snprintf(info->banner, sizeof(info->banner),
			"DB5PEPF%04X%04X.mail.protection.outlook.com Microsoft ESMTP", k->cluster,
			k->host);
	info->ehlo.size_given = true;
	info->ehlo.size = 157286400;
}

/* No host of the cluster answers: all that waits there backs off. */
static void exhausted(struct rehearsal *r, uint32_t flow)
{
	while (r->flows[flow].first != NONE && !r->no_memory)
		end_defer(r, mail_take(r, flow, r->letters[r->flows[flow].first].count));
}

/* As the policy knows the cluster while the connection is still counted there. */
static void left_where(const struct rehearsal *r, const struct link *k, char where[32])
{
	struct policy_slot_info info;

	policy_slot(r->policy, k->slot, &info);
	snprintf(where, 32, "%.31s", info.cluster);
}

static void never_up(struct rehearsal *r, uint32_t i)
{
	struct link *k = &r->links[i];
	uint32_t flow = k->flow;
	bool full = k->refused;
	char where[32];

	left_where(r, k, where);
	policy_disconnected(r->policy, policy_time(r), k->slot, full ? &r->no_room.is : NULL, 0);
	leave(r, i);
	if (full)
		mail_wait(r, flow,
			&(struct policy_choice){
				.reason = HOLD_CAP, .until = policy_time(r).mono + FULL_WAIT });
	else
		exhausted(r, flow);
	link_freed(r, where, 4);
}

void on_up(struct rehearsal *r, uint32_t i)
{
	struct link *k = &r->links[i];
	struct smtp_client_info info;
	uint32_t flow = k->flow;

	r->flows[flow].opening--;
	if (k->refused || k->unreachable) {
		never_up(r, i);
		return;
	}
	k->state = LINK_UP;
	k->idle_since = r->now;
	banner(r, k, &info);
	policy_connected(r->policy, policy_time(r), k->slot, &info);
	link_assign(r, i);
	if (r->flows[flow].letters)
		mail_ask(r, flow);
}

void on_done(struct rehearsal *r, uint32_t i)
{
	struct link *k = &r->links[i];
	uint32_t letters = k->running;

	k->running = NONE;
	end_step(r, k, letters);
	k->count = 0;
	k->idle_since = r->now;
	link_assign(r, i);
}

void on_closed(struct rehearsal *r, uint32_t i)
{
	struct link *k = &r->links[i];
	char where[32];

	receiver_gone(r, k);
	left_where(r, k, where);
	policy_disconnected(r->policy, policy_time(r), k->slot, NULL, 0);
	leave(r, i);
	link_freed(r, where, 4);
}

void links_tick(struct rehearsal *r)
{
	for (uint32_t i = 0; i < r->nlinks; i++) {
		const struct link *k = &r->links[i];
		struct policy_slot_info info;

		if (k->state != LINK_UP || k->count)
			continue;
		policy_slot(r->policy, k->slot, &info);
		if (info.retire || r->now - k->idle_since >=
					   r->params->providers[info.provider].connection_idle_max)
			link_close(r, i);
	}
}
