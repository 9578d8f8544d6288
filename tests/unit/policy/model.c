/* The model at work: the scheduler's decisions carried out, connections, replies. */
#include "model_inner.h"

#include <stdio.h>
#include <stdlib.h>

#include "postern/must.h"

/* ---- what the scheduler asks ---- */

static struct letter *letter_of(struct match_work *w)
{
	return container(w, struct letter, match);
}

static struct flow *flow_of(struct match_flow *f)
{
	return container(f, struct flow, match);
}

static struct connection *connection_of(struct match_connection *c)
{
	return container(c, struct connection, match);
}

static struct flow *flow_for(const struct model *m, const struct letter *g, bool diverted)
{
	return &m->inner->flows[g->tenant * 2 + diverted];
}

static void want(void *model, struct match_flow *f, struct match_work *w,
	struct match_connection *c, struct policy_want *ret)
{
	struct model *m = model;
	struct model_inner *x = m->inner;
	unsigned tenant = flow_of(f)->tenant, cluster = cluster_of(m, tenant);

	domain_of(tenant, x->want_domain);
	*ret = (struct policy_want){ .provider = m->p.everybody,
		.domain = x->want_domain,
		.sender = w->tried.sender,
		.hosts = x->want_hosts,
		.nhosts = hosts_of(m, tenant),
		.tried = w->tried.n ? &w->tried : NULL };
	for (unsigned k = 0; k < ret->nhosts; k++)
		x->want_hosts[k] =
			(struct policy_host){ .addr = host_addr(cluster, m->clusters[cluster].nets,
						      tenant_host(m, tenant, k)) };
}

static struct match_host *host(void *model, struct match_flow *f, unsigned i)
{
	struct model *m = model;
	unsigned tenant = flow_of(f)->tenant;

	return &m->inner->hosts[cluster_of(m, tenant)][tenant_host(m, tenant, i)];
}

static bool serves(const void *source, const void *pool)
{
	return ((const bool *)pool)[*(const unsigned *)source];
}

/* ---- what it decides ---- */

static void push(struct model *m, struct letter *g, bool diverted)
{
	match_push(&m->inner->match, &flow_for(m, g, diverted)->match, &g->match, false);
}

static void arrives(struct model *m, const struct letter *g, ms_t at)
{
	post(m, at, ARRIVE, g->index, 0);
}

