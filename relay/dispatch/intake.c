/* What comes in: fresh messages after their commit, and due ones read from the queue in windows. */
#include <errno.h>
#include <stdlib.h>

#include "dispatcher.h"
#include "postern/must.h"

#define WINDOWS_A_TURN 4u   /* index reads in one iteration of the loop */
#define WINDOW_READ    100u /* entries in one of them */
#define PROBE_READ     4u   /* the same, of a domain whose mail may not get anywhere */

/* ---- items and works ---- */

static struct item_key key_of(uint64_t id, uint32_t index)
{
	return (struct item_key){ id, index };
}

struct item *item_find(struct dispatch *d, uint64_t id, uint32_t index)
{
	struct item_key key = key_of(id, index);
	struct item *i;

	HASH_FIND(hh, d->items, &key, sizeof(key), i);
	return i;
}

bool item_keep_text(struct item *i)
{
	const struct recipient *r = i->recipient;
	size_t a = strlen(r->address) + 1, o = r->orcpt ? strlen(r->orcpt) + 1 : 0;

	if (r == &i->own)
		return true;
	i->stored = malloc(a + o);
	if (!i->stored)
		return false;
	memcpy(i->stored, r->address, a);
	if (o)
		memcpy(i->stored + a, r->orcpt, o);
	i->own = *r;
	i->own.address = i->stored;
	i->own.orcpt = o ? i->stored + a : NULL;
	i->own.domain = i->domain->name;
	i->recipient = &i->own;
	return true;
}

struct item *item_new(struct dispatch *d, struct domain *m, uint64_t id, const struct recipient *r,
	bool copy, ms_t due)
{
	struct item *i = calloc(1, sizeof(*i));

	if (!i)
		return NULL;
	i->key = key_of(id, r->index);
	i->domain = m;
	i->recipient = r;
	i->old_due = due;
	if (copy && !item_keep_text(i)) {
		free(i);
		return NULL;
	}
	HASH_ADD(hh, d->items, key, sizeof(i->key), i);
	if (!i->hh.tbl) {
		free(i->stored);
		free(i);
		return NULL;
	}
	m->in_memory++;
	d->work++;
	return i;
}

static char *dup_or_null(const char *s)
{
	return s ? slice_dup(slice_of(s)) : NULL;
}

void item_state(struct item *i, const struct queue_rcpt_state *s)
{
	i->attempts = s->attempts;
	i->code = s->code;
	i->verdict = s->verdict;
	i->flags = s->flags;
	i->last_attempt = s->last_attempt;
	i->reply = dup_or_null(s->reply);
	i->host = dup_or_null(s->host);
	i->source = dup_or_null(s->source);
}

void item_drop(struct dispatch *d, struct item *i)
{
	struct domain *m = i->domain;

	HASH_DEL(d->items, i);
	m->in_memory--;
	d->work--;
	free(i->stored);
	free(i->reply);
	free(i->host);
	free(i->source);
	free(i->report);
	free(i);
	domain_touch(d, m);
}

struct work *work_new(struct message *m)
{
	struct work *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	list_init(&w->in_flow);
	w->message = message_ref(m);
	w->tried.message = m->id;
	return w;
}

void work_free(struct work *w)
{
	message_unref(w->message);
	free(w);
}

static void drop_items(struct dispatch *d, struct work *w)
{
	while (w->items) {
		struct item *i = w->items;
		ms_t due = i->old_due;
		struct domain *m = i->domain;

		w->items = i->next;
		item_drop(d, i);
		domain_due(d, m, due);
	}
	work_free(w);
}

void work_evict(struct dispatch *d, struct work *w)
{
	flow_remove(d, w);
	drop_items(d, w);
}

void work_place(struct dispatch *d, struct work *w, struct domain *m)
{
	struct pool *pool = pool_get(d, w->message->pool);
	struct flow *f = pool ? flow_get(d, m, pool, w->tried.n > 0) : NULL;

	if (!f) {
		drop_items(d, w);
		return;
	}
	flow_push(d, f, w, false);
}

