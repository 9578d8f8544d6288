/* The resolver's table of domains, MX hosts and address names; the least recently used goes first.
 * On the resolver's loop.
 *
 * An entry that a look-up needs is pinned and is not dropped; with nothing but such entries the
 * table grows over its bound, and shrinks by the next ones. */
#include "dns_private.h"

#include <stdlib.h>
#include <string.h>

#include "postern/must.h"

#include <utlist.h>

#define VICTIMS_TRIED 16 /* busy ones at the old end are passed over; so many at once are rare */
#define TEMPORARY_TTL 15000

ms_t dns_clamp_ttl(const struct dns *d, uint32_t seconds)
{
	ms_t ttl = (ms_t)seconds * 1000;

	if (ttl < d->params.ttl_min)
		return d->params.ttl_min;
	return ttl > d->params.ttl_max ? d->params.ttl_max : ttl;
}

/* How long a failure is remembered: long enough that a queue full of mail for the domain asks once.
 */
ms_t dns_temporary_ttl(const struct dns *d)
{
	ms_t ttl = d->params.negative_ttl < TEMPORARY_TTL ? d->params.negative_ttl : TEMPORARY_TTL;

	return ttl > d->params.ttl_min ? ttl : d->params.ttl_min;
}

static size_t make_key(char *key, enum entry_kind kind, const char *name)
{
	size_t n = strlen(name);

	must(n < DNS_NAME_MAX);
	key[0] = (char)kind;
	memcpy(key + 1, name, n + 1);
	return n + 1;
}

struct dns_entry *cache_find(struct dns_cache *c, enum entry_kind kind, const char *name)
{
	char key[1 + DNS_NAME_MAX];
	size_t n = make_key(key, kind, name);
	struct dns_entry *e;

	HASH_FIND(hh, c->table, key, n, e);
	if (e) {
		DL_DELETE(c->used, e);
		DL_APPEND(c->used, e);
	}
	return e;
}

static void entry_free(struct dns_entry *e)
{
	switch ((enum entry_kind)e->key[0]) {
	case ENTRY_DOMAIN: {
		struct dns_domain *d = (struct dns_domain *)e;

		dns_route_unref(d->route);
		free(d->mx);
		break;
	}
	case ENTRY_HOST: {
		struct dns_host_entry *h = (struct dns_host_entry *)e;

		free(h->addrs);
		free(h->new);
		break;
	}
	case ENTRY_PTR:
		free(((struct dns_ptr_entry *)e)->answer);
		break;
	}
	free(e);
}

static void drop(struct dns_cache *c, struct dns_entry *e)
{
	HASH_DEL(c->table, e);
	DL_DELETE(c->used, e);
	c->n--;
	entry_free(e);
}

static bool drop_oldest(struct dns_cache *c)
{
	struct dns_entry *e;

	/* to the other end with it: a few that wait for a slow server must not keep all others here
	 */
	for (unsigned i = 0; c->used && c->used->pins > 0 && i < VICTIMS_TRIED; i++) {
		e = c->used;
		DL_DELETE(c->used, e);
		DL_APPEND(c->used, e);
	}
	e = c->used;
	if (!e || e->pins > 0)
		return false;
	drop(c, e);
	return true;
}

static size_t entry_size(enum entry_kind kind)
{
	switch (kind) {
	case ENTRY_DOMAIN:
		return sizeof(struct dns_domain);
	case ENTRY_HOST:
		return sizeof(struct dns_host_entry);
	case ENTRY_PTR:
		return sizeof(struct dns_ptr_entry);
	}
	return 0;
}

struct dns_entry *cache_get(struct dns_cache *c, enum entry_kind kind, const char *name)
{
	struct dns_entry *e = cache_find(c, kind, name);

	if (e)
		return e;
	/* more than one: what was pinned when the cache was full may have made it larger */
	while (c->n >= c->max && drop_oldest(c))
		;
	e = calloc(1, entry_size(kind));
	if (!e)
		return NULL;
	e->key_size = make_key(e->key, kind, name);
	e->name = e->key + 1;
	HASH_ADD_KEYPTR(hh, c->table, e->key, e->key_size, e);
	if (e->lost) {
		free(e);
		return NULL;
	}
	DL_APPEND(c->used, e);
	c->n++;
	return e;
}

void cache_age(struct dns_cache *c, struct dns_entry *e)
{
	DL_DELETE(c->used, e);
	DL_PREPEND(c->used, e);
}

void cache_deinit(struct dns_cache *c)
{
	while (c->used)
		drop(c, c->used);
}
