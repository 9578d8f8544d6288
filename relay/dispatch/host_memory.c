/* What hosts offer and cannot do, by address, for hours: CHUNKING, PIPELINING, parameters of MAIL
 * and RCPT, SMTPUTF8, and STARTTLS, which is by host and source, since a handshake may be broken on
 * the way from one source alone. On the dispatcher's thread.
 *
 * A failure is a lesson when the session used what is suspected of it. What worked at the host
 * before is only given up when it fails twice running; what was refused by words is given up at
 * once, but for parameters that worked before: then the words are about the message. After a lesson
 * the same mail goes again at once, without what failed; each lesson takes one thing away, so that
 * there is an end. When the time is over it is tried anew.
 *
 * The table is bounded, and lessons are kept over a restart, with all else that was learned: one
 * costs a failure a host, which may be a wait of minutes. A lesson is in one of four states: new
 * (dirty) → saved → over (dirty again, until its entry is deleted) → freed. */
#include "host_memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

#define MEMORIES_MAX 20000u
#define FAILURES_MAX 2u		      /* running, of what worked before */
#define STRIKE_KEPT  3600000	      /* ms; a failure longer ago is no longer one of two running */
#define KEEP_MAX     (7 * 86400000ll) /* ms; the most that the options allow */
#define KEY_TEXT_MAX (2 * ADDR_TEXT_MAX + 16)

struct key {
	struct addr host, source; /* source: ADDR_NONE but for STARTTLS */
};
struct memory {
	UT_hash_handle hh;
	struct key key;
	ms_t until[EXTENSIONS_COUNT];  /* mono; not used until then */
	ms_t failed[EXTENSIONS_COUNT]; /* mono; when last */
	uint8_t failures[EXTENSIONS_COUNT];
	bool dirty, saved; /* to be written, or deleted when all is over; there is an entry */
};

static unsigned number_of(unsigned extension)
{
	unsigned n = 0;

	while (n + 1 < EXTENSIONS_COUNT && !(extension & (1u << n)))
		n++;
	return n;
}

const char *host_memory_name(unsigned extension)
{
	return client_extension_name(number_of(extension));
}

static struct key key_of(const struct addr *host, const struct addr *source)
{
	return (struct key){ .host = *host,
		.source = source ? *source : (struct addr){ .family = ADDR_NONE } };
}

static struct memory *find(const struct dispatch *d, const struct key *k)
{
	struct memory *m;

	HASH_FIND(hh, d->memories, k, sizeof(*k), m);
	return m;
}

static size_t key_text(char out[KEY_TEXT_MAX], const struct key *k)
{
	char host[ADDR_TEXT_MAX], source[ADDR_TEXT_MAX] = "";

	addr_format(host, &k->host);
	if (k->source.family != ADDR_NONE)
		addr_format(source, &k->source);
	return (size_t)snprintf(out, KEY_TEXT_MAX, HOST_MEMORY_PREFIX "%s|%s", host, source);
}

/* The oldest makes room. NULL: no memory. */
static struct memory *get(struct dispatch *d, const struct key *k)
{
	struct memory *m = find(d, k);

	if (m)
		return m;
	if (HASH_COUNT(d->memories) >= MEMORIES_MAX) {
		char key[KEY_TEXT_MAX];

		m = d->memories; /* uthash keeps the order in which they were added */
		if (m->saved)
			state_put(d, (struct slice){ key, key_text(key, &m->key) },
				(struct slice){ NULL, 0 });
		HASH_DEL(d->memories, m);
		free(m);
	}
	m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->key = *k;
	HASH_ADD(hh, d->memories, key, sizeof(m->key), m);
	if (!m->hh.tbl) {
		free(m);
		return NULL;
	}
	return m;
}

static unsigned off_now(const struct memory *m, ms_t now)
{
	unsigned bits = 0;

	for (unsigned n = 0; m && n < EXTENSIONS_COUNT; n++)
		if (m->until[n] > now)
			bits |= 1u << n;
	return bits;
}

unsigned host_memory_without(
	const struct dispatch *d, const struct addr *host, const struct addr *source)
{
	struct key all = key_of(host, NULL), one = key_of(host, source);
	ms_t now = loop_mono(d->loop);

	if (!d->memories)
		return 0;
	return off_now(find(d, &all), now) | off_now(find(d, &one), now);
}

/* True: it is off from now on, or was already. */
static bool failed(
	struct dispatch *d, struct connection *c, unsigned extension, bool at_once, const char *why)
{
	const struct provider_params *v = provider_of(d, c->match.provider);
	bool tls = extension == EXT_TLS;
	struct key k =
		key_of(&c->host->addr, tls ? &d->params->sources[c->match.source].address : NULL);
	ms_t now = loop_mono(d->loop),
	     keep = tls ? v->transport.tls_failure_memory : v->transport.extension_memory;
	unsigned n = number_of(extension);
	struct memory *m = get(d, &k);

