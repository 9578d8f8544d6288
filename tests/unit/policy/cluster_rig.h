/* A provider that names its clusters, and what its front ends say. For the tests of clusters. */
#pragma once

#include "rig.h"

#include <stdio.h>

#include "postern/smtp_reply.h"

static inline void microsoft(struct rig *r)
{
	rig_init(r);
	r->providers[0].clusters = CLUSTERS_MICROSOFT;
	r->want.nhosts = 2;
}

static inline void up(struct rig *r, uint32_t slot, const char *banner, uint64_t size)
{
	struct smtp_client_info info = { .ehlo = { .size_given = true, .size = size } };

	snprintf(info.banner, sizeof(info.banner),
		"%s.mail.protection.outlook.com Microsoft ESMTP MAIL Service ready", banner);
	policy_connected(r->policy, r->now, slot, &info);
}

static inline void says(struct rig *r, uint32_t slot, const char *text)
{
	struct classification k = { .verdict = VERDICT_RECIPIENT_INVALID };
	struct policy_tried tried = { 0 };
	struct policy_verdict v;
	static struct reply reply;

	reply_make(&reply, 550, text);
	classify_facts(&reply, &k);
	rig_hear(r, slot, "example.org", &k, &tried, &v);
	rig_end_if_any(r, slot, TXN_CUT);
}

static inline const char *cluster_of(const struct rig *r, uint32_t slot)
{
	struct policy_slot_info i;

	policy_slot(r->policy, slot, &i);
	return i.cluster;
}
