/* Counts of sessions: in all, by listener and by client. Called by the inbound sessions of all
 * workers, who share them under one lock that is held for a few additions.
 *
 * limits_enter (the socket was accepted) → limits_enter_client (the address is known) →
 * limits_leave (the end): what was counted in is counted out once. */
#include "limits.h"

#include <stdlib.h>
#include <unistd.h>

#include "postern/must.h"
#include "postern/rng.h"

#define CHECKS_MAX 4 /* passwords checked at once: as many as libuv's pool has threads */

/* Hashed as memory: no byte of it may be undefined. */
struct limits_key {
	uintptr_t listener; /* its number, or its parameters' address, which is larger */
	struct addr client; /* all zero: the listener's own count */
	uint8_t pad[4];
};

struct limits_entry {
	struct limits_key key;
	uint32_t n;
	UT_hash_handle hh;
};

static uint32_t checks_max(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	/* a hash is made to be slow: half of the machine stays for mail */
	return cores < 4 ? 1 : cores / 2 < CHECKS_MAX ? (uint32_t)cores / 2 : CHECKS_MAX;
}

struct session_limits *session_limits_new(void)
{
	struct session_limits *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	pthread_mutex_init(&l->lock, NULL);
	l->checking_max = checks_max();
	l->guesses = guesses_new(rng_entropy());
	l->logins = logins_new();
	return l->guesses && l->logins ? l : session_limits_free(l);
}

void session_limits_bound(struct session_limits *l, uint32_t sessions_max, uint64_t envelope_max)
{
	l->sessions_max = sessions_max;
	l->envelope_max = (size_t)envelope_max;
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
	clients_free(l);
	reject_counts_free(l);
	guesses_free(l->guesses);
	logins_free(l->logins);
	pthread_mutex_destroy(&l->lock);
	free(l);
	return NULL;
}

static struct limits_key key_of(const struct listener_params *p, const struct addr *client)
{
	struct limits_key k;

	memset(&k, 0, sizeof(k));
	k.listener = p->number ? p->number : (uintptr_t)p;
	if (client)
		k.client = net_of(client, 32, 64).addr;
	return k;
}

/* One more of this key, unless there are max of them (0: no limit). *n: how many there are now. */
static bool count_in(
	struct session_limits *l, const struct limits_key *k, uint32_t max, uint32_t *n)
{
	struct limits_entry *e;
	bool ok = false;

	*n = 0;
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
	*n = e->n;
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

static unsigned thousandths(uint32_t n, uint32_t max)
{
	return max ? (unsigned)((uint64_t)n * 1000 / max) : 0;
}

static unsigned greater(unsigned a, unsigned b)
{
	return a > b ? a : b;
}

enum limits_outcome limits_enter(
	struct session_limits *l, const struct listener_params *p, unsigned *in_use)
{
	struct limits_key k = key_of(p, NULL);
	uint32_t all = atomic_fetch_add_explicit(&l->sessions, 1, memory_order_relaxed) + 1, n;

	*in_use = 1000;
	if ((l->sessions_max && all > l->sessions_max) || !count_in(l, &k, p->sessions_max, &n)) {
		atomic_fetch_sub_explicit(&l->sessions, 1, memory_order_relaxed);
		return LIMITS_TOTAL;
	}
	*in_use = greater(thousandths(n, p->sessions_max), thousandths(all, l->sessions_max));
	return LIMITS_OK;
}

unsigned limits_in_use(struct session_limits *l, const struct listener_params *p)
{
	struct limits_key k = key_of(p, NULL);
	uint32_t all = atomic_load_explicit(&l->sessions, memory_order_relaxed);
	struct limits_entry *e;
	unsigned used;

	pthread_mutex_lock(&l->lock);
	HASH_FIND(hh, l->entries, &k, sizeof(k), e);
	used = e ? thousandths(e->n, p->sessions_max) : 0;
	pthread_mutex_unlock(&l->lock);
	return greater(used, thousandths(all, l->sessions_max));
}

enum limits_outcome limits_enter_client(
	struct session_limits *l, const struct listener_params *p, const struct addr *client)
{
	struct limits_key k = key_of(p, client);
	uint32_t n;

	return count_in(l, &k, p->sessions_per_client, &n) ? LIMITS_OK : LIMITS_CLIENT;
}

void limits_leave(
	struct session_limits *l, const struct listener_params *p, const struct addr *client)
{
	struct limits_key k = key_of(p, NULL);

	atomic_fetch_sub_explicit(&l->sessions, 1, memory_order_relaxed);
	count_out(l, &k);
	if (client) {
		k = key_of(p, client);
		count_out(l, &k);
	}
}
