/* When mail that was not delivered is given up, and when its sender is told that it takes long. Called
 * by intake.c for what is read and what waits, and by park.c for what waits in the queue alone; on
 * the dispatcher's thread. */
#include "lifetime.h"

/* The attempt at the end: who was not tried since it was due, for a stop or a hold of ours, is
 * tried once more before it is given up. It may have to wait for its turn, but not for ever. */
#define LATE	  60000	   /* ms behind its time that are nothing special */
#define GRACE_MIN 1000	   /* ms */
#define GRACE_MAX 14400000 /* ms */
#define LIFE_PART 8	   /* of a message's life; both are at most that */
#define AGAIN	  60000	   /* ms; what should be over already is looked at as often */

static bool attempt_owed(const struct message *m, const struct item *i, ms_t wall)
{
	ms_t part = (m->expires - m->arrived) / LIFE_PART, late = part < LATE ? part : LATE;

	if (i->last_attempt >= i->old_due)
		return false;
	/* due after its end: the operator released it, or wanted it to be tried */
	return !i->last_attempt || i->old_due > m->expires || wall - i->old_due > late;
}

/* Wall; as it stands at this time. */
static ms_t end_of(
	const struct dispatch *d, const struct message *m, const struct item *i, ms_t wall)
{
	ms_t grace = (m->expires - m->arrived) / LIFE_PART, from = m->expires;

	if (!attempt_owed(m, i, wall))
		return m->expires;
	if (from < d->clock.up_since)
		from = d->clock.up_since;
	if (from < i->old_due)
		from = i->old_due;
	return from + (grace < GRACE_MIN ? GRACE_MIN : grace > GRACE_MAX ? GRACE_MAX : grace);
}

bool lifetime_over(const struct dispatch *d, const struct message *m, const struct item *i)
{
	ms_t wall = loop_wall(d->loop);

	return wall >= m->expires && wall >= end_of(d, m, i, wall);
}

static ms_t notice_after(const struct dispatch *d, const struct message *m)
{
	return class_notice(d->params, class_of(d, m));
}

static bool told_of_delay(const struct dispatch *d, const struct message *m, const struct item *i)
{
	return !notice_after(d, m) || (i->flags & RCPT_STATE_DELAY_SENT) ||
	       !dsn_wanted(m, i->recipient, DSN_DELAYED);
}

bool lifetime_notice(const struct dispatch *d, const struct message *m, const struct item *i)
{
	ms_t wall = loop_wall(d->loop);

	return wall < m->expires && wall - m->arrived >= notice_after(d, m) &&
	       !told_of_delay(d, m, i);
}

static ms_t to_mono(const struct dispatch *d, ms_t wall)
{
	ms_t left = wall - loop_wall(d->loop);

	return loop_mono(d->loop) + (left > 0 ? left : AGAIN);
}

ms_t lifetime_look(const struct dispatch *d, const struct message *m, const struct item *i)
{
	ms_t wall = loop_wall(d->loop), notice = m->arrived + notice_after(d, m);
	ms_t at = end_of(d, m, i, wall > m->expires ? wall : m->expires);

	if (!told_of_delay(d, m, i) && notice > wall && notice < at)
		at = notice;
	return to_mono(d, at);
}

ms_t lifetime_look_fresh(const struct dispatch *d, const struct message *m)
{
	const struct item i = { .recipient = &m->recipients[0], .old_due = m->first_due };

	return lifetime_look(d, m, &i);
}
