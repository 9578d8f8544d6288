/* What came of a rehearsal, in words: incidents, bottlenecks, what a plan would need. Called by
 * rehearse_print.c and rehearse_json.c when it is over. Reads the record; changes nothing. */
#include <stdio.h>

#include "state.h"

#define LATE 7u /* the first of rehearsal_delay_bounds that is over an hour */

struct teller {
	const struct rehearsal_result *r;
	void (*fn)(void *arg, enum finding_level level, const char *text);
	void *arg;
};

__attribute__((format(printf, 3, 4))) static void say(
	const struct teller *t, enum finding_level level, const char *fmt, ...)
{
	char text[600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	t->fn(t->arg, level, text);
}

static void at(char out[32], const struct rehearsal_result *r, ms_t wall)
{
	const struct zone *z = r->policy->zone;
	ms_t local = wall + (ms_t)zone_offset(z, wall) * 1000;
	struct zone_day first, d;

	zone_day(z, r->scenario->start, &first);
	zone_day(z, wall, &d);
	snprintf(out, 32, "day %d %02d:%02d", d.number - first.number + 1,
		(int)(local / 3600000 % 24), (int)(local / 60000 % 60));
}

/* The end of the first hour after the peak at which little of it was left; 0: not before the end.
 */
static ms_t worked_off(const struct rehearsal_result *r)
{
	for (unsigned i = 0; i < r->nhours; i++)
		if (r->hours[i].start + 3600000 > r->queue_max_at &&
			r->hours[i].queue_end * 10 <= r->queue_max)
			return r->hours[i].start + 3600000;
	return 0;
}

static void delivered(const struct teller *t)
{
	const struct rehearsal_result *r = t->r;
	uint64_t late = 0;
	char when[32], peak[32];

	for (unsigned i = LATE; i < REHEARSAL_DELAYS; i++)
		late += r->delays[i];
	at(peak, r, r->queue_max_at ? r->queue_max_at : r->scenario->start);
	say(t, FINDING_WELL,
		"%llu messages came in, %llu were delivered, %llu bounced as the receiver had it; "
		"%llu of them were delivered more than an hour late, the slowest after %.1f hours.",
		(unsigned long long)r->total.arrived, (unsigned long long)r->total.delivered,
		(unsigned long long)r->total.bounced, (unsigned long long)late,
		(double)r->delay_max / 3600000);
	say(t, FINDING_WELL, "The queue was deepest on %s, with %llu messages.", peak,
		(unsigned long long)r->queue_max);
	if (r->queue_max < 1000 || (double)r->queue_max * 2000 < (double)r->total.arrived)
		return;
	if (!worked_off(r)) {
		say(t, FINDING_LOOK, "That was not worked off before the end.");
		return;
	}
	at(when, r, worked_off(r));
	say(t, FINDING_WELL, "Within the hour before %s it was worked off to a tenth of that.",
		when);
}

void rehearsal_bytes(char out[24], uint64_t n)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB" };
	double v = (double)n / 1024;
	unsigned u = 0;

	for (; v >= 999.5 && u + 1 < sizeof(units) / sizeof(units[0]); u++)
		v /= 1024;
	if (n)
		snprintf(out, 24, v < 9.95 ? "%.1f %s" : "%.0f %s", v, units[u]);
	else
		snprintf(out, 24, "0");
}

static void room(const struct teller *t)
{
	const struct rehearsal_result *r = t->r;
	char most[24], may[24], better[24], from[32];

	rehearsal_bytes(most, r->stored_max);
	rehearsal_bytes(may, r->queue_room);
	if (!r->queue_room) {
		say(t, FINDING_WELL, "The queue needs %s of disk.", most);
		return;
	}
	if (!r->full_from) {
		say(t, r->stored_max > r->queue_room / 4 * 3 ? FINDING_LOOK : FINDING_WELL,
			"The queue needs %s of disk, of %s that mail may take.", most, may);
		return;
	}
	at(from, r, r->full_from);
	/* part of it is kept back for settling */
	rehearsal_bytes(better, r->stored_max + r->stored_max / 16);
	say(t, FINDING_ACT,
		"The queue needs %s of disk, and mail may take %s: from %s on it would be full, "
		"and new mail refused with 452; %llu messages came in while it had no room (here "
		"they were taken all the same). Raise queue.max_size to %s, or make what waits go "
		"sooner.",
		most, may, from, (unsigned long long)r->full_arrived, better);
}

