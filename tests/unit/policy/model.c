/* The model at work: flows, connections, replies. */
#include "model_inner.h"

#include <stdio.h>
#include <stdlib.h>

#include "postern/must.h"

#define PATIENCE 60000

/* ---- flows ---- */

static void flow_ask(struct model *m, unsigned f)
{
	struct model_inner *x = m->inner;

	if (x->flows[f].asking)
		return;
	x->flows[f].asking = true;
	ring_push(&x->asking, f);
}

static void flow_link(struct model *m, unsigned f)
{
	struct model_inner *x = m->inner;
	unsigned tenant = f / 2, c = cluster_of(m, tenant);

	for (unsigned k = 0; k < hosts_of(m, tenant); k++) {
		if (x->flows[f].queued[k])
			continue;
		x->flows[f].queued[k] = true;
		ring_push(&x->hosts[c][tenant_host(m, tenant, k)].flows, f);
	}
}

static void flow_push(struct model *m, unsigned f, int32_t message)
{
	struct flow *v = &m->inner->flows[f];

	m->inner->messages[message].next = -1;
	if (v->last >= 0)
		m->inner->messages[v->last].next = message;
	else
		v->first = message;
	v->last = message;
	v->ready++;
	flow_link(m, f);
	if (!v->waiting)
		flow_ask(m, f);
}

static int32_t flow_pop(struct model *m, unsigned f)
{
	struct flow *v = &m->inner->flows[f];
	int32_t i = v->first;

	v->first = m->inner->messages[i].next;
	if (v->first < 0)
		v->last = -1;
	if (--v->ready == 0) {
		v->waiting = false;
		v->generation++;
	}
	return i;
}

static void flow_wait(struct model *m, unsigned f, enum hold_reason reason, ms_t until)
{
	struct flow *v = &m->inner->flows[f];
	ms_t at = until ? until - 1000 : m->now + 60000;

	v->waiting = true;
	v->reason = reason;
	if (at > m->now + 60000)
		at = m->now + 60000;
	if (at <= m->now)
		at = m->now + 1;
	post(m, at, FLOW_WAKE, f, ++v->generation);
	if ((!until || reason == HOLD_CAP) && !v->on_slots) {
		v->on_slots = true;
		ring_push(&m->inner->on_slots, f);
	}
	m->total.held++;
}

void flow_wait_over(struct model *m, unsigned f)
{
	struct flow *v = &m->inner->flows[f];

	if (!v->waiting)
		return;
	v->waiting = false;
	v->generation++;
	if (v->ready)
		flow_ask(m, f);
}

void slot_freed(struct model *m, unsigned n)
{
	uint32_t f;

	while (n-- && ring_pop(&m->inner->on_slots, &f)) {
		m->inner->flows[f].on_slots = false;
		flow_wait_over(m, f);
	}
}

static void want_of(const struct model *m, unsigned f, struct policy_want *w,
	struct policy_host hosts[MODEL_HOSTS], char domain[32])
{
	unsigned tenant = f / 2, c = cluster_of(m, tenant);
	const struct flow *v = &m->inner->flows[f];

	domain_of(tenant, domain);
	*w = (struct policy_want){
		.domain = domain, .hosts = hosts, .nhosts = hosts_of(m, tenant)
	};
	for (unsigned k = 0; k < w->nhosts; k++)
		hosts[k] = (struct policy_host){ .addr = host_addr(c, m->clusters[c].nets,
							 tenant_host(m, tenant, k)) };
	w->provider = m->p.everybody;
	if (v->first < 0)
		return;
	w->sender = m->inner->messages[v->first].tried.sender;
	if (m->inner->messages[v->first].tried.n)
		w->tried = &m->inner->messages[v->first].tried;
}

/* ---- connections ---- */

static void assign(struct model *m, uint32_t i);

static void connection_close(struct model *m, uint32_t i)
{
	struct connection *k = &m->inner->connections[i];

	k->state = CLOSING;
	post(m, m->now + trip(m, k->cluster, 1), CLOSED, i, k->generation);
}