static void work_add(struct work *w, struct item **last, struct item *i)
{
	i->work = w;
	if (w->items)
		(*last)->next = i;
	else
		w->items = i;
	*last = i;
	w->n++;
}

/* ---- fresh ---- */

static bool room_for(const struct dispatch *d, const struct domain *m)
{
	return m->in_memory < d->p.window && d->work < d->p.work_max && !m->not_before;
}

/* Recipients of one domain need not be neighbours: those of one message are gone through once for
 * each of its domains, and the first of a domain takes the rest along. */
static void fresh_domain(struct dispatch *d, struct message *msg, uint32_t first, struct domain *m)
{
	const char *name = msg->recipients[first].domain;
	struct work *w = NULL;
	struct item *last = NULL;

	for (uint32_t k = first; k < msg->nrecipients; k++) {
		const struct recipient *r = &msg->recipients[k];
		struct item *i;

		if (k != first && (r->domain != name && strcmp(r->domain, name)))
			continue;
		if (item_find(d, msg->id, r->index))
			continue;
		if (!w || w->n >= INTAKE_GROUP) {
			if (w)
				work_place(d, w, m);
			w = room_for(d, m) ? work_new(msg) : NULL;
		}
		i = w ? item_new(d, m, msg->id, r, false, msg->first_due) : NULL;
		if (!i) {
			domain_due(d, m, msg->first_due);
			break; /* this one and those behind it are read later */
		}
		work_add(w, &last, i);
	}
	if (w && w->n)
		work_place(d, w, m);
	else if (w)
		work_free(w);
}

static bool seen_before(const struct message *msg, uint32_t k)
{
	/* neighbours mostly; a look back over all would be quadratic for a long list */
	for (uint32_t n = 1; n <= 8 && n <= k; n++)
		if (!strcmp(msg->recipients[k].domain, msg->recipients[k - n].domain))
			return true;
	return false;
}

static void fresh(struct dispatch *d, struct message *msg)
{
	/* No memory for the body, or work stopped: it is in the index, and comes with its turn.
	 * Half of the memory is left to what comes in: waiting mail must not stop it. */
	bool later = (msg->flags & MESSAGE_HELD) || d->draining ||
		     (msg->body && body_memory() > d->p.body_memory_max / 2);

	for (uint32_t k = 0; k < msg->nrecipients; k++) {
		struct domain *m;

		if (k && seen_before(msg, k))
			continue;
		m = domain_get(d, msg->recipients[k].domain);
		if (!m) {
			d->missed = true; /* the index is gone through again */
			continue;
		}
		if (later || msg->first_due > loop_wall(d->loop) + 1000)
			domain_due(d, m, msg->first_due);
		else
			fresh_domain(d, msg, k, m);
	}
}

void intake_fresh(void *arg, struct mpsc_node *first)
{
	struct dispatch *d = arg;

	while (first) {
		struct message *m = container(first, struct message, fresh_node);

		first = first->next;
		fresh(d, m);
		message_unref(m);
	}
}

/* ---- due ---- */

static bool in_memory(void *arg, uint64_t id, uint32_t index)
{
	return item_find(arg, id, index) != NULL;
}

struct grouping {
	struct domain *m;
	struct work *work;
	struct item *last;
};

static void group_end(struct dispatch *d, struct grouping *g)
{
	if (g->work)
		work_place(d, g->work, g->m);
	g->work = NULL;
}

static bool joins(const struct grouping *g, const struct queue_due *q)
{
	return g->work && g->work->message == q->message && g->work->n < INTAKE_GROUP &&
	       !((g->last->flags | q->state.flags) & RCPT_STATE_SPLIT);
}

