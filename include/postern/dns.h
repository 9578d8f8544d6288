/* DNS through c-ares on one loop: MX and addresses with a TTL cache, coalesced look-ups and a bound
 * on what runs at once. In the relay that loop is the resolver's (resolver.h), and the dispatcher
 * asks through it. */
#pragma once

#include <stdatomic.h>

#include "postern/addr.h"
#include "postern/loop.h"

struct dns_params {
	const char *const *servers; /* "127.0.0.1:53"; n 0: the system's (resolv.conf) */
	unsigned nservers;
	ms_t timeout;	       /* per try; 0: 3 s */
	unsigned tries;	       /* 0: 3 */
	unsigned running_max;  /* look-ups at once; 0: 500; more wait, waiting_max at most */
	unsigned waiting_max;  /* 0: 100000; above: DNS_TEMPORARY at once */
	unsigned cache_max;    /* names; 0: 200000; least recently used go */
	ms_t ttl_min, ttl_max; /* clamps; 0: 5 s, 1 h */
	ms_t negative_ttl; /* NXDOMAIN and no data; 0: 60 s. Failures are remembered as long, but at
			    * most 15 s (and at least ttl_min) */
	ms_t keep_addresses; /* a host's earlier addresses are kept this long after they left the
			      * answer, as Microsoft rotates them, also when asking again fails; 0:
			      * 5 min */
	bool ipv4, ipv6;     /* families asked for */
};

enum dns_status {
	DNS_OK,
	DNS_NXDOMAIN,	/* the domain does not exist: permanent, 5.1.2 */
	DNS_NULL_MX,	/* RFC 7505: permanent, 5.1.10 */
	DNS_NO_ADDRESS, /* exists, but no MX host and no address of a wanted family, and none of the
			   other: permanent 5.4.4 */
	DNS_OTHER_FAMILY, /* addresses exist only in a family that we did not ask for: temporary,
			     never a bounce */
	DNS_TEMPORARY,	  /* SERVFAIL, time-out, refused, or look-ups saturated */
	DNS_BAD,	  /* answer makes no sense */
};
const char *dns_status_name(enum dns_status s);

struct dns_host {
	char *name; /* MX host, lower case */
	uint16_t preference;
	struct addr *addrs; /* current first, then recent ones */
	unsigned naddrs, ncurrent;
};
/* An MX host without an address that can be used, and what its look-up said: it still counts for
 * who we are, and for whether a failure is for good. */
struct dns_lost_host {
	char *name;
	uint16_t preference;
	enum dns_status status;
};
/* Result for one mail domain: hosts in order of preference (RFC 5321 section 5.1).
 * Reference-counted, immutable; any thread may hold one. */
struct dns_route {
	atomic_uint refs;
	enum dns_status status;
	bool implicit; /* no MX: the domain's own address */
	ms_t expires;  /* mono: look it up again after this */
	unsigned nhosts;
	struct dns_host *hosts;
	unsigned nlost;
	struct dns_lost_host *lost; /* in order of preference, too */
	char detail[128]; /* for reasons: "SERVFAIL from 127.0.0.1:53 for MX example.net" */
};
/* Any thread; NULL-safe. unref returns NULL. */
struct dns_route *dns_route_ref(struct dns_route *r);
struct dns_route *dns_route_unref(struct dns_route *r);

struct dns;
int dns_new(struct dns **ret, struct loop *l, const struct dns_params *p, char *error,
	size_t error_max);
/* Outstanding requests are answered DNS_TEMPORARY inside the call. Not inside a done callback. */
struct dns *dns_free(struct dns *d);
/* Looks the mail domain (A-labels; or an address literal "[192.0.2.1]") up. done is called once,
 * with a reference for the callee: inside the call when it is cached (or literal), else later. */
void dns_resolve(
	struct dns *d, const char *domain, void (*done)(void *arg, struct dns_route *r), void *arg);
/* Forgets a domain and its hosts (after 4xx destination-config such as ATTR35). */
void dns_forget(struct dns *d, const char *domain);
/* PTR name of an address; NULL in done when there is none. Cached. */
void dns_ptr(
	struct dns *d, const struct addr *a, void (*done)(void *arg, const char *name), void *arg);
struct dns_stats {
	uint64_t queries, answers_cached, failures, timeouts, coalesced;
	unsigned running, waiting, names;
};
void dns_stats(const struct dns *d, struct dns_stats *ret);
/* IDNA2008 (libidn2) of a domain name: UTF-8 or ASCII in, lower-case A-labels out. 0, -EINVAL. Any
 * thread. */
int domain_to_ascii(struct slice in, char *out, size_t out_max);
