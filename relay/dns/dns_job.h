/* Look-ups of domains, and the routes that are made of them: dns_job.c and dns_route.c, for dns.c. All
 * on the resolver's thread. */
#pragma once

#include "dns_private.h"
#include "postern/dns.h"

typedef void dns_done(void *arg, struct dns_route *r);

struct waiter;
/* One look-up of a domain: first its MX, then all hosts at once. */
struct dns_job {
	struct dns_job *prev, *next; /* of the slow ones */
	ms_t began;
	bool renews, late; /* there is an old route; it serves now */
	bool silent;	   /* nobody answered */
	struct dns *dns;
	struct dns_domain *domain;
	struct dns_query q;
	struct waiter *first, **last;
	unsigned pending; /* hosts whose addresses are under way, and one while they are being asked
			     for */
	unsigned nhosts;
	struct dns_host_entry *hosts[DNS_MX_MAX];
	struct host_wait waits[DNS_MX_MAX];
};

/* ---- dns_job.c ---- */
/* r is handed over; NULL: memory was out. */
void dns_answer(struct dns *d, dns_done *done, void *arg, struct dns_route *r);
/* Looks the domain up, which has no job, and answers; at once when there are too many look-ups. */
void job_start(struct dns *d, struct dns_domain *dom, dns_done *done, void *arg);
/* Waits for it with those who do already. False: too many wait. */
bool job_join(struct dns *d, struct dns_job *job, dns_done *done, void *arg);
/* d->slow_timer: who waits for a renewal that takes long is served with the old route. */
void jobs_slow(void *arg);
/* May the route that ran out serve until a new one is there? As long as addresses are kept. */
bool route_stale_serves(const struct dns *d, const struct dns_domain *dom);
/* What is said when there are too many look-ups, or no more. NULL: no memory. */
struct dns_route *route_busy(const struct dns *d);
const char *dns_host_name(const struct dns_domain *dom, unsigned i); /* of its MX, or its own */

/* ---- dns_route.c; NULL: no memory ---- */
struct dns_route *route_without_hosts(
	enum dns_status status, ms_t expires, const char *detail, const char *name);
struct dns_route *route_literal(const struct dns *d, const char *text); /* "[192.0.2.1]" */
/* All hosts of the job were asked. */
struct dns_route *route_build(const struct dns_job *job);
