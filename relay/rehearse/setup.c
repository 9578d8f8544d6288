/* The world of a scenario: receivers, tenants, sources' standing. Called by rehearse.c, at the
 * beginning and the end. */
#include <stdio.h>
#include <stdlib.h>

#include "state.h"

#define HOUR	  3600000
#define STEPS_DAY 100000.0 /* above so many messages (a day), a step stands for more than one */
#define BATCH_MAX 20u

static uint32_t alone_in(const struct rehearsal *r, unsigned cluster)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < r->s->nincidents; i++) {
		const struct scenario_incident *x = &r->s->incidents[i];

		if (x->kind == INCIDENT_TENANT &&
			(x->cluster_index < 0 || (unsigned)x->cluster_index == cluster) &&
			x->tenants > n)
			n = x->tenants;
	}
	return n < r->s->clusters[cluster].tenants ? n : r->s->clusters[cluster].tenants - 1;
}

static int setup_groups(struct rehearsal *r, unsigned cluster)
{
	struct receiver *v = &r->receivers[cluster];
	uint32_t tenants = r->s->clusters[cluster].tenants, alone = alone_in(r, cluster), at;

	v->nshared = tenants - alone < GROUPS ? tenants - alone : GROUPS;
	v->ngroups = alone + v->nshared;
	v->groups = calloc(v->ngroups, sizeof(*v->groups));
	v->domains = calloc(tenants, sizeof(*v->domains));
	if (!v->groups || !v->domains)
		return -1;
	for (at = 0; at < alone; at++)
		v->groups[at] = (struct group){ at, 1 };
	for (unsigned k = 0; k < v->nshared; k++) {
		uint32_t n = (tenants - at) / (v->nshared - k);

		v->groups[alone + k] = (struct group){ at, n };
		at += n;
	}
	for (uint32_t i = 0; i < tenants; i++)
		snprintf(v->domains[i], sizeof(v->domains[i]), "t%u-%.16s.example", i + 1,
			r->s->clusters[cluster].name);
	return 0;
}

static int setup_receiver(struct rehearsal *r, unsigned cluster)
{
	struct receiver *v = &r->receivers[cluster];

	for (unsigned h = 0; h < r->s->clusters[cluster].hosts; h++)
		v->hosts[h].addr = (struct addr){ .family = ADDR_V4,
			.ip = { 198, 18, (uint8_t)cluster, (uint8_t)(1 + h) } };
	for (unsigned h = 0; h < MATCH_HOSTS; h++)
		match_host_init(&v->at[h]);
	v->by_source = calloc(r->params->nsources, sizeof(*v->by_source));
	v->by_subnet = calloc(r->nsubnets, sizeof(*v->by_subnet));
	v->bad_at = calloc(r->params->nsources, sizeof(*v->bad_at));
	if (!v->by_source || !v->by_subnet || !v->bad_at)
		return -1;
	return setup_groups(r, cluster);
}

/* Which source may carry the mail of which pool. */
static int setup_pools(struct rehearsal *r)
{
	r->has = calloc((size_t)r->params->npools * r->params->nsources, sizeof(*r->has));
	if (!r->has)
		return -1;
	for (unsigned i = 0; i < r->params->npools; i++)
		match_sources(r->params, i, r->has + (size_t)i * r->params->nsources);
	return 0;
}

/* Traffic of one pool and one class shares flows. */
static int setup_kinds(struct rehearsal *r)
{
	const struct scenario *s = r->s;

	r->kinds.all = calloc(s->ntraffic ? s->ntraffic : 1, sizeof(*r->kinds.all));
	r->kinds.of = calloc(s->ntraffic ? s->ntraffic : 1, sizeof(*r->kinds.of));
	if (!r->kinds.all || !r->kinds.of)
		return -1;
	for (unsigned i = 0; i < s->ntraffic; i++) {
		const struct kind k = { s->traffic[i].pool_index,
			policy_class(r->params, s->traffic[i].class) };
		unsigned at = 0;

		while (at < r->kinds.n &&
			(r->kinds.all[at].pool != k.pool || r->kinds.all[at].class != k.class))
			at++;
		if (at == r->kinds.n)
			r->kinds.all[r->kinds.n++] = k;
		r->kinds.of[i] = at;
	}
	return 0;
}

