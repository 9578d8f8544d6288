/* Notifications gathered: what fails of one message within moments is told in one. Called by
 * settle.c, on the dispatcher's thread.
 *
 * Gathered are outcomes that are not recorded yet: a recipient that failed, or is put off with a
 * notice, stays as it is in the queue until the notification about it is stored in the same
 * transaction. After a kill it is tried again, fails again, and is told then. What was delivered is
 * never kept back.
 *
 * A message's gathering ends when nothing came for a while, at the latest some time after it began;
 * both times double with each notification that a message causes, so that a long list whose
 * recipients fail for hours causes few. It ends at once when all recipients are in it, when it is
 * full, or when all gatherings together have reached their share of memory. */
#include "notify.h"

#include <stdlib.h>

#include "domain.h"
#include "item.h"
#include "post.h"
#include "postern/must.h"
#include "settle.h"

#define QUIET	   1500	  /* ms without a further failure */
#define LONGEST	   8000	  /* ms since the first */
#define LEVEL_MAX  4u	  /* doublings */
#define REMEMBERED 600000 /* ms that a message's number of notifications is kept */
#define KNOWN_MAX  4000u  /* messages */
#define FULL	   1000u  /* recipients of one notification */
#define SHARE	   4	  /* part of the memory for recipients that may wait so */

struct gathering {
	UT_hash_handle hh;
	uint64_t id;	  /* of the message */
	struct settle *s; /* being filled; NULL: its last one is on its way */
	ms_t began, told; /* mono */
	unsigned level;
	struct list by_age; /* the longest untouched first */
};

static bool to_be_gathered(const struct item *i)
{
	return i->report && (i->report->action == DSN_FAILED || i->report->action == DSN_DELAYED);
}

static void forget(struct dispatch *d, struct gathering *g)
{
	must(!g->s);
	HASH_DEL(d->told.all, g);
	list_del(&g->by_age);
	free(g);
}

static void tell(struct dispatch *d, struct gathering *g)
{
	struct settle *s = g->s;

	g->s = NULL;
	g->told = loop_mono(d->loop);
	if (g->level < LEVEL_MAX)
		g->level++;
	list_del(&g->by_age);
	list_add(&d->told.by_age, &g->by_age);
	for (struct item *i = s->items; i; i = i->next)
		i->domain->gathered--;
	wake_clear(&d->wakes, &s->wake);
	s->gathering = NULL;
	d->told.n -= s->q.n;
	settle_commit(d, s);
}

/* Room for one more: those done with go first, then the oldest that still gathers. */
static void make_room(struct dispatch *d)
{
	struct gathering *g = container(d->told.by_age.next, struct gathering, by_age);

	if (g->s)
		tell(d, g);
	forget(d, g);
}

static struct gathering *get(struct dispatch *d, uint64_t id)
{
	struct gathering *g;

	HASH_FIND(hh, d->told.all, &id, sizeof(id), g);
	if (g)
		return g;
	if (HASH_COUNT(d->told.all) >= KNOWN_MAX)
		make_room(d);
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	g->id = id;
	HASH_ADD(hh, d->told.all, id, sizeof(id), g);
	if (!g->hh.tbl) {
		free(g);
		return NULL;
	}
	list_add(&d->told.by_age, &g->by_age);
	return g;
}

static void schedule(struct dispatch *d, struct gathering *g)
{
	ms_t now = loop_mono(d->loop), at = now + (QUIET << g->level);
	ms_t last = g->began + (LONGEST << g->level);

	wake_set(&d->wakes, &g->s->wake, at < last ? at : last);
}

static bool complete(const struct dispatch *d, const struct gathering *g, const struct message *m)
{
	return g->s->q.n >= FULL || g->s->q.n == m->nrecipients ||
	       d->told.n >= d->p.work_max / SHARE;
}

static bool gather(struct dispatch *d, struct message *m, struct item *i)
{
	struct gathering *g = get(d, m->id);

	/* its text may be in another copy of the message than the one that is kept */
	if (!g || (g->s && g->s->message != m && !item_keep_text(i)))
		return false;
	if (!g->s) {
		g->began = loop_mono(d->loop);
		if (g->told && g->began - g->told > REMEMBERED)
			g->level = 0;
		g->s = settle_new(d, m);
		g->s->gathering = g;
	}
	i->next = g->s->items;
	g->s->items = i;
	i->settle = g->s;
	i->work = NULL;
	g->s->q.n++;
	d->told.n++;
	i->domain->gathered++;
	domain_touch(d, i->domain); /* it does not stand in the way of others */
	if (complete(d, g, m))
		tell(d, g);
	else
		schedule(d, g);
	return true;
}

struct item *notify_gather(struct dispatch *d, struct message *m, struct item *items)
{
	struct item *at_once = NULL, *next;

	for (struct item *i = items; i; i = next) {
		next = i->next;
		if (!d->match.draining && !d->life.quiet && to_be_gathered(i) && gather(d, m, i))
			continue;
		i->next = at_once;
		at_once = i;
	}
	return at_once;
}

void notify_tell(struct dispatch *d, struct gathering *g)
{
	tell(d, g);
}

void notify_tell_all(struct dispatch *d)
{
	struct gathering *g, *next;

	HASH_ITER (hh, d->told.all, g, next)
		if (g->s)
			tell(d, g);
}

void notify_sweep(struct dispatch *d)
{
	ms_t before = loop_mono(d->loop) - REMEMBERED;

	while (!list_empty(&d->told.by_age)) {
		struct gathering *g = container(d->told.by_age.next, struct gathering, by_age);

		if (g->s || g->told > before)
			return;
		forget(d, g);
	}
}

/* What is in them stays in the queue as it was. */
void notify_free(struct dispatch *d)
{
	struct gathering *g, *next;

	HASH_ITER (hh, d->told.all, g, next) {
		if (g->s) {
			wake_clear(&d->wakes, &g->s->wake);
			settle_free(d, g->s);
			g->s = NULL;
		}
		forget(d, g);
	}
}
