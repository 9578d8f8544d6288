/* Who we are, as far as a route must know it (RFC 5321 section 5.1): mail for a domain whose MX is
 * this relay would come back. And what is never connected to. The dispatcher's thread. */
#pragma once

#include "postern/dispatch.h"

struct own;

#define OWN_NO_CUT UINT32_MAX

/* What of a route may be used: hosts of preference < cut. */
struct own_view {
	uint32_t cut;	      /* OWN_NO_CUT: no host is ours */
	const char *ours;     /* the first host that is; in the route */
	unsigned usable;      /* addresses below the cut that may be connected to */
	const char *refused;  /* a host below the cut with an address that may not be; or NULL */
	bool lost, lost_temp; /* below the cut there are hosts without address; some of them only
			       * for the time being */
};

/* Takes copies. 0, -ENOMEM. */
int own_new(struct own **ret, const char *hostname, const struct dispatch_endpoint *listening,
	unsigned nlistening, const struct policy_params *policy);
struct own *own_free(struct own *o); /* NULL-safe, returns NULL */
/* Looks at the machine's addresses again when that was long ago. */
void own_refresh(struct own *o, ms_t mono);
/* Would a connection there, on that port, come to us? */
bool own_address(const struct own *o, const struct addr *a, uint16_t port);
bool own_name(const struct own *o, const char *name); /* lower case, A-labels */
bool own_never(const struct own *o, const struct addr *a);
struct own_view own_look(const struct own *o, const struct dns_route *r, uint16_t port);
