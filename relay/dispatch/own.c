/* Names and addresses of this relay, and networks that are never connected to. Asked when a route
 * is taken over, on the dispatcher's thread; made anew by a reload.
 *
 * A host is ours by its name (the relay's host name, a source's EHLO name) or by an address: that
 * of a listener on the port that would be connected to, with "0.0.0.0" and "::" standing for every
 * address of the machine, or that of a source. A source at 127.0.0.1 or ::1 says nothing: any
 * number of other servers have that address, and only the port tells them apart. */
#include "own.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY 60000 /* ms; addresses of the machine come and go seldom */
#define LOCAL_MAX  4096u

struct own {
	char *hostname; /* as it was given */
	char **names;
	unsigned nnames;
	struct dispatch_endpoint *listening;
	unsigned nlistening;
	bool any; /* one of them stands for all addresses */
	struct addr *sources;
	unsigned nsources;
	struct net *never;
	unsigned nnever;
	struct addr *local; /* only with any */
	unsigned nlocal;
	ms_t looked_at; /* mono; 0: never */
};

/* ---- addresses that make no sense as a destination ---- */

static bool nonsense(const struct addr *a)
{
	static const uint8_t zeros[12];

	if (a->family == ADDR_V4) /* this network; multicast, reserved, broadcast */
		return a->ip[0] == 0 || a->ip[0] >= 224;
	if (a->family != ADDR_V6)
		return true;
	if (a->ip[0] == 0xff || (a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80))
		return true; /* multicast; link-local, which is no address without its link */
	/* unspecified, and the old IPv4-compatible form */
	return !memcmp(a->ip, zeros, sizeof(zeros)) && !addr_is_loopback(a);
}

bool own_never(const struct own *o, const struct addr *a)
{
	if (nonsense(a))
		return true;
	for (unsigned i = 0; i < o->nnever; i++)
		if (net_contains(&o->never[i], a))
			return true;
	return false;
}

/* ---- ours ---- */

static bool unspecified(const struct addr *a)
{
	static const uint8_t zeros[16];

	return !memcmp(a->ip, zeros, sizeof(zeros));
}

/* "::" takes IPv4 connections too, or another listener has them: they are ours either way. */
static bool covers(const struct addr *any, const struct addr *a)
{
	return any->family == ADDR_V6 || any->family == a->family;
}

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct addr));
}

static bool among(const struct addr *a, const struct addr *sorted, unsigned n)
{
	return bsearch(a, sorted, n, sizeof(*a), by_bytes) != NULL;
}

static bool of_machine(const struct own *o, const struct addr *a)
{
	return addr_is_loopback(a) || among(a, o->local, o->nlocal);
}

static bool machine_itself(const struct addr *a)
{
	static const uint8_t v4[4] = { 127, 0, 0, 1 };

	if (a->family == ADDR_V4)
		return !memcmp(a->ip, v4, sizeof(v4));
	return addr_is_loopback(a);
}

