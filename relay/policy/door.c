/* How many connections a receiver takes of one source, or of one subnet: found by those that it
 * refuses at the door while others of ours are inside, tried again now and then. Called by
 * verdict.c when a connection was refused, and by caps.c before one is made; on the dispatcher's
 * thread.
 *
 * Which of the two it counts is told by the neighbours: a source that is refused although a sibling
 * holds more than it does is not counted by itself, so it is the subnet; and a subnet that is
 * refused although another holds more is not counted either. */
#include "door.h"
#include "policy_impl.h"

#define GROWS	   30000 /* ms until one more is tried, the first time */
#define GROWS_STEP 6u	 /* times that it doubles while the limit is confirmed */

static bool met(struct door *d, uint32_t inside, ms_t mono)
{
	if (!inside)
		return false;
	if (d->limit && inside + 1 >= d->limit && inside <= d->limit + 1) {
		if (d->confirmed < GROWS_STEP && mono - d->at > GROWS / 2)
			d->confirmed++;
	} else {
		d->confirmed = 0;
	}
	d->limit = inside;
	d->at = mono;
	d->dirty = true;
	return true;
}

uint32_t door_limit(const struct door *d, ms_t mono)
{
	return d->limit ? d->limit + (uint32_t)((mono - d->at) / ((ms_t)GROWS << d->confirmed)) : 0;
}

static uint32_t most_of_sources(const struct policy *p, const struct cluster *c)
{
	uint32_t most = 0;

	for (unsigned i = 0; i < p->params->nsources; i++)
		if (c->lanes[i] && c->lanes[i]->uses.up > most)
			most = c->lanes[i]->uses.up;
	return most;
}

static uint32_t most_of_subnets(const struct policy *p, const struct cluster *c)
{
	uint32_t most = 0;

	for (unsigned i = 0; i < p->nsubnets; i++)
		if (c->paths[i] && c->paths[i]->uses.up > most)
			most = c->paths[i]->uses.up;
	return most;
}

/* Sources of one subnet alone: the subnet is the source. */
static bool has_siblings(const struct policy *p, const struct slot *s)
{
	for (unsigned i = 0; i < p->params->nsources; i++)
		if (i != s->source && s->cluster->lanes[i] && s->cluster->lanes[i]->path == s->path)
			return true;
	return false;
}

/* What is counted; NULL: nothing that is seen here. */
static struct door *counted(const struct policy *p, const struct slot *s, uint32_t *inside)
{
	if (s->up || !s->path->uses.up)
		return NULL;
	if (s->lane->uses.up && s->lane->uses.up >= most_of_sources(p, s->cluster)) {
		*inside = s->lane->uses.up;
		return &s->lane->door;
	}
	if (has_siblings(p, s) && s->path->uses.up >= most_of_subnets(p, s->cluster)) {
		*inside = s->path->uses.up;
		return &s->path->door;
	}
	return NULL;
}

bool door_counts(const struct policy *p, const struct slot *s)
{
	uint32_t inside;

	return counted(p, s, &inside) != NULL;
}

bool door_refused(struct policy *p, struct policy_now now, struct slot *s)
{
	uint32_t inside = 0;
	struct door *d = counted(p, s, &inside);

	if (!d)
		return false;
	/* it is the subnet: what was put down to its sources lately is not theirs */
	for (unsigned i = 0; d == &s->path->door && i < p->params->nsources; i++) {
		struct lane *l = s->cluster->lanes[i];

		if (l && l->path == s->path && now.mono - l->door.at < (ms_t)2 * GROWS)
			l->door = (struct door){ .dirty = l->door.saved, .saved = l->door.saved };
	}
	return met(d, inside, now.mono);
}
