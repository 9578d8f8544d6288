#include "limits.h"

#include <pthread.h>
#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "postern/must.h"

/* Hashed as memory: no byte of it may be undefined. */
struct limits_key {
	const struct listener_params *listener;
	struct addr client; /* all zero: the listener's own count */
	uint8_t pad[4];
};

struct limits_entry {
	struct limits_key key;
	uint32_t n;
	UT_hash_handle hh;
};

/* Touched when a session opens or closes, never by a message: one lock is enough. */
struct session_limits {
	pthread_mutex_t lock;
	struct limits_entry *entries;
};

struct session_limits *session_limits_new(void)
{
	struct session_limits *l = calloc(1, sizeof(*l));

	if (l)
		pthread_mutex_init(&l->lock, NULL);
	return l;
}

struct session_limits *session_limits_free(struct session_limits *l)
{
	struct limits_entry *e, *next;

	if (!l)
		return NULL;
	HASH_ITER (hh, l->entries, e, next) {
		HASH_DEL(l->entries, e);
		free(e);
	}
	pthread_mutex_destroy(&l->lock);
	free(l);
	return NULL;
}

static struct limits_key key_of(const struct listener_params *p, const struct addr *client)
{
	struct limits_key k;

	memset(&k, 0, sizeof(k));
	k.listener = p;
	if (client)
		k.client = net_of(client, 32, 64).addr;
	return k;
}

/* One more of this key, unless there are max of them (0: no limit). */
static bool count_in(struct session_limits *l, const struct limits_key *k, uint32_t max)
{
	struct limits_entry *e;
	bool ok = false;

	pthread_mutex_lock(&l->lock);
	HASH_FIND(hh, l->entries, k, sizeof(*k), e);
	if (!e) {
		e = calloc(1, sizeof(*e));
		if (!e)
			goto out;
		e->key = *k;
		HASH_ADD(hh, l->entries, key, sizeof(e->key), e);
		if (!e->hh.tbl) {
			free(e);
			goto out;
		}
	}
	ok = max == 0 || e->n < max;
	if (ok)
		e->n++;
out:
	pthread_mutex_unlock(&l->lock);
	return ok;
}

static void count_out(struct session_limits *l, const struct limits_key *k)
{
	struct limits_entry *e;

	pthread_mutex_lock(&l->lock);
	HASH_FIND(hh, l->entries, k, sizeof(*k), e);
	must(e && e->n > 0);
	if (--e->n == 0) {
		HASH_DEL(l->entries, e);
		free(e);
	}
	pthread_mutex_unlock(&l->lock);
}

enum limits_outcome limits_enter(struct session_limits *l, const struct listener_params *p)
{
	struct limits_key k = key_of(p, NULL);

	return count_in(l, &k, p->sessions_max) ? LIMITS_OK : LIMITS_TOTAL;
}

enum limits_outcome limits_enter_client(
	struct session_limits *l, const struct listener_params *p, const struct addr *client)
{
	struct limits_key k = key_of(p, client);

	return count_in(l, &k, p->sessions_per_client) ? LIMITS_OK : LIMITS_CLIENT;
}

void limits_leave(
	struct session_limits *l, const struct listener_params *p, const struct addr *client)
{
	struct limits_key k = key_of(p, NULL);

	count_out(l, &k);
	if (client) {
		k = key_of(p, client);
		count_out(l, &k);
	}
}