static bool quit(void *model, struct match_connection *c)
{
	struct connection *k = connection_of(c);
	struct model *m = model;

	if (!c->nrunning) /* else on_done */
		post(m, m->now + trip(m, k->cluster, 1), CLOSED, k->index, k->generation);
	return true;
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

static struct connection *connection_new(struct model_inner *x)
{
	struct connection *k;
	uint32_t i = 0;

	while (i < x->nconnections && x->connections[i]->used)
		i++;
	if (i < x->nconnections)
		return x->connections[i];
	k = calloc(1, sizeof(*k));
	x->connections = realloc(x->connections, (i + 1) * sizeof(struct connection *));
	must(k && x->connections);
	x->connections[x->nconnections++] = k;
	k->index = i;
	return k;
}

static bool open_one(
	void *model, struct match_flow *f, struct match_work *w, const struct policy_choice *choice)
{
	struct model *m = model;
	struct model_inner *x = m->inner;
	unsigned tenant = flow_of(f)->tenant, c = cluster_of(m, tenant);
	struct connection *k = connection_new(x);

	*k = (struct connection){ .used = true,
		.index = k->index,
		.generation = k->generation + 1,
		.cluster = c,
		.host = tenant_host(m, tenant, choice->host) };
	k->match.provider = m->p.everybody;
	match_opening(&x->match, &k->match, f, &x->hosts[c][k->host], choice);
	if (m->check_windows) {
		struct window_check check = { m->source_names[choice->source], choice->cluster,
			false };

		policy_lanes(m->policy, now_of(m), compare_window, &check);
		m->window_breaches += check.over;
	}
	m->total.opened++;
	m->clusters[c].opened++;
	breach(m, &m->rates[(choice->source * MODEL_CLUSTERS + c) * 2 + 1],
		&m->p.provider.lane_connect_rate);
	k->refused = m->clusters[c].cap && m->clusters[c].now >= m->clusters[c].cap;
	if (k->refused)
		m->clusters[c].refused_connections++;
	else
		counted(m, k, 1);
	post(m, m->now + trip(m, c, 3), UP, k->index, k->generation);
	return true;
}

static bool transact(void *model, struct match_connection *c, struct match_flow *f,
	struct match_work *w, uint32_t count)
{
	struct connection *k = connection_of(c);
	struct model *m = model;

	match_remove(&m->inner->match, f, w);
	k->running = letter_of(w);
	m->inner->domains[k->running->tenant].in_flight++;
	m->total.attempts++;
	breach(m, &m->rates[(c->source * MODEL_CLUSTERS + k->cluster) * 2],
		&m->p.provider.lane_message_rate);
	post(m, m->now + trip(m, k->cluster, 1), DONE, k->index, k->generation);
	return true;
}

static void pause_until(void *model, struct match_connection *c, ms_t until)
{
	const struct connection *k = connection_of(c);

	post(model, until - 1000, CONNECTION_WAKE, k->index, k->generation);
}

static void wait_for(void *model, struct match_flow *f, const struct policy_choice *why)
{
	struct model *m = model;

	waiter_wait(&m->inner->match.places, &f->waiter, why, false, now_of(m).mono);
	m->total.held++;
}

static void domain_waits(void *model, struct match_flow *f, const struct policy_choice *why)
{
	struct model *m = model;

	match_unlink(&m->inner->match, f);
	wait_for(m, f, why);
}

static void defer(struct model *m, struct letter *g)
{
	m->total.deferred++;
	g->attempts++;
	g->match.tried.n = 0;
	arrives(m, g, m->now + policy_backoff(m->policy, NULL, g->attempts));
}

/* Held for its sender: its flow goes on. */
static void aside(void *model, struct match_flow *f, struct match_work *w, ms_t until)
{
	struct model *m = model;

	match_remove(&m->inner->match, f, w);
	arrives(m, letter_of(w), until - 1000 > m->now ? until - 1000 : m->now + 1000);
}

static void rejoin(void *model, struct match_flow *f, struct match_work *w)
{
	struct model *m = model;

	match_remove(&m->inner->match, f, w);
	w->tried.n = 0;
	push(m, letter_of(w), false);
}

static void give_up(void *model, struct match_flow *f, struct match_work *w, enum hold_reason why)
{
	struct model *m = model;

	match_remove(&m->inner->match, f, w);
	defer(m, letter_of(w));
}

const struct match_driver model_driver = {
	.want = want,
	.host = host,
	.serves = serves,
	.open = open_one,
	.transact = transact,
	.quit = quit,
	.pause = pause_until,
	.wait = wait_for,
	.domain_waits = domain_waits,
	.aside = aside,
	.rejoin = rejoin,
	.give_up = give_up,
};

/* ---- replies ---- */

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

/* ---- what happens ---- */

static void gone(struct model *m, struct connection *k, const struct classification *refusal)
{
	struct match_host *h = k->match.host;
	struct policy_slot_info info;
	char where[32];

	policy_slot(m->policy, k->match.slot, &info);
	snprintf(where, sizeof(where), "%.31s", info.cluster);
	match_down(&k->match);
	policy_disconnected(m->policy, now_of(m), k->match.slot, refusal, 0);
	match_gone(&m->inner->match, &k->match);
	k->used = false;
	match_freed(&m->inner->match, h, where, 4);
}

static void on_up(struct model *m, struct connection *k)
{
	struct match *match = &m->inner->match;
	struct match_flow *f = k->match.asked_by;
	struct smtp_client_info info;

	if (k->refused) {
		wait_for(m, f,
			&(struct policy_choice){
				.reason = HOLD_CAP, .until = now_of(m).mono + 1000 });
		gone(m, k, &m->inner->prx8);
		return;
	}
	match_up(&k->match);
	banner(m, k, &info);
	policy_connected(m->policy, now_of(m), k->match.slot, &info);
	match_sort(match, now_of(m), &k->match);
	match_assign(match, now_of(m), &k->match);
	if (f->nready)
		waiter_ask(&match->places, &f->waiter);
}

static void dispose(
	struct model *m, struct connection *k, struct letter *g, const struct policy_verdict *v)
{
	switch (v->what) {
	case DISPOSE_DELIVERED:
		m->total.delivered++;
		m->clusters[k->cluster].delivered++;
		m->clusters[k->cluster].good[k->match.source]++;
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
		push(m, g, true);
		break;
	case DISPOSE_RETRY_FEWER:
	case DISPOSE_RETRY_SPLIT:
		push(m, g, false);
		break;
	case DISPOSE_HOLD:
		g->match.tried.n = 0;
		arrives(m, g, m->now + 1000);
		break;
	case DISPOSE_RESOLVE:
	case DISPOSE_DEFER:
		defer(m, g);
		break;
	}
}

static void on_done(struct model *m, struct connection *k)
{
	bool told_to_quit = k->match.state == MATCH_QUITTING;
	struct letter *g = k->running;
	struct model_try t = { k->match.source, subnet_of(m, k->match.source), k->cluster,
		g->tenant, m->p.senders ? (unsigned)(g->id % m->p.senders) : 0, g->id, m->now };
	struct model_reply a = m->p.answer(m, &t);
	struct classification c = { .verdict = a.verdict, .scope = a.scope, .voice = a.voice };
	struct policy_verdict v;
	static struct reply r;
	char domain[32];

	m->clusters[k->cluster].attempts++;
	m->clusters[k->cluster].tries[k->match.source]++;
	if (a.verdict != VERDICT_DELIVERED)
		classify_facts(text_of(m, k, &a, &r), &c);
	domain_of(g->tenant, domain);
	k->running = NULL;
	g->match.tried.recipient = g->match.tried.message % MODEL_RECIPIENTS + 1;
	policy_result(m->policy, now_of(m), &g->match.txn, domain, &c, &g->match.tried, &v);
	policy_txn_end(
		m->policy, &g->match.txn, a.verdict == VERDICT_DELIVERED ? TXN_SENT : TXN_CUT);
	k->match.nrunning--;
	m->inner->domains[g->tenant].in_flight--;
	dispose(m, k, g, &v);
	if (told_to_quit)
		quit(m, &k->match);
	else
		match_assign(&m->inner->match, now_of(m), &k->match);
}

static void on_closed(struct model *m, struct connection *k)
{
	if (k->counted)
		counted(m, k, (uint32_t)-1);
	gone(m, k, NULL);
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
		for (unsigned f = 0; f < m->p.tenants * 2; f++) {
			struct waiter *w = &m->inner->flows[f].match.waiter;

			if (w->reason != HOLD_CAP)
				waiter_over(&m->inner->match.places, w);
		}
}

void model_look(struct model *m)
{
	policy_events(m->policy, keep_event, m);
}

static void on_tick(struct model *m)
{
	policy_tick(m->policy, now_of(m));
	must(slots_counted(m->policy));
	model_look(m);
	if (policy_urgent(m->policy))
		model_save(m);
	match_tick(&m->inner->match, now_of(m).mono);
	match_freed(&m->inner->match, NULL, NULL, 256);
	post(m, m->now + 1000, TICK, 0, 0);
}

static void on_connection(struct model *m, struct connection *k, enum event_kind kind)
{
	switch (kind) {
	case UP:
		on_up(m, k);
		break;
	case DONE:
		on_done(m, k);
		break;
	case CLOSED:
		on_closed(m, k);
		break;
	case CONNECTION_WAKE:
		if (k->match.paused)
			match_resume(&m->inner->match, now_of(m), &k->match);
		break;
	case ARRIVE:
	case TICK:
		break;
	}
}

static void handle(struct model *m, const struct event *e)
{
	struct model_inner *x = m->inner;

	if (e->kind == ARRIVE)
		push(m, x->messages[e->index], false);
	else if (e->kind == TICK)
		on_tick(m);
	else if (x->connections[e->index]->generation == e->generation)
		on_connection(m, x->connections[e->index], e->kind);
}

static ms_t next_at(const struct model *m)
{
	const struct model_inner *x = m->inner;
	ms_t wait = places_at(&x->match.places), at = x->nheap ? x->heap[0].at : INT64_MAX;

	return wait && wait - 1000 < at ? wait - 1000 : at;
}

static void look(struct model *m, struct match_flow *f)
{
	struct match *match = &m->inner->match;

	if (!f->nready || (f->waiter.waiting && hold_is_domains(f->waiter.reason)))
		return;
	match_link(match, now_of(m), f);
	match_look(match, now_of(m), f);
}

static void step(struct model *m)
{
	struct model_inner *x = m->inner;
	struct waiter *w;
	struct event e;

	must(next_at(m) >= m->now);
	m->now = next_at(m);
	if (x->nheap && x->heap[0].at == m->now) {
		e = take(x);
		handle(m, &e);
	}
	while ((w = places_due(&x->match.places, now_of(m).mono)))
		waiter_over(&x->match.places, w);
	while ((w = places_asking(&x->match.places)))
		look(m, container(w, struct match_flow, waiter));
}

void model_run(struct model *m, ms_t until)
{
	while (next_at(m) <= until)
		step(m);
	m->now = until;
}

void model_finish(struct model *m, ms_t until)
{
	while (m->inner->waiting && next_at(m) <= until)
		step(m);
}

uint64_t model_waiting(const struct model *m)
{
	return m->inner->waiting;
}
