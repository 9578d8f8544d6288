/* Recipient domains that an operator holds: what waits, and what still comes, until the release.
 * The dispatcher's own, one thread. A held domain is not read from the queue and takes no fresh
 * mail into memory; the mail is accepted and stored as any. Recorded among the learned state, so
 * that it outlives the process; there are HOLDS_MAX at most. */
#include <errno.h>
#include <stdlib.h>

#include "dispatcher.h"

#define HOLDS_MAX 10000u
#define PREFIX	  "hold/"

struct hold {
	UT_hash_handle hh;
	char name[];
};

static struct hold *find(const struct dispatch *d, const char *name)
{
	struct hold *h;

	HASH_FIND_STR(d->orders.holds, name, h);
	return h;
}

bool hold_is_set(const struct dispatch *d, const char *domain)
{
	return d->orders.holds && find(d, domain);
}

static int add(struct dispatch *d, struct slice name)
{
	struct hold *h;

	if (HASH_COUNT(d->orders.holds) >= HOLDS_MAX)
		return -ENOSPC;
	h = calloc(1, sizeof(*h) + name.n + 1);
	if (!h)
		return -ENOMEM;
	memcpy(h->name, name.p, name.n);
	HASH_ADD_KEYPTR(hh, d->orders.holds, h->name, name.n, h);
	if (h->hh.tbl)
		return 0;
	free(h);
	return -ENOMEM;
}

static int record(struct dispatch *d, const char *name, bool held)
{
	char key[400];
	int n = snprintf(key, sizeof(key), PREFIX "%s", name);

	if (n < 0 || (size_t)n >= sizeof(key))
		return -EINVAL;
	return state_put(d, (struct slice){ key, (size_t)n },
		held ? SLICE_LIT("1") : (struct slice){ NULL, 0 });
}

/* What waits in memory goes back into the queue; what is running is not interrupted. */
static void put_back(struct dispatch *d, struct domain *m)
{
	m->on_hold = true;
	domain_feed(d, m, FEED_ON_STALE, NULL);
	park_forget(d, m);
	for (struct flow *f = m->flows; f; f = f->next)
		while (!list_empty(&f->match.ready))
			work_evict(d, container(f->match.ready.next, struct work, match.in_flow));
	domain_feed(d, m, FEED_ON_STOP, NULL);
}

int hold_set(struct dispatch *d, const char *domain)
{
	struct domain *m = domain_find(d, domain);
	int r = hold_is_set(d, domain) ? 0 : add(d, slice_of(domain));

	if (!r && m)
		put_back(d, m);
	return r ? r : record(d, domain, true);
}

static int release(struct dispatch *d, struct hold *h)
{
	struct domain *m = domain_get(d, h->name);
	int r = m ? record(d, h->name, false) : -ENOMEM;

	if (r)
		return r;
	m->on_hold = false;
	domain_due(d, m, loop_wall(d->loop)); /* it is looked what there is */
	HASH_DEL(d->orders.holds, h);
	free(h);
	return 0;
}

int hold_release(struct dispatch *d, const char *domain)
{
	struct hold *h, *next;
	int r = 0;

	if (domain) {
		h = find(d, domain);
		return h ? release(d, h) : 0;
	}
	HASH_ITER (hh, d->orders.holds, h, next)
		r = r ? r : release(d, h);
	return r;
}

static int load_one(void *arg, struct slice key, struct slice value)
{
	struct dispatch *d = arg;
	struct slice name = slice_from(key, sizeof(PREFIX) - 1);

	(void)value;
	if (name.n && !memchr(name.p, '\0', name.n) && add(d, name))
		log_event(d->log, LOG_ERR, EVENT_STATE_IGNORED, "the hold of %.*s cannot be kept",
			(int)name.n, name.p);
	return 0;
}

void holds_load(struct dispatch *d)
{
	int r = queue_state_scan(d->queue, SLICE_LIT(PREFIX), load_one, d);

	if (r)
		log_event(d->log, LOG_ERR, EVENT_STATE_UNREAD,
			"holds of domains cannot be read: %s", strerror(-r));
}

void holds_free(struct dispatch *d)
{
	struct hold *h, *next;

	HASH_ITER (hh, d->orders.holds, h, next) {
		HASH_DEL(d->orders.holds, h);
		free(h);
	}
}

void holds_each(struct dispatch *d, void (*fn)(void *arg, const char *domain), void *arg)
{
	struct hold *h, *next;

	HASH_ITER (hh, d->orders.holds, h, next)
		fn(arg, h->name);
}
