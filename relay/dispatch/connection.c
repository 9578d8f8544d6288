/* Connections: by number and by host; opening, idle, closing. */
#include "postern/must.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "host_memory.h"

#define INDEX_BITS 20
#define INDEX_MASK ((1u << INDEX_BITS) - 1)
#define VICTIMS	   64u /* idle connections looked at for one to give up */
#define AGAIN	   1000
#define WAY_EVERY  2000 /* ms; one connection of a cluster makes way for a pool as often */
#define WAY_AGAIN  200

_Static_assert((int)POLICY_E_BIND == (int)STREAM_E_BIND, "one value on both sides");

/* ---- numbers ---- */

static int grow(struct dispatch *d)
{
	uint32_t cap = d->connections_cap ? d->connections_cap * 2 : 256;
	struct connection **all;
	uint32_t *unused;

	if (cap > INDEX_MASK)
		return -EMFILE;
	all = realloc(d->connections, cap * sizeof(struct connection *));
	if (!all)
		return -ENOMEM;
	d->connections = all;
	unused = realloc(d->free_connections, cap * sizeof(*unused));
	if (!unused)
		return -ENOMEM;
	d->free_connections = unused;
	for (uint32_t i = cap; i-- > d->connections_cap;) {
		all[i] = NULL;
		unused[d->nfree++] = i;
	}
	d->connections_cap = cap;
	return 0;
}

static int enter(struct dispatch *d, struct connection *c)
{
	uint32_t i;
	int r;

	if (!d->nfree) {
		r = grow(d);
		if (r)
			return r;
	}
	i = d->free_connections[--d->nfree];
	d->connections[i] = c;
	d->nconnections++;
	c->number = (++d->connection_seq << INDEX_BITS) | i;
	return 0;
}

struct connection *connection_by_number(struct dispatch *d, uint64_t number)
{
	uint32_t i = (uint32_t)number & INDEX_MASK;
	struct connection *c = i < d->connections_cap ? d->connections[i] : NULL;

	return c && c->number == number ? c : NULL;
}

static void leave_lists(struct connection *c)
{
	if (c->in_idle) {
		list_del(&c->idle);
		list_del(&c->all_idle);
		c->in_idle = false;
		c->host->nidle--;
	}
	if (c->in_half) {
		list_del(&c->half);
		c->in_half = false;
	}
}

static void connection_free(struct dispatch *d, struct connection *c)
{
	uint32_t i = (uint32_t)c->number & INDEX_MASK;

	leave_lists(c);
	wake_clear(&d->wakes, &c->wake);
	d->connections[i] = NULL;
	d->free_connections[d->nfree++] = i;
	d->nconnections--;
	d->load[c->worker]--;
	host_unref(d, c->host);
	free(c);
}

/* ---- orders ---- */

void order_post(struct dispatch *d, struct connection *c, struct outbound_order *o)
{
	o->connection = c->number;
	must(!d->quiet);
	mpsc_batch_add(&d->orders[c->worker], &o->node);
}

static unsigned least_loaded(const struct dispatch *d)
{
	unsigned best = 0;

	for (unsigned i = 1; i < d->nworkers; i++)
		if (d->load[i] < d->load[best])
			best = i;
	return best;
}

