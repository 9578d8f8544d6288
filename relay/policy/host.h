/* Hosts that fail, and from which of our subnets: left alone for a while. Times are mono. Marks that
 * find no memory are not made. */
#pragma once

#include "contrast.h"
#include "learn.h"

enum host_rank { HOST_USABLE, HOST_AVOIDED, HOST_FAILED /* in this cycle */, HOST_NONE };
/* What comes first: how well a host is for one of our subnets, then the preference. */
struct host_tier {
	enum host_rank rank;
	uint16_t preference;
};
struct host_tier host_tier_of(const struct policy *p, const struct policy_want *w, unsigned i,
	unsigned subnet, ms_t mono);
struct host_tier host_best_tier(const struct policy *p, const struct policy_want *w, uint8_t family,
	unsigned subnet, ms_t mono);
bool hosts_alike(const struct policy *p, const struct policy_want *w);
bool host_tier_before(struct host_tier a, struct host_tier b);
void host_slot_opens(struct policy *p, struct slot *s, ms_t mono);
void host_slot_up(struct policy *p, struct slot *s, ms_t mono);
void host_slot_good(struct policy *p, struct slot *s); /* mail was taken */
void host_slot_gone(struct policy *p, struct slot *s);
bool host_caps_cluster(struct slot *s, ms_t mono); /* refused at the door */
bool host_alone_ill(const struct slot *s);
bool host_may_admit(
	struct policy *p, struct policy_now now, struct slot *s, const struct policy_want *w);
/* What came of mail given to it; for people. */
void host_noted(struct host *h, ms_t mono, bool bad);
struct tally host_tally(const struct host *h, ms_t mono);
