/* What is held against whom, and by which figures: a row for each source, subnet, cluster, domain
 * and sender that rests, is refused, is limited or is suspected. Called when somebody asks, on the
 * dispatcher's thread; walks all there is once, and changes nothing. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "caps.h"
#include "evidence.h"
#include "finding.h"
#include "health.h"
#include "limit.h"
#include "pace.h"
#include "params.h"
#include "policy_impl.h"
#include "table.h"
#include "tenant.h"
#include "times.h"
#include "why.h"

#define LIMIT_TESTED 30000 /* ms; as LIMIT_GROWS of caps.c */

struct asked {
	const struct policy *p;
	struct policy_now now;
	const struct policy_why_filter *f;
	const struct tenant *domain; /* that f->at names; NULL: none */
	bool member[64];	     /* by source, of the pool; beyond: all are */
	unsigned *told;
	void (*fn)(void *arg, const struct policy_why *w);
	void *arg;
};

const struct policy_params *policy_parameters(const struct policy *p)
{
	return p->params;
}

bool policy_has_source(const struct policy *p, const char *name)
{
	return source_by_name(p->params, name) >= 0;
}

/* ---- who is asked about ---- */

static bool of_pool(const struct asked *a, unsigned source)
{
	return !a->f->pool || source >= sizeof(a->member) || a->member[source];
}

static bool names_source(const struct asked *a, unsigned source)
{
	return of_pool(a, source) &&
	       (!a->f->source || !strcmp(a->f->source, a->p->params->sources[source].name));
}

static bool names_subnet(const struct asked *a, unsigned subnet)
{
	for (unsigned i = 0; i < a->p->params->nsources; i++)
		if (a->p->sources[i].subnet == subnet && names_source(a, i))
			return true;
	return false;
}

static bool names_provider(const struct asked *a, unsigned provider)
{
	return !a->f->at || !strcmp(a->f->at, a->p->params->providers[provider].name);
}

/* By its name, its provider's, or a domain that was refused there last. */
static bool names_cluster(const struct asked *a, const struct cluster *c)
{
	return names_provider(a, c->provider) || !strcmp(a->f->at, c->key.name) ||
	       (a->domain && a->domain->cluster == c->id);
}

static const struct cluster *cluster_of(const struct policy *p, uint64_t id)
{
	const struct cluster *c = p->clusters;

	while (c && c->id != id)
		c = c->hh.next;
	return c;
}

/* ---- one row ---- */

static struct policy_why begin(
	const struct asked *a, const char *kind, enum policy_state state, const struct cluster *c)
{
	struct policy_why w = { .kind = kind, .state = state };

	if (c) {
		snprintf(w.cluster, sizeof(w.cluster), "%s", c->key.name);
		snprintf(w.provider, sizeof(w.provider), "%.31s",
			a->p->params->providers[c->provider].name);
	}
	return w;
}

static void say(struct policy_why *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct policy_why *w, const char *fmt, ...)
{
	size_t n = strlen(w->text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->text + n, sizeof(w->text) - n, fmt, ap);
	va_end(ap);
}

static void take_rows(struct policy_why *w, const struct why_rows *r)
{
	w->nrows = r->n;
	memcpy(w->rows, r->rows, sizeof(w->rows));
}

static void tell(const struct asked *a, const struct policy_why *w)
{
	if (++*a->told <= POLICY_WHY_MAX)
		a->fn(a->arg, w);
}

static bool enough(const struct asked *a)
{
	return *a->told > POLICY_WHY_MAX;
}

static void health_times(struct policy_why *w, const struct health *h, ms_t wall)
{
	w->since = h->since;
	w->until = h->until > wall ? h->until : 0;
}

/* What the figures say: others at the same place are well, or nobody was there to compare with. */
static void say_contrast(struct policy_why *w)
{
	const struct policy_why_row *best = NULL;

	for (unsigned i = 1; i < w->nrows; i++) {
		const struct policy_why_row *r = &w->rows[i];
		bool other = !strncmp(r->what, "subnet", 6) || !strncmp(r->what, "source", 6) ||
			     !strncmp(r->what, "mail for others", 15);

		if (other && r->accepted >= 1 && r->accepted > r->refused &&
			!strstr(r->what, "other clusters") &&
			(!best || r->accepted > best->accepted))
			best = r;
	}
	if (best)
		say(w, "; meanwhile %.0f of %.0f from %s were accepted", best->accepted,
			best->accepted + best->refused, best->what);
	else
		say(w, "; nothing else was accepted there to compare with");
}

static void say_next(struct policy_why *w, bool resting)
{
	say(w, resting ? ". One message is tried when the rest is over."
		       : ". One message at a time finds out whether it still is.");
}

