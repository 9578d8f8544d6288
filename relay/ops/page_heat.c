/* Subnet × cluster as JSON: how each stands now, and what became of a day's attempts; and one cell of
 * it. Called on HTTP's thread. The policy's lanes are copied on the dispatcher's thread, and put
 * together here. Bounded: SUBNETS × CLUSTERS cells, those with the most mail. */
#define HASH_NONFATAL_OOM 1
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "ask.h"
#include "control.h"
#include "history.h"
#include "page.h"
#include "transcripts.h"

#define SUBNETS	    200u
#define CLUSTERS    80u
#define LANES_MAX   40000u
#define HOURS_MAX   30u
#define LANES_SHOWN 100u
#define TRANSCRIPTS 8u

/* ---- lanes ---- */

struct lane {
	char source[64], subnet[56], cluster[40], provider[32], cause[16];
	enum policy_state health;
	uint32_t window, in_use, idle;
	double good, bad, takes, pace;
	uint64_t delivered, deferred, rejected;
	ms_t since, until;
};
struct lanes {
	const char *subnet, *cluster; /* NULL: all */
	struct lane *a;
	size_t n, cap;
	bool failed;
};

static bool grow(struct lanes *all)
{
	size_t cap = all->cap ? 2 * all->cap : 256;
	struct lane *a = realloc(all->a, cap * sizeof(*a));

	if (!a) {
		all->failed = true;
		return false;
	}
	all->a = a;
	all->cap = cap;
	return true;
}

static void copy(char *out, size_t max, const char *s)
{
	snprintf(out, max, "%.*s", (int)max - 1, s ? s : "");
}

static void add_lane(void *arg, const struct policy_lane_info *i)
{
	struct lanes *all = arg;
	struct lane *l;

	if ((all->subnet && strcmp(all->subnet, i->subnet) != 0) ||
		(all->cluster && strcmp(all->cluster, i->cluster) != 0) || all->n == LANES_MAX ||
		(all->n == all->cap && !grow(all)))
		return;
	l = &all->a[all->n++];
	*l = (struct lane){ .window = i->window,
		.in_use = i->in_use,
		.idle = i->idle,
		.good = i->recent_good,
		.bad = i->recent_bad,
		.health = i->health,
		.takes = i->takes,
		.pace = i->pace,
		.delivered = i->delivered,
		.deferred = i->deferred,
		.rejected = i->rejected,
		.since = i->since,
		.until = i->until };
	copy(l->source, sizeof(l->source), i->source);
	copy(l->subnet, sizeof(l->subnet), i->subnet);
	copy(l->cluster, sizeof(l->cluster), i->cluster);
	copy(l->provider, sizeof(l->provider), i->provider);
	copy(l->cause, sizeof(l->cause), i->cause);
}

static void gather(struct dispatch *d, void *arg)
{
	policy_lanes(dispatch_policy(d), dispatch_now(d), add_lane, arg);
}

/* ---- the map ---- */

/* A cell, a row (cluster "") or a column (subnet ""). */
struct cell {
	UT_hash_handle hh;
	char key[100]; /* subnet, newline, cluster */
	char subnet[56], cluster[40], provider[32], cause[16];
	enum policy_state worst; /* of its lanes */
	unsigned lanes, place;
	uint32_t window, in_use;
	double good, bad;
	uint64_t delivered, deferred, bounced, mail;
	ms_t until;
};
struct map {
	struct cell *cells, *subnets, *clusters;
	bool failed;
};

static struct cell *cell_of(
	struct map *m, struct cell **table, const char *subnet, const char *cluster)
{
	char key[sizeof(((struct cell *)0)->key)];
	struct cell *c;

	snprintf(key, sizeof(key), "%.55s\n%.39s", subnet, cluster);
	HASH_FIND_STR(*table, key, c);
	if (c)
		return c;
	c = calloc(1, sizeof(*c));
	if (c) {
		copy(c->key, sizeof(c->key), key);
		copy(c->subnet, sizeof(c->subnet), subnet);
		copy(c->cluster, sizeof(c->cluster), cluster);
		HASH_ADD_STR(*table, key, c);
	}
	if (!c || !c->hh.tbl) {
		free(c);
		m->failed = true;
		return NULL;
	}
	return c;
}

