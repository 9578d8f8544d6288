/* The wall clock was set back, here or before a restart: what rests until a time of the old clock
 * rests for no longer than such a rest lasts. Called when the state is loaded and at each tick;
 * pure. */
#include "clock_step.h"
#include "ban.h"
#include "health.h"
#include "policy_impl.h"
#include "suspend.h"
#include "table.h"
#include "tenant.h"
#include "times.h"

#define STEP_BACK 60000 /* ms */

static void bound_health(struct health *h, ms_t wall)
{
	ms_t until = clock_bounded(h->until, h->length, wall);

	if (h->state == HEALTHY || until == h->until)
		return;
	h->until = until;
	h->since = wall;
	h->dirty = true;
}

static void bound_block(struct block *b, ms_t wall)
{
	ms_t until = clock_bounded(b->until, b->length, wall);

	if (!b->until || until == b->until)
		return;
	b->until = until;
	b->since = wall;
	b->dirty = true;
}

static void bound_suspensions(struct policy *p, ms_t wall)
{
	for (size_t i = 0; i < p->nsuspensions; i++) {
		struct suspension *s = &p->suspensions[i];
		ms_t until = clock_bounded(s->t.until, s->t.length, wall);

		if (s->gone || !s->t.until || !s->t.length || until == s->t.until)
			continue;
		s->t.until = until;
		s->dirty = true;
	}
	suspensions_apply(p, wall);
}

static void bound_cluster(struct policy *p, struct cluster *c, ms_t wall)
{
	bound_health(&c->health, wall);
	for (unsigned i = 0; i < p->nsubnets; i++)
		if (c->paths[i])
			bound_health(&c->paths[i]->health, wall);
	for (unsigned i = 0; i < p->params->nsources; i++)
		if (c->lanes[i]) {
			bound_health(&c->lanes[i]->health, wall);
			bound_health(&c->lanes[i]->ramp.share, wall);
		}
}

void clock_bound(struct policy *p, ms_t wall)
{
	struct cluster *c, *next;
	struct tenant *t, *next_tenant;

	HASH_ITER (hh, p->clusters, c, next)
		bound_cluster(p, c, wall);
	HASH_ITER (hh, p->tenants, t, next_tenant)
		bound_health(&t->health, wall);
	for (unsigned k = 0; k < p->params->nproviders; k++)
		for (unsigned i = 0; i < p->params->nsources; i++)
			bound_block(&p->providers[k].blocks[i], wall);
	bans_bound(p, wall);
	bound_suspensions(p, wall);
}

void policy_clock_tick(struct policy *p, struct policy_now now)
{
	ms_t step = now.wall - p->clock.wall - (now.mono - p->clock.mono);

	p->clock = now;
	if (step < -STEP_BACK)
		clock_bound(p, now.wall);
}
