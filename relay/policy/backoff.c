/* When a deferred message is tried again: the schedule's steps, spread a little so that what
 * failed together does not come back together. Called by the drivers for each deferral. Pure;
 * randomness is the policy's own generator, seeded by the driver. */
#include "policy_impl.h"

ms_t policy_backoff(struct policy *p, const struct class_params *c, unsigned attempts)
{
	const struct retry_params *r = &p->params->retry;
	const ms_t *schedule = c ? c->schedule : r->schedule;
	unsigned n = c ? c->nschedule : r->nschedule, i = attempts ? attempts - 1 : 0;
	ms_t delay = 5 * 60 * 1000;
	double factor;

	if (n)
		delay = schedule[i < n ? i : n - 1];
	factor = 1 + r->jitter * (2 * rng_unit(&p->rng) - 1);
	delay = (ms_t)((double)delay * factor);
	return delay > 0 ? delay : 1;
}