/* The cell itself, and its row and column, which show what has the most mail first. */
static void count(struct map *m, struct cell *c, uint64_t mail)
{
	struct cell *row = cell_of(m, &m->subnets, c->subnet, "");
	struct cell *column = cell_of(m, &m->clusters, "", c->cluster);

	c->mail += mail;
	if (row)
		row->mail += mail;
	if (column)
		column->mail += mail;
	if (column && c->provider[0])
		memcpy(column->provider, c->provider, sizeof(column->provider));
}

static void put_lane(struct map *m, const struct lane *l)
{
	struct cell *c = cell_of(m, &m->cells, l->subnet, l->cluster);

	if (!c)
		return;
	if (!c->lanes || l->health > c->worst) {
		c->worst = l->health;
		c->until = l->until;
		memcpy(c->cause, l->cause, sizeof(c->cause));
	}
	memcpy(c->provider, l->provider, sizeof(c->provider));
	c->lanes++;
	c->window += l->window;
	c->in_use += l->in_use;
	c->good += l->good;
	c->bad += l->bad;
	count(m, c, l->in_use + l->delivered + l->deferred + l->rejected);
}

static void put_day(struct map *m, json_t *rows)
{
	json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		struct cell *c =
			cell_of(m, &m->cells, page_text(row, "subnet"), page_text(row, "cluster"));

		if (!c || !c->subnet[0] || !c->cluster[0])
			continue;
		c->delivered += (uint64_t)page_number(row, "delivered");
		c->deferred += (uint64_t)page_number(row, "deferred");
		c->bounced += (uint64_t)page_number(row, "bounced");
		count(m, c, (uint64_t)page_number(row, "attempts"));
	}
}

static int most_mail(const struct cell *a, const struct cell *b)
{
	return a->mail == b->mail ? strcmp(a->key, b->key) : a->mail < b->mail ? 1 : -1;
}

static int by_name(const struct cell *a, const struct cell *b)
{
	return strcmp(a->key, b->key);
}

/* As the map has them: rows by name, in each the cells in the order of the columns. */
static int by_place(const struct cell *a, const struct cell *b)
{
	int r = strcmp(a->subnet, b->subnet);

	return r ? r : a->place < b->place ? -1 : a->place > b->place;
}

/* Those with the most mail, these first; the others are out of the map, as is what never had any.
 * Returns how many are that had. */
static unsigned keep_most(struct cell **table, unsigned max)
{
	struct cell *c, *next;
	unsigned n = 0, left_out = 0;

	HASH_SORT(*table, most_mail);
	HASH_ITER (hh, *table, c, next) {
		c->place = n++;
		if (c->place < max && c->mail)
			continue;
		left_out += c->mail > 0;
		HASH_DEL(*table, c);
		free(c);
	}
	return left_out;
}

/* Cells get the place of their column; those without a row or column have nothing to say. */
static void place_cells(struct map *m)
{
	struct cell *c, *next, *row, *column;
	char key[100];

	HASH_ITER (hh, m->cells, c, next) {
		snprintf(key, sizeof(key), "%s\n", c->subnet);
		HASH_FIND_STR(m->subnets, key, row);
		snprintf(key, sizeof(key), "\n%s", c->cluster);
		HASH_FIND_STR(m->clusters, key, column);
		if (row && column) {
			c->place = column->place;
			continue;
		}
		HASH_DEL(m->cells, c);
		free(c);
	}
	HASH_SORT(m->cells, by_place);
}

static json_t *names_json(struct cell *table, bool clusters)
{
	json_t *array = json_array();

	for (struct cell *c = table; array && c; c = c->hh.next)
		answers_add(array, clusters ? json_pack("{so so}", "cluster", json_text(c->cluster),
						      "provider", json_text(c->provider))
					    : json_text(c->subnet));
	return array;
}

static json_t *cell_json(const struct cell *c)
{
	uint64_t all = c->delivered + c->deferred + c->bounced;

	return json_pack("{so so so so sb so si si si sf sf sI sI sI so so}", "subnet",
		json_text(c->subnet), "cluster", json_text(c->cluster), "provider",
		json_text(c->provider), "health",
		json_text(c->lanes ? policy_state_name(c->worst) : ""), "rests",
		c->lanes && c->worst > POLICY_THROTTLED, "cause", json_text(c->cause), "lanes",
		(int)c->lanes, "in_use", (int)c->in_use, "window", (int)c->window,
		"lately_accepted", c->good, "lately_refused", c->bad, "delivered",
		(json_int_t)c->delivered, "deferred", (json_int_t)c->deferred, "bounced",
		(json_int_t)c->bounced, "deferral_share",
		all ? json_real((double)c->deferred / (double)all) : json_null(), "until",
		json_time(c->until));
}