	if (!m || keep <= 0)
		return false;
	if (m->until[n] > now)
		return true;
	if (now - m->failed[n] > STRIKE_KEPT)
		m->failures[n] = 0;
	m->failed[n] = now;
	if (++m->failures[n] < FAILURES_MAX && !at_once)
		return false;
	m->failures[n] = 0;
	m->until[n] = now + keep;
	m->dirty = true;
	d->stats.extensions_off[n]++;
	log_event(d->log, LOG_NOTICE, tls ? EVENT_TLS_FAILED : EVENT_EXTENSION_FAILED,
		"source %s to %s[%s]: %s does not work and is not used for %lld s: %s",
		c->source_name, c->host_name, c->host->text, client_extension_name(n),
		(long long)(keep / 1000), why);
	return true;
}

/* Open connections still use what failed on this one: no more is given to them. */
static void retire_others(struct dispatch *d, const struct connection *c, unsigned extension)
{
	for (uint32_t i = 0; i < d->table.cap; i++) {
		struct connection *o = d->table.all[i];

		if (!o || o == c || o->without & extension ||
			!addr_eq(&o->host->addr, &c->host->addr))
			continue;
		o->match.retire = true;
		match_sort(&d->match, now_of(d), &o->match);
	}
}

/* It worked: what failed before was for once. */
static void worked(struct dispatch *d, struct host *h, unsigned extensions)
{
	struct key k = key_of(&h->addr, NULL);
	struct memory *m = d->memories ? find(d, &k) : NULL;

	h->worked |= (uint8_t)extensions;
	for (unsigned n = 0; m && n < EXTENSIONS_COUNT; n++)
		if (extensions & (1u << n))
			m->failures[n] = 0;
}

bool host_memory_result(struct dispatch *d, struct connection *c, const struct outbound_transact *t)
{
	bool proven = c->host->worked & t->suspect, silent = !t->refused;
	char why[200] = "no answer, or the connection was lost";

	if (t->worked & ~c->host->worked || (t->worked && c->host->doubted))
		worked(d, c->host, t->worked);
	if (!t->suspect)
		return false;
	if (!silent) {
		reply_format(why, sizeof(why), &t->replies[t->suspect_reply]);
		if (proven && t->suspect != EXT_CHUNKING)
			return false;
	}
	c->host->doubted = true;
	if (!failed(d, c, t->suspect, !silent || !proven, why))
		return false;
	c->host->worked &= (uint8_t)~t->suspect;
	retire_others(d, c, t->suspect);
	return true;
}

static uint32_t source_bit(const struct connection *c)
{
	return UINT32_C(1) << c->match.source % 32;
}

void host_memory_up(struct dispatch *d, struct connection *c)
{
	struct key k = key_of(&c->host->addr, &d->params->sources[c->match.source].address);
	struct memory *m;

	if (!c->tls[0])
		return;
	c->host->tls_works |= source_bit(c);
	m = d->memories ? find(d, &k) : NULL;
	if (m)
		m->failures[number_of(EXT_TLS)] = 0;
}

bool host_memory_tls(struct dispatch *d, struct connection *c, const char *why)
{
	bool proven = c->host->tls_works & source_bit(c);

	if (provider_of(d, c->match.provider)->transport.tls != TLS_OPPORTUNISTIC ||
		c->without & EXT_TLS)
		return false;
	/* the first of two is no lesson, but the same is tried again all the same */
	if (!failed(d, c, EXT_TLS, !proven, why))
		return proven &&
		       provider_of(d, c->match.provider)->transport.tls_failure_memory > 0;
	c->host->tls_works &= ~source_bit(c);
	return true;
}

bool host_memory_tls_elsewhere(const struct connection *c)
{
	return c->host->tls_works & ~source_bit(c);
}

void host_memory_sweep(struct dispatch *d)
{
	ms_t now = loop_mono(d->loop);
	struct memory *m, *next;

	HASH_ITER (hh, d->memories, m, next) {
		ms_t last = 0;

		for (unsigned n = 0; n < EXTENSIONS_COUNT; n++) {
			last = m->until[n] > last ? m->until[n] : last;
			last = m->failed[n] + STRIKE_KEPT > last ? m->failed[n] + STRIKE_KEPT
								 : last;
		}
		if (last > now)
			continue;
		m->dirty |= m->saved;
		if (m->dirty)
			continue; /* freed when its entry is deleted */
		HASH_DEL(d->memories, m);
		free(m);
	}
}

