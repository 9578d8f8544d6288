/* The figures by which something was found to blame, kept for `why`. */
#pragma once

#include "health.h"

struct cluster;
struct evidence;
struct policy_why;

/* Something is found to blame: the figures are kept, before its evidence is cleared. */
void finding_note(struct policy *p, struct policy_now now, const struct cluster *c, unsigned source,
	unsigned subnet, enum cause cause, const struct evidence *e, const char *domain);
/* The figures that were noted when it was found, into w. False: none are kept. */
bool finding_tell(const struct policy *p, const struct cluster *c, unsigned source, unsigned subnet,
	enum cause cause, const char *domain, struct policy_why *w);
void findings_free(struct policy *p);
