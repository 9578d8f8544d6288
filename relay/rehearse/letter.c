/* Letters: messages that are alike, made, cut in two, freed; and how large each is. Called by those who
 * have mail in hand: traffic.c, flow.c, settle.c, record.c. */
#include <stdlib.h>

#include "state.h"

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

struct letter *letter_rest(struct rehearsal *r, const struct letter *g, uint32_t n)
{
	const struct flow *f = &r->flows[g->flow];
	const struct group *of = &r->receivers[f->cluster].groups[f->group];
	struct letter rest = *g;

	rest.id += n;
	rest.tenant = of->first + (rest.tenant - of->first + n) % of->n;
	return letter_new(r, &rest, g->match.count - n);
}

/* Which of its traffic's sizes a message has goes by its number: letters may be cut anywhere. */
static const struct scenario_size *size_of(
	const struct rehearsal *r, const struct scenario_traffic *t, uint64_t id)
{
	uint64_t h = (id ^ (uint64_t)r->s->seed << 32) * 0x9e3779b97f4a7c15u;
	unsigned i = 0;
	double u;

	h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
	h = (h ^ h >> 27) * 0x94d049bb133111ebu;
	u = (double)((h ^ h >> 31) >> 11) / 9007199254740992.0;
	while (i + 1 < t->nsizes && u >= t->mix[i].below)
		i++;
	return &t->mix[i];
}

struct volume letter_volume(const struct rehearsal *r, const struct letter *g, uint32_t n)
{
	const struct scenario_traffic *t = &r->s->traffic[g->traffic];
	struct volume v = { 0 };

	if (t->nsizes == 1)
		return (struct volume){ t->mix->bytes * n, t->mix->stored * n };
	for (uint32_t i = 0; i < n; i++) {
		const struct scenario_size *size = size_of(r, t, g->id + i);

		v.bytes += size->bytes;
		v.stored += size->stored;
	}
	return v;
}