/* ---- over a restart: "1", then number=wall time for each that is off ---- */

void host_memory_save(
	struct dispatch *d, void (*put)(void *arg, struct slice key, struct slice value), void *arg)
{
	ms_t now = loop_mono(d->loop), wall = loop_wall(d->loop);
	struct memory *m, *next;

	HASH_ITER (hh, d->memories, m, next) {
		char key[KEY_TEXT_MAX], value[32 * (EXTENSIONS_COUNT + 1)] = "1";
		size_t n = 1;

		if (!m->dirty)
			continue;
		for (unsigned k = 0; k < EXTENSIONS_COUNT; k++)
			if (m->until[k] > now)
				n += (size_t)snprintf(value + n, sizeof(value) - n, " %u=%" PRId64,
					k, wall + (m->until[k] - now));
		m->dirty = false;
		m->saved = n > 1;
		put(arg, (struct slice){ key, key_text(key, &m->key) },
			(struct slice){ n > 1 ? value : NULL, n > 1 ? n : 0 });
	}
}

static int key_parse(struct key *ret, struct slice s)
{
	const char *bar = s.n ? memchr(s.p, '|', s.n) : NULL;
	struct slice source;

	if (!bar)
		return -EINVAL;
	*ret = (struct key){ 0 };
	ret->source.family = ADDR_NONE;
	source = slice_from(s, (size_t)(bar - s.p) + 1);
	if (addr_parse(&ret->host, (struct slice){ s.p, (size_t)(bar - s.p) }) ||
		(source.n && addr_parse(&ret->source, source)))
		return -EINVAL;
	return 0;
}

/* By a clock that was ahead: no longer than any is kept. */
static int values_parse(
	ms_t until[EXTENSIONS_COUNT], const char *text, const struct policy_now *now)
{
	unsigned k;
	int64_t at;
	int used;

	if (*text++ != '1')
		return -EINVAL;
	for (; *text; text += used) {
		if (sscanf(text, " %u=%" SCNd64 "%n", &k, &at, &used) != 2 || k >= EXTENSIONS_COUNT)
			return -EINVAL;
		if (at > now->wall)
			until[k] =
				now->mono + (at - now->wall < KEEP_MAX ? at - now->wall : KEEP_MAX);
	}
	return 0;
}

int host_memory_load(struct dispatch *d, struct slice key, struct slice value)
{
	struct policy_now now = now_of(d);
	ms_t until[EXTENSIONS_COUNT] = { 0 };
	char text[32 * (EXTENSIONS_COUNT + 1)];
	struct memory *m;
	struct key k;

	if (value.n >= sizeof(text) ||
		key_parse(&k, slice_from(key, sizeof(HOST_MEMORY_PREFIX) - 1)))
		return -EINVAL;
	memcpy(text, value.p, value.n);
	text[value.n] = '\0';
	if (values_parse(until, text, &now))
		return -EINVAL;
	if (HASH_COUNT(d->memories) >= MEMORIES_MAX)
		return -ENOSPC;
	m = get(d, &k);
	if (!m)
		return -ENOMEM;
	memcpy(m->until, until, sizeof(until));
	m->saved = true; /* one that is over is deleted by the next sweep */
	return 0;
}

void host_memory_free(struct dispatch *d)
{
	struct memory *m, *next;

	HASH_ITER (hh, d->memories, m, next) {
		HASH_DEL(d->memories, m);
		free(m);
	}
}

static const char *source_name(const struct dispatch *d, const struct addr *a)
{
	for (unsigned i = 0; i < d->params->nsources; i++)
		if (addr_eq(&d->params->sources[i].address, a))
			return d->params->sources[i].name;
	return "another source";
}

void dispatch_host_without(struct dispatch *d, const struct addr *host, char *out, size_t max)
{
	ms_t now = loop_mono(d->loop);
	struct memory *m, *next;
	size_t n = 0;

	out[0] = '\0';
	HASH_ITER (hh, d->memories, m, next) {
		unsigned bits = addr_eq(&m->key.host, host) ? off_now(m, now) : 0;

		for (unsigned k = 0; k < EXTENSIONS_COUNT && n + 1 < max; k++) {
			if (!(bits & (1u << k)))
				continue;
			n += (size_t)snprintf(out + n, max - n, "%s%s%s%s", n ? ", " : "",
				client_extension_name(k),
				m->key.source.family == ADDR_NONE ? "" : " from ",
				m->key.source.family == ADDR_NONE ? ""
								  : source_name(d, &m->key.source));
		}
	}
}
