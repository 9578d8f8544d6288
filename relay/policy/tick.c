/* What time alone changes: rests that end, alarms, ramps that turn a day, tables that are too
 * full. Called by the drivers once a second (policy_tick). Pure. */
#include "alarm.h"
#include "ban.h"
#include "clock_step.h"
#include "learn.h"
#include "operate.h"
#include "policy_impl.h"
#include "postern/must.h"
#include "recipient.h"
#include "sender_watch.h"
#include "slot.h"
#include "tenant.h"
#include "unknown.h"
#include "warmup.h"

#define SWEEP_EVERY 60000 /* ms */

void policy_tick(struct policy *p, struct policy_now now)
{
	policy_clock_tick(p, now);
	alarms_watch(p, now);
	warmup_tick(p, now);
	if (p->next_expiry && p->next_expiry <= now.wall)
		suspensions_expire(p, now);
	if (now.mono - p->swept < SWEEP_EVERY)
		return;
	p->swept = now.mono;
#ifdef POSTERN_CHECKS
	must(slots_counted(p));
#endif
	tenants_sweep(p, now);
	bans_sweep(p, now);
	senders_sweep(p, now.mono);
	recipients_sweep(p, now.mono);
	unknown_sweep(p, now);
	learned_sweep(p, now);
}
