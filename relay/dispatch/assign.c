/* What the scheduler decides (relay/sched/match.c: work meets connections) is carried out here: work
 * becomes a transaction, a choice a connection, and what gets neither waits. Called by the
 * scheduler, in the order in which it decides, and by the turn for each flow that asks; on the
 * dispatcher's thread. */
#include "assign.h"

#include <stdlib.h>

#include "aside.h"
#include "candidate.h"
#include "connection.h"
#include "finding.h"
#include "flow.h"
#include "host.h"
#include "item.h"
#include "park.h"
#include "party.h"
#include "post.h"
#include "postern/must.h"
#include "route.h"
#include "unproven.h"
#include "waiting.h"

#define FAILED_KEPT 60000 /* ms until hosts that failed are tried again while others work */

static struct flow *flow_of(struct match_flow *f)
{
	return container(f, struct flow, match);
}
static struct work *work_of(struct match_work *w)
{
	return container(w, struct work, match);
}
static struct connection *connection_of(struct match_connection *c)
{
	return container(c, struct connection, match);
}

/* ---- a transaction ---- */

/* The provider's limit of recipients, and what the receiver takes. */
static void keep_limit(struct dispatch *d, const struct connection *c, struct work *w)
{
	uint32_t limit = provider_of(d, w->flow->domain->provider)->recipients_per_transaction;
	uint32_t learned = w->n > 1 ? policy_recipients(d->policy, now_of(d), c->match.slot) : 0;
	struct work *rest;
	struct item *last = w->items;

	if (learned && (!limit || learned < limit))
		limit = learned;
	if (!limit || w->n <= limit)
		return;
	rest = work_new(w->message);
	if (!rest)
		return; /* over the limit once: the receiver says so if it minds */
	for (uint32_t i = 1; i < limit; i++)
		last = last->next;
	rest->items = last->next;
	rest->n = w->n - limit;
	rest->match.tried = w->match.tried;
	last->next = NULL;
	w->n = limit;
	for (struct item *i = rest->items; i; i = i->next)
		i->work = rest;
	flow_push(d, w->flow, rest, true);
}

static struct outbound_transact *transact_new(struct work *w)
{
	struct outbound_transact *t = calloc(1, sizeof(*t));
	uint32_t n = 0;

	if (!t)
		return NULL;
	t->recipients = malloc(w->n * sizeof(*t->recipients));
	t->results = calloc(w->n, sizeof(*t->results));
	if (!t->recipients || !t->results) {
		free(t->recipients);
		free(t->results);
		free(t);
		return NULL;
	}
	t->order.kind = OUTBOUND_TRANSACT;
	t->message = message_ref(w->message);
	for (struct item *i = w->items; i; i = i->next) {
		t->results[n].index = i->recipient->index;
		t->recipients[n++] = i->recipient;
	}
	must(n == w->n);
	t->n = n;
	t->owner = w;
	return t;
}

static void no_memory(struct dispatch *d, struct flow *f)
{
	flow_wait(d, f, HOLD_CAP, loop_mono(d->loop) + MATCH_AGAIN);
}

static bool transact(void *dispatch, struct match_connection *to, struct match_flow *from,
	struct match_work *what, uint32_t count)
{
	struct connection *c = connection_of(to);
	struct dispatch *d = dispatch;
	struct flow *f = flow_of(from);
	struct work *w = work_of(what);
	struct outbound_transact *t;

	keep_limit(d, c, w);
	t = transact_new(w);
	if (!t) {
		no_memory(d, f);
		return false;
	}
	t->at.queued = loop_mono(d->loop);
	flow_remove(d, w);
	if (f->domain->parking.all)
		park_gone(d, f);
	w->connection = c;
	dns_route_unref(w->route);
	w->route = dns_route_ref(f->domain->route);
	w->mx = route_name_of(f->domain, c->host);
	c->running[to->nrunning - 1] = w;
	d->held.in_flight += w->n;
	f->domain->match.in_flight += w->n;
	if (policy_recipients_watched(d->policy))
		aside_gone(d, w);
	order_post(d, c, &t->order);
	return true;
}

/* ---- what is asked, and what follows ---- */

static void want(void *dispatch, struct match_flow *f, struct match_work *w,
	struct match_connection *c, struct policy_want *ret)
{
	want_of(flow_of(f), work_of(w), ret);
}