/* ---- what rests ---- */

static void tell_rest(const struct asked *a, const struct cluster *c, unsigned source,
	unsigned subnet, const struct health *h, enum cause cause)
{
	struct policy_why w = begin(a, cause_name(cause), health_shown(h, a->now.wall), c);
	struct why_rows r = { 0 };

	health_times(&w, h, a->now.wall);
	if (source != ~0u)
		snprintf(w.source, sizeof(w.source), "%.63s", a->p->params->sources[source].name);
	if (subnet != ~0u)
		path_subnet_text(a->p, subnet, w.subnet);
	w.needed = SCORE_BLAME;
	if (!finding_tell(a->p, c, source, subnet, cause, NULL, &w)) {
		why_at_cluster(a->p, a->now, c, source, subnet, &r);
		take_rows(&w, &r);
		w.needed = 0;
	}
	if (cause == CAUSE_CLUSTER) {
		say(&w, "%s defers mail from every address that was tried there", w.cluster);
	} else {
		say(&w, "%s refuses %s%s", w.cluster, cause == CAUSE_SOURCE ? "" : "the subnet ",
			cause == CAUSE_SOURCE ? w.source : w.subnet);
		say_contrast(&w);
	}
	say_next(&w, w.state == POLICY_RESTING);
	tell(a, &w);
}

/* Nothing is decided yet; messages go one at a time. */
static void tell_suspect(const struct asked *a, const struct path *h, double score)
{
	struct policy_why w = begin(a, "subnet", POLICY_SUSPECTED, h->cluster);
	struct why_rows r = { 0 };

	path_subnet_text(a->p, h->subnet, w.subnet);
	w.score = score;
	w.needed = SCORE_BLAME;
	why_at_cluster(a->p, a->now, h->cluster, ~0u, h->subnet, &r);
	take_rows(&w, &r);
	say(&w, "%s refuses more of the subnet %s than is usual, not enough to be sure", w.cluster,
		w.subnet);
	say_contrast(&w);
	say(&w, ".");
	tell(a, &w);
}

/* ---- limits that receivers have, as they showed ---- */

static void tell_pace(
	const struct asked *a, struct policy_why *w, const struct pace *p, const char *whose)
{
	struct pace copy = *p; /* counting slides it on */
	double minute = pace_minute(&copy, a->now.mono);

	w->since = p->found;
	w->until = p->hold > a->now.mono ? a->now.wall + (p->hold - a->now.mono) : 0;
	say(w,
		"%s takes about %.0f messages a minute of %s: more was refused %s. %.0f a minute "
		"go "
		"now, %.0f went in the last minute; a little more is tried %s.",
		w->domain[0] ? w->domain : w->cluster, (double)p->ceiling, whose,
		p->confirmed ? "several times" : "once", (double)p->rate, minute,
		w->until ? "when that has held for a while" : "while mail waits for it");
	tell(a, w);
}

static void tell_lane_limit(const struct asked *a, const struct lane *l)
{
	struct policy_why w = begin(a, "source", POLICY_LIMITED, l->cluster);
	struct why_rows r = { 0 };

	snprintf(w.source, sizeof(w.source), "%.63s", a->p->params->sources[l->source].name);
	why_at_cluster(a->p, a->now, l->cluster, l->source, l->path->subnet, &r);
	take_rows(&w, &r);
	tell_pace(a, &w, &l->pace, w.source);
}

static void tell_cluster_limit(const struct asked *a, const struct cluster *c)
{
	struct policy_why w = begin(a, "cluster", POLICY_LIMITED, c);

	w.since = a->now.wall - (a->now.mono - c->limit_at);
	w.until = a->now.wall + LIMIT_TESTED - (a->now.mono - c->limit_at) % LIMIT_TESTED;
	say(&w,
		"%s refused a connection beside %u others of ours: %u are opened there now (%u are "
		"in use), one more every half minute.",
		w.cluster, c->limit, cluster_limit(c, a->now.mono), c->uses.in_use);
	tell(a, &w);
}

static void tell_learned(const struct asked *a, const struct cluster *c)
{
	struct policy_why w = begin(a, "cluster", POLICY_LIMITED, c);
	uint32_t messages = limits_of(c->limits, LEARNED_SESSION),
		 recipients = limits_of(c->limits, LEARNED_TRANSACTION);

	if (!messages && !recipients)
		return;
	say(&w, "%s takes", w.cluster);
	if (messages)
		say(&w, " %u messages a connection", messages);
	if (recipients)
		say(&w, "%s %u recipients a message", messages ? " and" : "", recipients);
	say(&w, ", as it showed: connections and messages are cut to that, and twice as much is "
		"tried now and then.");
	w.until = c->limits->of[messages ? LEARNED_SESSION : LEARNED_TRANSACTION].probe_at;
	tell(a, &w);
}