static json_t *cells_json(const struct map *m)
{
	json_t *array = json_array();

	for (const struct cell *c = m->cells; array && c; c = c->hh.next)
		answers_add(array, cell_json(c));
	return array;
}

static void free_table(struct cell *table)
{
	struct cell *c, *next;

	HASH_ITER (hh, table, c, next) {
		HASH_DEL(table, c);
		free(c);
	}
}

json_t *page_model_heat(const struct ops_context *ctx, const struct page_asked *asked)
{
	static const struct history_asked day = { "path", "hour", "24h", NULL, true };
	bool live = !asked->span || strcmp(asked->span, "24h") != 0;
	struct lanes lanes = { 0 };
	struct map m = { 0 };
	json_t *rows = page_history(ctx, &day, SUBNETS * CLUSTERS), *ret = NULL;
	unsigned subnets, clusters;

	ask(ctx->dispatch, gather, &lanes);
	for (size_t i = 0; i < lanes.n; i++)
		if (lanes.a[i].subnet[0])
			put_lane(&m, &lanes.a[i]);
	put_day(&m, rows);
	subnets = keep_most(&m.subnets, SUBNETS);
	clusters = keep_most(&m.clusters, CLUSTERS);
	HASH_SORT(m.subnets, by_name);
	place_cells(&m);
	if (!m.failed && !lanes.failed)
		ret = json_pack("{so so so so si si}", "span", json_text(live ? "live" : "24h"),
			"subnets", names_json(m.subnets, false), "clusters",
			names_json(m.clusters, true), "cells", cells_json(&m), "subnets_left_out",
			(int)subnets, "clusters_left_out", (int)clusters);
	free_table(m.cells);
	free_table(m.subnets);
	free_table(m.clusters);
	free(lanes.a);
	json_decref(rows);
	return ret;
}

/* ---- one cell ---- */

static json_t *lane_json(const struct lane *l)
{
	return json_pack("{so so so so so si si si sf sf sf sf sI sI sI so so}", "source",
		json_text(l->source), "cluster", json_text(l->cluster), "provider",
		json_text(l->provider), "health", json_text(policy_state_name(l->health)), "cause",
		json_text(l->cause), "in_use", (int)l->in_use, "idle", (int)l->idle, "window",
		(int)l->window, "lately_accepted", l->good, "lately_refused", l->bad,
		"takes_a_minute", l->takes, "goes_a_minute", l->pace, "delivered",
		(json_int_t)l->delivered, "deferred", (json_int_t)l->deferred, "rejected",
		(json_int_t)l->rejected, "since", json_time(l->since), "until",
		json_time(l->until));
}

/* Rows of the subnet, hour by hour; of the cluster alone, where one is asked for. */
static json_t *hours_of(const struct ops_context *ctx, const char *subnet, const char *cluster)
{
	const struct history_asked hours = { "path", "hour", "24h", subnet, false };
	json_t *rows = page_history(ctx, &hours, HOURS_MAX * CLUSTERS), *row, *array = json_array();
	size_t i;

	json_array_foreach(rows, i, row) if (array && !strcmp(page_text(row, "cluster"), cluster))
		answers_add(array, json_incref(row));
	json_decref(rows);
	return array;
}

json_t *page_model_lane(const struct ops_context *ctx, const struct page_asked *asked)
{
	const char *subnet = asked->subnet ? asked->subnet : "";
	const char *cluster = asked->cluster ? asked->cluster : "";
	struct lanes lanes = { .subnet = subnet, .cluster = cluster };
	const struct transcripts_asked said = { .at = cluster, .subnet = subnet };
	json_t *array = json_array();

	ask(ctx->dispatch, gather, &lanes);
	for (size_t i = 0; array && i < lanes.n && i < LANES_SHOWN; i++)
		answers_add(array, lane_json(&lanes.a[i]));
	free(lanes.a);
	return json_pack("{so so so so so so}", "subnet", json_text(subnet), "cluster",
		json_text(cluster), "lanes", array, "why", page_why(ctx, cluster, subnet), "hours",
		hours_of(ctx, subnet, cluster), "transcripts",
		transcripts_json(ctx, &said, TRANSCRIPTS));
}