static void setup_flow(struct rehearsal *r, struct flow *f)
{
	match_flow_init(&f->match, &r->receivers[f->cluster].groups[f->group].match);
	f->match.pool = r->has + (size_t)f->pool * r->params->nsources;
	/* no senders are told apart here: each pool has one party */
	f->match.party = &r->params->pools[f->pool];
	f->match.provider = r->s->clusters[f->cluster].provider_index;
	f->match.diverted = (f - r->flows) & 1;
	match_rank(&r->match, &f->match, class_rank(f->class));
}

static int setup_flows(struct rehearsal *r)
{
	uint32_t n = 0, at = 0;

	for (unsigned c = 0; c < r->s->nclusters; c++)
		n += r->receivers[c].ngroups * r->kinds.n * 2;
	r->flows = calloc(n, sizeof(*r->flows));
	if (!r->flows || !places_reserve(&r->match.places, n))
		return -1;
	r->nflows = n;
	for (unsigned c = 0; c < r->s->nclusters; c++) {
		r->receivers[c].first_flow = at;
		for (unsigned g = 0; g < r->receivers[c].ngroups; g++)
			for (unsigned k = 0; k < r->kinds.n * 2; k++, at++) {
				r->flows[at].cluster = c;
				r->flows[at].group = g;
				r->flows[at].pool = r->kinds.all[k / 2].pool;
				r->flows[at].class = r->kinds.all[k / 2].class;
				setup_flow(r, &r->flows[at]);
			}
	}
	return 0;
}

static int setup_feeds(struct rehearsal *r)
{
	r->feeds = calloc((size_t)r->s->ntraffic * r->s->nclusters + 1, sizeof(*r->feeds));
	if (!r->feeds)
		return -1;
	for (unsigned t = 0; t < r->s->ntraffic; t++)
		for (unsigned c = 0; c < r->s->nclusters; c++)
			if (r->s->clusters[c].share &&
				traffic_reaches(&r->s->traffic[t], r->s->clusters[c].name))
				r->feeds[r->nfeeds++] = (struct feed){ .traffic = t, .cluster = c };
	return 0;
}

static int setup_subnets(struct rehearsal *r)
{
	unsigned n = r->params->nsources;

	r->subnets = calloc(n, sizeof(*r->subnets));
	r->subnet_of = calloc(n, sizeof(*r->subnet_of));
	if (!r->subnets || !r->subnet_of)
		return -1;
	for (unsigned i = 0; i < n; i++) {
		const struct net *net = &r->params->sources[i].subnet;
		unsigned k = 0;

		while (k < r->nsubnets && (r->subnets[k].bits != net->bits ||
						  !addr_eq(&r->subnets[k].addr, &net->addr)))
			k++;
		if (k == r->nsubnets)
			r->subnets[r->nsubnets++] = *net;
		r->subnet_of[i] = k;
	}
	return 0;
}

static int setup_standings(struct rehearsal *r)
{
	unsigned n = r->params->nsources;

	r->standings = calloc((size_t)n * r->params->nproviders, sizeof(*r->standings));
	if (!r->standings)
		return -1;
	for (unsigned i = 0; i < r->s->nreputations; i++)
		for (unsigned k = 0; k < n; k++)
			r->standings[r->s->reputations[i].provider_index * n + k].allowed =
				r->s->reputations[i].first;
	for (unsigned i = 0; i < r->s->nhistories; i++)
		for (unsigned v = 0; v < r->params->nproviders; v++) {
			const struct scenario_history *h = &r->s->histories[i];
			struct standing *s = &r->standings[v * n + h->source_index];

			if (h->daily > s->allowed)
				s->allowed = h->daily;
		}
	return 0;
}