struct window_check {
	const char *source, *cluster;
	bool over;
};

static void compare_window(void *arg, const struct policy_lane_info *i)
{
	struct window_check *w = arg;

	if (!strcmp(i->source, w->source) && !strcmp(i->cluster, w->cluster))
		w->over |= i->in_use > i->window;
}

static void connection_open(struct model *m, unsigned f, const struct policy_choice *choice)
{
	struct model_inner *x = m->inner;
	unsigned tenant = f / 2, c = cluster_of(m, tenant), i = 0;
	struct connection *k;

	while (i < x->nconnections && x->connections[i].state != FREE)
		i++;
	if (i == x->nconnections) {
		x->connections =
			realloc(x->connections, ++x->nconnections * sizeof(*x->connections));
		must(x->connections);
		x->connections[i].generation = 0;
	}
	k = &x->connections[i];
	*k = (struct connection){ .state = OPENING,
		.slot = choice->slot,
		.generation = k->generation + 1,
		.source = choice->source,
		.cluster = c,
		.host = tenant_host(m, tenant, choice->host),
		.flow = f,
		.running = -1 };
	if (m->check_windows) {
		struct window_check w = { m->source_names[k->source], choice->cluster, false };

		policy_lanes(m->policy, now_of(m), compare_window, &w);
		m->window_breaches += w.over;
	}
	x->flows[f].opening++;
	m->total.opened++;
	m->clusters[c].opened++;
	breach(m, &m->rates[(choice->source * MODEL_CLUSTERS + c) * 2 + 1],
		&m->p.provider.lane_connect_rate);
	k->refused = m->clusters[c].cap && m->clusters[c].now >= m->clusters[c].cap;
	if (k->refused)
		m->clusters[c].refused_connections++;
	else
		counted(m, k, 1);
	post(m, m->now + trip(m, c, 3), UP, i, k->generation);
}

static void give_up_idle(struct model *m, const struct policy_choice *why)
{
	struct model_inner *x = m->inner;
	int32_t best = -1;

	for (uint32_t i = 0; i < x->nconnections; i++) {
		const struct connection *k = &x->connections[i];

		if (k->state != CONNECTED || k->running >= 0 || k->waking ||
			!policy_frees(m->policy, k->slot, why))
			continue;
		if (best < 0 || k->idle_since < x->connections[best].idle_since)
			best = (int32_t)i;
	}
	if (best >= 0)
		connection_close(m, (uint32_t)best);
}

static void defer(struct model *m, int32_t i)
{
	struct letter *g = &m->inner->messages[i];

	m->total.deferred++;
	g->attempts++;
	g->tried.n = 0;
	post(m, m->now + policy_backoff(m->policy, g->attempts), ARRIVE, (uint32_t)i, 0);
}

static bool impatient(const struct model *m, unsigned f, const struct policy_choice *c)
{
	if (!(f & 1) || c->reason == HOLD_BLOCKED || c->reason == HOLD_SUSPENDED ||
		c->reason == HOLD_BACKOFF)
		return false;
	if (c->reason == HOLD_CAP || c->reason == HOLD_RATE || c->reason == HOLD_WINDOW)
		return c->until && c->until - (m->now + 1000) > PATIENCE;
	return true;
}

/* Held for its sender: its flow goes on. */
static void set_aside(struct model *m, unsigned f, ms_t until)
{
	post(m, until - 1000 > m->now ? until - 1000 : m->now + 1000, ARRIVE,
		(uint32_t)flow_pop(m, f), 0);
}

static void use_idle(struct model *m, unsigned f)
{
	struct model_inner *x = m->inner;
	unsigned tenant = f / 2, c = cluster_of(m, tenant);

	for (uint32_t i = 0; i < x->nconnections && x->flows[f].ready; i++) {
		const struct connection *k = &x->connections[i];
		bool mine = false;

		if (k->state != CONNECTED || k->running >= 0 || k->cluster != c || k->waking)
			continue;
		for (unsigned n = 0; n < hosts_of(m, tenant); n++)
			mine |= tenant_host(m, tenant, n) == k->host;
		if (mine)
			assign(m, i);
	}
}

