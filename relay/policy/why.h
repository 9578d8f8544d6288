/* Inside relay/policy: figures for people, out of what is believed. */
#pragma once

#include "postern/policy_why.h"

struct cluster;
struct evidence;
struct tally;

struct why_rows {
	unsigned n;
	struct policy_why_row rows[POLICY_WHY_ROWS];
};
/* One more, as long as there is room and it was counted at all. all: what it is compared with;
 * NULL: with nothing. */
void why_row(struct why_rows *r, const struct tally *v, const struct tally *all, const char *fmt,
	...) __attribute__((format(printf, 4, 5)));
/* Sources and subnets beside each other; source, subnet ~0u: none is asked about. */
void why_at_cluster(const struct policy *p, struct policy_now now, const struct cluster *c,
	unsigned source, unsigned subnet, struct why_rows *r);
/* c NULL: not known where. */
void why_of_tenant(const struct policy *p, struct policy_now now, const struct cluster *c,
	const struct evidence *e, const char *domain, struct why_rows *r);
/* What a domain that sends gets through at the provider, beside all else. (sender_watch.c) */
void why_of_sender(const struct policy *p, struct policy_now now, unsigned provider,
	const char *sender, struct why_rows *r);