static void take_due(struct dispatch *d, struct grouping *g, const struct queue_due *q)
{
	struct item *i = item_new(d, g->m, q->id, &q->recipient, true, q->due);

	if (!i) {
		domain_due(d, g->m, q->due);
		return;
	}
	item_state(i, &q->state);
	if (loop_wall(d->loop) >= q->message->expires) {
		settle_expire(d, q->message, i);
		settle_items(d, q->message, i);
		return;
	}
	if (!joins(g, q)) {
		group_end(d, g);
		g->work = work_new(q->message);
		if (!g->work) {
			item_drop(d, i);
			domain_due(d, g->m, q->due);
			return;
		}
	}
	work_add(g->work, &g->last, i);
}

/* More entries of the domain may be in the index than memory has room for: next_due says when to
 * come back. */
static void read_window(struct dispatch *d, struct domain *m)
{
	struct queue_window *w = &d->window;
	ms_t wall = loop_wall(d->loop);
	uint32_t limit;
	struct grouping g = { .m = m };
	int r;

	if (m->in_memory >= d->p.window)
		return; /* fresh mail was faster; domain_touch comes back */
	limit = d->p.window - m->in_memory;
	if (limit > due_max(d) - d->work)
		limit = due_max(d) - d->work;
	if (limit > (domain_probing(m) ? PROBE_READ : WINDOW_READ))
		limit = domain_probing(m) ? PROBE_READ : WINDOW_READ;
	m->next_due = 0;
	m->not_before = 0;
	r = queue_window_read(
		d->queue, m->name, wall, limit, m->in_memory + WINDOW_READ, in_memory, d, w);
	if (r) {
		log_event(d->log, LOG_ERR, "queue-read-failed",
			"due messages of %s cannot be read: %s", m->name, strerror(-r));
		domain_due(d, m, wall + 10000);
		return;
	}
	for (uint32_t k = 0; k < w->n; k++)
		take_due(d, &g, &w->items[k]);
	group_end(d, &g);
	if (w->more)
		domain_due(d, m, wall);
	else if (w->next_due)
		domain_due(d, m, w->next_due);
}

bool intake_due(struct dispatch *d)
{
	for (unsigned n = 0; n < WINDOWS_A_TURN && !list_empty(&d->due); n++) {
		struct domain *m = container(d->due.next, struct domain, in_due);

		if (d->draining || d->stalled >= STALLED_MAX || d->work >= due_max(d))
			return false; /* settle_answers comes back when there is room */
		list_del(&m->in_due);
		m->in_due_list = false;
		read_window(d, m);
	}
	return !list_empty(&d->due);
}

struct start {
	struct dispatch *d;
	int r;
};

static int start_domain(void *arg, const char *name, ms_t due)
{
	struct start *s = arg;
	struct domain *m = domain_get(s->d, name);

	if (!m) {
		s->r = -ENOMEM;
		return 1;
	}
	domain_due(s->d, m, due);
	return 0;
}

int intake_start(struct dispatch *d)
{
	struct start s = { .d = d };
	int r = queue_domains(d->queue, start_domain, &s);

	return r ? r : s.r;
}

/* ---- what waits for long ---- */

static bool notice_due(
	const struct dispatch *d, const struct message *m, const struct item *i, ms_t wall)
{
	ms_t after = d->params->retry.delay_notice;

	return after && wall - m->arrived >= after && !(i->flags & RCPT_STATE_DELAY_SENT) &&
	       dsn_wanted(m, i->recipient, DSN_DELAYED);
}

void flow_age(struct dispatch *d, struct flow *f)
{
	ms_t wall = loop_wall(d->loop);
	struct list *l, *next;

	for (l = f->ready.next; l != &f->ready; l = next) {
		struct work *w = container(l, struct work, in_flow);
		bool expired = wall >= w->message->expires;
		bool notice = !expired && notice_due(d, w->message, w->items, wall);

		next = l->next;
		if (!expired && !notice)
			continue;
		flow_remove(d, w);
		for (struct item *i = w->items; i; i = i->next) {
			if (expired)
				settle_expire(d, w->message, i);
			else
				settle_defer(d, w->message, i, 0);
		}
		settle_items(d, w->message, w->items);
		w->items = NULL;
		work_free(w);
	}
}