static void look(struct model *m, unsigned f)
{
	struct flow *v = &m->inner->flows[f];
	unsigned opened = 0;

	use_idle(m, f);
	while (v->ready > v->opening && !v->waiting && opened++ < 16) {
		struct policy_host hosts[MODEL_HOSTS];
		struct policy_choice choice;
		struct policy_want w;
		char domain[32];

		want_of(m, f, &w, hosts, domain);
		policy_choose(m->policy, now_of(m), &w, &choice);
		if (choice.go) {
			connection_open(m, f, &choice);
			continue;
		}
		if (choice.reason == HOLD_SENDER) {
			set_aside(m, f, choice.until);
			continue;
		}
		if (impatient(m, f, &choice)) {
			defer(m, flow_pop(m, f));
			continue;
		}
		if (choice.reason == HOLD_CAP || choice.reason == HOLD_WINDOW)
			give_up_idle(m, &choice);
		flow_wait(m, f, choice.reason, choice.until);
	}
	if (opened > 16)
		flow_ask(m, f);
}

static const char *site_of(const struct model_cluster *c)
{
	return c->geography ? "CH3" : "DB5";
}

static void banner(const struct model *m, const struct connection *k, struct smtp_client_info *info)
{
	const struct model_cluster *c = &m->clusters[k->cluster];

	memset(info, 0, sizeof(*info));
	if (c->old_form)
		snprintf(info->banner, sizeof(info->banner),
			"DB5%sFT%03u.mail.protection.outlook.com Microsoft ESMTP", c->name,
			k->host);
	else
		snprintf(info->banner, sizeof(info->banner),
			"%sPEPF%04X%04X.mail.protection.outlook.com Microsoft ESMTP", site_of(c),
			k->cluster, k->host);
	info->ehlo.size_given = true;
	info->ehlo.size = 157286400;
}

static const struct reply *text_of(const struct model *m, const struct connection *k,
	const struct model_reply *a, struct reply *r)
{
	const struct model_cluster *c = &m->clusters[k->cluster];
	char text[400];

	if (c->old_form)
		snprintf(text, sizeof(text), "%s [DB5%sFT%03u.eop-%s.prod.protection.outlook.com]",
			a->text ? a->text : "", c->name, k->host, c->name);
	else
		snprintf(text, sizeof(text),
			"%s [%sPEPF%04X%04X.%s.prod.outlook.com 2026-01-01T00:00:00.000Z 08DD]",
			a->text ? a->text : "", site_of(c), k->cluster, k->host, c->forest);
	reply_make(r, a->code, text);
	return r;
}

/* The next work for an idle connection. */
static void assign(struct model *m, uint32_t i)
{
	struct model_inner *x = m->inner;
	struct connection *k = &x->connections[i];
	struct ring *flows = &x->hosts[k->cluster][k->host].flows;
	uint32_t f;

	if (k->state != CONNECTED || k->running >= 0 || k->waking)
		return;
	for (unsigned n = 0; n < 8 && ring_pop(flows, &f); n++) {
		struct policy_host hosts[MODEL_HOSTS];
		struct policy_choice why;
		struct policy_want w;
		char domain[32];
		unsigned at = 0;

		while (at + 1 < hosts_of(m, f / 2) && tenant_host(m, f / 2, at) != k->host)
			at++;
		if (!x->flows[f].ready) {
			x->flows[f].queued[at] = false;
			n--;
			continue;
		}
		ring_push(flows, f);
		if (x->flows[f].waiting && x->flows[f].reason == HOLD_BACKOFF)
			continue;
		want_of(m, f, &w, hosts, domain);
		if (policy_admit(m->policy, now_of(m), k->slot, &w, &k->txn, &why)) {
			k->running = flow_pop(m, f);
			k->flow = f;
			m->total.attempts++;
			breach(m, &m->rates[(k->source * MODEL_CLUSTERS + k->cluster) * 2],
				&m->p.provider.lane_message_rate);
			post(m, m->now + trip(m, k->cluster, 1), DONE, i, k->generation);
			return;
		}
		if (why.retire) {
			connection_close(m, i);
			return;
		}
		if (why.reason == HOLD_SENDER) {
			set_aside(m, f, why.until);
			n--;
			continue;
		}
		if (why.reason == HOLD_BACKOFF) {
			flow_wait(m, f, why.reason, why.until);
			continue;
		}
		if (why.reason == HOLD_NO_SOURCE || why.reason == HOLD_NO_HOST)
			continue;
		if (why.until) {
			k->waking = true;
			post(m, why.until - 1000 > m->now ? why.until - 1000 : m->now + 1,
				CONNECTION_WAKE, i, k->generation);
		}
		break;
	}
	k->idle_since = m->now;
}