static void last_out(const struct teller *t)
{
	char when[32];

	if (t->r->waiting || !t->r->last_out)
		return; /* the others say how many there are */
	at(when, t->r, t->r->last_out);
	say(t, FINDING_WELL, "The last message was out on %s.", when);
}

static void expired(const struct teller *t)
{
	const struct rehearsal_result *r = t->r;

	if (!r->total.expired)
		return;
	say(t, FINDING_ACT,
		"%llu messages expired (%.2f %%): they waited for longer than %.0f hours. Give the "
		"pool more sources or subnets, start the warm-up earlier, take in less, or raise "
		"expire.",
		(unsigned long long)r->total.expired,
		100.0 * (double)r->total.expired / (double)r->total.arrived,
		(double)r->policy->retry.expire / 3600000);
}

/* Does what waits at the end grow? */
static void left_over(const struct teller *t)
{
	const struct rehearsal_result *r = t->r;
	uint64_t now = r->waiting, before = 0;

	if (r->nhours > 24)
		before = r->hours[r->nhours - 25].queue_end;
	if (!now || now * 200 < r->total.arrived / (r->nhours / 24 + 1))
		return;
	say(t, r->nhours > 24 && now > before + before / 10 ? FINDING_ACT : FINDING_LOOK,
		"%llu messages still wait at the end, %llu of them for warm-up%s.",
		(unsigned long long)now, (unsigned long long)r->waiting_for_warmup,
		r->nhours > 24 && now > before + before / 10
			? ", and they become more from day to day: more comes in than goes out"
			: "");
}

/* ---- what a pool waits for ---- */

#define TOLD_SHARE 0.005 /* of the time */
#define KINDS_TOLD 4u

static const char *lift_of(unsigned wait)
{
	switch (wait) {
	case HOLD_BLOCKED:
		return "being taken off the provider's list, or sources elsewhere in the pool";
	case HOLD_RESTING:
		return "the receiver alone, or sources in another subnet";
	case HOLD_WARMUP:
		return "warm sources in the pool, or an earlier start of the warm-up";
	case REHEARSAL_REASONS + LIMIT_MESSAGES:
		return "a higher lane_message_rate, if the receiver takes more, or more sources";
	case REHEARSAL_REASONS + LIMIT_CONNECTS:
		return "a higher lane_connect_rate, or more messages a connection";
	case REHEARSAL_REASONS + LIMIT_PACE:
		return "more sources: the receiver takes no more of these";
	case REHEARSAL_REASONS + LIMIT_RECEIVER:
		return "fewer, longer connections: the receiver allows no more";
	case REHEARSAL_REASONS + LIMIT_PROVIDER:
	case REHEARSAL_REASONS + LIMIT_GEOGRAPHY:
	case REHEARSAL_REASONS + LIMIT_CLUSTER:
	case REHEARSAL_REASONS + LIMIT_SUBNET:
	case REHEARSAL_REASONS + LIMIT_LANE:
		return "more connections, if the receiver takes them, or more sources";
	default:
		return NULL;
	}
}

static double share_of(const struct teller *t, ms_t time)
{
	ms_t all = t->r->now - t->r->scenario->start;

	return all > 0 ? (double)time / (double)all : 0;
}

/* Of those that are not told yet, the longest. */
static unsigned longest(const struct rehearsal_wait *w, uint64_t told)
{
	unsigned best = REHEARSAL_WAITS;

	for (unsigned k = 0; k < REHEARSAL_WAITS; k++)
		if (!(told >> k & 1) && w[k].time &&
			(best == REHEARSAL_WAITS || w[k].time > w[best].time))
			best = k;
	return best;
}

