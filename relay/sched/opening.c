/* Places for connections to hosts that nobody has seen well: see the header. Called by
 * relay/dispatch/unproven.c, and by tests in virtual time. */
#include "postern/opening.h"

#include <stdlib.h>

#include "postern/must.h"

#define SHARE	    2u	 /* part of outbound_max */
#define KEPT	    4u	 /* part of that, given away slowly */
#define BURST	    4u	 /* part of those, at once */
#define OF_FREE	    3u	 /* a party may have so many times what is free */
#define SLOW	    4u	 /* part of the places that the slow lane may have */
#define JUST_COME   500	 /* ms; who has many places may have one of the last ones until then */
#define QUICK_LEAST 500	 /* ms; of a first try */
#define QUICK_FIRST 1000 /* ms; while nothing is known */
#define UNHURRIED   8u	 /* part of the places up to which a first try may last */
#define LONGER	    3	 /* times, with each try */
#define MUCH_OF	    4u	 /* who has more than a part of so many of those in use has much */
#define MUCH_EVERY  4u	 /* one place of so many is for those */
#define ENTRIES	    16384u
#define WAYS	    4u

/* ---- tables of addresses ---- */

struct opening_table {
	struct entry {
		struct addr addr;
		uint8_t n;
	} all[ENTRIES];
};

static struct entry *bucket(struct opening_table *t, const struct addr *a)
{
	return &t->all[addr_hash(a) % (ENTRIES / WAYS) * WAYS];
}

static struct entry *find(struct opening_table *t, const struct addr *a)
{
	struct entry *b = t ? bucket(t, a) : NULL;

	for (unsigned i = 0; b && i < WAYS; i++)
		if (b[i].n && addr_eq(&b[i].addr, a))
			return &b[i];
	return NULL;
}

/* Without memory it is not remembered. */
static void count(struct opening_table **t, const struct addr *a)
{
	struct entry *e = find(*t, a), *b;

	if (e) {
		e->n = e->n < UINT8_MAX ? (uint8_t)(e->n + 1) : UINT8_MAX;
		return;
	}
	if (!*t)
		*t = calloc(1, sizeof(**t));
	if (!*t)
		return;
	b = bucket(*t, a);
	for (unsigned i = WAYS - 1; i; i--) /* the oldest goes */
		b[i] = b[i - 1];
	b[0] = (struct entry){ *a, 1 };
}

bool opening_proven(const struct opening *o, const struct addr *a)
{
	return find(o->well, a) != NULL;
}

unsigned opening_silent(const struct opening *o, const struct addr *a)
{
	const struct entry *e = find(o->silent, a);

	return e ? e->n : 0;
}

static void is_well(struct opening *o, const struct addr *a)
{
	struct entry *e = find(o->silent, a);

	if (e)
		e->n = 0;
	if (!opening_proven(o, a))
		count(&o->well, a);
}

/* ---- life ---- */

void opening_init(struct opening *o)
{
	*o = (struct opening){ .max = UINT32_MAX };
	for (unsigned i = 0; i < 2; i++) {
		list_init(&o->first_tries[i]);
		list_init(&o->slow_lane[i]);
	}
}

void opening_deinit(struct opening *o)
{
	free(o->well);
	free(o->silent);
}

void opening_limit(struct opening *o, uint32_t outbound_max)
{
	uint32_t n = outbound_max / SHARE;

	o->max = !outbound_max ? UINT32_MAX : n ? n : 1;
}

/* ---- patience ---- */

static bool is_short(const struct opening *o)
{
	return o->n >= o->max / 2;
}

static uint32_t slow_max(const struct opening *o)
{
	uint32_t n = o->max / SLOW;

	return n ? n : 1;
}

/* As a retransmission's time-out is found (RFC 6298): what is usual, and four times its spread. */
static ms_t quick(const struct opening *o)
{
	ms_t ms = o->usual ? o->usual + 4 * o->spread : QUICK_FIRST;

	return ms < QUICK_LEAST ? QUICK_LEAST : ms > OPENING_PATIENT ? OPENING_PATIENT : ms;
}

static ms_t patience(const struct opening *o, unsigned silent)
{
	ms_t ms = OPENING_PATIENT;

	if (o->n < o->max / UNHURRIED || (silent && !is_short(o) && o->slow < slow_max(o) / 2))
		return 0;
	if (!silent)
		return is_short(o) ? quick(o) : OPENING_PATIENT;
	while (--silent && ms < OPENING_SLOWEST)
		ms *= LONGER;
	return ms < OPENING_SLOWEST ? ms : OPENING_SLOWEST;
}

