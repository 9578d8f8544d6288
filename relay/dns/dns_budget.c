/* The budget of DNS questions. Some name servers never answer, and a thousand of them must cost
 * nobody else. So:
 *
 * - What was answered before goes first, and has places that nobody else gets. So has a name of a
 *   zone that answered lately, as far as few of that zone are under way.
 * - First-time names have a share of the places. Zones take turns, one question each, the newest
 *   and the oldest alternately; the last places of the share are for those that have just come. A
 *   zone that has not answered yet has few under way, one that is silent hardly any, and of what
 *   waits for a silent one the oldest is given up.
 * - Each question has one quick try (quicker while many wait). Who does not answer it comes to the
 *   slow lane, which has a share of its own; when that is full the quick try was all.
 * - A name that did not answer is left alone for a while, which doubles each time. That is
 *   remembered in a table of fixed size, apart from the cache, so that silent names push no good
 *   ones out. Where nobody at all answers it is our own name server, and nothing is remembered.
 *
 * Called by dns_query.c and dns.c, on the resolver's loop. Order of a question: added (waits) →
 * next (runs) → ended (free, or by budget_slower waits again). */
#include "dns_budget.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "postern/hash.h"
#include "postern/must.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#define ZONES_MAX	4096u
#define ZONE_UNKNOWN	32u /* under way of a zone that has not answered yet */
#define ZONE_SILENT	8u  /* without answer, from which on a zone is silent */
#define ZONE_SILENT_RUN 4u
#define SLOW_LINE	100u /* waiting for the slow lane, at least */
#define ZONE_LINE_MAX	64u  /* waiting for a silent zone */
#define ANSWERED_KEPT	3600000
#define JUST_COME	1000 /* ms */
#define KEPT_BUSY	400  /* ms in which the places kept for those are given away once */
#define SILENCES	65536u
#define WAYS		4u
#define SILENCE_MAX	300000	/* ms */
#define SILENCE_FORGET	1800000 /* ms after which a name begins anew */

/* A zone, as far as a name shows it: what is behind the first label, or the whole name where that
 * has two labels only. */
struct dns_zone {
	UT_hash_handle hh;
	struct dns_zone *prev, *next;		/* in order of use */
	struct dns_zone *turn_prev, *turn_next; /* in a list of zones whose turn comes */
	enum { ZONE_NO_TURN, ZONE_NEW, ZONE_OLD } turn;
	ms_t since;		   /* new: when it came */
	ms_t answered_at;	   /* 0: never */
	unsigned silent;	   /* questions without answer since then */
	unsigned running, waiting; /* waiting: for a place */
	unsigned held;		   /* waiting in the known or the slow lane */
	struct dns_query *line;
	char name[];
};

static unsigned share(unsigned n, unsigned part)
{
	return n / part ? n / part : 1;
}

int budget_init(struct dns_budget *b, unsigned running_max, uint64_t seed)
{
	*b = (struct dns_budget){ .running_max = running_max,
		.first_max = share(running_max, 2),
		.slow_max = share(running_max, 4),
		.seed = seed };
	b->any = calloc(1, sizeof(*b->any) + 1);
	b->silences = calloc(SILENCES, sizeof(*b->silences));
	if (b->any && b->silences)
		return 0;
	free(b->any);
	free(b->silences);
	return -ENOMEM;
}

/* ---- zones ---- */

static const char *zone_name(const char *name)
{
	const char *dot = strchr(name, '.');

	return dot && strchr(dot + 1, '.') ? dot + 1 : name;
}

static void zone_drop(struct dns_budget *b, struct dns_zone *z)
{
	must(!z->running && !z->waiting && !z->held);
	HASH_DEL(b->zones, z);
	DL_DELETE(b->used, z);
	b->nzones--;
	free(z);
}

static void drop_oldest(struct dns_budget *b)
{
	for (unsigned n = 0; b->used && n < 16; n++) {
		struct dns_zone *z = b->used;

		if (!z->running && !z->waiting && !z->held) {
			zone_drop(b, z);
			return;
		}
		DL_DELETE(b->used, z);
		DL_APPEND(b->used, z);
	}
}

static struct dns_zone *zone_get(struct dns_budget *b, const char *name)
{
	const char *key = zone_name(name);
	size_t n = strlen(key);
	struct dns_zone *z;

	HASH_FIND(hh, b->zones, key, n, z);
	if (z) {
		DL_DELETE(b->used, z);
		DL_APPEND(b->used, z);
		return z;
	}
	if (b->nzones >= ZONES_MAX)
		drop_oldest(b);
	z = calloc(1, sizeof(*z) + n + 1);
	if (!z)
		return b->any;
	memcpy(z->name, key, n);
	HASH_ADD_KEYPTR(hh, b->zones, z->name, n, z);
	if (!z->hh.tbl) {
		free(z);
		return b->any;
	}
	DL_APPEND(b->used, z);
	b->nzones++;
	return z;
}

static bool zone_silent(const struct dns_zone *z)
{
	return z->silent >= ZONE_SILENT;
}

