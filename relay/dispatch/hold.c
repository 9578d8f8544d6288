/* Recipient domains that an operator holds: what waits, and what still comes, until the release.
 * The dispatcher's own, one thread. This is the set of them; what follows is done in standing.c. A
 * held domain is not read from the queue and takes no fresh mail into memory; the mail is accepted
 * and stored as any. Recorded among the learned state, so that it outlives the process; there are
 * HOLDS_MAX at most. */
#include "hold.h"

#include <errno.h>
#include <stdlib.h>

#include "state.h"

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

int hold_add(struct dispatch *d, struct slice name)
{
	struct hold *h;

	HASH_FIND(hh, d->orders.holds, name.p, name.n, h);
	if (h)
		return 0;
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

int hold_record(struct dispatch *d, const char *name, bool held)
{
	char key[400];
	int n = snprintf(key, sizeof(key), PREFIX "%s", name);

	if (n < 0 || (size_t)n >= sizeof(key))
		return -EINVAL;
	return state_put(d, (struct slice){ key, (size_t)n },
		held ? SLICE_LIT("1") : (struct slice){ NULL, 0 });
}

void hold_forget(struct dispatch *d, const char *name)
{
	struct hold *h = find(d, name);

	if (!h)
		return;
	HASH_DEL(d->orders.holds, h);
	free(h);
}

static int load_one(void *arg, struct slice key, struct slice value)
{
	struct dispatch *d = arg;
	struct slice name = slice_from(key, sizeof(PREFIX) - 1);

	(void)value;
	if (name.n && !memchr(name.p, '\0', name.n) && hold_add(d, name))
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
