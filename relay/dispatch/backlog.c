/* Mail that waits for the allowance of new sources: counted every ten seconds, a little at a time,
 * so that the policy can say in time that it cannot all go before it expires. Called by the
 * dispatcher's tick, on its thread; counts are read from the queue, so many domains and recipients
 * a tick at most. */
#include "backlog.h"

#include <stdlib.h>
#include <string.h>

#define ROUND_EVERY  10000
#define DOMAINS_TICK 500u
#define COUNT_MAX    50000u /* of one domain; and, together, of one tick */

static size_t pairs(const struct dispatch *d)
{
	return (size_t)d->params->nproviders * d->params->npools;
}

void backlog_reset(struct dispatch *d)
{
	free(d->backlog.counts);
	d->backlog.counts = NULL;
}

static void count(struct dispatch *d, struct domain *m, uint32_t *budget)
{
	uint32_t n = 0;

	m->counted = d->backlog.round;
	/* what is in work is in the index, too */
	if (m->warmup_pool->index < 0 || m->provider >= d->params->nproviders ||
		queue_count(d->queue, m->name, COUNT_MAX, &n))
		return;
	d->backlog.counts[m->provider * d->params->npools + (unsigned)m->warmup_pool->index] += n;
	*budget -= n < *budget ? n : *budget;
}

static void tell(struct dispatch *d)
{
	for (unsigned k = 0; k < d->params->nproviders; k++)
		for (unsigned i = 0; i < d->params->npools; i++)
			policy_warmup_backlog(d->policy, now_of(d), k, i,
				d->backlog.counts[k * d->params->npools + i]);
}

void backlog_tick(struct dispatch *d)
{
	uint32_t budget = COUNT_MAX, domains = 0;
	struct domain *m, *next;

	if (!d->params->nwarmups)
		return;
	if (!d->backlog.counts) {
		if (loop_mono(d->loop) - d->backlog.at < ROUND_EVERY)
			return;
		d->backlog.counts = calloc(pairs(d) ? pairs(d) : 1, sizeof(*d->backlog.counts));
		if (!d->backlog.counts)
			return;
		d->backlog.round++;
	}
	HASH_ITER (hh, d->domains, m, next) {
		if (!m->warmup_pool || m->counted == d->backlog.round)
			continue;
		if (!budget || domains++ == DOMAINS_TICK)
			return;
		count(d, m, &budget);
	}
	tell(d);
	backlog_reset(d);
	d->backlog.at = loop_mono(d->loop);
}
