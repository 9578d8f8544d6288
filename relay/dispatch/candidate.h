/* Hosts, and what each domain has of them: candidate.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

/* Referenced; NULL: no memory. name: with verification, a host is good for one name alone. */
struct host *host_by_address(
	struct dispatch *d, const struct addr *a, unsigned provider, const char *name);
void route_drop(struct dispatch *d, struct domain *m);
struct host_failure {
	uint64_t from;	 /* as policy_host_failed says */
	bool in_session; /* one transaction's: the domain's alone */
	bool refused;	 /* a source was, at the door */
	const char *why;
};
/* In this cycle. The domain that asked (NULL: nobody any more), and all that count on this host
 * now: each would only find out the same. */
void route_host_failed(
	struct dispatch *d, struct domain *m, struct host *h, const struct host_failure *f);
void route_relink(struct dispatch *d, struct domain *m);
bool route_all_failed(const struct domain *m);
void route_clear_failures(struct domain *m);
/* What the domain calls that host; NULL: it does not know it (any more). */
const char *route_name_of(const struct domain *m, const struct host *h);
void route_host_well(struct domain *m, const struct host *h);
void host_unref(struct dispatch *d, struct host *h);
void hosts_retire(struct dispatch *d);
