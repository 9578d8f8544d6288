/* Bans: what one receiver refuses, one of our sources or a domain that sends. A ban is of that pair
 * alone; whatever else we send there, or to others, goes on.
 *
 * none → in force (until) → due: one message is let through as a probe → accepted: none; refused:
 * in force for twice as long. Kept in wall time, since they are saved over restarts. The table is
 * bounded: when it is full the one that was said longest ago makes room, and would be found out
 * again.
 *
 * Owned by the policy, on the dispatcher's thread. Called by verdict.c with what was said, and by
 * choose.c and admit.c, which ask. */
#include <stdio.h>
#include <stdlib.h>

#include "ban.h"
#include "events.h"
#include "names.h"
#include "persist.h"
#include "policy_impl.h"
#include "postern/hash.h"
#include "table.h"
#include "tenant.h"
#include "times.h"

#define FIRST	   (5 * 60 * 1000)
#define LONGEST	   (4 * 3600 * 1000)
#define FORGOTTEN  (24 * 3600 * 1000) /* after it was due, nobody asked */
#define PROBE_LOST (60 * 1000)	      /* the answer to a probe never came */

static uint64_t hash_of(const char *text)
{
	return hash_fold(hash_text(HASH_START, text));
}

static struct ban_key key_of(const struct policy *p, enum ban_kind kind, unsigned provider,
	const char *who, const char *place)
{
	struct ban_key k;

	memset(&k, 0, sizeof(k));
	k.kind = kind;
	k.provider = p->providers[provider].uid;
	k.who = hash_of(who);
	k.place = hash_of(place);
	return k;
}

struct ban *ban_find(const struct policy *p, enum ban_kind kind, unsigned provider, const char *who,
	const char *place)
{
	struct ban_key k;
	struct ban *b = NULL;

	if (!p->nbans[kind])
		return NULL;
	k = key_of(p, kind, provider, who, place);
	HASH_FIND(hh, p->bans, &k, sizeof(k), b);
	return b;
}

/* ---- the table ---- */

static const char *const kind_names[BAN_KINDS] = { "ban-domain", "ban-cluster", "ban-sender",
	"ban-sender-all" };

static const char *provider_of(const struct policy *p, const struct ban *b)
{
	for (unsigned i = 0; i < p->params->nproviders; i++)
		if (p->providers[i].uid == b->key.provider)
			return p->params->providers[i].name;
	return NULL;
}

static void ban_free(struct policy *p, struct ban *b)
{
	enum ban_kind kind = (enum ban_kind)b->key.kind;
	struct tenant *t = kind == BAN_DOMAIN ? tenant_find(p, b->place) : NULL;
	const char *provider = provider_of(p, b);
	char key[480];

	if (b->saved && provider &&
		!save_key(key, sizeof(key), kind_names[kind], b->who, b->place, provider))
		forget_key(p, key);
	if (t && t->bans)
		t->bans--;
	p->nbans[kind]--;
	HASH_DEL(p->bans, b);
	free(b);
}

void bans_free(struct policy *p)
{
	struct ban *b, *next;

	HASH_ITER (hh, p->bans, b, next) {
		HASH_DEL(p->bans, b);
		free(b);
	}
}

/* NULL: no memory for it. mono: now. */
static struct ban *ban_get(struct policy *p, enum ban_kind kind, unsigned provider, const char *who,
	const char *place, ms_t mono)
{
	struct ban *b = ban_find(p, kind, provider, who, place);
	size_t a = strlen(who) + 1, n = strlen(place) + 1;
	struct tenant *t;

	if (b)
		return b;
	if (HASH_COUNT(p->bans) >= BANS_MAX)
		ban_free(p, p->bans);
	/* whoever asks looks at the tenant first */
	t = kind == BAN_DOMAIN ? tenant_get(p, place, mono) : NULL;
	b = kind != BAN_DOMAIN || t ? calloc(1, sizeof(*b) + a + n) : NULL;
	if (!b)
		return NULL;
	b->key = key_of(p, kind, provider, who, place);
	b->who = memcpy(b->text, who, a);
	b->place = memcpy(b->text + a, place, n);
	HASH_ADD(hh, p->bans, key, sizeof(b->key), b);
	if (!b->hh.tbl) {
		free(b);
		return NULL;
	}
	p->nbans[kind]++;
	if (t)
		t->bans++;
	return b;
}