/* ---- clusters ---- */

static void look_at_lane(const struct asked *a, const struct lane *l)
{
	if (!names_source(a, l->source))
		return;
	if (sick(&l->health))
		tell_rest(a, l->cluster, l->source, l->path->subnet, &l->health, CAUSE_SOURCE);
	if (l->pace.rate > 0)
		tell_lane_limit(a, l);
}

static void tell_subnet_limit(const struct asked *a, const struct path *h)
{
	struct policy_why w = begin(a, "subnet", POLICY_LIMITED, h->cluster);
	struct why_rows r = { 0 };

	path_subnet_text(a->p, h->subnet, w.subnet);
	why_at_cluster(a->p, a->now, h->cluster, ~0u, h->subnet, &r);
	take_rows(&w, &r);
	tell_pace(a, &w, &h->pace, w.subnet);
}

static void look_at_path(const struct asked *a, const struct path *h)
{
	double score = evidence_score(&h->evidence, a->now.mono);

	if (!names_subnet(a, h->subnet))
		return;
	if (h->pace.rate > 0)
		tell_subnet_limit(a, h);
	if (sick(&h->health))
		tell_rest(a, h->cluster, ~0u, h->subnet, &h->health, CAUSE_SUBNET);
	else if (score >= SCORE_SUSPECT)
		tell_suspect(a, h, score);
}

static void look_at_cluster(const struct asked *a, const struct cluster *c)
{
	const struct policy *p = a->p;

	if (!names_cluster(a, c))
		return;
	if (!a->f->source && sick(&c->health))
		tell_rest(a, c, ~0u, ~0u, &c->health, CAUSE_CLUSTER);
	for (unsigned i = 0; i < p->nsubnets; i++)
		if (c->paths[i])
			look_at_path(a, c->paths[i]);
	for (unsigned i = 0; i < p->params->nsources; i++)
		if (c->lanes[i])
			look_at_lane(a, c->lanes[i]);
	if (a->f->source)
		return;
	if (c->limit)
		tell_cluster_limit(a, c);
	if (c->limits)
		tell_learned(a, c);
}

/* ---- what a provider refuses ---- */

static void look_at_block(const struct asked *a, unsigned provider, unsigned source)
{
	const struct block *b = &a->p->providers[provider].blocks[source];
	struct policy_why w = begin(a, "source",
		b->told ? b->until > a->now.wall ? POLICY_BLOCKED : POLICY_PROBING
			: POLICY_SUSPECTED,
		NULL);

	if (!b->until || !names_source(a, source) || !names_provider(a, provider))
		return;
	snprintf(w.provider, sizeof(w.provider), "%.31s", a->p->params->providers[provider].name);
	snprintf(w.source, sizeof(w.source), "%.63s", a->p->params->sources[source].name);
	w.since = b->since;
	w.until = b->until > a->now.wall ? b->until : 0;
	say(&w, "%s refuses %s by name", w.provider, w.source);
	if (b->said_by.n)
		say(&w, " (%u receivers that have nothing in common said so)", b->said_by.n);
	say(&w, b->told ? ": nothing of it goes there but one message now and then to find out."
			: ": one message at a time goes until it is clear.");
	tell(a, &w);
}

static void look_at_suspension(const struct asked *a, unsigned provider, unsigned source)
{
	const ms_t *until = a->p->providers[provider].suspended;
	struct policy_why w = begin(a, "source", POLICY_SUSPENDED, NULL);

	if (!until || until[source] <= a->now.wall || !names_source(a, source) ||
		!names_provider(a, provider))
		return;
	snprintf(w.provider, sizeof(w.provider), "%.31s", a->p->params->providers[provider].name);
	snprintf(w.source, sizeof(w.source), "%.63s", a->p->params->sources[source].name);
	w.until = until[source] == FOR_EVER ? 0 : until[source];
	say(&w, "suspended by the operator%s", w.until ? "." : " until it is resumed.");
	tell(a, &w);
}

/* ---- domains ---- */

static bool names_tenant(const struct asked *a, const struct tenant *t, const struct cluster *c)
{
	return !a->f->at || t == a->domain || (c && names_cluster(a, c));
}

