/* The model before and after: set-up, restarts, what was found. */
#include "model_inner.h"

#include <stdio.h>
#include <stdlib.h>

#include "postern/must.h"

/* ---- set-up ---- */

uint64_t model_send(struct model *m, ms_t at, unsigned tenant)
{
	struct model_inner *x = m->inner;

	struct letter *g = calloc(1, sizeof(*g));

	if (x->nmessages == x->messages_cap) {
		x->messages_cap = x->messages_cap ? x->messages_cap * 2 : 4096;
		x->messages = realloc(x->messages, x->messages_cap * sizeof(struct letter *));
	}
	must(x->messages && g && x->nmessages < QUEUE_MAX);
	match_work_init(&g->match);
	g->index = (uint32_t)x->nmessages;
	g->id = x->nmessages + 1;
	g->tenant = tenant;
	g->match.tried.message = g->id;
	if (m->p.senders)
		g->match.tried.sender = x->senders[g->id % m->p.senders];
	x->messages[x->nmessages] = g;
	post(m, at, ARRIVE, g->index, 0);
	x->waiting++;
	m->total.sent++;
	return ++x->nmessages;
}

void model_traffic(
	struct model *m, ms_t from, ms_t until, double per_second, unsigned first, unsigned n)
{
	double step = 1000 / per_second;

	if (!n) {
		first = 0;
		n = m->p.tenants;
	}
	for (double t = (double)from; t < (double)until; t += step * (0.5 + rng_unit(&m->rng)))
		model_send(m, (ms_t)t, first + (unsigned)rng_below(&m->rng, n));
}

struct provider_params model_provider(void)
{
	return (struct provider_params){
		.name = (char *)(uintptr_t) "microsoft365",
		.clusters = CLUSTERS_MICROSOFT,
		.connections = 400,
		.connections_per_geography = 100,
		.connections_per_cluster = 20,
		.connections_per_cluster_subnet = 10,
		.connections_per_lane = 5,
		.messages_per_connection = 50,
		.connection_age_max = 900000,
		.connection_idle_max = 10000,
		.lane_message_rate = { 600, 60000 },
		.lane_connect_rate = { 60, 60000 },
	};
}

struct model_params model_usual(uint64_t seed,
	struct model_reply (*answer)(struct model *, const struct model_try *), void *arg)
{
	return (struct model_params){ .seed = seed,
		.sources = 4,
		.per_subnet = 2,
		.clusters = 2,
		.tenants = 400,
		.hosts_per_tenant = 4,
		.provider = model_provider(),
		.answer = answer,
		.arg = arg };
}

static void set_sources(struct model *m)
{
	m->pool.name = (char *)(uintptr_t) "main";
	m->pool.nmembers = m->p.sources;
	m->pool.members = calloc(m->p.sources, sizeof(*m->pool.members));
	must(m->pool.members);
	for (unsigned i = 0; i < m->p.sources; i++) {
		struct source_params *s = &m->sources[i];

		snprintf(m->source_names[i], sizeof(m->source_names[i]), "s%u", i);
		s->name = s->ehlo = m->source_names[i];
		s->address = (struct addr){ .family = ADDR_V4,
			.ip = { 10, 0, (uint8_t)subnet_of(m, i), (uint8_t)(i + 1) } };
		s->subnet = net_of(&s->address, 24, 64);
		m->pool.members[i].source = i;
		m->pool.members[i].weight = 1;
	}
}

static void set_clusters(struct model *m)
{
	for (unsigned i = 0; i < m->p.clusters; i++) {
		struct model_cluster *c = &m->clusters[i];

		snprintf(c->name, sizeof(c->name), "%s%02u", i % 2 ? "NAM" : "EUR", i + 1);
		snprintf(c->forest, sizeof(c->forest), "%sprd%02u", i % 2 ? "nam" : "eur", i + 1);
		c->old_form = i % 2 == 0;
		c->geography = i % MODEL_GEOS;
		c->nets = c->old_form ? 2 : 1;
		c->nhosts = 8;
		c->rtt = 40;
	}
}

