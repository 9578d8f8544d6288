/* What happened, for the log; and what time alone changes. */
#include <stdio.h>
#include <stdlib.h>

#include "ban.h"
#include "clock_step.h"
#include "events.h"
#include "evidence.h"
#include "finding.h"
#include "health.h"
#include "learn.h"
#include "operate.h"
#include "policy_impl.h"
#include "provider.h"
#include "save.h"
#include "sender_watch.h"
#include "tenant.h"
#include "warmup.h"

#define SWEEP_EVERY  60000
#define HIGH_SHARE   0.10
#define NORMAL_SHARE 0.05
#define FEW	     50u /* attempts that say nothing about a share yet */
#define SUSTAINED                                                                                  \
	6u /* buckets of the last ALARM_BUCKETS that are over it, the newest among them            \
	    */
#define LOSING_CLUSTERS 2u
#define IN_USE		600000 /* ms since its last answer */

const char *policy_event_name(enum policy_event_kind k)
{
	static const char *const names[] = {
#define X(name, text) text,
		POLICY_EVENTS(X)
#undef X
	};

	return names[k];
}

/* Never NULL: what there is no room for is written into the last one, and counted. */
struct policy_event *event_add(struct policy *p, enum policy_event_kind kind, struct policy_now now)
{
	struct policy_event *e;

	if (p->nevents < EVENTS_MAX) {
		e = &p->events[p->nevents++];
	} else {
		e = &p->events[EVENTS_MAX - 1];
		p->events_lost++;
	}
	memset(e, 0, sizeof(*e));
	e->kind = kind;
	e->wall = now.wall;
	return e;
}

void policy_events(struct policy *p, void (*fn)(void *arg, const struct policy_event *e), void *arg)
{
	for (unsigned i = 0; i < p->nevents; i++)
		fn(arg, &p->events[i]);
	p->nevents = 0;
}

void count_change(struct policy *p, unsigned provider, enum cause c, bool rests)
{
	struct provider_state *v = &p->providers[provider];

	++*(rests ? &v->changes[c].rests : &v->changes[c].returns);
}

void event_health(struct policy *p, struct policy_now now, const struct cluster *c, unsigned source,
	unsigned subnet, const struct health *h, enum cause cause, const struct evidence *e,
	const char *domain)
{
	bool ill = sick(h);
	enum policy_event_kind kind = POLICY_EVENT_HEALTH;
	struct policy_event *v;

	if (cause == CAUSE_CLUSTER)
		kind = ill ? POLICY_EVENT_CLUSTER_DEFERS : POLICY_EVENT_CLUSTER_WELL;
	v = event_add(p, kind, now);
	p->health_changes++;
	v->alarm = kind == POLICY_EVENT_CLUSTER_DEFERS;
	v->over = !ill;
	if (c) {
		count_change(p, c->provider, cause, ill);
		snprintf(v->provider, sizeof(v->provider), "%.31s",
			p->params->providers[c->provider].name);
		snprintf(v->cluster, sizeof(v->cluster), "%s", c->key.name);
	}
	if (source != ~0u)
		snprintf(v->source, sizeof(v->source), "%.63s", p->params->sources[source].name);
	if (subnet != ~0u)
		path_subnet_text(p, subnet, v->subnet);
	if (domain)
		snprintf(v->domain, sizeof(v->domain), "%.255s", domain);
	snprintf(v->health, sizeof(v->health), "%s", ill ? "resting" : "healthy");
	snprintf(v->cause, sizeof(v->cause), "%s", ill ? cause_name(cause) : "");
	v->until = ill ? h->until : 0;
	evidence_decayed(e, now.mono, &v->good, &v->bad);
	if (ill)
		finding_note(p, now, c, source, subnet, cause, e, domain);
	snprintf(v->text, sizeof(v->text), "%s %s", cause_name(cause),
		ill ? "is put to rest" : "is back in service");
}

/* It came back for another reason than an answer of its own: where it is, is not looked up. */
void event_tenant(struct policy *p, struct policy_now now, const struct tenant *t)
{
	event_health(p, now, NULL, ~0u, ~0u, &t->health, CAUSE_DOMAIN, &t->evidence, t->name);
	for (unsigned i = 0; i < p->params->nproviders; i++)
		if (p->providers[i].uid == t->provider)
			count_change(p, i, CAUSE_DOMAIN, false);
}

void event_operator(struct policy *p, struct policy_now now, enum policy_event_kind kind,
	const char *source, const char *where, ms_t until, const char *text)
{
	struct policy_event *e = event_add(p, kind, now);

	e->over = kind == POLICY_EVENT_RESUMED;
	snprintf(e->source, sizeof(e->source), "%.63s", source ? source : "");
	if (where && provider_by_name(p->params, where) >= 0)
		snprintf(e->provider, sizeof(e->provider), "%.31s", where);
	else if (where && tenant_find(p, where))
		snprintf(e->domain, sizeof(e->domain), "%.255s", where);
	else
		snprintf(e->cluster, sizeof(e->cluster), "%.39s", where ? where : "");
	snprintf(e->cause, sizeof(e->cause), "%s", cause_name(CAUSE_OPERATOR));
	e->until = until;
	snprintf(e->text, sizeof(e->text), "%s", text);
}

/* ---- deferrals at a provider ---- */

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

void policy_tick(struct policy *p, struct policy_now now)
{
	policy_clock_tick(p, now);
	for (unsigned i = 0; i < p->params->nproviders; i++) {
		watch_share(p, now, i);
		watch_provider(p, now, i);
	}
	warmup_tick(p, now);
	if (p->next_expiry && p->next_expiry <= now.wall)
		suspensions_expire(p, now);
	if (now.mono - p->swept < SWEEP_EVERY)
		return;
	p->swept = now.mono;
	tenants_sweep(p, now);
	bans_sweep(p, now);
	senders_sweep(p, now.mono);
	learned_sweep(p, now);
}

bool policy_urgent(struct policy *p)
{
	bool r = p->urgent;

	p->urgent = false;
	return r;
}

/* ---- what is no more ---- */

void forget_key(struct policy *p, const char *key)
{
	if (p->ngone == p->gone_cap) {
		size_t cap = p->gone_cap ? p->gone_cap * 2 : 64;
		char **all = realloc(p->gone, cap * sizeof(char *));

		if (!all)
			return; /* stays saved, and is forgotten again after the next start */
		p->gone = all;
		p->gone_cap = cap;
	}
	p->gone[p->ngone] = slice_dup(slice_of(key));
	if (p->gone[p->ngone])
		p->ngone++;
}