/* ---- telling ---- */

static void tell(
	struct policy *p, struct policy_now now, const struct ban *b, bool over, const char *by)
{
	bool sender = b->key.kind == BAN_SENDER || b->key.kind == BAN_SENDER_ALL;
	enum policy_event_kind kind =
		sender ? over ? POLICY_EVENT_SENDER_RELEASED : POLICY_EVENT_SENDER_HELD
		: over ? POLICY_EVENT_SOURCE_WELCOME
		       : POLICY_EVENT_SOURCE_UNWELCOME;
	struct policy_event *e = event_add(p, kind, now);
	const char *provider = provider_of(p, b);

	e->alarm = sender && !over;
	e->over = over;
	e->until = over ? 0 : b->until;
	snprintf(e->provider, sizeof(e->provider), "%.31s", provider ? provider : "");
	snprintf(e->health, sizeof(e->health), "%s", over ? "healthy" : "blocked");
	snprintf(e->cause, sizeof(e->cause), "%s", sender ? "sender" : "source");
	if (sender)
		snprintf(e->sender, sizeof(e->sender), "%.255s", b->who);
	else
		snprintf(e->source, sizeof(e->source), "%.63s", b->who);
	if (b->key.kind == BAN_CLUSTER)
		snprintf(e->cluster, sizeof(e->cluster), "%.39s", b->place);
	else
		snprintf(e->domain, sizeof(e->domain), "%.255s", b->place);
	if (over)
		snprintf(e->text, sizeof(e->text), "%s", by);
	else if (b->key.kind == BAN_SENDER_ALL)
		snprintf(e->text, sizeof(e->text),
			"the provider refuses what this domain sends: its mail is held there, "
			"other mail goes on");
	else
		snprintf(e->text, sizeof(e->text),
			"the receiver refuses this %s; others are not concerned",
			sender ? "sender domain" : "source");
}

/* ---- what was said ---- */

static ms_t length_of(const struct ban *b, struct policy_now now, ms_t cooldown)
{
	ms_t first = cooldown && cooldown < FIRST ? cooldown : FIRST;

	if (!b->until)
		return first;
	if (b->until > now.wall)
		return b->length; /* was under way when it began: says nothing new */
	return b->length * 2 < LONGEST ? b->length * 2 : LONGEST;
}

struct ban *ban_set(struct policy *p, struct policy_now now, const struct ban_what *w)
{
	struct ban *b = ban_get(p, w->kind, w->provider, w->who, w->place, now.mono);
	bool is_new;

	if (!b)
		return NULL;
	is_new = !b->until;
	b->probe_at = 0;
	b->message = w->message;
	if (!is_new && b->until > now.wall)
		return b;
	b->length = length_of(b, now, w->cooldown);
	if (is_new)
		b->since = now.wall;
	/* bans that begin together must not end together */
	b->until = now.wall + b->length + (ms_t)(rng_unit(&p->rng) * (double)b->length / 10);
	b->said = now.mono;
	b->dirty = true;
	p->urgent = true;
	HASH_TO_END(struct ban, p->bans, b);
	if (is_new)
		tell(p, now, b, false, "");
	return b;
}

struct ban *ban_suspect(struct policy *p, struct policy_now now, enum ban_kind kind,
	unsigned provider, const char *who, const char *place)
{
	struct ban *b = ban_get(p, kind, provider, who, place, now.mono);

	if (b)
		b->said = now.mono;
	return b;
}

void ban_soon(struct policy *p, struct ban *b, struct policy_now now, ms_t length)
{
	if (length < b->length)
		b->length = length;
	if (b->until > now.wall + b->length)
		b->until = now.wall + b->length;
	b->dirty = true;
	p->urgent = true;
}

