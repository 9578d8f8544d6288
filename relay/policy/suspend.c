/* What operators say: suspensions, and the contrary, sources that are kept in service whatever the
 * relay finds. They are written into tables that a decision looks into; the list is what they are
 * made from. Called by operate.c, save.c, and for each new cluster. */
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#include "params.h"
#include "policy_impl.h"
#include "source.h"
#include "suspend.h"
#include "table.h"
#include "times.h"

bool suspension_in_force(const struct suspension *s, ms_t wall)
{
	return !s->gone && (!s->t.until || s->t.until > wall);
}

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* Names of places are told in the case that mail at them has. */
static bool same_place(const char *a, const char *b)
{
	return a && b ? !strcasecmp(a, b) : a == b;
}

/* ---- into the tables ---- */

static void mark(ms_t *table, const struct policy *p, const char *source, ms_t until)
{
	for (unsigned i = 0; i < p->params->nsources; i++) {
		if (source && strcmp(source, p->params->sources[i].name))
			continue;
		if (!until)
			table[i] = FOR_EVER;
		else if (table[i] < until)
			table[i] = until;
	}
}

static ms_t *table_of(struct policy *p, ms_t **where)
{
	if (!*where)
		*where = calloc(p->params->nsources ? p->params->nsources : 1, sizeof(ms_t));
	return *where;
}

/* Clusters without a name are called by their network: a wider one stands for all in it. */
static bool in_net(const char *where, const char *cluster)
{
	struct net n, c;

	return !net_parse(&n, slice_of(where)) && !net_parse(&c, slice_of(cluster)) &&
	       n.bits <= c.bits && net_contains(&n, &c.addr);
}

bool place_at_cluster(const struct policy *p, const char *where, const struct cluster *c)
{
	const char *geography = geography_name(p, c); /* "": not known */

	return !strcasecmp(where, c->key.name) || in_net(where, c->key.name) ||
	       (geography[0] && !strcasecmp(where, geography));
}

void suspensions_apply_cluster(struct policy *p, struct cluster *c, ms_t wall)
{
	free(c->suspended);
	free(c->pinned);
	c->suspended = c->pinned = NULL;
	for (size_t i = 0; i < p->nsuspensions; i++) {
		const struct suspension *s = &p->suspensions[i];
		ms_t *table;

		if (!s->where || !suspension_in_force(s, wall) || !place_at_cluster(p, s->where, c))
			continue;
		table = table_of(p, s->pin ? &c->pinned : &c->suspended);
		if (table)
			mark(table, p, s->source, s->t.until);
	}
}

void suspensions_apply(struct policy *p, ms_t wall)
{
	struct cluster *c, *next;

	p->next_expiry = 0;
	for (unsigned k = 0; k < p->params->nproviders; k++) {
		struct provider_state *v = &p->providers[k];

		free(v->suspended);
		free(v->pinned);
		v->suspended = v->pinned = NULL;
		for (size_t i = 0; i < p->nsuspensions; i++) {
			const struct suspension *s = &p->suspensions[i];
			ms_t *table;

			if (!suspension_in_force(s, wall) ||
				(s->where && strcmp(s->where, p->params->providers[k].name)))
				continue;
			table = table_of(p, s->pin ? &v->pinned : &v->suspended);
			if (table)
				mark(table, p, s->source, s->t.until);
		}
	}
	HASH_ITER (hh, p->clusters, c, next)
		suspensions_apply_cluster(p, c, wall);
	for (size_t i = 0; i < p->nsuspensions; i++) {
		struct suspension *s = &p->suspensions[i];

		if (s->gone || !s->t.until)
			continue;
		if (s->t.until <= wall && wall) {
			s->gone = s->dirty = true;
			continue;
		}
		if (!p->next_expiry || s->t.until < p->next_expiry)
			p->next_expiry = s->t.until;
	}
}

/* ---- the list ---- */

static struct suspension *suspension_find(
	struct policy *p, const char *source, const char *where, bool pin)
{
	for (size_t i = 0; i < p->nsuspensions; i++)
		if (same(p->suspensions[i].source, source) &&
			same_place(p->suspensions[i].where, where) && p->suspensions[i].pin == pin)
			return &p->suspensions[i];
	return NULL;
}

int suspension_add(struct policy *p, const char *source, const char *where, struct order_time t,
	bool pin, bool dirty)
{
	struct suspension *s = suspension_find(p, source, where, pin), *all;
	char *a = NULL, *b = NULL;

	p->urgent |= dirty;
	if (s) {
		s->t = t;
		s->gone = false;
		s->dirty = dirty;
		return 0;
	}
	if (p->nsuspensions >= SUSPENSIONS_MAX)
		return -ENOSPC;
	all = realloc(p->suspensions, (p->nsuspensions + 1) * sizeof(*all));
	if (!all)
		return -ENOMEM;
	p->suspensions = all;
	a = source ? slice_dup(slice_of(source)) : NULL;
	b = where ? slice_dup(slice_of(where)) : NULL;
	if ((source && !a) || (where && !b)) {
		free(a);
		free(b);
		return -ENOMEM;
	}
	all[p->nsuspensions++] =
		(struct suspension){ .source = a, .where = b, .t = t, .pin = pin, .dirty = dirty };
	return 0;
}

unsigned suspension_end(
	struct policy *p, ms_t wall, const char *source, const char *where, bool pin)
{
	unsigned n = 0;

	for (size_t i = 0; i < p->nsuspensions; i++) {
		struct suspension *s = &p->suspensions[i];

		if (s->pin != pin || !suspension_in_force(s, wall) ||
			(source && !same(s->source, source)) ||
			(where && !same_place(s->where, where)))
			continue;
		s->gone = s->dirty = true;
		n++;
	}
	return n;
}