static struct outbound_connect *connect_order(struct dispatch *d, const struct connection *c,
	const struct policy_choice *choice, const char *host_name)
{
	const struct provider_params *v = provider_of(d, c->provider);
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
	o->tls_context = d->tls[c->provider] ? tls_context_ref(d->tls[c->provider]) : NULL;
	o->pipelining = v->transport.pipelining;
	o->chunking = v->transport.chunking;
	o->timeouts = v->transport.timeouts;
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
	c->provider = m->provider;
	c->source = choice->source;
	c->slot = choice->slot;
	c->host = m->candidates[choice->host].host;
	list_init(&c->idle);
	list_init(&c->half);
	list_init(&c->all_idle);
	c->wake.kind = WAKE_CONNECTION;
	snprintf(c->host_name, sizeof(c->host_name), "%s", m->candidates[choice->host].name);
	c->without = host_memory_without(d, &c->host->addr, &d->params->sources[c->source].address);
	snprintf(c->source_name, sizeof(c->source_name), "%s", d->params->sources[c->source].name);
	addr_format(c->source_address, &d->params->sources[c->source].address);
	net_format(c->subnet, &d->params->sources[c->source].subnet);
	o = connect_order(d, c, choice, c->host_name);
	if (!o)
		goto fail;
	r = enter(d, c);
	if (r)
		goto fail;
	opening_begin(d, c, &o->timeouts);
	snprintf(c->session, sizeof(c->session), "%" PRIx64, c->number);
	c->worker = least_loaded(d);
	d->load[c->worker]++;
	c->host->refs++;
	c->host->opening++;
	wake_set(&d->wakes, &c->wake, loop_mono(d->loop) + policy_late_after(d->policy, c->slot));
	c->asked_by = f;
	f->opening++;
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

void connection_opening_over(struct connection *c)
{
	if (!c->asked_by)
		return;
	c->asked_by->opening--;
	c->host->opening--;
	c->asked_by = NULL;
}

void connection_sort(struct dispatch *d, struct connection *c)
{
	bool free_now = c->state == CONNECTION_UP && !c->retire;

	if (c->state == CONNECTION_UP && (c->retire || d->draining) && !c->nrunning) {
		connection_quit(d, c);
		return;
	}
	if (c->in_idle && free_now && !c->nrunning)
		return;
	leave_lists(c);
	if (!free_now)
		return;
	if (!c->nrunning) {
		c->idle_since = loop_mono(d->loop);
		c->in_idle = true;
		c->host->nidle++;
		list_add(&c->host->idle, &c->idle);
		list_add(&d->idle, &c->all_idle);
	} else if (c->nrunning < PIPELINE) {
		c->in_half = true;
		list_add(&c->host->half, &c->half);
	}
}

void connection_quit(struct dispatch *d, struct connection *c)
{
	struct outbound_order *o;

	if (c->state != CONNECTION_UP)
		return;
	leave_lists(c);
	o = d->quiet ? NULL : calloc(1, sizeof(*o));
	if (!o) {
		c->retire = true; /* connection_tick tries again */
		return;
	}
	o->kind = OUTBOUND_QUIT;
	c->state = CONNECTION_QUITTING;
	order_post(d, c, o);
}

void connection_up(struct dispatch *d, struct outbound_event *e)
{
	struct connection *c = connection_by_number(d, e->connection);
	struct domain *m;
	struct flow *f;

	if (!c || c->state != CONNECTION_OPENING)
		return;
	f = c->asked_by;
	m = f ? f->domain : NULL;
	connection_opening_over(c);
	opening_end(d, c, true);
	opening_prove(d, c->host);
	c->state = CONNECTION_UP;
	wake_clear(&d->wakes, &c->wake);
	c->host->up++;
	c->connect_ms = e->connect_ms;
	c->tls_ms = e->tls_ms;
	if (e->info) {
		if (e->info->tls)
			snprintf(c->tls, sizeof(c->tls), "%s", e->info->tls);
		policy_connected(d->policy, now_of(d), c->slot, e->info);
		hostname_want(d, c);
	}
	chronicle_connection(d, c, true);
	host_memory_up(d, c);
	if (m)
		route_host_well(m, c->host);
	connection_sort(d, c);
	assign_connection(d, c);
	if (f && f->nready)
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
		n += f->pool->has[s] && s != c->source;
	if (!f || !n || !others)
		return false;
	for (struct list *l = f->ready.next; l != &f->ready; l = l->next) {
		struct policy_tried *t = &container(l, struct work, in_flow)->tried;
		unsigned k = 0;

		while (k < t->n && t->source[k] != c->source)
			k++;
		if (k == t->n && t->n < POLICY_TRIED_MAX)
			t->source[t->n++] = (uint16_t)c->source;
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
	} else if (k && !policy_no_room(d->policy, c->slot, k) &&
		   (k->verdict == VERDICT_SOURCE_THROTTLE || k->verdict == VERDICT_SOURCE_BLOCK)) {
		if (!host_refuses(d, c, f, k, text) && f && f->nready) {
			struct work *w = container(f->ready.next, struct work, in_flow);

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
	if (f && f->nready)
		flow_ask(d, f);
}

/* What was posted before we knew comes back untried; until then the slot is needed. */
void connection_ended(struct dispatch *d, struct connection *c)
{
	struct policy_slot_info info;
	struct host *h = c->host;
	char where[32];

	if (!c->down || c->nrunning)
		return;
	h->refs++;
	policy_slot(d->policy, c->slot, &info);
	snprintf(where, sizeof(where), "%.31s", info.cluster);
	policy_disconnected(
		d->policy, now_of(d), c->slot, c->refused ? &c->refusal : NULL, c->error);
	connection_free(d, c);
	slot_freed(d, h, where, 4);
	host_unref(d, h);
}

void connection_down(struct dispatch *d, struct outbound_event *e)
{
	struct connection *c = connection_by_number(d, e->connection);
	bool was_up;
	struct flow *f;

	if (!c || c->down)
		return;
	was_up = c->state != CONNECTION_OPENING;
	f = c->asked_by;
	connection_opening_over(c);
	opening_end(d, c, false);
	leave_lists(c);
	if (was_up)
		c->host->up--;
	c->state = CONNECTION_QUITTING;
	c->down = true;
	c->error = !was_up && tls_broke(e) ? (int)STREAM_E_TLS : e->error;
	c->refused = refused_by_receiver(e);
	if (c->refused)
		classify(d->rules, slice_of(provider_of(d, c->provider)->name),
			slice_of(client_phase_name(e->info->failed_in)), &e->info->failure,
			&c->refusal);
	if (!was_up && !c->host->retired)
		open_failed(d, c, e, f, c->refused ? &c->refusal : NULL);
	else if (f && f->nready)
		flow_ask(d, f);
	connection_ended(d, c);
}

/* ---- idle ones ---- */

/* What they waited for may be over. */
void connections_wake(struct dispatch *d)
{
	for (uint32_t i = 0; i < d->connections_cap; i++) {
		struct connection *c = d->connections[i];

		if (!c || !c->wake.pos || c->state == CONNECTION_OPENING)
			continue;
		wake_clear(&d->wakes, &c->wake);
		assign_connection(d, c);
	}
}

/* Refused by a rate before; or not up yet, though it should be. */
void connection_woken(struct dispatch *d, struct connection *c)
{
	if (c->state == CONNECTION_OPENING)
		host_late(d, c);
	else
		assign_connection(d, c);
}

void connection_tick(struct dispatch *d)
{
	ms_t now = loop_mono(d->loop);

	if (d->quiet)
		return;
	for (struct list *l = d->idle.next, *next; l != &d->idle; l = next) {
		struct connection *c = container(l, struct connection, all_idle);
		ms_t max = c->host->retired ? 0 : provider_of(d, c->provider)->connection_idle_max;
		struct policy_slot_info info;

		next = l->next;
		policy_slot(d->policy, c->slot, &info);
		if (c->retire || info.retire || now - c->idle_since >= max)
			connection_quit(d, c);
	}
}

/* It would take this flow's work itself: nothing is won by ending it. */
static bool serves(const struct flow *f, const struct connection *c)
{
	const struct work *w = container(f->ready.next, struct work, in_flow);

	if (!f->linked || f->pool->index < 0 || !f->pool->has[c->source])
		return false;
	if (w->tried.prefer && w->tried.prefer != c->source + 1)
		return false;
	for (unsigned i = 0; i < w->tried.n; i++)
		if (w->tried.source[i] == c->source)
			return false;
	for (unsigned i = 0; i < f->domain->nhosts; i++)
		if (f->links[i].host == c->host)
			return true;
	return false;
}

/* May one more be opened by the process? If not, one that does nothing is ended. */
bool connection_room(struct dispatch *d)
{
	if (!d->p.outbound_max || d->nconnections < d->p.outbound_max)
		return true;
	if (!list_empty(&d->idle))
		connection_quit(d, container(d->idle.next, struct connection, all_idle));
	return false;
}

/* Work is held by a cap while a connection that counts against it does nothing: that one goes. */
bool connection_give_up_idle(
	struct dispatch *d, const struct flow *f, const struct policy_choice *why)
{
	struct connection *second = NULL;
	unsigned n = 0;

	for (struct list *l = d->idle.next; l != &d->idle && n < VICTIMS; l = l->next, n++) {
		struct connection *c = container(l, struct connection, all_idle);

		if (c->provider != f->domain->provider || serves(f, c) ||
			!policy_frees(d->policy, c->slot, why))
			continue;
		if (!c->wake.pos) {
			connection_quit(d, c);
			return true;
		}
		if (!second)
			second = c;
	}
	if (second) /* only its rate keeps it idle */
		connection_quit(d, second);
	return second != NULL;
}

/* Those that carry mail at the place would go on for as long as there is any, and what they cannot
 * carry (it has other sources, or other hosts) would wait until one is worn out. The flow that gets
 * nowhere is the next to be asked then. */
void connection_make_way(struct dispatch *d, struct flow *f, const struct policy_choice *why)
{
	uint64_t place = why->cluster_id * 31 + (uint64_t)(unsigned)f->pool->index;
	ms_t now = loop_mono(d->loop), *made = &d->way_made[place % WAYS];
	struct connection *victim = NULL;

	/* of unknown places the policy takes care itself */
	if (why->limit == LIMIT_NONE || why->limit == LIMIT_UNKNOWN || f->opening || f->diverted ||
		now - *made < WAY_EVERY)
		return;
	*made = now;
	for (uint32_t i = 0; i < d->connections_cap; i++) {
		struct connection *c = d->connections[i];

		if (!c || c->down || c->provider != f->domain->provider)
			continue;
		if (serves(f, c) && !c->retire)
			return;
		if (c->state != CONNECTION_UP || !policy_frees(d->policy, c->slot, why))
			continue;
		if (c->retire)
			return; /* a place is on its way */
		if (!victim || c->number < victim->number)
			victim = c;
	}
	f->waiter.unserved = true;
	if (!victim) { /* all are being opened */
		*made = now - WAY_EVERY + WAY_AGAIN;
		return;
	}
	victim->retire = true;
	connection_sort(d, victim);
}
