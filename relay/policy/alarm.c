/* Alarms about a provider: a share of deferrals that stays high, and most clusters deferring. Counted
 * with each result (verdict.c), judged once a second (tick.c). */
#include <stdio.h>

#include "alarm.h"
#include "events.h"
#include "health.h"
#include "policy_impl.h"
#include "provider.h"

#define HIGH_SHARE   0.10
#define NORMAL_SHARE 0.05
#define FEW	     50u /* attempts that say nothing about a share yet */
#define SUSTAINED                                                                                  \
	6u /* buckets of the last ALARM_BUCKETS that are over it, the newest among them            \
	    */
#define LOSING_CLUSTERS 2u
#define IN_USE		600000 /* ms since its last answer */

static void next_bucket(struct provider_state *v, ms_t mono)
{
	unsigned steps = 0;

	if (!v->bucket_at)
		v->bucket_at = mono;
	while (mono - v->bucket_at >= ALARM_SPAN && steps++ < ALARM_BUCKETS) {
		v->bucket = (v->bucket + 1) % ALARM_BUCKETS;
		v->buckets[v->bucket].attempts = v->buckets[v->bucket].deferred = 0;
		v->bucket_at += ALARM_SPAN;
	}
	if (mono - v->bucket_at >= ALARM_SPAN)
		v->bucket_at = mono;
}

void provider_outcome(struct policy *p, unsigned provider, bool deferred, uint32_t n, ms_t mono)
{
	struct provider_state *v = &p->providers[provider];

	next_bucket(v, mono);
	v->buckets[v->bucket].attempts += n;
	v->buckets[v->bucket].deferred += deferred ? n : 0;
}

static void watch_share(struct policy *p, struct policy_now now, unsigned provider)
{
	struct provider_state *v = &p->providers[provider];
	uint32_t attempts = 0, deferred = 0;
	unsigned over = 0;
	double share;
	struct policy_event *e;

	next_bucket(v, now.mono);
	for (unsigned i = 0; i < ALARM_BUCKETS; i++) {
		attempts += v->buckets[i].attempts;
		deferred += v->buckets[i].deferred;
		over += v->buckets[i].deferred > v->buckets[i].attempts * HIGH_SHARE;
	}
	share = attempts ? (double)deferred / attempts : 0;
	if (!v->deferring && !(attempts >= FEW && share > HIGH_SHARE && over >= SUSTAINED))
		return;
	if (v->deferring && share >= NORMAL_SHARE)
		return;
	v->deferring = !v->deferring;
	e = event_add(
		p, v->deferring ? POLICY_EVENT_DEFERRALS_HIGH : POLICY_EVENT_DEFERRALS_NORMAL, now);
	e->alarm = v->deferring;
	e->over = !v->deferring;
	snprintf(e->provider, sizeof(e->provider), "%.31s", p->params->providers[provider].name);
	e->good = attempts - deferred;
	e->bad = deferred;
	snprintf(e->text, sizeof(e->text), "%u of %u attempts in %u minutes were deferred",
		deferred, attempts, (unsigned)(ALARM_BUCKETS * ALARM_SPAN / 60000));
}

/* When most clusters of a provider defer, it is the provider. */
static void watch_provider(struct policy *p, struct policy_now now, unsigned provider)
{
	struct provider_state *v = &p->providers[provider];
	unsigned ill = 0, active = 0;
	struct policy_event *e;
	bool is;

	for (const struct cluster *c = v->clusters; c; c = c->next) {
		if (sick(&c->health)) {
			ill++;
			active++;
		} else if (c->heard && now.mono - c->heard < IN_USE) {
			active++;
		}
	}
	is = ill >= LOSING_CLUSTERS && ill * 3 >= active * 2;
	if (is == v->provider_sick)
		return;
	v->provider_sick = is;
	count_change(p, provider, CAUSE_PROVIDER, is);
	e = event_add(p, is ? POLICY_EVENT_PROVIDER_DEFERS : POLICY_EVENT_PROVIDER_WELL, now);
	e->alarm = is;
	e->over = !is;
	snprintf(e->provider, sizeof(e->provider), "%.31s", p->params->providers[provider].name);
	snprintf(e->cause, sizeof(e->cause), "%s", is ? "provider" : "");
	snprintf(e->text, sizeof(e->text), "%u of %u clusters in use defer", ill, active);
}

void alarms_watch(struct policy *p, struct policy_now now)
{
	for (unsigned i = 0; i < p->params->nproviders; i++) {
		watch_share(p, now, i);
		watch_provider(p, now, i);
	}
}