bool own_address(const struct own *o, const struct addr *a, uint16_t port)
{
	for (unsigned i = 0; i < o->nlistening; i++) {
		const struct dispatch_endpoint *e = &o->listening[i];

		if (e->port != port)
			continue;
		if (addr_eq(&e->addr, a) ||
			(unspecified(&e->addr) && covers(&e->addr, a) && of_machine(o, a)))
			return true;
	}
	return !machine_itself(a) && among(a, o->sources, o->nsources);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

bool own_name(const struct own *o, const char *name)
{
	return bsearch(&name, o->names, o->nnames, sizeof(char *), by_text) != NULL;
}

static bool is_ours(const struct own *o, const struct dns_host *h, uint16_t port)
{
	if (own_name(o, h->name))
		return true;
	for (unsigned i = 0; i < h->naddrs; i++)
		if (own_address(o, &h->addrs[i], port))
			return true;
	return false;
}

static void cut_at(struct own_view *v, uint16_t preference, const char *name)
{
	if (preference >= v->cut)
		return;
	v->cut = preference;
	v->ours = name;
}

struct own_view own_look(const struct own *o, const struct dns_route *r, uint16_t port)
{
	struct own_view v = { .cut = OWN_NO_CUT };

	for (unsigned i = 0; i < r->nhosts; i++)
		if (is_ours(o, &r->hosts[i], port))
			cut_at(&v, r->hosts[i].preference, r->hosts[i].name);
	for (unsigned i = 0; i < r->nlost; i++)
		if (own_name(o, r->lost[i].name))
			cut_at(&v, r->lost[i].preference, r->lost[i].name);
	for (unsigned i = 0; i < r->nhosts; i++) {
		const struct dns_host *h = &r->hosts[i];

		for (unsigned k = 0; h->preference < v.cut && k < h->naddrs; k++) {
			if (own_never(o, &h->addrs[k]))
				v.refused = h->name;
			else
				v.usable++;
		}
	}
	for (unsigned i = 0; i < r->nlost; i++) {
		if (r->lost[i].preference >= v.cut)
			continue;
		v.lost = true;
		v.lost_temp |= r->lost[i].status == DNS_TEMPORARY || r->lost[i].status == DNS_BAD ||
			       r->lost[i].status == DNS_OTHER_FAMILY;
	}
	return v;
}

/* ---- life ---- */

void own_refresh(struct own *o, ms_t mono)
{
	struct ifaddrs *all, *i;
	struct addr *local;
	unsigned n = 0;

	if (!o->any || (o->looked_at && mono - o->looked_at < LOOK_EVERY))
		return;
	o->looked_at = mono ? mono : 1;
	if (getifaddrs(&all))
		return; /* those known still serve */
	for (i = all; i && n < LOCAL_MAX; i = i->ifa_next)
		n++;
	local = calloc(n ? n : 1, sizeof(*local));
	n = 0;
	for (i = all; local && i && n < LOCAL_MAX; i = i->ifa_next) {
		uint16_t port;

		if (i->ifa_addr && !addr_from_sockaddr(&local[n], &port, i->ifa_addr))
			n++;
	}
	freeifaddrs(all);
	if (!local)
		return;
	qsort(local, n, sizeof(*local), by_bytes);
	free(o->local);
	o->local = local;
	o->nlocal = n;
}

static int add_name(struct own *o, const char *name)
{
	char ascii[256];

	if (!name || domain_to_ascii(slice_of(name), ascii, sizeof(ascii)))
		return 0;
	o->names[o->nnames] = slice_dup(slice_of(ascii));
	if (!o->names[o->nnames])
		return -ENOMEM;
	o->nnames++;
	return 0;
}

static void *copy(const void *p, size_t n, size_t size)
{
	void *c = calloc(n ? n : 1, size);

	if (c && n)
		memcpy(c, p, n * size);
	return c;
}

static int fill(struct own *o, const char *hostname, const struct policy_params *policy)
{
	int r = add_name(o, hostname);

	for (unsigned i = 0; !r && i < policy->nsources; i++) {
		r = add_name(o, policy->sources[i].ehlo);
		o->sources[o->nsources++] = policy->sources[i].address;
	}
	qsort(o->names, o->nnames, sizeof(char *), by_text);
	qsort(o->sources, o->nsources, sizeof(*o->sources), by_bytes);
	for (unsigned i = 0; i < o->nlistening; i++)
		o->any |= unspecified(&o->listening[i].addr);
	return r;
}

int own_new(struct own **ret, const char *hostname, const struct dispatch_endpoint *listening,
	unsigned nlistening, const struct policy_params *policy)
{
	struct own *o = calloc(1, sizeof(*o));
	int r = -ENOMEM;

	if (!o)
		return -ENOMEM;
	o->hostname = slice_dup(slice_of(hostname ? hostname : ""));
	o->names = calloc(policy->nsources + 1u, sizeof(char *));
	o->sources = calloc(policy->nsources + 1u, sizeof(*o->sources));
	o->listening = copy(listening, nlistening, sizeof(*listening));
	o->never = copy(policy->never_connect, policy->nnever_connect, sizeof(*o->never));
	if (o->hostname && o->names && o->sources && o->listening && o->never) {
		o->nlistening = nlistening;
		o->nnever = policy->nnever_connect;
		r = fill(o, hostname, policy);
	}
	if (r) {
		own_free(o);
		return r;
	}
	*ret = o;
	return 0;
}

struct own *own_free(struct own *o)
{
	if (!o)
		return NULL;
	for (unsigned i = 0; o->names && i < o->nnames; i++)
		free(o->names[i]);
	free(o->hostname);
	free(o->names);
	free(o->sources);
	free(o->listening);
	free(o->never);
	free(o->local);
	free(o);
	return NULL;
}
