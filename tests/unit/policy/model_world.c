/* The world of the model: its calendar of events, and which tenant has which hosts in which
 * cluster. */
#include "model_inner.h"

#include <stdio.h>
#include <stdlib.h>

#include "postern/must.h"

/* ---- the calendar ---- */

static bool before(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void post(struct model *m, ms_t at, enum event_kind kind, uint32_t index, uint32_t generation)
{
	struct model_inner *x = m->inner;
	size_t i;

	if (x->nheap == x->heap_cap) {
		x->heap_cap = x->heap_cap ? x->heap_cap * 2 : 1024;
		x->heap = realloc(x->heap, x->heap_cap * sizeof(*x->heap));
		must(x->heap);
	}
	i = x->nheap++;
	x->heap[i] = (struct event){ at, ++x->order, kind, index, generation };
	while (i && before(&x->heap[i], &x->heap[(i - 1) / 2])) {
		struct event t = x->heap[i];

		x->heap[i] = x->heap[(i - 1) / 2];
		x->heap[(i - 1) / 2] = t;
		i = (i - 1) / 2;
	}
}

struct event take(struct model_inner *x)
{
	struct event top = x->heap[0];
	size_t i = 0;

	x->heap[0] = x->heap[--x->nheap];
	for (;;) {
		size_t k = 2 * i + 1;
		struct event t;

		if (k >= x->nheap)
			break;
		if (k + 1 < x->nheap && before(&x->heap[k + 1], &x->heap[k]))
			k++;
		if (!before(&x->heap[k], &x->heap[i]))
			break;
		t = x->heap[i];
		x->heap[i] = x->heap[k];
		x->heap[k] = t;
		i = k;
	}
	return top;
}

/* ---- the world ---- */

struct policy_now now_of(const struct model *m)
{
	return (struct policy_now){ m->now + 1000, MODEL_WALL + m->now };
}

unsigned cluster_of(const struct model *m, unsigned tenant)
{
	return tenant % m->p.clusters;
}

struct addr host_addr(unsigned cluster, unsigned nets, unsigned host)
{
	struct addr a = { .family = ADDR_V4 };

	a.ip[0] = 198;
	a.ip[1] = (uint8_t)(18 + host % nets);
	a.ip[2] = (uint8_t)cluster;
	a.ip[3] = (uint8_t)(1 + host);
	return a;
}

/* Which hosts of its cluster a tenant resolves to: some in a row. */
unsigned tenant_host(const struct model *m, unsigned tenant, unsigned k)
{
	const struct model_cluster *c = &m->clusters[cluster_of(m, tenant)];

	return (tenant / m->p.clusters * 3 + k) % c->nhosts;
}

unsigned hosts_of(const struct model *m, unsigned tenant)
{
	const struct model_cluster *c = &m->clusters[cluster_of(m, tenant)];

	return m->p.hosts_per_tenant < c->nhosts ? m->p.hosts_per_tenant : c->nhosts;
}

unsigned subnet_of(const struct model *m, unsigned source)
{
	return source / m->p.per_subnet;
}

void domain_of(unsigned tenant, char out[32])
{
	snprintf(out, 32, "t%u.example", tenant);
}

void breach(struct model *m, struct model_rate *r, const struct rate *limit)
{
	if (!limit->count || limit->count > MODEL_RATE_MAX)
		return;
	if (r->n >= limit->count &&
		m->now - r->times[(r->n - limit->count) % MODEL_RATE_MAX] < limit->per)
		m->rate_breaches++;
	r->times[r->n++ % MODEL_RATE_MAX] = m->now;
}

void counted(struct model *m, struct connection *k, uint32_t step)
{
	struct model_cluster *c = &m->clusters[k->cluster];
	unsigned subnet = subnet_of(m, k->match.source);

	c->now += step;
	c->by_source[k->match.source] += step;
	c->by_subnet[subnet] += step;
	m->provider_now += step;
	m->geo_now[c->geography] += step;
	if (m->geo_now[c->geography] > m->geo_peak[c->geography])
		m->geo_peak[c->geography] = m->geo_now[c->geography];
	if (c->now > c->peak)
		c->peak = c->now;
	if (c->by_source[k->match.source] > c->by_source_peak[k->match.source])
		c->by_source_peak[k->match.source] = c->by_source[k->match.source];
	if (c->by_subnet[subnet] > c->by_subnet_peak[subnet])
		c->by_subnet_peak[subnet] = c->by_subnet[subnet];
	if (m->provider_now > m->provider_peak)
		m->provider_peak = m->provider_now;
	k->counted = step == 1;
}

ms_t trip(struct model *m, unsigned cluster, unsigned n)
{
	double t = (double)m->clusters[cluster].rtt * n * (0.8 + 0.4 * rng_unit(&m->rng));

	return t < 1 ? 1 : (ms_t)t;
}
