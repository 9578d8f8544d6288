/* Turns at a host: see the header. Host → ranks → seats of pools → seats of parties → links of flows.
 * Called by match.c, match_flow.c and their drivers. */
#include "postern/turns.h"

#include <stdlib.h>

/* memory that is out is told, not the end of the process */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define KEPT 64u /* seats for the next */

/* A pool's or a party's place at a host: in use while it has members. */
struct seat {
	UT_hash_handle hh;
	struct seat_key {
		struct turns_here *host;
		const void *of;
		size_t rank;
	} key;
	struct seat *up;     /* a party's: its pool's */
	struct list in_up;   /* its ring */
	struct list members; /* of a pool: seats; of a party: links */
};

static struct seat *find(const struct turns *ts, const struct seat_key *key)
{
	struct seat *s;

	HASH_FIND(hh, ts->seats, key, sizeof(*key), s);
	return s;
}

static struct seat *take(struct turns *ts)
{
	struct seat *s = ts->unused;

	if (!s)
		return calloc(1, sizeof(*s));
	ts->unused = s->up;
	ts->nunused--;
	memset(s, 0, sizeof(*s));
	return s;
}

static void put(struct turns *ts, struct seat *s)
{
	if (ts->nunused >= KEPT) {
		free(s);
		return;
	}
	s->up = ts->unused;
	ts->unused = s;
	ts->nunused++;
}

static struct seat *seat_new(struct turns *ts, const struct seat_key *key, struct list *ring)
{
	struct seat *s = take(ts);

	if (!s)
		return NULL;
	s->key = *key;
	list_init(&s->members);
	HASH_ADD(hh, ts->seats, key, sizeof(s->key), s);
	if (!s->hh.tbl) {
		put(ts, s);
		return NULL;
	}
	list_add(ring, &s->in_up);
	return s;
}

/* Nobody sits there any more. */
static void leave(struct turns *ts, struct seat *s)
{
	while (s && list_empty(&s->members)) {
		struct seat *up = s->up;

		list_del(&s->in_up);
		HASH_DEL(ts->seats, s);
		put(ts, s);
		s = up;
	}
}

void turns_here_init(struct turns_here *h)
{
	*h = (struct turns_here){ 0 };
	for (unsigned i = 0; i < RANKS; i++)
		list_init(&h->rings[i]);
}

bool turns_join(
	struct turns *ts, struct turns_here *h, const struct turn_for *f, struct turn_link *l)
{
	const struct seat_key of_pool = { h, f->pool, f->rank },
			      of_party = { h, f->party, f->rank };
	struct seat *s = find(ts, &of_party), *up;

	if (!s) {
		up = find(ts, &of_pool);
		if (!up) {
			if (list_empty(&h->rings[f->rank]))
				ranks_join(&h->ranks, f->rank);
			up = seat_new(ts, &of_pool, &h->rings[f->rank]);
		}
		if (!up)
			return false;
		s = seat_new(ts, &of_party, &up->members);
		if (!s) {
			leave(ts, up);
			return false;
		}
		s->up = up;
	}
	list_add(&s->members, &l->in_seat);
	l->seat = s;
	return true;
}

void turns_leave(struct turns *ts, struct turn_link *l)
{
	list_del(&l->in_seat);
	leave(ts, l->seat);
	l->seat = NULL;
}

static struct list *turn(struct list *ring)
{
	struct list *l = ring->next;

	list_del(l);
	list_add(ring, l);
	return l;
}

unsigned turns_ranks(const struct turns_here *h)
{
	unsigned ret = 0;

	for (unsigned i = 0; i < RANKS; i++)
		if (!list_empty(&h->rings[i]))
			ret |= 1u << i;
	return ret;
}

struct turn_link *turns_next(struct turns_here *h, unsigned rank,
	bool (*serves)(const void *arg, const void *pool), const void *arg)
{
	struct list *ring = &h->rings[rank];
	const struct list *last = ring->prev;

	while (!list_empty(ring)) {
		struct list *l = turn(ring);
		struct seat *pool = container(l, struct seat, in_up), *party;

		if (!serves || serves(arg, pool->key.of)) {
			party = container(turn(&pool->members), struct seat, in_up);
			return container(turn(&party->members), struct turn_link, in_seat);
		}
		if (l == last)
			break;
	}
	return NULL;
}

static struct turn_link *first_of(const struct list *seats)
{
	const struct seat *s = container(seats->next, const struct seat, in_up);

	return container(s->members.next, struct turn_link, in_seat);
}

/* Of that rank, or of a lower one. */
static struct turn_link *first_from(const struct turns_here *h, size_t rank)
{
	for (; rank < RANKS; rank++)
		if (!list_empty(&h->rings[rank]))
			return first_of(
				&container(h->rings[rank].next, struct seat, in_up)->members);
	return NULL;
}

struct turn_link *turns_first(const struct turns_here *h)
{
	return first_from(h, 0);
}

struct turn_link *turns_after(const struct turns_here *h, const struct turn_link *l)
{
	const struct seat *party = l->seat, *pool = party->up;
	const size_t rank = party->key.rank;

	if (l->in_seat.next != &party->members)
		return container(l->in_seat.next, struct turn_link, in_seat);
	if (party->in_up.next != &pool->members)
		return first_of(&party->in_up);
	if (pool->in_up.next != &h->rings[rank])
		return first_of(&container(pool->in_up.next, struct seat, in_up)->members);
	return first_from(h, rank + 1);
}

void turns_deinit(struct turns *ts)
{
	while (ts->unused) {
		struct seat *s = ts->unused;

		ts->unused = s->up;
		free(s);
	}
	ts->nunused = 0;
}