static bool zone_known(const struct dns_zone *z, ms_t now)
{
	return z->answered_at && now - z->answered_at < ANSWERED_KEPT && !z->silent &&
	       z->running < ZONE_UNKNOWN;
}

static bool zone_may(const struct dns_budget *b, const struct dns_zone *z)
{
	unsigned max = z->answered_at ? share(b->first_max, 2) : ZONE_UNKNOWN;

	return z->running < (zone_silent(z) ? ZONE_SILENT_RUN : max);
}

static void turn_end(struct dns_budget *b, struct dns_zone *z)
{
	if (z->turn == ZONE_NEW)
		DL_DELETE2(b->fresh, z, turn_prev, turn_next);
	else if (z->turn == ZONE_OLD)
		DL_DELETE2(b->old, z, turn_prev, turn_next);
	z->turn = ZONE_NO_TURN;
}

static void turn_come(struct dns_budget *b, struct dns_zone *z, bool new, ms_t now)
{
	if (!z->line || !zone_may(b, z) || z->turn != ZONE_NO_TURN)
		return;
	if (new) {
		z->since = now;
		z->turn = ZONE_NEW;
		DL_APPEND2(b->fresh, z, turn_prev, turn_next);
	} else {
		z->turn = ZONE_OLD;
		DL_APPEND2(b->old, z, turn_prev, turn_next);
	}
}

static struct dns_query *zone_take(struct dns_budget *b, struct dns_zone *z, struct dns_query *q)
{
	DL_DELETE(z->line, q);
	z->waiting--;
	b->first_waiting--;
	if (!z->line)
		turn_end(b, z);
	return q;
}

/* Of what waits for a silent zone the oldest goes: the newest may be a name that does answer. */
static void zone_trim(struct dns_budget *b, struct dns_zone *z)
{
	while (zone_silent(z) && z->waiting > ZONE_LINE_MAX) {
		struct dns_query *q = zone_take(b, z, z->line);

		q->lane = DNS_GIVEN_UP;
		DL_APPEND(b->given_up, q);
	}
}

/* ---- questions ---- */

void budget_add(struct dns_budget *b, struct dns_query *q, bool known, ms_t now)
{
	struct dns_zone *z = zone_get(b, q->name);

	q->zone = z;
	b->waiting++;
	if ((known && !zone_silent(z)) || zone_known(z, now)) {
		q->lane = DNS_KNOWN;
		z->held++;
		DL_APPEND(b->known, q);
		return;
	}
	q->lane = DNS_FIRST;
	z->waiting++;
	b->first_waiting++;
	DL_APPEND(z->line, q);
	zone_trim(b, z);
	turn_come(b, z, true, now);
}

static void run(struct dns_budget *b, struct dns_query *q, ms_t now)
{
	q->began = now;
	b->waiting--;
	b->running++;
	b->by_lane[q->lane]++;
	q->zone->running++;
}

static struct dns_query *next_first(struct dns_budget *b, ms_t now)
{
	unsigned running = b->by_lane[DNS_FIRST], kept = b->first_max / 4;
	bool reserved = running >= b->first_max - kept;
	struct dns_zone *z;
	struct dns_query *q;

	while (b->fresh && now - b->fresh->since >= JUST_COME) {
		z = b->fresh;
		turn_end(b, z);
		turn_come(b, z, false, now);
	}
	/* given away one by one, so that a flood does not have them all when somebody comes */
	if (running >= b->first_max ||
		(reserved && (!b->fresh || now - b->reserved_at < KEPT_BUSY / kept)))
		return NULL;
	if (reserved)
		b->reserved_at = now;
	b->newest = !b->newest;
	if (b->fresh && (reserved || b->newest || !b->old))
		z = b->fresh->turn_prev; /* the last */
	else if (b->old)
		z = b->old;
	else
		return NULL;
	/* within a silent zone the newest, too */
	q = zone_take(b, z, zone_silent(z) ? z->line->prev : z->line);
	turn_end(b, z);
	run(b, q, now);
	turn_come(b, z, false, now);
	return q;
}

struct dns_query *budget_next(struct dns_budget *b, ms_t now)
{
	struct dns_query *q = b->given_up;

	if (q) {
		DL_DELETE(b->given_up, q);
		b->waiting--;
		return q;
	}
	if (b->running >= b->running_max)
		return NULL;
	q = b->known;
	if (q) {
		DL_DELETE(b->known, q);
		q->zone->held--;
		run(b, q, now);
		return q;
	}
	q = next_first(b, now);
	if (q)
		return q;
	q = b->slow;
	if (!q || b->by_lane[DNS_SLOW] >= b->slow_max)
		return NULL;
	DL_DELETE(b->slow, q);
	b->slow_waiting--;
	q->zone->held--;
	run(b, q, now);
	return q;
}

/* First-time names have all places that are not kept for those that just come. */
static bool pressed(const struct dns_budget *b)
{
	return b->by_lane[DNS_FIRST] >= b->first_max - b->first_max / 4;
}