static void set_match(struct model *m)
{
	struct model_inner *x = m->inner;

	match_init(&x->match, &model_driver, m);
	x->match.params = &m->params;
	for (unsigned i = 0; i < m->p.sources; i++)
		x->serves[i] = true;
	for (unsigned c = 0; c < MODEL_CLUSTERS; c++)
		for (unsigned h = 0; h < MODEL_HOSTS; h++)
			match_host_init(&x->hosts[c][h]);
	x->domains = calloc(m->p.tenants, sizeof(*x->domains));
	must(x->domains && places_reserve(&x->match.places, m->p.tenants * 2));
	for (unsigned f = 0; f < m->p.tenants * 2; f++) {
		struct flow *v = &x->flows[f];

		v->tenant = f / 2;
		match_flow_init(&v->match, &x->domains[v->tenant]);
		v->match.pool = x->serves;
		v->match.party = &m->pool;
		v->match.diverted = f & 1;
	}
}

static void begin(struct model *m);

void model_init(struct model *m, const struct model_params *p)
{
	static const ms_t schedule[6] = { MINUTES(5), MINUTES(10), MINUTES(20), MINUTES(40),
		MINUTES(60), MINUTES(120) };

	memset(m, 0, sizeof(*m));
	m->p = *p;
	rng_seed(&m->rng, p->seed);
	m->providers[0] = m->providers[1] = p->provider;
	m->providers[1].name = (char *)(uintptr_t) "default";
	m->p.provider = p->provider;
	set_sources(m);
	set_clusters(m);
	memcpy(m->schedule, schedule, sizeof(schedule));
	m->params = (struct policy_params){ .sources = m->sources,
		.nsources = p->sources,
		.pools = &m->pool,
		.npools = 1,
		.providers = m->providers,
		.nproviders = 2,
		.retry = { .schedule = m->schedule,
			.nschedule = 6,
			.jitter = 0.2,
			.expire = MINUTES(2880),
			.subnets_per_cycle = 3 } };
	m->inner = calloc(1, sizeof(*m->inner));
	m->rates = calloc((size_t)MODEL_SOURCES * MODEL_CLUSTERS * 2, sizeof(*m->rates));
	must(m->inner && m->rates && p->hosts_per_tenant <= MODEL_HOSTS);
	m->inner->flows = calloc((size_t)p->tenants * 2, sizeof(*m->inner->flows));
	must(m->inner->flows && p->senders <= MODEL_SENDERS);
	for (unsigned i = 0; i < p->senders; i++)
		snprintf(m->inner->senders[i], sizeof(m->inner->senders[i]), "s%u.example", i);
	set_match(m);
	m->inner->prx8 = (struct classification){ .verdict = VERDICT_DESTINATION_BUSY,
		.scope = SCOPE_CLUSTER };
	must(policy_new(&m->policy, &m->params, p->seed ^ 0x5eed) == 0);
	m->inner->match.policy = m->policy;
	begin(m);
	post(m, 1000, TICK, 0, 0);
}

void model_deinit(struct model *m)
{
	struct model_inner *x = m->inner;
	struct stored *s, *next;

	policy_free(m->policy);
	HASH_ITER (hh, x->stored, s, next) {
		HASH_DEL(x->stored, s);
		free(s);
	}
	for (unsigned f = 0; f < m->p.tenants * 2; f++)
		match_flow_deinit(&x->match, &x->flows[f].match);
	match_deinit(&x->match);
	for (size_t i = 0; i < x->nmessages; i++)
		free(x->messages[i]);
	for (uint32_t i = 0; i < x->nconnections; i++)
		free(x->connections[i]);
	free(x->domains);
	free(x->heap);
	free(x->messages);
	free(x->flows);
	free(x->connections);
	free(x);
	free(m->rates);
	free(m->events);
	free(m->pool.members);
}

/* ---- restart ---- */

