/* Single recipients: Exchange takes 3,600 messages an hour for one, and a third of it from one
 * sender, and refuses what is over it with 5.2.121 and 5.2.122 for up to an hour. So mail for a
 * recipient waits before that is reached, and no other recipient's with it. Called by verdict.c
 * for each outcome, and by the dispatcher before it gives work to a connection; on its thread.
 *
 * Most recipients get a message or two, so none is remembered by itself: a sketch (rows of
 * counters, each recipient one in each row, the least of them counts) says which may have much.
 * Those get an entry with counts of the last hour, as do those that were refused. The table is
 * bounded: what was used longest ago makes room, and comes back by the sketch.
 *
 * After a refusal: a recipient that had little of us is full of others' mail, so one message is
 * tried by the schedule of retries; when that is refused too, or it had much, an hour is waited.
 * The other mail waits for that one message. */
#include <stdlib.h>

#include "policy_impl.h"
#include "recipient.h"
#include "table.h"

#define ROWS	   3u
#define CELLS	   8192u
#define TAKERS_MAX 2000u
#define SLOTS	   13u /* twelfths of the limit's time: the last of it, and the one in which now is */
#define PARTS	   12
#define MOST	   0.95 /* of the limit: what is under way is not counted yet */
#define WATCHED	   0.25 /* of the limit: counted exactly from there on */
#define OF_SENDER  3u	/* the limit's part for one sender */
#define HOUR	   3600000
#define LOST	   300000 /* ms; what became of the one message is not known */

struct taker {
	UT_hash_handle hh;
	uint64_t key;
	int64_t newest; /* number of the slot in which now is */
	uint16_t taken[SLOTS];
	uint8_t refused; /* times in a row that counted */
	ms_t until;	 /* refused: its mail waits until then; 0: no */
	ms_t probe;	 /* one message may find out from then on */
	ms_t probing;	 /* since then one is under way; 0: none */
	ms_t seen;
};

struct recipients {
	struct taker *takers; /* hash; used longest ago first */
	ms_t turned;	      /* the generation of the sketch began */
	unsigned now;	      /* which one that is */
	uint16_t cells[2][ROWS][CELLS];
};

uint64_t policy_recipient_hash(const char *address)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (; *address; address++) {
		unsigned char c = (unsigned char)*address;

		h = (h ^ (c >= 'A' && c <= 'Z' ? c + 32u : c)) * 0x100000001b3u;
	}
	return h ? h : 1;
}

static uint64_t mix(uint64_t h)
{
	h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
	h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
	return h ^ h >> 32;
}

/* sender 0: of everybody. */
static uint64_t key_of(
	const struct policy *p, unsigned provider, uint64_t recipient, uint64_t sender)
{
	return mix(recipient ^ mix(sender) ^ (uint64_t)p->providers[provider].uid << 48);
}

static double limit_of(const struct policy *p, unsigned provider, bool of_sender)
{
	const struct rate *r = &p->params->providers[provider].recipient_message_rate;

	return of_sender ? (double)r->count / OF_SENDER : (double)r->count;
}

static ms_t span_of(const struct policy *p, unsigned provider)
{
	ms_t per = p->params->providers[provider].recipient_message_rate.per / PARTS;

	return per > 0 ? per : HOUR / PARTS;
}

/* ---- the sketch ---- */

/* How many it may have had in the last half of an hour to an hour, one more counted in. */
static uint32_t sketch_add(struct recipients *a, uint64_t key, ms_t mono)
{
	uint32_t least = UINT32_MAX;

	if (mono - a->turned >= HOUR / 2) {
		bool both = mono - a->turned >= HOUR;

		a->now ^= 1;
		memset(a->cells[a->now], 0, sizeof(a->cells[a->now]));
		if (both)
			memset(a->cells[a->now ^ 1], 0, sizeof(a->cells[0]));
		a->turned = mono;
	}
	for (unsigned r = 0; r < ROWS; r++) {
		unsigned at = (unsigned)(key >> (13 * r)) % CELLS;
		uint16_t *c = &a->cells[a->now][r][at];
		uint32_t sum;

		if (*c < UINT16_MAX)
			++*c;
		sum = (uint32_t)*c + a->cells[a->now ^ 1][r][at];
		least = sum < least ? sum : least;
	}
	return least;
}