void ban_lift(struct policy *p, struct policy_now now, struct ban *b, const char *by)
{
	if (!b)
		return;
	tell(p, now, b, true, by);
	p->urgent = true;
	ban_free(p, b);
}

/* ---- who asks ---- */

bool ban_holds(struct ban *b, struct policy_now now, uint32_t slot, ms_t *until)
{
	if (!b || !b->until)
		return false;
	/* the wall clock was set back: it ends as long from now as it was to last at most */
	if (b->until > now.wall + b->length + b->length / 10)
		b->until = now.wall + b->length;
	if (b->until > now.wall) {
		*until = b->until;
		return true;
	}
	if (!b->probe_at || now.mono - b->probe_at >= PROBE_LOST)
		return false;
	if (slot != ~0u && b->probe_slot == slot && !b->probe_out)
		return false;
	*until = now.wall + 1000;
	return true;
}

static void probe_goes(struct ban *b, struct policy_now now, uint32_t slot, bool out)
{
	if (!b || !b->until)
		return;
	b->probe_at = now.mono;
	b->probe_slot = slot;
	b->probe_out = out;
}

bool source_banned(struct policy *p, struct policy_now now, uint32_t slot, unsigned source,
	unsigned provider, const struct tenant *t, ms_t *until)
{
	return t && t->bans &&
	       ban_holds(
		       ban_find(p, BAN_DOMAIN, provider, p->params->sources[source].name, t->name),
		       now, slot, until);
}

bool source_banned_at(struct policy *p, struct policy_now now, uint32_t slot, unsigned source,
	const struct cluster *c, ms_t *until)
{
	return p->nbans[BAN_CLUSTER] &&
	       ban_holds(ban_find(p, BAN_CLUSTER, c->provider, p->params->sources[source].name,
				 c->key.name),
		       now, slot, until);
}

/* The bans that one transaction asks, in that order: NULL where there is none. */
struct asked {
	struct ban *a[BAN_KINDS];
};

static struct asked bans_of(
	const struct policy *p, const struct slot *s, const char *domain, const char *sender)
{
	const struct tenant *t = p->nbans[BAN_DOMAIN] ? tenant_find(p, domain) : NULL;
	const char *source = p->params->sources[s->source].name;
	char name[SENDER_NAME];
	struct asked r = { { NULL } };

	if (t && t->bans)
		r.a[BAN_DOMAIN] = ban_find(p, BAN_DOMAIN, s->provider, source, domain);
	r.a[BAN_CLUSTER] = ban_find(p, BAN_CLUSTER, s->provider, source, s->cluster->key.name);
	if (!(p->nbans[BAN_SENDER] || p->nbans[BAN_SENDER_ALL]) || !sender_name(name, sender))
		return r;
	if (domain)
		r.a[BAN_SENDER] = ban_find(p, BAN_SENDER, s->provider, name, domain);
	r.a[BAN_SENDER_ALL] = ban_find(p, BAN_SENDER_ALL, s->provider, name, "");
	return r;
}

void bans_probe(struct policy *p, struct policy_now now, uint32_t slot, const struct slot *s,
	const char *domain, const char *sender, bool out)
{
	struct asked r;

	if (!p->bans)
		return;
	r = bans_of(p, s, domain, sender);
	for (unsigned i = 0; i < BAN_KINDS; i++)
		probe_goes(r.a[i], now, slot, out);
}

void bans_answered(struct policy *p, struct policy_now now, const struct slot *s,
	const char *domain, const char *sender, bool good)
{
	struct asked r;

	if (!p->bans)
		return;
	r = bans_of(p, s, domain, sender);
	for (unsigned i = 0; i < BAN_KINDS; i++) {
		struct ban *b = r.a[i];

		if (!b)
			continue;
		b->probe_at = 0;
		if (!good)
			continue;
		if (!b->until) { /* it was only suspected */
			ban_free(p, b);
		} else if (b->until <= now.wall) {
			struct tenant *t = i == BAN_DOMAIN ? tenant_find(p, domain) : NULL;

			if (t)
				t->odd_message = b->message;
			ban_lift(p, now, b, "mail is taken again");
		}
	}
}

