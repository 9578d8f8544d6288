/* Slots, and all that they are counted in: one place where each is counted up and down. Called by
 * choose.c and verdict.c, which open and close them, and by learn.c, which finds out where one counts.
 *
 * A host whose cluster is not known yet may turn out to be in any: its connections count against
 * every cluster of the provider until its banner is seen (caps.c). */
#include <errno.h>
#include <stdlib.h>

#include "caps.h"
#include "cluster.h"
#include "policy_impl.h"
#include "postern/must.h"
#include "rate.h"
#include "slot.h"

#define SLOTS_MAX (1u << 20)

struct slot *slot_get(struct policy *p, uint32_t number)
{
	must(number < p->nslots && p->slots[number].used);
	return &p->slots[number];
}

int slot_new(struct policy *p, uint32_t *ret)
{
	uint32_t n = p->free_slot;

	if (n == ~0u) {
		uint32_t more = p->nslots ? p->nslots * 2 : 64;
		struct slot *slots =
			more > SLOTS_MAX ? NULL : realloc(p->slots, more * sizeof(*slots));

		if (!slots)
			return -ENOMEM;
		p->slots = slots;
		for (uint32_t i = more; i-- > p->nslots;) {
			slots[i] = (struct slot){ .next_free = p->free_slot };
			p->free_slot = i;
		}
		n = p->free_slot;
		p->nslots = more;
	}
	p->free_slot = p->slots[n].next_free;
	p->slots[n] = (struct slot){ .used = true, .first_serial = p->txns.last + 1 };
	*ret = n;
	return 0;
}

void slot_release(struct policy *p, uint32_t number)
{
	p->slots[number] = (struct slot){ .next_free = p->free_slot };
	p->free_slot = number;
}

/* ---- counting ---- */

/* As it is now, in all that it belongs to. times: 1, or LESS before anything of it changes that is
 * counted. Nothing else writes these counts. */
#define LESS ((uint32_t)-1)
static void slot_count(struct policy *p, const struct slot *s, uint32_t times)
{
	struct provider_state *v;
	struct uses one = { 1, s->up, s->outstanding > 0, s->unknown, s->outstanding };

	if (s->host)
		uses_add(&s->host->uses, &one, times);
	if (s->provider == ~0u)
		return; /* it went with a reload */
	v = &p->providers[s->provider];
	s->cluster->refs += times;
	uses_add(&v->uses, &one, times);
	uses_add(&v->geographies[s->cluster->geography].uses, &one, times);
	uses_add(&s->cluster->uses, &one, times);
	if (s->source == ~0u)
		return;
	uses_add(&s->path->uses, &one, times);
	uses_add(&s->lane->uses, &one, times);
	uses_add(&v->blocks[s->source].uses, &one, times);
	v->unknown_source[s->source] += times * one.unknown;
	v->unknown_subnet[p->sources[s->source].subnet] += times * one.unknown;
}

void slot_attach(struct policy *p, struct slot *s, struct cluster *c, struct lane *l)
{
	s->cluster = c;
	s->lane = l;
	s->path = l->path;
	slot_count(p, s, 1);
}

void slot_detach(struct policy *p, struct slot *s)
{
	must(s->provider == ~0u || s->cluster->uses.in_use > 0);
	slot_count(p, s, LESS);
	s->host = NULL;
}

void slot_up(struct policy *p, struct slot *s)
{
	slot_count(p, s, LESS);
	s->up = true;
	slot_count(p, s, 1);
}

void slot_known(struct policy *p, struct slot *s)
{
	if (!s->unknown)
		return;
	slot_count(p, s, LESS);
	s->unknown = false;
	slot_count(p, s, 1);
}

void slot_transaction(struct policy *p, struct slot *s, bool begins)
{
	must(begins || s->outstanding > 0);
	slot_count(p, s, LESS);
	s->outstanding += begins ? 1 : LESS;
	slot_count(p, s, 1);
}

void slot_orphan(struct policy *p, struct slot *s, bool provider_gone)
{
	slot_count(p, s, LESS);
	s->lane = NULL;
	s->path = NULL;
	s->source = ~0u;
	if (provider_gone) {
		s->host = NULL;
		s->cluster = NULL;
		s->provider = ~0u;
	}
	slot_count(p, s, 1);
}

static void charge_lane(struct policy *p, const struct slot *s, struct lane *l, ms_t mono)
{
	const struct provider_params *v = &p->params->providers[s->provider];

	bucket_charge(&l->connects, &v->lane_connect_rate, 1, mono);
	bucket_charge(&l->messages, &v->lane_message_rate, s->messages, mono);
}

void slot_move(struct policy *p, struct slot *s, struct cluster *c, bool charge, ms_t mono)
{
	struct lane *l = s->lane ? lane_get(p, c, s->source) : NULL;

	if (s->lane && !l)
		return; /* no memory: it stays counted where it is */
	slot_count(p, s, LESS);
	s->unknown = false;
	s->cluster = c;
	s->lane = l;
	s->path = l ? l->path : NULL;
	slot_count(p, s, 1);
	if (l && charge)
		charge_lane(p, s, l, mono);
	s->surplus = cluster_over(p, s);
}

/* ---- recounting ---- */

static bool unused(const struct uses *u)
{
	return !u->in_use && !u->up && !u->busy && !u->unknown && !u->outstanding;
}

static bool cluster_unused(const struct policy *p, const struct cluster *c)
{
	bool r = unused(&c->uses);

	for (unsigned i = 0; i < p->params->nsources; i++)
		r = r && (!c->lanes[i] || unused(&c->lanes[i]->uses));
	for (unsigned i = 0; i < p->nsubnets; i++)
		r = r && (!c->paths[i] || unused(&c->paths[i]->uses));
	return r;
}

static bool provider_unused(const struct policy *p, const struct provider_state *v)
{
	bool r = unused(&v->uses);

	for (unsigned i = 0; i < v->ngeographies; i++)
		r = r && unused(&v->geographies[i].uses);
	for (unsigned i = 0; i < p->params->nsources; i++)
		r = r && !v->unknown_source[i] && unused(&v->blocks[i].uses);
	for (unsigned i = 0; i < p->nsubnets; i++)
		r = r && !v->unknown_subnet[i];
	return r;
}

bool slots_counted(struct policy *p)
{
	struct cluster *c, *next;
	struct host *h, *next_host;
	bool r = true;

	for (uint32_t i = 0; i < p->nslots; i++)
		if (p->slots[i].used)
			slot_count(p, &p->slots[i], LESS);
	for (unsigned k = 0; k < p->params->nproviders; k++)
		r = r && provider_unused(p, &p->providers[k]);
	HASH_ITER (hh, p->clusters, c, next)
		r = r && cluster_unused(p, c);
	HASH_ITER (hh, p->hosts, h, next_host)
		r = r && unused(&h->uses);
	for (uint32_t i = 0; i < p->nslots; i++)
		if (p->slots[i].used)
			slot_count(p, &p->slots[i], 1);
	return r;
}