static void on_up(struct model *m, uint32_t i)
{
	struct connection *k = &m->inner->connections[i];
	struct smtp_client_info info;
	unsigned f = k->flow;

	m->inner->flows[f].opening--;
	if (k->refused) {
		policy_disconnected(m->policy, now_of(m), k->slot, &m->inner->prx8, 0);
		k->state = FREE;
		flow_wait(m, f, HOLD_CAP, m->now + 1000 + 1000);
		return;
	}
	k->state = CONNECTED;
	banner(m, k, &info);
	policy_connected(m->policy, now_of(m), k->slot, &info);
	assign(m, i);
	if (m->inner->flows[f].ready)
		flow_ask(m, f);
}

static void dispose(
	struct model *m, struct connection *k, int32_t i, const struct policy_verdict *v)
{
	struct letter *g = &m->inner->messages[i];

	switch (v->what) {
	case DISPOSE_DELIVERED:
		m->total.delivered++;
		m->clusters[k->cluster].delivered++;
		m->clusters[k->cluster].good[k->source]++;
		m->clusters[k->cluster].delivered_at = m->now;
		g->ended = true;
		m->inner->waiting--;
		break;
	case DISPOSE_BOUNCE:
		m->total.bounced++;
		g->ended = true;
		m->inner->waiting--;
		break;
	case DISPOSE_RETRY_SUBNET:
		m->total.diverted++;
		flow_push(m, g->tenant * 2 + 1, i);
		break;
	case DISPOSE_RETRY_FEWER:
	case DISPOSE_RETRY_SPLIT:
		flow_push(m, g->tenant * 2, i);
		break;
	case DISPOSE_HOLD:
		g->tried.n = 0;
		post(m, m->now + 1000, ARRIVE, (uint32_t)i, 0);
		break;
	case DISPOSE_RESOLVE:
	case DISPOSE_DEFER:
		defer(m, i);
		break;
	}
}

static void on_done(struct model *m, uint32_t i)
{
	struct connection *k = &m->inner->connections[i];
	struct letter *g = &m->inner->messages[k->running];
	struct model_try t = { k->source, subnet_of(m, k->source), k->cluster, g->tenant,
		m->p.senders ? (unsigned)(g->id % m->p.senders) : 0, g->id, m->now };
	struct model_reply a = m->p.answer(m, &t);
	struct classification c = { .verdict = a.verdict, .scope = a.scope, .voice = a.voice };
	struct policy_verdict v;
	static struct reply r;
	char domain[32];
	int32_t running = k->running;

	m->clusters[k->cluster].attempts++;
	m->clusters[k->cluster].tries[k->source]++;
	if (a.verdict != VERDICT_DELIVERED)
		classify_facts(text_of(m, k, &a, &r), &c);
	domain_of(g->tenant, domain);
	k->running = -1;
	g->tried.recipient = g->tried.message % MODEL_RECIPIENTS + 1;
	policy_result(m->policy, now_of(m), &k->txn, domain, &c, &g->tried, &v);
	policy_txn_end(m->policy, &k->txn, a.verdict == VERDICT_DELIVERED ? TXN_SENT : TXN_CUT);
	dispose(m, k, running, &v);
	assign(m, i);
}