enum dns_patience budget_patience(const struct dns_budget *b, const struct dns_query *q)
{
	if (q->lane == DNS_SLOW) /* a good name whose first answer was lost may be in that line */
		return b->slow_waiting >= SLOW_LINE / 2 ? DNS_QUICK : DNS_PATIENT;
	return pressed(b) || zone_silent(q->zone) ? DNS_BRISK : DNS_QUICK;
}

/* No answer: is it the name's own trouble? It is when others had one meanwhile, or when all that
 * has been silent since the last answer is one zone. */
static bool speaks_against(
	struct dns_budget *b, const struct dns_zone *z, const struct dns_query *q)
{
	if (!b->answered_at)
		return false;
	if (b->silent_zone && b->silent_zone != z)
		b->several = true;
	b->silent_zone = z;
	return b->answered_at >= q->began || !b->several;
}

bool budget_ended(struct dns_budget *b, struct dns_query *q, bool silent, ms_t now)
{
	struct dns_zone *z = q->zone;
	bool own = silent && speaks_against(b, z, q);

	must(b->running && z->running);
	b->running--;
	b->by_lane[q->lane]--;
	z->running--;
	if (!silent) {
		b->answered_at = now;
		b->silent_zone = NULL;
		b->several = false;
		z->answered_at = now ? now : 1;
		z->silent = 0;
	} else if (own) {
		z->silent++;
		zone_trim(b, z);
	}
	turn_come(b, z, false, now);
	return own;
}

bool budget_slower(struct dns_budget *b, struct dns_query *q)
{
	unsigned max = b->slow_max > SLOW_LINE ? b->slow_max : SLOW_LINE;

	if (q->lane == DNS_SLOW || b->slow_waiting >= max ||
		(zone_silent(q->zone) && b->by_lane[DNS_SLOW] + b->slow_waiting))
		return false;
	q->lane = DNS_SLOW;
	q->zone->held++;
	b->waiting++;
	b->slow_waiting++;
	DL_APPEND(b->slow, q);
	return true;
}

struct dns_query *budget_drain(struct dns_budget *b)
{
	struct dns_query *q = b->given_up;

	if (q) {
		DL_DELETE(b->given_up, q);
	} else if (b->known) {
		q = b->known;
		DL_DELETE(b->known, q);
		q->zone->held--;
	} else if (b->slow) {
		q = b->slow;
		DL_DELETE(b->slow, q);
		b->slow_waiting--;
		q->zone->held--;
	} else {
		struct dns_zone *z = b->used;

		while (z && !z->line)
			z = z->next;
		if (!z && b->any->line)
			z = b->any;
		if (!z)
			return NULL;
		q = zone_take(b, z, z->line);
	}
	b->waiting--;
	return q;
}

void budget_deinit(struct dns_budget *b)
{
	while (b->used)
		zone_drop(b, b->used);
	free(b->any);
	free(b->silences);
}

/* ---- silence, by name ---- */

static uint64_t hash_of(const struct dns_budget *b, const char *name)
{
	uint64_t h = hash_text(b->seed ^ HASH_START, name);

	h ^= h >> 29;
	h *= 0xbf58476d1ce4e5b9u;
	h ^= h >> 32;
	return h ? h : 1;
}

static struct dns_silence *bucket(const struct dns_budget *b, uint64_t hash)
{
	return &b->silences[(hash % (SILENCES / WAYS)) * WAYS];
}

static struct dns_silence *silence_find(const struct dns_budget *b, uint64_t hash)
{
	struct dns_silence *s = bucket(b, hash);

	for (unsigned i = 0; i < WAYS; i++)
		if (s[i].hash == hash)
			return &s[i];
	return NULL;
}

ms_t budget_silent_until(const struct dns_budget *b, const char *name, ms_t now)
{
	const struct dns_silence *s = silence_find(b, hash_of(b, name));

	return s && s->until > now ? s->until : 0;
}

void budget_note_silent(struct dns_budget *b, const char *name, ms_t base, ms_t now)
{
	uint64_t hash = hash_of(b, name);
	struct dns_silence *s = silence_find(b, hash), *all = bucket(b, hash);
	ms_t wait;

	if (!s) { /* in the place of the one that is over first */
		s = all;
		for (unsigned i = 1; i < WAYS; i++)
			if (all[i].until < s->until)
				s = &all[i];
		*s = (struct dns_silence){ .hash = hash };
	} else if (now - s->until > SILENCE_FORGET) {
		s->level = 0;
	}
	wait = base << (s->level < 16 ? s->level : 16);
	if (wait > SILENCE_MAX || wait < base)
		wait = base > SILENCE_MAX ? base : SILENCE_MAX;
	else
		s->level++;
	s->until = now + wait;
}

void budget_note_heard(struct dns_budget *b, const char *name)
{
	struct dns_silence *s = silence_find(b, hash_of(b, name));

	if (s)
		*s = (struct dns_silence){ 0 };
}