static void pool_waits(const struct teller *t, unsigned pool)
{
	const struct rehearsal_wait *w = &t->r->waits[(size_t)pool * REHEARSAL_WAITS];
	unsigned first = longest(w, 0), k = first;
	char text[400], from[32], to[32];
	uint64_t told = 0;
	ms_t all = 0;
	size_t n = 0;

	for (unsigned i = 0; i < REHEARSAL_WAITS; i++)
		all += w[i].time;
	if (share_of(t, all) < TOLD_SHARE)
		return;
	for (unsigned i = 0; i < KINDS_TOLD && k < REHEARSAL_WAITS; i++) {
		at(from, t->r, w[k].first);
		at(to, t->r, w[k].last);
		n += (size_t)snprintf(text + n, sizeof(text) - n,
			"%s%s, in %.1f %% of the time (%s to %s, up to %llu messages)",
			i ? "; " : "", rehearsal_wait_text(k), 100 * share_of(t, w[k].time), from,
			to, (unsigned long long)w[k].most);
		told |= (uint64_t)1 << k;
		k = longest(w, told);
		if (n >= sizeof(text) - 1 ||
			(k < REHEARSAL_WAITS && share_of(t, w[k].time) < TOLD_SHARE))
			break;
	}
	say(t, first == HOLD_BLOCKED ? FINDING_ACT : FINDING_LOOK,
		"Mail of pool %s waited for more than a minute in %.1f %% of the time. Its "
		"bottleneck: %s.%s%s%s",
		t->r->policy->pools[pool].name, 100 * share_of(t, all), text,
		lift_of(first) ? " What would lift the first: " : "",
		lift_of(first) ? lift_of(first) : "", lift_of(first) ? "." : "");
}

static void waits(const struct teller *t)
{
	for (unsigned pool = 0; pool < t->r->policy->npools; pool++)
		pool_waits(t, pool);
}

/* ---- what happened ---- */

/* Did another subnet deliver at that cluster while this one rested? */
static bool others_went(const struct rehearsal_result *r, const struct rehearsal_event *e)
{
	ms_t until = e->open ? r->now : e->over;
	char text[ADDR_TEXT_MAX + 4];

	for (unsigned i = 0; i < r->nhours; i++) {
		if (r->hours[i].start + 3600000 <= e->first || r->hours[i].start >= until)
			continue;
		for (unsigned s = 0; s < r->nsubnets; s++) {
			net_format(text, &r->subnets[s]);
			for (unsigned c = 0; c < r->nclusters && strcmp(text, e->subnet) != 0; c++)
				if (!strcmp(r->scenario->clusters[c].name, e->cluster) &&
					r->by_path[(i * r->nsubnets + s) * r->nclusters + c]
						.delivered)
					return true;
		}
	}
	return false;
}

static void rested(
	const struct teller *t, const struct rehearsal_event *e, const char *from, const char *to)
{
	say(t, FINDING_LOOK,
		"%s %s was deferred at %s on %s and rested there until %s, probed now and then; %s",
		e->source[0] ? "Source" : "Subnet", e->source[0] ? e->source : e->subnet,
		e->cluster, from, to,
		others_went(t->r, e) ? "its mail went by other subnets as far as their own limits "
				       "allowed."
				     : "no other subnet could deliver there: its mail waited.");
}

/* Until the first of its sources is taken again. */
static void all_blocked(const struct teller *t, const struct rehearsal_event *e, const char *from)
{
	const struct rehearsal_result *r = t->r;
	char to[32];
	ms_t over = 0;

	for (unsigned i = 0; i < r->nevents; i++) {
		const struct rehearsal_event *b = &r->events[i];

		if (b->kind == POLICY_EVENT_SOURCE_BLOCKED && !b->open && b->over >= e->first &&
			!strcmp(b->provider, e->provider) && (!over || b->over < over))
			over = b->over;
	}
	at(to, r, over);
	say(t, FINDING_ACT, "On %s all sources of a pool were blocked at %s: its mail waited%s%s.",
		from, e->provider,
		over ? " until the first of them was taken again, on "
		     : ", and still did at the end",
		over ? to : "");
}

