/* Until relay/policy has its warm-up: nothing is ramped. To be removed with that. */
#include "postern/policy.h"

#define INTERIM __attribute__((weak))

INTERIM bool policy_warmup_wants(const struct policy *p)
{
	return false;
}
INTERIM void policy_save_warmup(struct policy *p, struct policy_now now,
	void (*put)(void *arg, struct slice key, struct slice value), void *arg, uint64_t *ticket)
{
	*ticket = 0;
}
INTERIM void policy_warmup_saved(
	struct policy *p, struct policy_now now, uint64_t ticket, bool saved)
{
}
INTERIM void policy_warmups(const struct policy *p, struct policy_now now,
	void (*fn)(void *arg, const struct policy_warmup_info *i), void *arg)
{
}
INTERIM void policy_warmup_backlog(
	struct policy *p, struct policy_now now, unsigned provider, unsigned pool, uint64_t waiting)
{
}
INTERIM void policy_reached(struct policy *p, uint32_t slot)
{
}
