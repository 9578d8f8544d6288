/* What the waiting mail of a pool waits for, in numbers: which limit, of whom, how fast it goes
 * meanwhile, and what would lift it. Called when somebody asks, on the dispatcher's thread, and by
 * a rehearsal for its findings; changes nothing. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ban.h"
#include "caps.h"
#include "health.h"
#include "paces.h"
#include "policy_impl.h"
#include "postern/policy_why.h"
#include "postern/text.h"
#include "source.h"
#include "tenant.h"

#define MINUTE	     60000
#define SOURCES_TOLD 4u

struct about {
	const struct policy *p;
	struct policy_now now;
	const struct policy_wait *w;
	const struct pool_params *pool;
	const struct provider_params *provider; /* NULL: not known */
	const struct cluster *cluster;		/* NULL: not known */
	struct policy_bottleneck *ret;
};

static void say(const struct about *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct about *a, const char *fmt, ...)
{
	size_t n = strlen(a->ret->text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->ret->text + n, sizeof(a->ret->text) - n, fmt, ap);
	va_end(ap);
}

static void lift(const struct about *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void lift(const struct about *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->ret->lift, sizeof(a->ret->lift), fmt, ap);
	va_end(ap);
}

static const char *where(const struct about *a)
{
	return a->cluster ? a->cluster->key.name : a->provider ? a->provider->name : "the receiver";
}

static const struct lane *lane_of(const struct about *a, unsigned member)
{
	return a->cluster ? a->cluster->lanes[a->pool->members[member].source] : NULL;
}

static const char *name_of(const struct about *a, unsigned member)
{
	return a->p->params->sources[a->pool->members[member].source].name;
}

/* What its sources got in at the cluster within the last minute. */
static double went(const struct about *a)
{
	double sum = 0;

	for (unsigned i = 0; i < a->pool->nmembers; i++) {
		const struct lane *l = lane_of(a, i);
		struct pace copy;

		if (!l)
			continue;
		copy = l->pace; /* counting slides it on */
		sum += pace_minute(&copy, a->now.mono);
	}
	return sum;
}

/* Each source once, as far as there is room: "117 a minute of a1 and 60 of b1". Returns the sum. */
static double list_rates(const struct about *a, double (*rate)(const struct about *a, unsigned i))
{
	unsigned told = 0, left = 0;
	double sum = 0;

	for (unsigned i = 0; i < a->pool->nmembers; i++) {
		double r = rate(a, i);

		if (r <= 0)
			continue;
		sum += r;
		if (told == SOURCES_TOLD) {
			left++;
			continue;
		}
		say(a, "%s%.0f%s of %s", told ? ", " : "", r, told ? "" : " a minute",
			name_of(a, i));
		told++;
	}
	if (left)
		say(a, " and of %u more", left);
	return sum;
}

/* Of a subnet that is counted as one, each of its sources has a part. */
static double rate_pace(const struct about *a, unsigned i)
{
	const struct lane *l = lane_of(a, i);
	const struct pace *pace = l ? paces_of(l) : NULL;
	unsigned parts = 0;

	for (unsigned k = 0; l && k < a->pool->nmembers; k++) {
		const struct lane *other = lane_of(a, k);

		parts += other && other->path == l->path;
	}
	return !pace ? 0 : pace == &l->pace ? (double)pace->rate : (double)pace->rate / parts;
}

static double rate_set(const struct rate *r)
{
	return r->count ? (double)r->count * MINUTE / (double)r->per : 0;
}

static double rate_messages(const struct about *a, unsigned i)
{
	(void)i;
	return rate_set(&a->provider->lane_message_rate);
}

/* ---- what keeps the sources ---- */

/* Sources of the pool that rest, are blocked or suspended there: by name, with why. */
static void list_obstacles(const struct about *a)
{
	unsigned told = 0;

	for (unsigned i = 0; i < a->pool->nmembers && told < SOURCES_TOLD; i++) {
		unsigned source = a->pool->members[i].source, subnet = a->p->sources[source].subnet;
		const struct lane *l = lane_of(a, i);
		const struct path *h = a->cluster ? a->cluster->paths[subnet] : NULL;
		enum hold_reason r = HOLD_NONE;
		const char *why = NULL;
		ms_t until;

		if (a->w->provider != ~0u)
			r = source_obstacle(
				a->p, a->now, source, a->cluster, a->w->provider, &until);
		if (r == HOLD_SUSPENDED)
			why = "is suspended by the operator";
		else if (r == HOLD_BLOCKED)
			why = "is blocked by the provider";
		else if (r == HOLD_NO_SOURCE)
			why = "cannot use its address";
		else if (l && sick(&l->health))
			why = "rests";
		else if (h && sick(&h->health))
			why = "rests with its subnet";
		else if (a->cluster && ban_find(a->p, BAN_CLUSTER, a->cluster->provider,
					       name_of(a, i), a->cluster->key.name))
			why = "is refused there";
		if (!why)
			continue;
		say(a, "%s%s %s", told ? ", " : "", name_of(a, i), why);
		told++;
	}
	if (!told)
		say(a, "none of its sources may go");
}

