/* Scenarios for the tests of the rehearsal. */
#include "rig.h"

#include <stdio.h>

static void rules(struct rig *g)
{
	struct buf errors;

	buf_init(&errors, 0);
	assert_int_equal(config_classifier(g->config, &g->rules, &errors), 0);
	buf_deinit(&errors);
}

void rig_files(struct rig *g, const char *config, const char *scenario)
{
	struct buf errors;
	char path[500];
	int r;

	memset(g, 0, sizeof(*g));
	buf_init(&errors, 0);
	snprintf(path, sizeof(path), "%s/%s", getenv("SCENARIOS"), config);
	r = config_load(&g->config, path, &errors);
	if (!r) {
		snprintf(path, sizeof(path), "%s/%s", getenv("SCENARIOS"), scenario);
		r = scenario_load(&g->scenario, path, g->config, &errors);
	}
	if (buf_size(&errors))
		print_message("%.*s", (int)buf_size(&errors), buf_slice(&errors).p);
	assert_int_equal(r, 0);
	buf_deinit(&errors);
	rules(g);
}

void rig_texts(struct rig *g, const char *config, const char *scenario)
{
	struct buf errors;
	char all[4000];
	int r;

	memset(g, 0, sizeof(*g));
	buf_init(&errors, 0);
	snprintf(all, sizeof(all),
		"hostname = \"out.example.net\"\n%s\n"
		"listener \"in\" { address = {\"127.0.0.1:2525\"} allow = {\"127.0.0.0/8\"} pool = "
		"\"main\" }\n",
		config);
	r = config_parse(&g->config, "config", slice_of(all), &errors);
	if (!r)
		r = scenario_parse(
			&g->scenario, "scenario", slice_of(scenario), g->config, &errors);
	if (r)
		print_message("%.*s", (int)buf_size(&errors), buf_slice(&errors).p);
	assert_int_equal(r, 0);
	buf_deinit(&errors);
	rules(g);
}

void rig_run(struct rig *g, uint32_t seed)
{
	struct rehearsal_params p = { .scenario = g->scenario,
		.policy = &g->config->policy,
		.rules = g->rules,
		.queue_room = queue_room(&g->config->queue) };

	if (seed)
		g->scenario->seed = seed;
	g->rehearsal = rehearsal_free(g->rehearsal);
	assert_int_equal(rehearsal_new(&g->rehearsal, &p), 0);
	assert_int_equal(
		rehearsal_run(g->rehearsal, g->scenario->start + g->scenario->duration), 0);
	rehearsal_result(g->rehearsal, &g->r);
	rig_balanced(g);
}

void rig_free(struct rig *g)
{
	rehearsal_free(g->rehearsal);
	classifier_free(g->rules);
	scenario_free(g->scenario);
	config_free(g->config);
}

unsigned rig_events(const struct rig *g, enum policy_event_kind kind)
{
	unsigned n = 0;

	for (unsigned i = 0; i < g->r.nevents; i++)
		n += g->r.events[i].kind == kind;
	return n;
}

struct rehearsal_cell rig_source(
	const struct rig *g, const char *source, unsigned from, unsigned until)
{
	struct rehearsal_cell sum = { 0 };

	for (unsigned s = 0; s < g->r.nsources; s++)
		for (unsigned i = from; i < until && !strcmp(g->r.policy->sources[s].name, source);
			i++) {
			sum.delivered += g->r.by_source[i * g->r.nsources + s].delivered;
			sum.deferred += g->r.by_source[i * g->r.nsources + s].deferred;
		}
	return sum;
}

struct rehearsal_cell rig_path(
	const struct rig *g, const char *subnet, const char *cluster, unsigned from, unsigned until)
{
	struct rehearsal_cell sum = { 0 };
	char text[ADDR_TEXT_MAX + 4];

	for (unsigned s = 0; s < g->r.nsubnets; s++)
		for (unsigned c = 0; c < g->r.nclusters; c++) {
			net_format(text, &g->r.subnets[s]);
			if (strcmp(text, subnet) != 0 ||
				strcmp(g->r.scenario->clusters[c].name, cluster) != 0)
				continue;
			for (unsigned i = from; i < until; i++) {
				const struct rehearsal_cell *k =
					&g->r.by_path[(i * g->r.nsubnets + s) * g->r.nclusters + c];

				sum.delivered += k->delivered;
				sum.deferred += k->deferred;
			}
		}
	return sum;
}

void rig_balanced(const struct rig *g)
{
	const struct rehearsal_count *n = &g->r.total;
	uint64_t by_source = 0, by_delay = 0;

	assert_true(n->arrived > 0);
	assert_int_equal(n->arrived, n->delivered + n->bounced + n->expired + g->r.waiting);
	for (unsigned i = 0; i < g->r.nhours * g->r.nsources; i++)
		by_source += g->r.by_source[i].delivered;
	for (unsigned i = 0; i < REHEARSAL_DELAYS; i++)
		by_delay += g->r.delays[i];
	assert_int_equal(by_source, n->delivered);
	assert_int_equal(by_delay, n->delivered);
}

struct search {
	const char *words;
	bool found;
};

static void look(void *arg, enum finding_level level, const char *text)
{
	struct search *s = arg;

	s->found |= strstr(text, s->words) != NULL;
}

bool rig_says(const struct rig *g, const char *words)
{
	struct search s = { words, false };

	rehearsal_findings(&g->r, look, &s);
	return s.found;
}

unsigned rig_seeds(void)
{
	const char *s = getenv("REHEARSE_SEEDS");

	return s && atoi(s) > 0 ? (unsigned)atoi(s) : 5;
}
