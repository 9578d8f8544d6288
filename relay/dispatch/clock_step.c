/* The wall clock is set: the queue's due times are by it, all waiting here is by the other one.
 * Once a second both are compared (clock_tick, by the dispatcher's tick).
 *
 * Set forward, more is due than the domains' wakes know: each is looked at again.
 * Set back, mail would wait for the old time. What is due later than any retry could be
 * (due_longest) was recorded by another clock and is due now. A domain's entries are sorted by
 * time, so that this shows as soon as nothing else of it waits, also after a start; after a step
 * that was seen the entries behind are read once (feed.far), so that those before do not hide
 * them. */
#include "clock_step.h"

#include <inttypes.h>
#include <stdlib.h>

#include "domain.h"
#include "post.h"
#include "recall.h"

#define STEP	    2000 /* ms; slewing and a late tick are no step */
#define STEP_BACK   60000
#define LONGEST_MIN 3600000

static double longest_of(const ms_t *schedule, unsigned n)
{
	double longest = 0;

	for (unsigned i = 0; i < n; i++)
		if ((double)schedule[i] > longest)
			longest = (double)schedule[i];
	return longest;
}

void due_longest_set(struct dispatch *d)
{
	const struct retry_params *r = &d->params->retry;
	double longest = longest_of(r->schedule, r->nschedule);

	for (unsigned i = 0; i < d->params->nclasses; i++) {
		const struct class_params *c = &d->params->classes[i];
		double own = longest_of(c->schedule, c->nschedule);

		longest = own > longest ? own : longest;
	}
	longest *= 1 + r->jitter;
	d->clock.due_longest = longest > LONGEST_MIN ? (ms_t)longest : LONGEST_MIN;
}

struct feed_place far_begin(const struct dispatch *d)
{
	/* behind all that is due at that time */
	return (struct feed_place){
		.due = loop_wall(d->loop) + d->clock.due_longest, .id = UINT64_MAX, .index = 0
	};
}

/* Mail that was accepted while the clock was ahead would live until that time, and for its own life
 * from then. Its life begins when that is seen, once: the queue records it, for the next reading
 * and the next process. Nobody but this thread looks at the two times once a message is queued. */
void clock_restamp(struct dispatch *d, struct message *m)
{
	ms_t wall = loop_wall(d->loop);
	struct queue_flag *j;

	if (m->arrived <= wall + STEP_BACK)
		return;
	m->expires = m->expires > m->arrived ? wall + (m->expires - m->arrived) : wall;
	m->arrived = wall;
	j = calloc(1, sizeof(*j));
	if (!j)
		return; /* the next reading does it */
	j->job.kind = QUEUE_FLAG;
	j->op = FLAG_RESTAMP;
	j->id = m->id;
	j->now = wall;
	job_post(d, &j->job, JOB_ASIDE);
}

static void restamp_domain(struct dispatch *d, const struct domain *m)
{
	for (const struct list *l = m->items.next; l != &m->items; l = l->next) {
		const struct item *i = container(l, struct item, in_domain);

		if (i->work)
			clock_restamp(d, i->work->message);
	}
}

void clock_begin(struct dispatch *d)
{
	d->clock.mono = loop_mono(d->loop);
	d->clock.wall = loop_wall(d->loop);
}

void clock_tick(struct dispatch *d)
{
	struct policy_now now = now_of(d);
	ms_t step = now.wall - d->clock.wall - (now.mono - d->clock.mono);
	struct domain *m, *next;

	clock_begin(d);
	if (step < STEP && step > -STEP)
		return;
	log_event(d->log, LOG_WARN, EVENT_CLOCK_SET,
		"the clock was set %s by %" PRId64 " s: what waits is looked at again",
		step < 0 ? "back" : "forward", (step < 0 ? -step : step) / 1000);
	/* else whoever is tried now would seem to have been tried before */
	if (d->clock.recall_at > now.wall)
		d->clock.recall_at = now.wall;
	HASH_ITER (hh, d->domains, m, next) {
		if (step < -STEP_BACK) {
			m->feed.far = far_begin(d);
			if (m->recalled)
				recall_begin(d, m);
			restamp_domain(d, m);
		}
		domain_feed(d, m, FEED_ON_LOOK, NULL);
	}
	d->relieved = true; /* rests end by the wall clock */
}
