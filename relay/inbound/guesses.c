/* Password guesses; see guesses.h. Called by inbound_auth.c with the lock of the limits held, on
 * the workers' threads.
 *
 * A table is sets of a few marks, found by a hash with a secret seed. A new mark takes the place of
 * the weakest of its set: whoever wants to push a mark out has to fail as often himself. Good
 * history is a table of its own, which only those can fill who know passwords. */
#include "guesses.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SETS 2048u
#define WAYS 4u

struct mark {
	uint64_t key; /* 0: free */
	double weight;
	ms_t at;
};

struct table {
	struct mark marks[SETS][WAYS];
};

struct guesses {
	uint64_t seed;
	struct table failed, good;
};

enum kind { BY_NETWORK = 1, BY_USER, BY_BOTH };

static uint64_t mix(uint64_t h, const void *data, size_t n)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < n; i++) {
		h = (h ^ p[i]) * 0x100000001b3u;
		h ^= h >> 29;
	}
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	return h ^ h >> 32;
}

static uint64_t key_of(
	const struct guesses *g, enum kind kind, const struct addr *client, const char *user)
{
	struct addr net = net_of(client, 32, 64).addr;
	uint64_t h = mix(g->seed, &kind, sizeof(kind));

	if (kind & BY_NETWORK)
		h = mix(h, &net, sizeof(net));
	if (kind & BY_USER)
		h = mix(h, user, strlen(user));
	return h ? h : 1;
}

static double weight_at(const struct mark *m, ms_t now)
{
	ms_t passed = now > m->at ? now - m->at : 0;

	return m->key ? m->weight * exp2(-(double)passed / GUESSES_HALF) : 0;
}

static struct mark *find(struct table *t, uint64_t key)
{
	struct mark *set = t->marks[key % SETS];

	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].key == key)
			return &set[i];
	}
	return NULL;
}

static struct mark *take(struct table *t, uint64_t key, ms_t now)
{
	struct mark *m = find(t, key), *set = t->marks[key % SETS];

	if (m)
		return m;
	m = &set[0];
	for (unsigned i = 1; i < WAYS; i++) {
		if (weight_at(&set[i], now) < weight_at(m, now))
			m = &set[i];
	}
	*m = (struct mark){ .key = key, .at = now };
	return m;
}

static double weight_of(
	struct guesses *g, enum kind kind, const struct addr *client, const char *user, ms_t now)
{
	const struct mark *m = find(&g->failed, key_of(g, kind, client, user));

	return m ? weight_at(m, now) : 0;
}

bool guesses_know(struct guesses *g, ms_t now, const struct addr *client, const char *user)
{
	const struct mark *m = find(&g->good, key_of(g, BY_BOTH, client, user));

	return m && now - m->at < GUESSES_GOOD;
}

struct guesses *guesses_new(uint64_t seed)
{
	struct guesses *g = calloc(1, sizeof(*g));

	if (g)
		g->seed = seed;
	return g;
}

struct guesses *guesses_free(struct guesses *g)
{
	free(g);
	return NULL;
}

bool guesses_ask(struct guesses *g, ms_t now, const struct addr *client, const char *user,
	unsigned limit, ms_t *delay)
{
	double weight;

	*delay = 0;
	if (guesses_know(g, now, client, user))
		weight = weight_of(g, BY_BOTH, client, user, now);
	else
		weight = fmax(weight_of(g, BY_NETWORK, client, user, now),
			weight_of(g, BY_USER, client, user, now));
	/* what decayed a little is still the failure it was */
	weight = floor(weight + 0.5);
	if (limit > 0 && weight >= limit)
		return false;
	if (weight > GUESSES_FREE)
		*delay = (ms_t)fmin(
			GUESSES_DELAY_MAX, GUESSES_DELAY * exp2(weight - GUESSES_FREE - 1));
	return true;
}

void guesses_failed(struct guesses *g, ms_t now, const struct addr *client, const char *user)
{
	for (enum kind kind = BY_NETWORK; kind <= BY_BOTH; kind++) {
		struct mark *m = take(&g->failed, key_of(g, kind, client, user), now);

		m->weight = weight_at(m, now) + 1;
		m->at = now;
	}
}

void guesses_passed(struct guesses *g, ms_t now, const struct addr *client, const char *user)
{
	struct mark *m = find(&g->failed, key_of(g, BY_BOTH, client, user));

	if (m)
		m->weight = 0;
	m = take(&g->good, key_of(g, BY_BOTH, client, user), now);
	m->weight = 1;
	m->at = now;
}