/* ---- by reason ---- */

static void on_rate(const struct about *a)
{
	if (a->w->limit == LIMIT_PACE && a->cluster) {
		say(a, "the receiver takes about ");
		a->ret->per_minute = list_rates(a, rate_pace);
		say(a, " at %s", where(a));
		lift(a, "more sources, or time: the relay tries a little more now and then");
	} else if (a->w->limit == LIMIT_MESSAGES && a->provider) {
		say(a, "lane_message_rate lets ");
		a->ret->per_minute = list_rates(a, rate_messages);
		say(a, " go to %s", where(a));
		lift(a, "a higher lane_message_rate of provider \"%s\", or more sources",
			a->provider->name);
	} else if (a->w->limit == LIMIT_CONNECTS && a->provider) {
		char per[32];

		duration_format(per, a->provider->lane_connect_rate.per);
		say(a, "lane_connect_rate lets each source connect %u times in %s to %s",
			a->provider->lane_connect_rate.count, per, where(a));
		a->ret->per_minute = went(a);
		lift(a,
			"a higher lane_connect_rate of provider \"%s\", or more messages a "
			"connection",
			a->provider->name);
	} else {
		say(a, "%s", hold_reason_text(a->w->reason));
	}
}

struct cap {
	uint32_t in_use, most;
	const char *option;
};

static struct cap cap_of(const struct about *a)
{
	const struct provider_params *v = a->provider;
	const struct provider_state *s = &a->p->providers[a->w->provider];
	const struct cluster *c = a->cluster;
	const struct cap caps[] = {
		[LIMIT_PROVIDER] = { s->uses.in_use, v->connections, "connections" },
		[LIMIT_GEOGRAPHY] = { c ? s->geographies[c->geography].uses.in_use : 0,
			v->connections_per_geography, "connections_per_geography" },
		[LIMIT_CLUSTER] = { c ? c->uses.in_use : 0, v->connections_per_cluster,
			"connections_per_cluster" },
		[LIMIT_SUBNET] = { 0, v->connections_per_cluster_subnet,
			"connections_per_cluster_subnet" },
		[LIMIT_LANE] = { 0, v->connections_per_lane, "connections_per_lane" },
	};

	return (size_t)a->w->limit < sizeof(caps) / sizeof(*caps) ? caps[a->w->limit]
								  : (struct cap){ 0 };
}

static void on_cap(const struct about *a)
{
	struct cap k;

	a->ret->per_minute = went(a);
	if (a->w->limit == LIMIT_RECEIVER && a->cluster) {
		say(a, "%s refuses more than about %u connections at a time", where(a),
			cluster_limit(a->cluster, a->now.mono));
		lift(a, "time: one more is tried every half minute");
		return;
	}
	if (a->w->limit == LIMIT_SLOW_START && a->cluster) {
		say(a, "%s is back from a rest: %u connections, doubling while mail is taken",
			where(a), a->cluster->slow_start);
		lift(a, "time");
		return;
	}
	k = a->provider ? cap_of(a) : (struct cap){ 0 };
	if (!k.most) {
		say(a, "%s",
			a->w->limit ? policy_limit_text(a->w->limit) : hold_reason_text(HOLD_CAP));
		lift(a, "time: it is a question of seconds");
		return;
	}
	if (k.in_use)
		say(a, "%u of %u connections (%s) are in use at %s", k.in_use, k.most, k.option,
			where(a));
	else
		say(a, "%s = %u is used up at %s", k.option, k.most, where(a));
	lift(a, "a higher %s of provider \"%s\", if the receiver takes more", k.option,
		a->provider->name);
}

static void on_window(const struct about *a)
{
	unsigned told = 0;

	say(a, "connections to %s grow with what is delivered: ", where(a));
	for (unsigned i = 0; i < a->pool->nmembers && told < SOURCES_TOLD; i++) {
		const struct lane *l = lane_of(a, i);

		if (l)
			say(a, "%s%s may have %u", told++ ? ", " : "", name_of(a, i), l->window);
	}
	a->ret->per_minute = went(a);
	lift(a, "time: one more for every six messages that are delivered");
}

static void on_rest(const struct about *a)
{
	if (a->cluster && sick(&a->cluster->health))
		say(a, "%s defers mail of every address, and rests", where(a));
	else
		list_obstacles(a);
	a->ret->per_minute = went(a);
	lift(a, "the receiver; \"postern resume --at %s\" has it tried at once", where(a));
}

static void on_warmup(const struct about *a)
{
	say(a, "the warm-up allowance of its new sources is used up at %s",
		a->provider ? a->provider->name : "the provider");
	a->ret->per_minute = went(a);
	lift(a, "the next day's allowance, or a warm source in the pool");
}