void bans_sweep(struct policy *p, struct policy_now now)
{
	struct ban *b, *next;

	HASH_ITER (hh, p->bans, b, next)
		if (b->until ? now.wall - b->until > FORGOTTEN : now.mono - b->said > FORGOTTEN)
			ban_free(p, b);
}

void bans_bound(struct policy *p, ms_t wall)
{
	struct ban *b, *next;

	HASH_ITER (hh, p->bans, b, next) {
		ms_t until = clock_bounded(b->until, b->length, wall);

		if (!b->until || until == b->until)
			continue;
		b->until = until;
		b->since = wall;
		b->dirty = true;
	}
}

void bans_explained(struct policy *p, const char *source, unsigned provider, ms_t since)
{
	struct ban *b, *next;

	HASH_ITER (hh, p->bans, b, next)
		if ((b->key.kind == BAN_DOMAIN || b->key.kind == BAN_CLUSTER) &&
			b->key.provider == p->providers[provider].uid && b->since >= since &&
			!strcmp(b->who, source))
			ban_free(p, b);
}

unsigned bans_end(struct policy *p, struct policy_now now, const char *source, const char *where)
{
	struct ban *b, *next;
	unsigned n = 0;

	HASH_ITER (hh, p->bans, b, next) {
		bool sender = b->key.kind == BAN_SENDER || b->key.kind == BAN_SENDER_ALL;
		const char *provider = provider_of(p, b);

		if (source && (sender || strcmp(b->who, source)))
			continue;
		if (where && strcmp(b->place, where) && strcmp(provider ? provider : "", where) &&
			!(sender && !strcmp(b->who, where)))
			continue;
		n += b->until > 0;
		if (b->until)
			ban_lift(p, now, b, "resumed by the operator");
		else
			ban_free(p, b);
	}
	return n;
}

/* ---- what operators see ---- */

void policy_bans(const struct policy *p, struct policy_now now,
	void (*fn)(void *arg, const struct policy_ban_info *i), void *arg)
{
	struct ban *b, *next;

	HASH_ITER (hh, p->bans, b, next) {
		bool sender = b->key.kind == BAN_SENDER || b->key.kind == BAN_SENDER_ALL;
		const char *provider = provider_of(p, b);
		struct policy_ban_info i = {
			.source = sender ? "" : b->who,
			.sender = sender ? b->who : "",
			.domain = b->key.kind == BAN_CLUSTER ? "" : b->place,
			.cluster = b->key.kind == BAN_CLUSTER ? b->place : "",
			.provider = provider,
			.since = b->since,
			.until = b->until > now.wall ? b->until : 0,
			.probing = b->until <= now.wall,
		};

		if (b->until && provider)
			fn(arg, &i);
	}
}

/* ---- saved ---- */

void bans_save(struct policy *p, const struct saver *s)
{
	struct ban *b, *next;

	HASH_ITER (hh, p->bans, b, next) {
		const char *provider = provider_of(p, b);

		if (!b->dirty || !provider || !b->until)
			continue;
		b->dirty = false;
		b->saved = true;
		save_numbers(s, kind_names[b->key.kind], b->who, b->place, provider,
			(const int64_t[4]){ b->until, b->since, b->length, 0 });
	}
}

int ban_load(struct policy *p, enum ban_kind kind, const char *who, const char *place,
	unsigned provider, const int64_t n[4])
{
	struct ban *b;

	if (!who[0] || (kind != BAN_SENDER_ALL && !place[0]) || n[0] <= 0 || n[2] <= 0 ||
		n[2] > LONGEST || n[1] > n[0])
		return -1;
	b = ban_get(p, kind, provider, who, place, 0);
	if (!b)
		return 0; /* found out again */
	b->until = n[0];
	b->since = n[1];
	b->length = n[2];
	b->saved = true;
	return 0;
}
