/* What waits, in groups: by recipient domain, pool, user and so on, with the ages of what is in each.
 * Filled by commands_queue.c on a control client's thread. Groups are GROUPS_MAX at most, so that
 * memory stays flat however many names there are: what has none of its own is told as (other). */
#include "groups.h"

#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define GROUPS_MAX 20000u
#define MINUTE	   60000
#define AGES	   10u

static const char *const age_names[AGES] = { "5m", "10m", "20m", "40m", "80m", "160m", "320m",
	"640m", "1280m", "older" };

struct group {
	UT_hash_handle hh;
	uint64_t messages, recipients, last; /* last: message counted already */
	ms_t oldest, youngest;		     /* wall; when they came */
	uint64_t ages[AGES];
	size_t n;
	char name[];
};

struct groups {
	struct group *all, *rest;
	ms_t wall;
	bool failed;
};

struct groups *groups_new(ms_t wall)
{
	struct groups *g = calloc(1, sizeof(*g));

	if (g)
		g->wall = wall;
	return g;
}

static struct group *group_new(struct groups *g, struct slice name)
{
	struct group *e = calloc(1, sizeof(*e) + name.n + 1);

	if (!e)
		return NULL;
	if (name.n)
		memcpy(e->name, name.p, name.n);
	e->n = name.n;
	HASH_ADD_KEYPTR(hh, g->all, e->name, e->n, e);
	if (e->hh.tbl)
		return e;
	free(e);
	return NULL;
}

static struct group *group_of(struct groups *g, struct slice name)
{
	const char *key = name.p ? name.p : "";
	struct group *e;

	HASH_FIND(hh, g->all, key, name.n, e);
	if (e)
		return e;
	if (HASH_COUNT(g->all) < GROUPS_MAX)
		return group_new(g, name);
	if (!g->rest)
		g->rest = group_new(g, SLICE_LIT("(other)"));
	return g->rest;
}

static unsigned age_of(ms_t age)
{
	unsigned i = 0;

	for (ms_t end = 5 * MINUTE; i + 1 < AGES && age >= end; end *= 2)
		i++;
	return i;
}

void groups_add(struct groups *g, struct slice name, uint64_t id, ms_t arrived)
{
	struct group *e = group_of(g, name);

	if (!e) {
		g->failed = true;
		return;
	}
	e->recipients++;
	e->ages[age_of(g->wall - arrived)]++;
	if (!e->oldest || arrived < e->oldest)
		e->oldest = arrived;
	if (arrived > e->youngest)
		e->youngest = arrived;
	if (e->last == id)
		return;
	e->last = id;
	e->messages++;
}

static int by_count(const struct group *a, const struct group *b)
{
	if (a->recipients != b->recipients)
		return a->recipients < b->recipients ? 1 : -1;
	return strcmp(a->name, b->name);
}

static json_t *ages_json(const struct group *e)
{
	json_t *ages = json_object();

	for (unsigned i = 0; ages && i < AGES; i++) {
		if (json_object_set_new(ages, age_names[i], json_integer((json_int_t)e->ages[i]))) {
			json_decref(ages);
			return NULL;
		}
	}
	return ages;
}

void groups_say(struct control_client *c, struct groups *g, const char *by, uint64_t limit)
{
	struct group *e, *next;
	uint64_t said = 0;

	c->lost = c->lost || g->failed;
	HASH_SORT(g->all, by_count);
	HASH_ITER (hh, g->all, e, next) {
		if (said++ < limit &&
			!control_say(c,
				json_pack("{s{so so sI sI so so so}}", "group", "by", json_text(by),
					"name", json_slice((struct slice){ e->name, e->n }),
					"messages", (json_int_t)e->messages, "recipients",
					(json_int_t)e->recipients, "oldest", json_time(e->oldest),
					"youngest", json_time(e->youngest), "ages", ages_json(e))))
			said = limit; /* the client is gone */
		HASH_DEL(g->all, e);
		free(e);
	}
	free(g);
}
