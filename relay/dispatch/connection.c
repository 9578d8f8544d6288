/* Connections, as the dispatcher has them: by number and by host. It orders them from workers, and
 * takes what they tell. On the dispatcher's thread; called by assign.c (open, quit) and dispatch.c
 * (events).
 *
 * ordered → UP or DOWN → transactions, two at most → QUIT or DOWN → freed when its last
 * transaction is back. What they are to the scheduler: match_connection.c. */
#include "connection.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "candidate.h"
#include "flow.h"
#include "host.h"
#include "host_memory.h"
#include "hostname.h"
#include "party.h"
#include "past.h"
#include "post.h"
#include "postern/must.h"
#include "result.h"
#include "unproven.h"
#include "waiting.h"

#define INDEX_BITS 20
#define INDEX_MASK ((1u << INDEX_BITS) - 1)
#define AGAIN	   1000

_Static_assert((int)POLICY_E_BIND == (int)STREAM_E_BIND, "one value on both sides");

/* ---- numbers ---- */

static int grow(struct dispatch *d)
{
	uint32_t cap = d->table.cap ? d->table.cap * 2 : 256;
	struct connection **all;
	uint32_t *unused;

	if (cap > INDEX_MASK)
		return -EMFILE;
	all = realloc(d->table.all, cap * sizeof(struct connection *));
	if (!all)
		return -ENOMEM;
	d->table.all = all;
	unused = realloc(d->table.unused, cap * sizeof(*unused));
	if (!unused)
		return -ENOMEM;
	d->table.unused = unused;
	for (uint32_t i = cap; i-- > d->table.cap;) {
		all[i] = NULL;
		unused[d->table.nunused++] = i;
	}
	d->table.cap = cap;
	return 0;
}

static int enter(struct dispatch *d, struct connection *c)
{
	uint32_t i;
	int r;

	if (!d->table.nunused) {
		r = grow(d);
		if (r)
			return r;
	}
	i = d->table.unused[--d->table.nunused];
	d->table.all[i] = c;
	c->number = (++d->table.seq << INDEX_BITS) | i;
	return 0;
}

struct connection *connection_by_number(struct dispatch *d, uint64_t number)
{
	uint32_t i = (uint32_t)number & INDEX_MASK;
	struct connection *c = i < d->table.cap ? d->table.all[i] : NULL;

	return c && c->number == number ? c : NULL;
}

static void connection_free(struct dispatch *d, struct connection *c)
{
	uint32_t i = (uint32_t)c->number & INDEX_MASK;

	unproven_gone(d, c);
	party_unref(d, c->place_of);
	match_gone(&d->match, &c->match);
	wake_clear(&d->wakes, &c->wake);
	d->table.all[i] = NULL;
	d->table.unused[d->table.nunused++] = i;
	d->out.load[c->worker]--;
	host_unref(d, c->host);
	free(c);
}

/* ---- orders ---- */

void order_post(struct dispatch *d, struct connection *c, struct outbound_order *o)
{
	o->connection = c->number;
	must(!d->life.quiet);
	mpsc_batch_add(&d->out.orders[c->worker], &o->node);
}

static unsigned least_loaded(const struct dispatch *d)
{
	unsigned best = 0;

	for (unsigned i = 1; i < d->out.nworkers; i++)
		if (d->out.load[i] < d->out.load[best])
			best = i;
	return best;
}

static struct outbound_connect *connect_order(struct dispatch *d, const struct connection *c,
	const struct policy_choice *choice, const char *host_name)
{
	const struct provider_params *v = provider_of(d, c->match.provider);
	const struct source_params *s = &d->params->sources[choice->source];
	struct outbound_connect *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->order.kind = OUTBOUND_CONNECT;
	o->source = s->address;
	o->to = c->host->addr;
	o->port = v->transport.port;
	snprintf(o->host, sizeof(o->host), "%s", host_name);
	snprintf(o->ehlo, sizeof(o->ehlo), "%s", s->ehlo);
	o->tls = v->transport.tls;
	o->without = c->without;
	o->tls_given_up = v->transport.tls == TLS_OPPORTUNISTIC && (c->without & EXT_TLS);
	o->tls_context =
		d->tls[c->match.provider] ? tls_context_ref(d->tls[c->match.provider]) : NULL;
	o->pipelining = v->transport.pipelining;
	o->chunking = v->transport.chunking;
	o->timeouts = v->transport.timeouts;
	o->record = d->p.transcript_memory > 0;
	return o;
}

