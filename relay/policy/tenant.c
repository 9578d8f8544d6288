/* Recipient domains that have refused something lately: at Microsoft each is a tenant with
 * settings and limits of its own. Called by verdict.c with each refusal, asked by choose.c and
 * admit.c. Pure; bounded: the longest unseen goes. */
#include <stdio.h>
#include <stdlib.h>

#include "change.h"
#include "events.h"
#include "evidence.h"
#include "health.h"
#include "persist.h"
#include "policy_impl.h"
#include "postern/hash.h"
#include "table.h"
#include "tenant.h"

#define FORGET	   (3600 * 1000) /* ms */
#define PROBE_LOST (60 * 1000)	 /* the answer to a probe never came */

static uint64_t key_of(const char *domain)
{
	return hash_fold(hash_text(HASH_START, domain));
}

struct tenant *tenant_find(const struct policy *p, const char *domain)
{
	struct tenant *t = NULL;
	uint64_t key;

	if (!p->tenants || !domain)
		return NULL;
	key = key_of(domain);
	HASH_FIND(hh, p->tenants, &key, sizeof(key), t);
	return t;
}

static bool keeps(const struct tenant *t)
{
	return sick(&t->health) || t->health.dirty || t->bans;
}

static void forget(struct policy *p, struct tenant *t)
{
	char key[400];

	if (!save_key(key, sizeof(key), "tenant", t->name, "", ""))
		forget_key(p, key);
}

void tenant_drop(struct policy *p, struct tenant *t)
{
	if (t->health.saved)
		forget(p, t);
	HASH_DEL(p->tenants, t);
	free(t);
}

/* In the order of their last refusals: the first is the one that has been quiet for longest. */
static bool make_room(struct policy *p)
{
	struct tenant *t, *next;

	HASH_ITER (hh, p->tenants, t, next) {
		if (keeps(t))
			continue;
		tenant_drop(p, t);
		return true;
	}
	return false;
}

struct tenant *tenant_get(struct policy *p, const char *domain, ms_t mono)
{
	struct tenant *t = tenant_find(p, domain);
	size_t n;

	if (t) {
		if (mono - t->seen > FORGET / 10) {
			HASH_TO_END(struct tenant, p->tenants, t);
			t->seen = mono;
		}
		return t;
	}
	if (!domain || (HASH_COUNT(p->tenants) >= TENANTS_MAX && !make_room(p)))
		return NULL;
	n = strlen(domain) + 1;
	t = calloc(1, sizeof(*t) + n);
	if (!t)
		return NULL;
	memcpy(t->name, domain, n);
	t->key = key_of(domain);
	t->seen = mono;
	HASH_ADD(hh, p->tenants, key, sizeof(t->key), t);
	if (!t->hh.tbl) {
		free(t);
		return NULL;
	}
	return t;
}

void tenants_sweep(struct policy *p, struct policy_now now)
{
	struct tenant *t, *next;

	HASH_ITER (hh, p->tenants, t, next) {
		if (now.mono - t->seen < FORGET)
			break;
		if (!keeps(t))
			tenant_drop(p, t);
	}
}

enum hold_reason tenant_gate(
	struct policy *p, const struct tenant *t, struct policy_now now, ms_t *until)
{
	bool busy;

	if (!t || !sick(&t->health))
		return HOLD_NONE;
	busy = t->probe_at && now.mono - t->probe_at < PROBE_LOST;
	if (health_gate(&t->health, now.wall, busy, until) == HOLD_NONE)
		return HOLD_NONE;
	if (!*until)
		*until = now.wall + 1000;
	return HOLD_BACKOFF;
}

/* It came back for another reason than an answer of its own: where it is, is not looked up. */
static void event_tenant(struct policy *p, struct policy_now now, const struct tenant *t)
{
	event_health(p, now, NULL, ~0u, ~0u, &t->health, CAUSE_DOMAIN, &t->evidence, t->name);
	for (unsigned i = 0; i < p->params->nproviders; i++)
		if (p->providers[i].uid == t->provider)
			count_change(p, i, CAUSE_DOMAIN, false);
}

void tenant_unblame(struct policy *p, struct tenant *t, struct policy_now now)
{
	if (sick(&t->health)) {
		t->health = (struct health){
			.dirty = true, .saved = t->health.saved, .since = now.wall
		};
		t->probe_at = 0;
		event_tenant(p, now, t);
	}
	evidence_clear(&t->evidence);
	t->subnets = 0;
	t->messages = 0;
}
