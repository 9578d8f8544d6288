/* Recipients in memory (items), and the works that carry them. Called by intake.c, result.c,
 * settle.c and whoever looks for one, on the dispatcher's thread. An item is there from its
 * reading until its outcome is on disk; a recipient has one at most. */
#include "item.h"

#include <stdlib.h>

#include "domain.h"
#include "flow.h"
#include "party.h"
#include "postern/must.h"

static struct item_key key_of(uint64_t id, uint32_t index)
{
	return (struct item_key){ id, index };
}

static struct item *find(struct dispatch *d, uint64_t id, uint32_t index)
{
	struct item_key key = key_of(id, index);
	struct item *i;

	HASH_FIND(hh, d->items, &key, sizeof(key), i);
	return i;
}

struct item *item_find(struct dispatch *d, uint64_t id, uint32_t index)
{
	struct item *i = find(d, id, index);

	return i && !i->gone ? i : NULL;
}

bool item_seen(struct dispatch *d, uint64_t id, uint32_t index)
{
	return find(d, id, index) != NULL;
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

static void forget(struct dispatch *d, struct item *i)
{
	list_del(&i->in_domain);
	HASH_DEL(d->items, i);
	free(i);
}

static struct item *make(struct domain *m, uint64_t id, const struct recipient *r, ms_t due)
{
	struct item *i = calloc(1, sizeof(*i));

	if (!i)
		return NULL;
	i->key = key_of(id, r->index);
	i->domain = m;
	i->recipient = r;
	i->old_due = due;
	return i;
}

struct item *item_new(struct dispatch *d, struct domain *m, uint64_t id, const struct recipient *r,
	bool copy, ms_t due)
{
	struct item *i = make(m, id, r, due), *before;

	if (!i)
		return NULL;
	if (copy && !item_keep_text(i)) {
		free(i);
		return NULL;
	}
	/* it was here, and is again while its domain is being read */
	before = list_empty(&m->gone) ? NULL : find(d, id, r->index);
	if (before) {
		must(before->gone);
		forget(d, before);
	}
	HASH_ADD(hh, d->items, key, sizeof(i->key), i);
	if (!i->hh.tbl) {
		free(i->stored);
		free(i);
		return NULL;
	}
	list_add(&m->items, &i->in_domain);
	domain_holds(d, m, 1);
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

	domain_holds(d, m, -1);
	party_discharge(d, i);
	free(i->stored);
	free(i->reply);
	free(i->host);
	free(i->source);
	free(i->report);
	if (feed_reading(&m->feed)) { /* what is being read may have it still */
		i->gone = true;
		list_del(&i->in_domain);
		list_add(&m->gone, &i->in_domain);
	} else {
		forget(d, i);
	}
	domain_touch(d, m);
}

void items_forget_gone(struct dispatch *d, struct domain *m)
{
	while (!list_empty(&m->gone))
		forget(d, container(m->gone.next, struct item, in_domain));
}

/* ---- works ---- */

struct work *work_new(struct message *m)
{
	struct work *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	match_work_init(&w->match);
	w->message = message_ref(m);
	w->match.tried.message = m->id;
	w->match.tried.sender = strrchr(m->sender, '@');
	if (w->match.tried.sender)
		w->match.tried.sender++;
	w->match.tried.client = m->client;
	w->match.tried.from = m->sender[0] ? policy_recipient_hash(m->sender) : 0;
	return w;
}

void work_free(struct work *w)
{
	if (w->flow)
		w->flow->works--;
	message_unref(w->message);
	dns_route_unref(w->route);
	free(w);
}

void work_add(struct work *w, struct item **last, struct item *i)
{
	i->work = w;
	if (w->items)
		(*last)->next = i;
	else
		w->items = i;
	*last = i;
	w->n++;
}

/* What an operator wanted to be tried before its time is so still. */
static ms_t due_again(const struct dispatch *d, const struct item *i)
{
	ms_t wall = loop_wall(d->loop);

	if (!d->clock.recall_at || i->old_due <= wall)
		return i->old_due;
	i->domain->recall_again = true;
	return wall;
}

void work_drop(struct dispatch *d, struct work *w)
{
	bool parked = w->flow && wait_is_parked(&w->flow->domain->parking, w->flow->pool);

	while (w->items) {
		struct item *i = w->items;
		struct feed_in in = { .due = due_again(d, i), .parked = parked };
		struct domain *m = i->domain;

		w->items = i->next;
		item_drop(d, i);
		domain_feed(d, m, FEED_ON_MAIL, &in);
	}
	work_free(w);
}

void work_evict(struct dispatch *d, struct work *w)
{
	flow_remove(d, w);
	work_drop(d, w);
}