static void learn(struct opening *o, ms_t took)
{
	ms_t off = took > o->usual ? took - o->usual : o->usual - took;

	if (!o->usual) {
		o->usual = took + 1;
		o->spread = took / 2;
		return;
	}
	o->spread += (off - o->spread) / 4;
	o->usual += (took - o->usual) / 8;
	if (o->usual < 1)
		o->usual = 1;
}

/* ---- places ---- */

/* The last quarter: half of it for those that have few, the other given away slowly. */
static uint32_t kept(const struct opening *o)
{
	return o->max / KEPT;
}

/* A few at once and the others one by one; whoever is well gives his back at once. So a flood has
 * few of them, and who comes after finds one. */
static bool drop_left(const struct opening *o, struct opening_drops *p, ms_t now)
{
	uint32_t most = kept(o) / 2 ? kept(o) / 2 : 1;
	ms_t each = quick(o) / (ms_t)most;

	each = each ? each : 1;
	while (p->used && now - p->at >= each) {
		p->used--;
		p->at += each;
	}
	if (!p->used)
		p->at = now;
	return p->used < (most + BURST - 1) / BURST;
}

static bool has_much(const struct opening *o, const struct opening_ask *a)
{
	return (a->party ? a->party->n : o->n) >= (uint64_t)OF_FREE * (o->max - o->n);
}

/* Which of the drops a place comes out of; DROPS: none, there is room. */
static enum opening_drop drop_of(const struct opening *o, bool much)
{
	if (much)
		return DROPS_MUCH;
	return o->n >= o->max - kept(o) / 2 ? DROPS_LAST : DROPS;
}

bool opening_room(struct opening *o, const struct opening_ask *a, ms_t now)
{
	bool much = has_much(o, a);
	enum opening_drop from = drop_of(o, much);

	if (a->proven)
		return true;
	if (o->n >= o->max || (a->busy && is_short(o)))
		return false;
	if (a->silent)
		return o->slow < slow_max(o) && !much && from == DROPS;
	if (from == DROPS)
		return true;
	if (now - a->since >= JUST_COME || (much && o->n >= o->max - kept(o) / 2))
		return false;
	return drop_left(o, &o->drops[from], now);
}

void opening_wait(struct opening *o, const struct opening_ask *a, struct list *waiter)
{
	unsigned much = a->party && a->party->n > o->n / MUCH_OF;
	struct list *from = a->silent || a->busy ? o->slow_lane : o->first_tries;

	list_del(waiter);
	list_add(&from[much], waiter);
}

/* Whose party has few of the places, mostly. */
static struct list *first_of(struct list all[2], unsigned turn)
{
	struct list *l =
		&all[list_empty(&all[0]) || (turn % MUCH_EVERY == 0 && !list_empty(&all[1]))];

	return list_empty(l) ? NULL : l->next;
}

/* Those of the slow lane when nobody else waits, and in turn while half of it is empty. */
struct list *opening_next(struct opening *o)
{
	unsigned turn = ++o->turn;
	struct list *first, *slow;

	if (o->n >= o->max)
		return NULL;
	first = first_of(o->first_tries, turn / 2);
	slow = first_of(o->slow_lane, turn / 2);
	if (!first || (slow && turn % 2 && o->slow < slow_max(o) / 2))
		first = slow;
	if (first)
		list_del(first);
	return first;
}

void opening_begin(struct opening *o, struct opening_place *p, struct opening_party *party,
	const struct addr *to, ms_t now)
{
	unsigned silent = opening_silent(o, to);

	must(!p->held);
	*p = (struct opening_place){
		.party = party,
		.to = *to,
		.begun = now,
		.patience = patience(o, silent),
		.held = true,
		.slow = silent > 0,
	};
	p->drop =
		p->slow ? DROPS : drop_of(o, has_much(o, &(struct opening_ask){ .party = party }));
	if (p->drop != DROPS)
		o->drops[p->drop].used++;
	o->slow += p->slow;
	o->n++;
	if (party)
		party->n++;
}

void opening_up(struct opening *o, struct opening_place *p, ms_t now)
{
	if (p->held)
		learn(o, now - p->begun);
}

void opening_end(struct opening *o, struct opening_place *p, enum opening_end how)
{
	if (!p->held)
		return;
	must(o->n > 0 && (!p->party || p->party->n > 0));
	if (how == OPENING_WELL) {
		is_well(o, &p->to);
		if (p->drop != DROPS && o->drops[p->drop].used)
			o->drops[p->drop].used--;
	} else if (how == OPENING_IS_SILENT) {
		count(&o->silent, &p->to);
	}
	o->n--;
	o->slow -= p->slow;
	if (p->party)
		p->party->n--;
	p->held = p->slow = false;
	p->party = NULL;
}