/* ---- the table ---- */

static struct taker *find(const struct policy *p, uint64_t key)
{
	struct taker *t = NULL;

	if (p->recipients)
		HASH_FIND(hh, p->recipients->takers, &key, sizeof(key), t);
	return t;
}

static void forget(struct policy *p, struct taker *t)
{
	HASH_DEL(p->recipients->takers, t);
	free(t);
}

static struct recipients *recipients_get(struct policy *p, ms_t mono)
{
	if (!p->recipients)
		p->recipients = calloc(1, sizeof(*p->recipients));
	if (p->recipients && !p->recipients->turned)
		p->recipients->turned = mono;
	return p->recipients;
}

static struct taker *get(struct policy *p, uint64_t key, ms_t mono)
{
	struct recipients *a = recipients_get(p, mono);
	struct taker *t = find(p, key);

	if (t || !a) {
		if (t)
			HASH_TO_END(struct taker, a->takers, t);
		return t;
	}
	if (HASH_COUNT(a->takers) >= TAKERS_MAX)
		forget(p, a->takers);
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->key = key;
	HASH_ADD(hh, a->takers, key, sizeof(t->key), t);
	if (!t->hh.tbl) {
		free(t);
		return NULL;
	}
	return t;
}

/* ---- counts ---- */

static void slide(struct taker *t, ms_t mono, ms_t span)
{
	int64_t slot = mono / span;

	if (slot - t->newest >= (int64_t)SLOTS || slot < t->newest)
		memset(t->taken, 0, sizeof(t->taken));
	else
		while (t->newest < slot)
			t->taken[++t->newest % SLOTS] = 0;
	t->newest = slot;
}

static uint32_t taken(const struct taker *t)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < SLOTS; i++)
		sum += t->taken[i];
	return sum;
}

static void add(struct taker *t, uint32_t n, ms_t mono, ms_t span)
{
	uint16_t *at;

	slide(t, mono, span);
	at = &t->taken[t->newest % SLOTS];
	*at = (uint16_t)(*at + n < UINT16_MAX ? *at + n : UINT16_MAX);
	t->seen = mono;
}

/* When the oldest that were taken are counted no longer. */
static ms_t oldest_leave(const struct taker *t, ms_t span)
{
	for (int64_t slot = t->newest - (int64_t)SLOTS + 1; slot <= t->newest; slot++)
		if (slot >= 0 && t->taken[slot % SLOTS])
			return (slot + (int64_t)SLOTS) * span;
	return (t->newest + 1) * span;
}

static void took(struct policy *p, unsigned provider, uint64_t key, double limit, ms_t mono)
{
	struct taker *t = find(p, key);
	struct recipients *a;
	uint32_t n = 1;

	if (!t && limit > 0 && (a = recipients_get(p, mono))) {
		n = sketch_add(a, key, mono);
		if (n < WATCHED * limit)
			return;
		t = get(p, key, mono);
	}
	if (!t)
		return;
	add(t, n, mono, span_of(p, provider));
	t->until = t->probe = t->probing = 0;
	t->refused = 0;
}

void recipient_took(
	struct policy *p, struct policy_now now, unsigned provider, const struct policy_tried *t)
{
	if (!t->recipient || (limit_of(p, provider, false) <= 0 && !policy_recipients_watched(p)))
		return;
	took(p, provider, key_of(p, provider, t->recipient, 0), limit_of(p, provider, false),
		now.mono);
	if (t->from)
		took(p, provider, key_of(p, provider, t->recipient, t->from),
			limit_of(p, provider, true), now.mono);
}