/* As in the queue's database. */
static void store(void *arg, struct slice key, struct slice value)
{
	struct model_inner *x = arg;
	struct stored *s;

	HASH_FIND(hh, x->stored, key.p, key.n, s);
	if (s) {
		HASH_DEL(x->stored, s);
		free(s);
	}
	if (!value.p)
		return;
	s = calloc(1, sizeof(*s));
	must(s && key.n < sizeof(s->key) && value.n < sizeof(s->value));
	memcpy(s->key, key.p, key.n);
	memcpy(s->value, value.p, value.n);
	HASH_ADD_KEYPTR(hh, x->stored, s->key, key.n, s);
}

void model_save(struct model *m)
{
	policy_save(m->policy, store, m->inner);
}

static void begin(struct model *m)
{
	uint64_t ticket;
	struct policy_now now = { m->now + 1000, MODEL_WALL + m->now };

	policy_begin(m->policy, now);
	while (policy_warmup_wants(m->policy)) {
		policy_save_warmup(m->policy, now, store, m->inner, &ticket);
		policy_warmup_saved(m->policy, now, ticket, true);
	}
}

void model_restart(struct model *m)
{
	struct model_inner *x = m->inner;
	struct stored *s, *following;

	policy_free(m->policy);
	must(policy_new(&m->policy, &m->params, m->p.seed ^ 0xbeef) == 0);
	x->match.policy = m->policy;
	HASH_ITER (hh, x->stored, s, following)
		must(policy_load(m->policy, slice_of(s->key), slice_of(s->value)) == 0);
	begin(m);
	for (uint32_t i = 0; i < x->nconnections; i++) {
		struct connection *k = x->connections[i];

		if (!k->used)
			continue;
		if (k->counted)
			counted(m, k, (uint32_t)-1);
		if (k->running) {
			k->running->match.txn = (struct policy_txn){ 0 };
			post(m, m->now + 1, ARRIVE, k->running->index, 0);
		}
		match_down(&k->match);
		match_gone(&x->match, &k->match);
		k->used = false;
		k->generation++;
	}
	for (unsigned f = 0; f < m->p.tenants * 2; f++)
		waiter_over(&x->match.places, &x->flows[f].match.waiter);
}

/* ---- findings ---- */

unsigned model_blamed(const struct model *m, const char *cause, const char *where)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->nevents; i++) {
		const struct model_blame *b = &m->events[i];

		if (b->over || strcmp(b->cause, cause))
			continue;
		n += !where || !strcmp(where, b->cluster) || !strcmp(where, b->subnet) ||
		     !strcmp(where, b->source) || !strcmp(where, b->domain);
	}
	return n;
}

const char *model_caps(const struct model *m)
{
	const struct provider_params *v = &m->p.provider;

	if (v->connections && m->provider_peak > v->connections)
		return "provider";
	for (unsigned i = 0; i < MODEL_GEOS; i++)
		if (v->connections_per_geography && m->geo_peak[i] > v->connections_per_geography)
			return "geography";
	for (unsigned i = 0; i < m->p.clusters; i++) {
		const struct model_cluster *c = &m->clusters[i];

		if (c->peak > v->connections_per_cluster)
			return "cluster";
		for (unsigned s = 0; s < m->p.sources; s++)
			if (c->by_source_peak[s] > v->connections_per_lane)
				return "lane";
		for (unsigned s = 0; s < MODEL_SUBNETS; s++)
			if (v->connections_per_cluster_subnet &&
				c->by_subnet_peak[s] > v->connections_per_cluster_subnet)
				return "subnet";
	}
	if (m->rate_breaches)
		return "rate";
	return NULL;
}

unsigned model_seeds(unsigned normal)
{
	const char *s = getenv("POLICY_SEEDS");

	return s && atoi(s) > 0 ? (unsigned)atoi(s) : normal;
}

int model_arguments(int argc, char **argv)
{
	if (argc == 3)
		cmocka_set_test_filter(argv[2]);
	if (argc == 1)
		return 0;
	if (argc <= 3 && atoi(argv[1]) > 0 && !setenv("POLICY_SEEDS", argv[1], 1))
		return 0;
	fprintf(stderr, "usage: %s [SEEDS [TEST]]\n", argv[0]);
	return 64;
}
