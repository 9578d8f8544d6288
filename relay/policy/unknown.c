/* Recipients that do not exist. Many at one recipient domain: its directory or filter refuses what
 * it took before (5.4.1, 5.1.10). Many of one client's: its list has gone bad, which costs every
 * source its good name. Both are alarms; nothing is held for them. Called by verdict.c for each
 * outcome, on the dispatcher's thread.
 *
 * A domain or client is watched from its first unknown recipient on, by counts that halve in half an
 * hour, and forgotten when it is quiet. The table is bounded: the one heard of longest ago makes
 * room, unless its alarm is on. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "events.h"
#include "policy_impl.h"
#include "table.h"
#include "unknown.h"

#define WATCHED_MAX 2000u
#define NAME	    256u
#define HALF_LIFE   1800000.0 /* ms */
#define FEW	    20.0      /* unknown ones that are no wave yet */
#define CLIENT_HIGH 0.10
#define DOMAIN_HIGH 0.30
#define NORMAL	    0.5	    /* of that share: the alarm ends */
#define FORGET	    7200000 /* ms */

enum about { ABOUT_DOMAIN, ABOUT_CLIENT };
struct unknown {
	UT_hash_handle hh;
	struct unknown_key {
		uint64_t name; /* hash */
		uint64_t about;
	} key;
	double good, bad;
	ms_t at, heard; /* mono: counts are as of then; the last unknown one */
	uint32_t provider;
	bool alarm;
	char name[];
};

static struct unknown_key key_of(enum about about, const char *name)
{
	struct unknown_key k = { 0xcbf29ce484222325u, about };

	for (const unsigned char *c = (const unsigned char *)name; *c; c++)
		k.name = (k.name ^ *c) * 0x100000001b3u;
	return k;
}

static void forget(struct policy *p, struct unknown *u)
{
	HASH_DEL(p->unknown, u);
	free(u);
}

static bool make_room(struct policy *p)
{
	struct unknown *u, *next;

	if (HASH_COUNT(p->unknown) < WATCHED_MAX)
		return true;
	HASH_ITER (hh, p->unknown, u, next)
		if (!u->alarm) {
			forget(p, u);
			return true;
		}
	return false;
}

static struct unknown *watch(struct policy *p, enum about about, const char *name, ms_t mono)
{
	size_t n = strnlen(name, NAME - 1);
	struct unknown *u;

	if (!make_room(p))
		return NULL;
	u = calloc(1, sizeof(*u) + n + 1);
	if (!u)
		return NULL;
	memcpy(u->name, name, n);
	u->key = key_of(about, name);
	u->at = mono;
	HASH_ADD(hh, p->unknown, key, sizeof(u->key), u);
	if (!u->hh.tbl) {
		free(u);
		return NULL;
	}
	return u;
}

static void decay(struct unknown *u, ms_t mono)
{
	double f;

	if (mono - u->at < 1000)
		return;
	f = exp(-0.6931471805599453 * (double)(mono - u->at) / HALF_LIFE);
	u->good *= f;
	u->bad *= f;
	u->at = mono;
}

static void tell(struct policy *p, struct policy_now now, struct unknown *u)
{
	struct policy_event *e;
	bool client = u->key.about == ABOUT_CLIENT;

	u->alarm = !u->alarm;
	e = event_add(p, u->alarm ? POLICY_EVENT_UNKNOWN_HIGH : POLICY_EVENT_UNKNOWN_NORMAL, now);
	e->alarm = u->alarm;
	e->over = !u->alarm;
	e->good = u->good;
	e->bad = u->bad;
	for (unsigned i = 0; !client && i < p->params->nproviders; i++)
		if (p->providers[i].uid == u->provider)
			snprintf(e->provider, sizeof(e->provider), "%.31s",
				p->params->providers[i].name);
	snprintf(client ? e->client : e->domain, client ? sizeof(e->client) : sizeof(e->domain),
		"%.*s", client ? 63 : 255, u->name);
	snprintf(e->text, sizeof(e->text), "%.0f of %.0f recipients %s lately do not exist", u->bad,
		u->bad + u->good, client ? "of this client's mail" : "at this domain");
}

static void judge(struct policy *p, struct policy_now now, struct unknown *u)
{
	double high = u->key.about == ABOUT_CLIENT ? CLIENT_HIGH : DOMAIN_HIGH;
	double all = u->good + u->bad, share = all > 0 ? u->bad / all : 0;

	if (u->alarm ? share < NORMAL * high || u->bad < FEW / 4 : share >= high && u->bad >= FEW)
		tell(p, now, u);
}

static void note(struct policy *p, struct policy_now now, unsigned provider, enum about about,
	const char *name, bool bad)
{
	struct unknown_key k = key_of(about, name);
	struct unknown *u;

	HASH_FIND(hh, p->unknown, &k, sizeof(k), u);
	if (!u && bad)
		u = watch(p, about, name, now.mono);
	if (!u)
		return;
	decay(u, now.mono);
	*(bad ? &u->bad : &u->good) += 1;
	if (!bad) {
		if (u->alarm)
			judge(p, now, u);
		return;
	}
	u->heard = now.mono;
	u->provider = p->providers[provider].uid;
	HASH_TO_END(struct unknown, p->unknown, u);
	judge(p, now, u);
}

void unknown_note(struct policy *p, struct policy_now now, unsigned provider, const char *domain,
	const char *client, bool unknown)
{
	if (!unknown && !p->unknown)
		return;
	if (domain)
		note(p, now, provider, ABOUT_DOMAIN, domain, unknown);
	if (client && *client)
		note(p, now, provider, ABOUT_CLIENT, client, unknown);
}

void unknown_sweep(struct policy *p, struct policy_now now)
{
	struct unknown *u, *next;

	HASH_ITER (hh, p->unknown, u, next) {
		decay(u, now.mono);
		if (u->alarm)
			judge(p, now, u);
		if (!u->alarm && now.mono - u->heard > FORGET)
			forget(p, u);
	}
}

uint32_t unknown_high(const struct policy *p)
{
	uint32_t n = 0;

	for (const struct unknown *u = p->unknown; u; u = u->hh.next)
		n += u->alarm;
	return n;
}

void unknown_free(struct policy *p)
{
	struct unknown *u, *next;

	HASH_ITER (hh, p->unknown, u, next)
		forget(p, u);
}