static void on_closed(struct model *m, uint32_t i)
{
	struct connection *k = &m->inner->connections[i];

	if (k->counted)
		counted(m, k, (uint32_t)-1);
	policy_disconnected(m->policy, now_of(m), k->slot, NULL, 0);
	k->state = FREE;
	slot_freed(m, 4);
}

static void keep_event(void *arg, const struct policy_event *e)
{
	struct model *m = arg;
	struct model_blame *b;

	if (m->nevents == m->events_cap) {
		m->events_cap = m->events_cap ? m->events_cap * 2 : 64;
		m->events = realloc(m->events, m->events_cap * sizeof(*m->events));
		must(m->events);
	}
	b = &m->events[m->nevents++];
	memset(b, 0, sizeof(*b));
	memcpy(b->cluster, e->cluster, sizeof(b->cluster));
	memcpy(b->subnet, e->subnet, sizeof(b->subnet));
	memcpy(b->source, e->source, sizeof(b->source));
	memcpy(b->domain, e->domain, sizeof(b->domain));
	memcpy(b->sender, e->sender, sizeof(b->sender));
	memcpy(b->cause, e->cause, sizeof(b->cause));
	b->kind = e->kind;
	b->over = e->over;
	b->at = m->now;
	if (e->over) /* as the dispatcher does: traffic may go again */
		for (unsigned f = 0; f < m->p.tenants * 2; f++)
			if (m->inner->flows[f].waiting && m->inner->flows[f].reason != HOLD_CAP)
				flow_wait_over(m, f);
}

void model_look(struct model *m)
{
	policy_events(m->policy, keep_event, m);
}

static void on_tick(struct model *m)
{
	struct model_inner *x = m->inner;

	policy_tick(m->policy, now_of(m));
	must(slots_counted(m->policy));
	model_look(m);
	if (policy_urgent(m->policy))
		model_save(m);
	for (uint32_t i = 0; i < x->nconnections; i++) {
		struct connection *k = &x->connections[i];
		struct policy_slot_info info;

		if (k->state != CONNECTED || k->running >= 0)
			continue;
		policy_slot(m->policy, k->slot, &info);
		if (info.retire || m->now - k->idle_since >= m->p.provider.connection_idle_max)
			connection_close(m, i);
	}
	slot_freed(m, 256);
	post(m, m->now + 1000, TICK, 0, 0);
}

static void handle(struct model *m, const struct event *e)
{
	struct model_inner *x = m->inner;

	switch (e->kind) {
	case ARRIVE:
		flow_push(m, x->messages[e->index].tenant * 2, (int32_t)e->index);
		break;
	case UP:
		if (x->connections[e->index].generation == e->generation)
			on_up(m, e->index);
		break;
	case DONE:
		if (x->connections[e->index].generation == e->generation)
			on_done(m, e->index);
		break;
	case CLOSED:
		if (x->connections[e->index].generation == e->generation)
			on_closed(m, e->index);
		break;
	case FLOW_WAKE:
		if (x->flows[e->index].generation == e->generation)
			flow_wait_over(m, e->index);
		break;
	case CONNECTION_WAKE:
		if (x->connections[e->index].generation == e->generation &&
			x->connections[e->index].waking) {
			x->connections[e->index].waking = false;
			assign(m, e->index);
		}
		break;
	case TICK:
		on_tick(m);
		break;
	}
}

static void step(struct model *m)
{
	struct event e = take(m->inner);
	uint32_t f;

	m->now = e.at;
	handle(m, &e);
	while (ring_pop(&m->inner->asking, &f)) {
		m->inner->flows[f].asking = false;
		if (m->inner->flows[f].ready &&
			!(m->inner->flows[f].waiting && m->inner->flows[f].reason == HOLD_BACKOFF))
			look(m, f);
	}
}

void model_run(struct model *m, ms_t until)
{
	while (m->inner->nheap && m->inner->heap[0].at <= until)
		step(m);
	m->now = until;
}

void model_finish(struct model *m, ms_t until)
{
	while (m->inner->waiting && m->inner->nheap && m->inner->heap[0].at <= until)
		step(m);
}

uint64_t model_waiting(const struct model *m)
{
	return m->inner->waiting;
}