/* The slot of the choice is used up: by the connection, or given back on failure. */
int connection_open(struct dispatch *d, struct flow *f, const struct policy_choice *choice)
{
	struct domain *m = f->domain;
	struct connection *c = calloc(1, sizeof(*c));
	struct outbound_connect *o = NULL;
	int r = -ENOMEM;

	if (!c)
		goto fail;
	c->match.provider = m->provider;
	c->match.source = choice->source;
	c->host = m->candidates[choice->host].host;
	c->wake.kind = WAKE_CONNECTION;
	snprintf(c->host_name, sizeof(c->host_name), "%s", m->candidates[choice->host].name);
	c->without = host_memory_without(
		d, &c->host->addr, &d->params->sources[c->match.source].address);
	snprintf(c->source_name, sizeof(c->source_name), "%s",
		d->params->sources[c->match.source].name);
	addr_format(c->source_address, &d->params->sources[c->match.source].address);
	net_format(c->subnet, &d->params->sources[c->match.source].subnet);
	o = connect_order(d, c, choice, c->host_name);
	if (!o)
		goto fail;
	r = enter(d, c);
	if (r)
		goto fail;
	c->place_of = party_ref(f->party);
	unproven_begin(d, c, party_opening(c->place_of), &o->timeouts);
	snprintf(c->session, sizeof(c->session), "%" PRIx64, c->number);
	c->worker = least_loaded(d);
	d->out.load[c->worker]++;
	c->host->refs++;
	match_opening(&d->match, &c->match, &f->match, &c->host->match, choice);
	wake_set(&d->wakes, &c->wake,
		loop_mono(d->loop) + policy_late_after(d->policy, c->match.slot));
	d->stats.connects++;
	order_post(d, c, &o->order);
	return 0;
fail:
	if (o && o->tls_context)
		tls_context_unref(o->tls_context);
	free(o);
	free(c);
	policy_disconnected(d->policy, now_of(d), choice->slot, NULL, 0);
	return r;
}

/* ---- life ---- */

bool connection_quit(struct dispatch *d, struct connection *c)
{
	struct outbound_order *o = d->life.quiet ? NULL : calloc(1, sizeof(*o));

	if (!o)
		return false;
	o->kind = OUTBOUND_QUIT;
	order_post(d, c, o);
	return true;
}

/* NULL: nobody waits for it. */
static struct flow *asking(const struct connection *c)
{
	struct match_flow *f = c->match.asked_by;

	return f ? container(f, struct flow, match) : NULL;
}

void connection_up(struct dispatch *d, struct outbound_event *e)
{
	struct connection *c = connection_by_number(d, e->connection);
	struct domain *m;
	struct flow *f;

	if (!c || c->match.state != MATCH_OPENING)
		return;
	f = asking(c);
	m = f ? f->domain : NULL;
	match_up(&c->match);
	unproven_up(d, c);
	wake_clear(&d->wakes, &c->wake);
	c->connect_ms = e->connect_ms;
	c->tls_ms = e->tls_ms;
	if (e->info) {
		if (e->info->tls)
			snprintf(c->tls, sizeof(c->tls), "%s", e->info->tls);
		policy_connected(d->policy, now_of(d), c->match.slot, e->info);
		hostname_want(d, c);
	}
	chronicle_connection(d, c, true);
	host_memory_up(d, c);
	if (m)
		route_host_well(m, c->host);
	match_sort(&d->match, now_of(d), &c->match);
	match_assign(&d->match, now_of(d), &c->match);
	if (f && f->match.nready)
		flow_ask(d, f);
}

/* Our own want of descriptors, ports or memory says nothing about the host. */
static bool own_lack(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -ENOBUFS ||
	       error == -EAGAIN || error == -EADDRNOTAVAIL || error == -EADDRINUSE ||
	       error == -ECANCELED;
}

static bool refused_by_receiver(const struct outbound_event *e)
{
	return e->info && e->info->failure.code >= 400;
}

static void event_log(struct dispatch *d, enum log_level level, enum log_event_kind event,
	const struct connection *c, const char *why)
{
	log_event(d->log, level, event, "source %s to %s[%s]: %s", c->source_name, c->host_name,
		c->host->text, why);
}

static bool tls_broke(const struct outbound_event *e)
{
	return e->error == STREAM_E_TLS || (e->info && e->info->suspect & EXT_TLS);
}

/* TLS is demanded, and broken on the way from this source: what waits is for the others, as far as
 * there are any. The policy hears of it as a fault of the lane. */
