/* Limits of receivers, as they showed: messages that one session may carry, recipients that one
 * transaction may have. Called by admit.c, and with the outcomes of sessions and transactions.
 *
 * Learned for a cluster where hosts name theirs, else for a host. A session may end for many
 * reasons: a number of messages counts when it shows twice, or is said. Now and then one
 * connection, or one transaction, tries twice as much: when that is taken the limit rises, else it
 * is tried more seldom. Kept over restarts; there are no more of them than hosts and clusters. */
#include <errno.h>
#include <stdlib.h>

#include "limit.h"
#include "persist.h"
#include "policy_impl.h"
#include "slot.h"

#define PROBE_EVERY  1800000  /* ms */
#define PROBE_SELDOM 86400000 /* ms */
#define MOST	     1000000
#define SURE	     5u /* messages; a session that ends so early may do so for another reason */

static const char *const names[] = { "messages", "recipients" };

bool limits_by_cluster(const struct policy *p, unsigned provider)
{
	return p->params->providers[provider].clusters == CLUSTERS_MICROSOFT;
}

static struct limits **place_of(const struct policy *p, const struct slot *s)
{
	if (!s->lane || s->provider == ~0u || !s->host)
		return NULL;
	return limits_by_cluster(p, s->provider) ? &s->cluster->limits : &s->host->limits;
}

static struct learned *find(const struct policy *p, const struct slot *s, enum learned_kind k)
{
	struct limits **l = place_of(p, s);

	return l && *l ? &(*l)->of[k] : NULL;
}

static struct learned *get(const struct policy *p, const struct slot *s, enum learned_kind k)
{
	struct limits **l = place_of(p, s);

	if (l && !*l)
		*l = calloc(1, sizeof(**l));
	return l && *l ? &(*l)->of[k] : NULL;
}

uint32_t limits_of(const struct limits *l, enum learned_kind k)
{
	return l ? l->of[k].n : 0;
}

static void probe_later(struct learned *l, ms_t wall)
{
	ms_t wait = PROBE_EVERY;

	for (unsigned i = 0; i < l->held && wait < PROBE_SELDOM; i++)
		wait *= 2;
	l->probe_at = wall + (wait < PROBE_SELDOM ? wait : PROBE_SELDOM);
	l->dirty = true;
}

/* A wall clock that was set back delays it by no more than the longest wait. */
static bool probe_due(const struct learned *l, ms_t wall)
{
	return l->probe_at <= wall || l->probe_at - wall > PROBE_SELDOM;
}

static void set(struct learned *l, uint32_t n, ms_t wall)
{
	l->n = n < MOST ? n : MOST;
	l->guess = 0;
	l->held = 0;
	probe_later(l, wall);
}

/* It showed at n. sure: it was said. */
static void hit(struct learned *l, uint32_t n, bool sure, ms_t wall)
{
	if (l->n && n > l->n && sure) {
		set(l, n, wall);
	} else if (l->n && n >= l->n) {
		if (l->held < 16)
			l->held++;
		probe_later(l, wall);
	} else if (sure || l->guess == n) {
		set(l, n, wall);
	} else {
		l->guess = n;
	}
}

/* n were taken. most: what is used at most; 0: no such limit. */
static void passed(struct learned *l, uint32_t n, uint32_t most, ms_t wall)
{
	if (l->n && n > l->n)
		set(l, most && n >= most ? 0 : n, wall);
}

/* ---- messages a session ---- */

bool policy_session_ended(struct policy *p, struct policy_now now, uint32_t slot, bool said)
{
	struct slot *s = slot_get(p, slot);
	struct learned *l;

	if (!s->taken)
		return false;
	l = s->session_ended ? NULL : get(p, s, LEARNED_SESSION);
	s->session_ended = true;
	if (l)
		hit(l, s->taken, said && s->taken >= SURE, now.wall);
	return true;
}

void limits_taken(struct policy *p, struct policy_now now, struct slot *s)
{
	struct learned *l = find(p, s, LEARNED_SESSION);

	s->taken += s->weight ? s->weight : 1;
	if (l)
		passed(l, s->taken, p->params->providers[s->provider].messages_per_connection,
			now.wall);
}

void limits_opens(struct policy *p, struct policy_now now, struct slot *s)
{
	struct learned *l = find(p, s, LEARNED_SESSION);

	if (!l || !l->n || !probe_due(l, now.wall))
		return;
	s->probes_limit = 2 * l->n;
	probe_later(l, now.wall); /* one at a time */
}

uint32_t limits_session(const struct policy *p, const struct slot *s)
{
	uint32_t most = p->params->providers[s->provider].messages_per_connection;
	const struct learned *l = find(p, s, LEARNED_SESSION);
	uint32_t n = l ? l->n : 0;

	if (n && s->probes_limit > n)
		n = s->probes_limit;
	return n && (!most || n < most) ? n : most;
}

/* ---- recipients a transaction ---- */

uint32_t policy_recipients(struct policy *p, struct policy_now now, uint32_t slot)
{
	const struct learned *l = find(p, slot_get(p, slot), LEARNED_TRANSACTION);

	if (!l)
		return 0;
	return probe_due(l, now.wall) ? 2 * l->n : l->n;
}

void policy_too_many(
	struct policy *p, struct policy_now now, uint32_t slot, uint32_t sent, uint32_t taken)
{
	struct slot *s = slot_get(p, slot);
	struct learned *l = sent > 1 ? get(p, s, LEARNED_TRANSACTION) : NULL;

	/* refused as a whole: it is known only that it is less */
	if (l)
		hit(l, taken ? taken : sent / 2, true, now.wall);
}

void policy_took(struct policy *p, struct policy_now now, uint32_t slot, uint32_t recipients)
{
	struct slot *s = slot_get(p, slot);
	struct learned *l = find(p, s, LEARNED_TRANSACTION);

	if (l)
		passed(l, recipients, p->params->providers[s->provider].recipients_per_transaction,
			now.wall);
}

/* ---- over restarts ---- */

void limits_save(struct policy *p, const struct saver *s, struct limits *l, const char *where,
	unsigned provider)
{
	for (unsigned i = 0; l && i < LEARNED_COUNT; i++) {
		struct learned *k = &l->of[i];

		if (!k->dirty)
			continue;
		k->dirty = false;
		if (k->n || k->saved)
			save_entry(s, "limit", where, names[i], p->params->providers[provider].name,
				!k->n, (const int64_t[4]){ k->n, k->probe_at, k->held, 0 });
		k->saved = k->n != 0;
	}
}

void limits_forget(struct policy *p, struct limits *l, const char *where, unsigned provider)
{
	char key[400];

	for (unsigned i = 0; l && i < LEARNED_COUNT; i++)
		if (l->of[i].saved && !save_key(key, sizeof(key), "limit", where, names[i],
					      p->params->providers[provider].name))
			forget_key(p, key);
}

int limits_load(struct limits **at, const char *kind, const int64_t n[4])
{
	unsigned i = 0;

	while (i < LEARNED_COUNT && strcmp(names[i], kind))
		i++;
	if (i == LEARNED_COUNT || n[0] < 1 || n[0] > MOST || n[2] < 0 || n[2] > 16)
		return -EINVAL;
	if (!*at)
		*at = calloc(1, sizeof(**at));
	if (!*at)
		return -EINVAL;
	(*at)->of[i] = (struct learned){
		.n = (uint32_t)n[0], .probe_at = n[1], .held = (uint32_t)n[2], .saved = true
	};
	return 0;
}
