/* What waits, by flow: letters, their ages, and the flows that look for connections (which get one
 * is relay/sched/match.c's to say). */
#include <stdlib.h>

#include "state.h"

#define AGE_EVERY  60000 /* ms; what has expired is looked for as often in a flow */
#define ASK_A_TURN 512u	 /* flows that look, one after the other */

/* ---- letters ---- */

/* In blocks, which stay where they are. */
static bool block_new(struct rehearsal *r)
{
	uint32_t n = r->letters_cap / BLOCK;
	struct letter **all =
		n < NONE / 2 / BLOCK ? realloc(r->letters, (n + 1) * sizeof(*all)) : NULL;

	if (!all)
		return false;
	r->letters = all;
	all[n] = calloc(BLOCK, sizeof(*all[n]));
	if (!all[n])
		return false;
	r->letters_cap += BLOCK;
	return true;
}

static struct letter *letter_slot(struct rehearsal *r)
{
	struct letter *g;

	if (r->free_letter != NONE) {
		uint32_t i = r->free_letter;

		g = letter_at(r, i);
		r->free_letter = g->index;
		g->index = i;
		return g;
	}
	if (r->nletters == r->letters_cap && !block_new(r)) {
		r->no_memory = true;
		return NULL;
	}
	g = letter_at(r, r->nletters);
	g->index = r->nletters++;
	return g;
}

struct letter *letter_new(struct rehearsal *r, const struct letter *like, uint32_t count)
{
	struct letter *g = letter_slot(r);
	uint32_t index;

	if (!g)
		return NULL;
	index = g->index;
	*g = *like;
	g->index = index;
	g->match.count = count;
	g->match.tried.message = g->id;
	g->match.txn = (struct policy_txn){ 0 };
	list_init(&g->match.in_flow);
	return g;
}

void letter_free(struct rehearsal *r, struct letter *g)
{
	uint32_t i = g->index;

	g->index = r->free_letter;
	r->free_letter = i;
}

/* All but the first n messages of a letter, as one of their own. */
static struct letter *letter_rest(struct rehearsal *r, const struct letter *g, uint32_t n)
{
	const struct flow *f = &r->flows[g->flow];
	const struct group *of = &r->receivers[f->cluster].groups[f->group];
	struct letter rest = *g;

	rest.id += n;
	rest.tenant = of->first + (rest.tenant - of->first + n) % of->n;
	return letter_new(r, &rest, g->match.count - n);
}

/* ---- flows ---- */

static void is_astray(struct flow *f, const struct letter *g)
{
	if (!f->astray || g->arrived < f->astray)
		f->astray = g->arrived ? g->arrived : 1;
}

void mail_push(struct rehearsal *r, struct flow *f, struct letter *g, bool front)
{
	g->flow = (uint32_t)(f - r->flows);
	if (!front && f->match.nready && g->arrived < letter_of(f->match.ready.prev)->arrived)
		is_astray(f, g);
	match_push(&r->match, &f->match, &g->match, front);
}

bool mail_take(struct rehearsal *r, struct flow *f, uint32_t n, struct list *ret)
{
	while (n && f->match.nready) {
		struct letter *g = letter_of(f->match.ready.next), *rest = NULL;
		uint32_t count = g->match.count < n ? g->match.count : n;

		if (g->match.count > n) {
			rest = letter_rest(r, g, n);
			if (!rest)
				return false;
			mail_push(r, f, rest, true);
		}
		match_remove(&r->match, &f->match, &g->match);
		g->match.count = count;
		n -= count;
		list_add(ret, &g->match.in_flow);
	}
	return true;
}

uint64_t mail_bytes(const struct rehearsal *r, const struct list *letters, uint32_t n)
{
	uint64_t bytes = 0;

	for (struct list *l = letters->next; n && l != letters; l = l->next) {
		const struct letter *g = letter_of(l);
		uint32_t k = g->match.count < n ? g->match.count : n;

		bytes += letter_volume(r, g, k).bytes;
		n -= k;
	}
	return bytes;
}

void mail_wait(struct rehearsal *r, struct flow *f, const struct policy_choice *why)
{
	waiter_wait(&r->match.places, &f->match.waiter, why, false, policy_time(r).mono);
}

static void age_one(struct rehearsal *r, struct flow *f, struct letter *g)
{
	match_remove(&r->match, &f->match, &g->match);
	end_expire(r, g);
}

/* Those that were tried before stand among younger ones. */
static void age_astray(struct rehearsal *r, struct flow *f)
{
	struct list *next;
	ms_t latest = 0;

	f->astray = 0;
	for (struct list *l = f->match.ready.next; l != &f->match.ready; l = next) {
		struct letter *g = letter_of(l);

		next = l->next;
		if (end_expired(r, g)) {
			age_one(r, f, g);
			continue;
		}
		if (g->arrived < latest)
			is_astray(f, g);
		else
			latest = g->arrived;
	}
}

/* What has waited too long. The oldest come first but for those astray: a long queue is walked only
 * when one of these expires. */
static void mail_age(struct rehearsal *r, struct flow *f)
{
	if (r->now - f->aged < AGE_EVERY)
		return; /* nor is a long queue walked at each turn */
	f->aged = r->now;
	while (f->match.nready && end_expired(r, letter_of(f->match.ready.next)))
		age_one(r, f, letter_of(f->match.ready.next));
	if (!f->match.nready)
		f->astray = 0;
	else if (f->astray && r->now - f->astray >= r->params->retry.expire)
		age_astray(r, f);
}

static struct flow *waiting(struct waiter *w)
{
	return flow_of(container(w, struct match_flow, waiter));
}

void mail_due(struct rehearsal *r)
{
	struct waiter *w;

	while ((w = places_due(&r->match.places, policy_time(r).mono))) {
		mail_age(r, waiting(w));
		waiter_over(&r->match.places, w);
	}
}

void mail_asked(struct rehearsal *r)
{
	struct waiter *w;

	for (unsigned n = 0; n < ASK_A_TURN && (w = places_asking(&r->match.places)); n++) {
		struct flow *f = waiting(w);

		mail_age(r, f);
		if (!f->match.nready || (w->waiting && hold_is_domains(w->reason)))
			continue;
		match_link(&r->match, policy_time(r), &f->match);
		match_look(&r->match, policy_time(r), &f->match);
	}
}