static struct match_host *host(void *dispatch, struct match_flow *f, unsigned i)
{
	return &flow_of(f)->domain->candidates[i].host->match;
}

static bool serves(const void *source, const void *pool)
{
	return ((const struct pool *)pool)->has[*(const unsigned *)source];
}

static bool fits(void *dispatch, struct match_flow *f, struct match_work *w)
{
	return aside_recipients(dispatch, flow_of(f), work_of(w));
}

static bool room(void *dispatch, struct match_flow *f)
{
	return unproven_room(dispatch, flow_of(f), party_opening(flow_of(f)->party));
}

static bool open_one(void *dispatch, struct match_flow *from, struct match_work *w,
	const struct policy_choice *c)
{
	struct flow *f = flow_of(from);

	if (connection_open(dispatch, f, c))
		return false;
	f->domain->logged = HOLD_NONE;
	f->domain->warmup_pool = NULL;
	return true;
}

static bool quit(void *dispatch, struct match_connection *c)
{
	return connection_quit(dispatch, connection_of(c));
}

static void pause_until(void *dispatch, struct match_connection *c, ms_t until)
{
	struct dispatch *d = dispatch;

	wake_set(&d->wakes, &connection_of(c)->wake, until);
}

static void wait_for(void *dispatch, struct match_flow *f, const struct policy_choice *why)
{
	flow_wait_at(dispatch, flow_of(f), why);
}

static void domain_waits(void *dispatch, struct match_flow *f, const struct policy_choice *why)
{
	struct dispatch *d = dispatch;

	match_unlink(&d->match, f);
	flow_wait_at(d, flow_of(f), why);
}

static void aside(void *dispatch, struct match_flow *f, struct match_work *w, ms_t until)
{
	aside_take(dispatch, flow_of(f), work_of(w), until);
}

/* It waits with the domain's other mail for whatever refuses them. */
static void rejoin(void *dispatch, struct match_flow *from, struct match_work *what)
{
	struct dispatch *d = dispatch;
	struct flow *f = flow_of(from);
	struct work *w = work_of(what);
	const struct flow_kind k = { .pool = f->pool, .party = f->party };
	struct flow *with;

	flow_remove(d, w);
	with = flow_get(d, f->domain, &k);
	what->tried.n = 0;
	flow_push(d, with ? with : f, w, false);
	if (!with)
		no_memory(d, f);
}

static void give_up(
	void *dispatch, struct match_flow *f, struct match_work *what, enum hold_reason why)
{
	struct work *w = work_of(what);

	flow_remove(dispatch, w);
	finding_local(dispatch, w, &(struct own_finding){ FINDING_DEFERS, "4.7.0", .reason = why });
}

static bool used_up(void *dispatch, struct match_flow *f)
{
	return host_used_up(dispatch, flow_of(f)->domain);
}

const struct match_driver dispatch_driver = {
	.want = want,
	.host = host,
	.serves = serves,
	.fits = fits,
	.room = room,
	.open = open_one,
	.transact = transact,
	.quit = quit,
	.pause = pause_until,
	.wait = wait_for,
	.domain_waits = domain_waits,
	.aside = aside,
	.rejoin = rejoin,
	.give_up = give_up,
	.used_up = used_up,
};

/* ---- a flow asks ---- */

void assign_flow(struct dispatch *d, struct flow *f)
{
	struct domain *m = f->domain;

	if (!f->match.nready || d->match.draining || d->match.stalled)
		return;
	if (f->aside) {
		aside_look(d, f);
		return;
	}
	if (f->pool->index < 0) {
		flow_wait(d, f, HOLD_NO_SOURCE, loop_mono(d->loop) + 60000);
		return;
	}
	if (f->match.waiter.waiting && hold_is_domains(f->match.waiter.reason))
		return;
	if (!route_ready(d, m))
		return;
	if (m->failed_at && loop_mono(d->loop) - m->failed_at > FAILED_KEPT) {
		route_clear_failures(m);
		route_relink(d, m);
	}
	if (route_all_failed(m)) {
		finding_no_host(d, m);
		return;
	}
	flow_link(d, f);
	match_look(&d->match, now_of(d), &f->match);
}