static bool tls_of_source(struct dispatch *d, struct connection *c, struct flow *f, const char *why)
{
	bool others = host_memory_tls_elsewhere(c);
	unsigned n = 0;

	for (unsigned s = 0; f && f->pool->index >= 0 && s < d->params->nsources; s++)
		n += f->pool->has[s] && s != c->match.source;
	if (!f || !n || !others)
		return false;
	for (struct list *l = f->match.ready.next; l != &f->match.ready; l = l->next) {
		struct policy_tried *t = &container(l, struct work, match.in_flow)->match.tried;
		unsigned k = 0;

		while (k < t->n && t->source[k] != c->match.source)
			k++;
		if (k == t->n && t->n < POLICY_TRIED_MAX)
			t->source[t->n++] = (uint16_t)c->match.source;
	}
	event_log(d, LOG_NOTICE, EVENT_TLS_FAILED, c, why);
	return true;
}

/* The connection that this flow waited for never came up. */
static void open_failed(struct dispatch *d, struct connection *c, struct outbound_event *e,
	struct flow *f, const struct classification *k)
{
	char text[400];

	d->stats.connect_failures++;
	chronicle_connection(d, c, false);
	if (k)
		reply_format(text, sizeof(text), &e->info->failure);
	else
		snprintf(text, sizeof(text), "%s", e->why[0] ? e->why : "connection failed");
	if (e->error == STREAM_E_BIND) {
		event_log(d, LOG_ERR, EVENT_SOURCE_UNAVAILABLE, c, e->why);
	} else if (k && !policy_no_room(d->policy, c->match.slot, k) &&
		   (k->verdict == VERDICT_SOURCE_THROTTLE || k->verdict == VERDICT_SOURCE_BLOCK)) {
		if (!host_refuses(d, c, f, k, text) && f && f->match.nready) {
			struct work *w = container(f->match.ready.next, struct work, match.in_flow);

			flow_remove(d, w);
			result_refused(d, c, w, k, &e->info->failure);
		}
	} else if (tls_broke(e) &&
		   (host_memory_tls(d, c, e->why) || tls_of_source(d, c, f, e->why))) {
		/* the same mail again at once: in clear, or from elsewhere */
	} else if (own_lack(e->error)) {
		event_log(d, LOG_WARN, EVENT_CONNECT_FAILED, c, e->why);
		if (f)
			flow_wait(d, f, HOLD_CAP, loop_mono(d->loop) + AGAIN);
	} else {
		host_not_reached(d, c, f, k, text);
	}
	if (f && f->match.nready)
		flow_ask(d, f);
}

/* What was posted before we knew comes back untried; until then the slot is needed. */
void connection_ended(struct dispatch *d, struct connection *c)
{
	struct policy_slot_info info;
	struct host *h = c->host;
	char where[32];

	if (!c->down || c->match.nrunning)
		return;
	h->refs++;
	policy_slot(d->policy, c->match.slot, &info);
	snprintf(where, sizeof(where), "%.31s", info.cluster);
	policy_disconnected(
		d->policy, now_of(d), c->match.slot, c->refused ? &c->refusal : NULL, c->error);
	connection_free(d, c);
	match_freed(&d->match, &h->match, where, 4);
	host_unref(d, h);
}

void connection_down(struct dispatch *d, struct outbound_event *e)
{
	struct connection *c = connection_by_number(d, e->connection);
	bool was_up, cut;
	struct flow *f;

	if (!c || c->down)
		return;
	was_up = c->match.state != MATCH_OPENING;
	transcript_keep(d, c, &e->transcript, 0);
	f = asking(c);
	cut = unproven_down(d, c, e->error);
	match_down(&c->match);
	c->down = true;
	c->error = !was_up && tls_broke(e) ? (int)STREAM_E_TLS : e->error;
	c->refused = refused_by_receiver(e);
	if (c->refused)
		classify(d->rules, slice_of(provider_of(d, c->match.provider)->name),
			slice_of(client_phase_name(e->info->failed_in)), &e->info->failure,
			&c->refusal);
	if (cut && !c->host->match.retired)
		host_cut_short(d, c, f);
	else if (!was_up && !c->host->match.retired)
		open_failed(d, c, e, f, c->refused ? &c->refusal : NULL);
	else if (f && f->match.nready)
		flow_ask(d, f);
	connection_ended(d, c);
}

/* ---- paused ones ---- */

/* What they waited for may be over. */
void connections_wake(struct dispatch *d)
{
	for (uint32_t i = 0; i < d->table.cap; i++) {
		struct connection *c = d->table.all[i];

		if (!c || !c->wake.pos || c->match.state == MATCH_OPENING)
			continue;
		wake_clear(&d->wakes, &c->wake);
		match_resume(&d->match, now_of(d), &c->match);
	}
}

/* Refused by a rate before; or not up yet, though it should be. */
void connection_woken(struct dispatch *d, struct connection *c)
{
	if (c->match.state == MATCH_OPENING)
		host_late(d, c);
	else
		match_resume(&d->match, now_of(d), &c->match);
}
