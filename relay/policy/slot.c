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
	p->slots[n] = (struct slot){ .used = true };
	*ret = n;
	return 0;
}

void slot_release(struct policy *p, uint32_t number)
{
	p->slots[number] = (struct slot){ .next_free = p->free_slot };
	p->free_slot = number;
}

/* ---- counting ---- */

static void count_unknown(struct policy *p, const struct slot *s, uint32_t step)
{
	struct provider_state *v = &p->providers[s->provider];

	v->unknown += step;
	v->unknown_source[s->source] += step;
	v->unknown_subnet[p->sources[s->source].subnet] += step;
	v->geographies[s->cluster->geography].unknown += step;
	s->cluster->unknown += step;
	s->lane->unknown += step;
	s->path->unknown += step;
}

static void count_place(struct policy *p, const struct slot *s, uint32_t step)
{
	s->cluster->refs += step;
	s->cluster->in_use += step;
	p->providers[s->provider].geographies[s->cluster->geography].in_use += step;
	s->cluster->outstanding += step * s->outstanding;
	if (s->up)
		s->cluster->up += step;
	if (s->lane) {
		s->lane->in_use += step;
		s->lane->outstanding += step * s->outstanding;
		if (s->up)
			s->lane->up += step;
		if (s->outstanding)
			s->lane->busy += step;
	}
	if (s->path) {
		s->path->in_use += step;
		s->path->outstanding += step * s->outstanding;
		if (s->up)
			s->path->up += step;
	}
}

void slot_attach(struct policy *p, struct slot *s, struct cluster *c, struct lane *l)
{
	struct provider_state *v = &p->providers[s->provider];

	s->cluster = c;
	s->lane = l;
	s->path = l->path;
	v->in_use++;
	if (s->host)
		s->host->slots++;
	v->blocks[s->source].in_use++;
	count_place(p, s, 1);
	if (s->unknown)
		count_unknown(p, s, 1);
}

void slot_known(struct policy *p, struct slot *s)
{
	if (!s->unknown)
		return;
	count_unknown(p, s, (uint32_t)-1);
	s->unknown = false;
}

void slot_detach(struct policy *p, struct slot *s)
{
	struct provider_state *v;

	if (s->host)
		s->host->slots--;
	s->host = NULL;
	if (s->provider == ~0u)
		return;
	v = &p->providers[s->provider];
	slot_known(p, s);
	must(s->cluster->in_use > 0 && v->in_use > 0);
	count_place(p, s, (uint32_t)-1);
	v->in_use--;
	if (s->source != ~0u) {
		v->blocks[s->source].in_use--;
		v->blocks[s->source].outstanding -= s->outstanding;
	}
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
	slot_known(p, s);
	count_place(p, s, (uint32_t)-1);
	s->cluster = c;
	s->lane = l;
	if (l)
		s->path = l->path;
	else
		s->path = NULL;
	count_place(p, s, 1);
	if (l && charge)
		charge_lane(p, s, l, mono);
	s->surplus = cluster_over(p, s);
}