void recipient_refused(struct policy *p, struct policy_now now, unsigned provider,
	const struct policy_tried *t, ms_t cooldown, bool of_sender)
{
	const struct retry_params *retry = &p->params->retry;
	ms_t hour = cooldown ? cooldown : HOUR;
	bool one = of_sender && t->from;
	struct taker *k;

	if (!t->recipient)
		return;
	k = get(p, key_of(p, provider, t->recipient, one ? t->from : 0), now.mono);
	/* what had left before the first was refused says nothing new */
	if (!k || (k->until > now.mono && !k->probing))
		return;
	slide(k, now.mono, span_of(p, provider));
	k->seen = now.mono;
	k->refused = (uint8_t)(k->refused + (k->refused < UINT8_MAX));
	k->until = k->probe = now.mono + hour;
	k->probing = 0;
	if (k->refused == 1 && retry->nschedule && retry->schedule[0] < hour &&
		(double)taken(k) < WATCHED * (limit_of(p, provider, one) + 1))
		k->probe = now.mono + retry->schedule[0];
}

/* ---- may it go? ---- */

static enum sender_state ask(const struct policy *p, struct policy_now now, unsigned provider,
	uint64_t key, bool of_sender, ms_t *until)
{
	double limit = limit_of(p, provider, of_sender);
	struct taker *t = find(p, key);
	ms_t span;

	if (!t)
		return SENDER_FREE;
	if (t->probing && now.mono - t->probing < LOST) {
		*until = t->probing + LOST;
		return SENDER_HELD;
	}
	if (t->until && t->probe <= now.mono)
		return SENDER_DUE;
	if (t->until) {
		*until = t->probe;
		return SENDER_HELD;
	}
	span = span_of(p, provider);
	slide(t, now.mono, span);
	if (limit <= 0 || (double)taken(t) < MOST * limit)
		return SENDER_FREE;
	*until = oldest_leave(t, span);
	return SENDER_HELD;
}

bool policy_recipients_watched(const struct policy *p)
{
	return p->recipients && p->recipients->takers;
}

enum sender_state policy_recipient(const struct policy *p, struct policy_now now, unsigned provider,
	const struct policy_tried *w, ms_t *until)
{
	enum sender_state all, own = SENDER_FREE;
	ms_t later = 0;

	*until = now.mono;
	if (!policy_recipients_watched(p) || !w->recipient)
		return SENDER_FREE;
	all = ask(p, now, provider, key_of(p, provider, w->recipient, 0), false, until);
	if (w->from)
		own = ask(
			p, now, provider, key_of(p, provider, w->recipient, w->from), true, &later);
	if (later > *until)
		*until = later;
	if (all == SENDER_HELD || own == SENDER_HELD)
		return SENDER_HELD;
	if (all != SENDER_DUE && own != SENDER_DUE)
		return SENDER_FREE;
	*until = now.mono + 1000;
	return SENDER_DUE;
}

void policy_recipient_goes(
	struct policy *p, struct policy_now now, unsigned provider, const struct policy_tried *w)
{
	uint64_t senders[2] = { 0, w->from };

	for (unsigned i = 0; i < 2; i++) {
		struct taker *t = find(p, key_of(p, provider, w->recipient, senders[i]));

		if (t && t->until)
			t->probing = now.mono;
	}
}

/* ---- what is no more ---- */

uint32_t recipients_waiting(const struct policy *p, ms_t mono)
{
	uint32_t n = 0;

	for (const struct taker *t = p->recipients ? p->recipients->takers : NULL; t;
		t = t->hh.next)
		n += t->until > mono;
	return n;
}

void recipients_sweep(struct policy *p, ms_t mono)
{
	struct taker *t, *next;

	if (!p->recipients)
		return;
	HASH_ITER (hh, p->recipients->takers, t, next)
		if (mono - t->seen > 2 * HOUR && t->until <= mono)
			forget(p, t);
}

void recipients_free(struct policy *p)
{
	struct taker *t, *next;

	if (!p->recipients)
		return;
	HASH_ITER (hh, p->recipients->takers, t, next)
		forget(p, t);
	free(p->recipients);
	p->recipients = NULL;
}