static void incidents(const struct teller *t)
{
	const struct rehearsal_result *r = t->r;
	unsigned told = 0;

	for (unsigned i = 0; i < r->nevents && told < 12; i++) {
		const struct rehearsal_event *e = &r->events[i];
		char from[32], to[32] = "the end";

		at(from, r, e->first);
		if (!e->open)
			at(to, r, e->over);
		switch ((int)e->kind) {
		case POLICY_EVENT_HEALTH:
			if (strcmp(e->cause, "subnet") && strcmp(e->cause, "source"))
				continue;
			rested(t, e, from, to);
			break;
		case POLICY_EVENT_CLUSTER_DEFERS:
			say(t, FINDING_LOOK,
				"%s deferred everyone from %s to %s: the relay slowed down there "
				"and blamed none of its sources. Nothing to do but wait.",
				e->cluster, from, to);
			break;
		case POLICY_EVENT_PROVIDER_DEFERS:
			say(t, FINDING_LOOK,
				"Most clusters of %s deferred at the same time, from %s to %s: an "
				"incident of the provider's. Do not move mail to other addresses.",
				e->provider, from, to);
			break;
		case POLICY_EVENT_SOURCE_BLOCKED:
			say(t, FINDING_ACT,
				"%s refused source %s from %s to %s: nothing bounced for it. Ask "
				"for its removal from the provider's list, and look for the cause "
				"before it sends again.",
				e->provider, e->source, from, to);
			break;
		case POLICY_EVENT_ALL_SOURCES_BLOCKED:
			all_blocked(t, e, from);
			break;
		default:
			continue;
		}
		told++;
	}
}

static const struct rehearsal_ramp *last_of(
	const struct rehearsal_result *r, unsigned source, unsigned provider)
{
	for (unsigned i = r->nramps; i-- > 0;)
		if (r->ramps[i].source == source && r->ramps[i].provider == provider)
			return &r->ramps[i];
	return NULL;
}

static void warm(const struct teller *t, const struct rehearsal_ramp *w)
{
	const struct rehearsal_result *r = t->r;
	const char *name = r->policy->sources[w->source].name,
		   *provider = r->policy->providers[w->provider].name;
	char date[ZONE_DATE_MAX];
	struct zone_day first;

	zone_day(r->policy->zone, r->scenario->start, &first);
	for (unsigned i = 0; i < r->nramps; i++) {
		const struct rehearsal_ramp *x = &r->ramps[i];

		if (x->source != w->source || x->provider != w->provider ||
			strcmp(x->state, "warm") != 0)
			continue;
		zone_date_format(date, x->day);
		say(t, FINDING_WELL, "%s is warm at %s on day %d (%s).", name, provider,
			x->day - first.number + 1, date);
		return;
	}
	zone_date_format(date, w->full);
	say(t, FINDING_LOOK,
		"%s is not warm at %s at the end: rung %u of %u, %u messages a day; %s. If every "
		"day from then on advances, it is on %s.",
		name, provider, w->rung, w->nrungs, w->allowance, w->why[0] ? w->why : w->state,
		date);
}

static void ramps(const struct teller *t)
{
	const struct rehearsal_result *r = t->r;

	for (unsigned k = 0; k < r->policy->nproviders; k++)
		for (unsigned i = 0; i < r->policy->nsources; i++) {
			const struct rehearsal_ramp *w = last_of(r, i, k);

			if (w)
				warm(t, w);
		}
}

void rehearsal_findings(const struct rehearsal_result *r,
	void (*fn)(void *arg, enum finding_level level, const char *text), void *arg)
{
	struct teller t = { r, fn, arg };

	if (r->full_from)
		room(&t);
	expired(&t);
	left_over(&t);
	waits(&t);
	incidents(&t);
	ramps(&t);
	delivered(&t);
	last_out(&t);
	if (!r->full_from)
		room(&t);
}