static void look_at_tenant(const struct asked *a, const struct tenant *t)
{
	const struct cluster *c;
	struct policy_why w;
	struct why_rows r = { 0 };

	if (enough(a) || (!sick(&t->health) && t->pace.rate <= 0))
		return;
	c = cluster_of(a->p, t->cluster);
	if (!names_tenant(a, t, c))
		return;
	w = begin(a, "domain",
		sick(&t->health) ? health_shown(&t->health, a->now.wall) : POLICY_LIMITED, c);
	snprintf(w.domain, sizeof(w.domain), "%.255s", t->name);
	if (!finding_tell(a->p, c, ~0u, ~0u, CAUSE_DOMAIN, t->name, &w)) {
		why_of_tenant(a->p, a->now, c, &t->evidence, t->name, &r);
		take_rows(&w, &r);
	}
	if (!sick(&t->health)) {
		tell_pace(a, &w, &t->pace, "us, whichever source sends");
		return;
	}
	health_times(&w, &t->health, a->now.wall);
	say(&w, "%s refuses its mail from every source of ours", w.domain);
	say_contrast(&w);
	say_next(&w, w.state == POLICY_RESTING);
	tell(a, &w);
}

/* ---- what one receiver, or a provider, refuses by name ---- */

static void tell_ban(void *arg, const struct policy_ban_info *i)
{
	const struct asked *a = arg;
	const struct tenant *t = i->domain[0] ? tenant_find(a->p, i->domain) : NULL;
	const struct cluster *c = t && !enough(a) ? cluster_of(a->p, t->cluster) : NULL;
	int source = i->source[0] ? source_by_name(a->p->params, i->source) : -1;
	int provider = provider_by_name(a->p->params, i->provider);
	struct policy_why w = begin(a, i->sender[0] ? "sender" : "source",
		i->probing     ? POLICY_PROBING
		: i->sender[0] ? POLICY_HELD
			       : POLICY_REFUSED,
		NULL);
	struct why_rows r = { 0 };

	if (enough(a) || (a->f->source && strcmp(a->f->source, i->source)) ||
		(source >= 0 && !of_pool(a, (unsigned)source)))
		return;
	if (a->f->at && strcmp(a->f->at, i->domain) && strcmp(a->f->at, i->cluster) &&
		strcmp(a->f->at, i->provider))
		return;
	snprintf(w.source, sizeof(w.source), "%.63s", i->source);
	snprintf(w.sender, sizeof(w.sender), "%.255s", i->sender);
	snprintf(w.domain, sizeof(w.domain), "%.255s", i->domain);
	snprintf(w.cluster, sizeof(w.cluster), "%.39s", i->cluster);
	snprintf(w.provider, sizeof(w.provider), "%.31s", i->provider);
	w.since = i->since;
	w.until = i->until;
	if (i->sender[0] && provider >= 0)
		why_of_sender(a->p, a->now, (unsigned)provider, i->sender, &r);
	if (t)
		why_of_tenant(a->p, a->now, c, &t->evidence, t->name, &r);
	if (c && source >= 0)
		why_at_cluster(a->p, a->now, c, (unsigned)source, a->p->sources[source].subnet, &r);
	take_rows(&w, &r);
	w.score = r.n ? r.rows[0].ratio : 0;
	say(&w, "%s refuses %s%s, and other mail is taken",
		i->domain[0]	? i->domain
		: i->cluster[0] ? i->cluster
				: i->provider,
		i->sender[0] ? "what is sent by " : "", i->sender[0] ? i->sender : i->source);
	say(&w, i->sender[0] ? ": it waits there, whoever would carry it"
			     : ": other sources carry that mail");
	say_next(&w, !i->probing);
	tell(a, &w);
}

bool policy_why(const struct policy *p, struct policy_now now, const struct policy_why_filter *f,
	void (*fn)(void *arg, const struct policy_why *w), void *arg)
{
	unsigned told = 0;
	struct asked a = { .p = p,
		.told = &told,
		.now = now,
		.f = f,
		.domain = f->at ? tenant_find(p, f->at) : NULL,
		.fn = fn,
		.arg = arg };
	struct cluster *c, *next;
	struct tenant *t, *next_tenant;
	int pool = f->pool ? policy_pool(p, f->pool) : -1;

	for (unsigned i = 0; pool >= 0 && i < p->params->pools[pool].nmembers; i++)
		if (p->params->pools[pool].members[i].source < sizeof(a.member))
			a.member[p->params->pools[pool].members[i].source] = true;
	for (unsigned k = 0; k < p->params->nproviders; k++)
		for (unsigned i = 0; i < p->params->nsources; i++) {
			look_at_suspension(&a, k, i);
			look_at_block(&a, k, i);
		}
	HASH_ITER (hh, p->clusters, c, next) {
		if (enough(&a))
			break;
		look_at_cluster(&a, c);
	}
	if (!f->source)
		HASH_ITER (hh, p->tenants, t, next_tenant)
			look_at_tenant(&a, t);
	policy_bans(p, now, tell_ban, &a);
	return enough(&a);
}