static int setup_rows(struct rehearsal *r)
{
	size_t n = (size_t)((r->s->duration + HOUR - 1) / HOUR);

	r->record.nhours = (unsigned)(n ? n : 1);
	r->record.hours = calloc(r->record.nhours, sizeof(*r->record.hours));
	r->record.by_source = calloc(
		(size_t)r->record.nhours * r->params->nsources, sizeof(*r->record.by_source));
	r->record.by_path = calloc((size_t)r->record.nhours * r->nsubnets * r->s->nclusters,
		sizeof(*r->record.by_path));
	r->record.by_traffic =
		calloc(r->s->ntraffic ? r->s->ntraffic : 1, sizeof(*r->record.by_traffic));
	if (!r->record.hours || !r->record.by_source || !r->record.by_path || !r->record.by_traffic)
		return -1;
	for (unsigned i = 0; i < r->record.nhours; i++)
		r->record.hours[i].start = r->s->start + (ms_t)i * HOUR;
	return 0;
}

/* Low volumes are played message by message. */
static uint32_t batch_of(const struct scenario *s)
{
	double most = 0, n;

	if (s->batch)
		return s->batch;
	for (unsigned i = 0; i < s->ntraffic; i++)
		most += s->traffic[i].daily;
	if (s->duration < 24 * HOUR)
		most *= (double)s->duration / (24 * HOUR);
	n = most / STEPS_DAY;
	return n < 1 ? 1 : n > BATCH_MAX ? BATCH_MAX : (uint32_t)n;
}

static const char full[] =
	"4.3.2 The maximum number of concurrent connections has exceeded a limit, closing "
	"transmission channel. PRX8";

int setup(struct rehearsal *r, const struct classifier *rules)
{
	match_init(&r->match, &rehearsal_driver, r);
	r->match.params = r->params;
	r->rules = rules;
	r->free_letter = r->free_link = NONE;
	r->match.batch = batch_of(r->s);
	rng_seed(&r->rng, r->s->seed);
	rng_seed(&r->receiver_rng, r->s->seed ^ 0x9e3779b97f4a7c15u);
	r->receivers = calloc(r->s->nclusters, sizeof(*r->receivers));
	r->answers = calloc((size_t)r->s->nclusters * (SAYS_INCIDENT + r->s->nincidents),
		sizeof(struct answer *));
	if (!r->receivers || !r->answers || setup_subnets(r))
		return -1;
	for (unsigned i = 0; i < r->s->nclusters; i++)
		if (setup_receiver(r, i))
			return -1;
	if (setup_pools(r) || setup_kinds(r) || setup_flows(r) || setup_feeds(r) ||
		setup_standings(r) || setup_rows(r) || bottlenecks_new(r))
		return -1;
	answer_make(r, &r->no_room, 0, 421, full);
	zone_day(r->params->zone, r->s->start, &r->day);
	receiver_edges(r);
	return 0;
}

void teardown(struct rehearsal *r)
{
	for (unsigned i = 0; r->answers && i < r->s->nclusters * (SAYS_INCIDENT + r->s->nincidents);
		i++)
		free(r->answers[i]);
	for (unsigned i = 0; r->receivers && i < r->s->nclusters; i++) {
		struct receiver *v = &r->receivers[i];

		free(v->domains);
		free(v->groups);
		free(v->by_source);
		free(v->by_subnet);
		free(v->bad_at);
	}
	bottlenecks_free(r);
	free(r->answers);
	free(r->heap.a);
	for (uint32_t i = 0; r->flows && i < r->nflows; i++)
		match_flow_deinit(&r->match, &r->flows[i].match);
	match_deinit(&r->match);
	for (uint32_t i = 0; i < r->letters_cap / BLOCK; i++)
		free(r->letters[i]);
	for (uint32_t i = 0; i < r->nlinks; i++)
		free(r->links[i]);
	free(r->has);
	free(r->kinds.all);
	free(r->kinds.of);
	free(r->receivers);
	free(r->flows);
	free(r->letters);
	free(r->links);
	free(r->standings);
	free(r->feeds);
	free(r->subnets);
	free(r->subnet_of);
	free(r->record.hours);
	free(r->record.by_source);
	free(r->record.by_path);
	free(r->record.by_traffic);
	free(r->record.events);
	free(r->record.ramps);
}