static void on_domain(const struct about *a)
{
	const struct tenant *t = tenant_find(a->p, a->w->domain);
	const char *name = a->w->domain ? a->w->domain : "";
	uint64_t others = a->w->domains > 1 ? a->w->domains - 1 : 0;

	if (others)
		say(a, "%s and %llu more domains ", name, (unsigned long long)others);
	else
		say(a, "%s ", name);
	if (a->w->reason == HOLD_DOMAIN_RATE) {
		if (t && t->pace.rate > 0 && !others) {
			a->ret->per_minute = (double)t->pace.rate;
			say(a, "takes about %.0f messages a minute of us, whichever source sends",
				a->ret->per_minute);
		} else {
			say(a, "take so many messages a minute, whichever source sends");
		}
		lift(a, "the receiver alone");
	} else if (a->w->reason == HOLD_RECIPIENT) {
		say(a, "%s recipients that take no more of us for now: each waits alone",
			others ? "have" : "has");
		lift(a, "the receiver, within an hour; one message is tried before");
	} else if (a->w->reason == HOLD_SENDER) {
		say(a, "%s refused what the sender's domain sends: it waits alone",
			others ? "have" : "has");
		lift(a, "the domain that sends; one message is tried now and then");
	} else if (t && sick(&t->health)) {
		say(a, "%s mail from every source of ours", others ? "refuse" : "refuses");
		lift(a, "the receiver; \"postern resume --at %s\" has it tried at once", name);
	} else {
		say(a, "put mail off: it is tried again by the schedule of retries");
		lift(a, "\"postern retry --domain %s\" has it tried at once", name);
	}
}

static void on_dns(const struct about *a)
{
	say(a, "DNS has not answered for %s", a->w->domain ? a->w->domain : "it");
	lift(a, "the name servers");
}

static void on_hold(const struct about *a)
{
	say(a, "held by the operator");
	lift(a, "\"postern release\"");
}

static void on_suspended(const struct about *a)
{
	list_obstacles(a);
	lift(a, "\"postern resume\"");
}

static void on_blocked(const struct about *a)
{
	list_obstacles(a);
	lift(a, "delisting; then \"postern resume --at %s\" has it tried at once",
		a->provider ? a->provider->name : where(a));
}

static void on_no_source(const struct about *a)
{
	list_obstacles(a);
	lift(a, "other sources in the pool");
}

static void on_no_host(const struct about *a)
{
	say(a, "the receivers have no address of a family that the pool's sources have");
	lift(a, "a source of the other family in the pool");
}

static void on_nothing(const struct about *a)
{
	say(a, "on their way");
	a->ret->per_minute = went(a);
}

static void (*const by_reason[])(const struct about *a) = {
	[HOLD_NONE] = on_nothing,
	[HOLD_CAP] = on_cap,
	[HOLD_RATE] = on_rate,
	[HOLD_WINDOW] = on_window,
	[HOLD_RESTING] = on_rest,
	[HOLD_BLOCKED] = on_blocked,
	[HOLD_WARMUP] = on_warmup,
	[HOLD_SUSPENDED] = on_suspended,
	[HOLD_NO_SOURCE] = on_no_source,
	[HOLD_BACKOFF] = on_domain,
	[HOLD_DNS] = on_dns,
	[HOLD_OPERATOR] = on_hold,
	[HOLD_NO_HOST] = on_no_host,
	[HOLD_SENDER] = on_domain,
	[HOLD_RECIPIENT] = on_domain,
	[HOLD_DOMAIN_RATE] = on_domain,
};

/* ---- all of it ---- */

static void say_time(const struct about *a)
{
	struct policy_bottleneck *r = a->ret;
	char text[32];

	say(a, "%s%llu wait", r->text[0] ? "; " : "", (unsigned long long)a->w->recipients);
	if (r->per_minute < 0.5) {
		r->per_minute = 0;
		return;
	}
	r->lasts = (ms_t)((double)a->w->recipients / r->per_minute * MINUTE);
	r->lasts = (r->lasts + 999) / 1000 * 1000;
	duration_format(text, r->lasts < MINUTE ? r->lasts : r->lasts / MINUTE * MINUTE);
	say(a, ": at this pace (%.0f a minute) %s", r->per_minute, text);
}

void policy_bottleneck(const struct policy *p, struct policy_now now, const struct policy_wait *w,
	struct policy_bottleneck *ret)
{
	struct about a = {
		.p = p, .now = now, .w = w, .pool = &p->params->pools[w->pool], .ret = ret
	};

	*ret = (struct policy_bottleneck){ 0 };
	if (w->provider < p->params->nproviders) {
		a.provider = &p->params->providers[w->provider];
		a.cluster = w->cluster ? p->providers[w->provider].clusters : NULL;
		while (a.cluster && a.cluster->id != w->cluster)
			a.cluster = a.cluster->next;
	}
	if ((size_t)w->reason < sizeof(by_reason) / sizeof(*by_reason) && by_reason[w->reason])
		by_reason[w->reason](&a);
	else
		say(&a, "%s", hold_reason_text(w->reason));
	say_time(&a);
}
