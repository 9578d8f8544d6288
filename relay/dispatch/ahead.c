/* Looking ahead: a domain's due mail is read in windows, oldest first, and a sender with thousands
 * there fills one after the other. Others' mail behind it in the queue (after a restart, or a
 * retry) is looked for, and taken into memory, before the window gets there.
 *
 * For a domain whose due mail has no room in memory the due index is gone through behind the
 * window, leaving out the parties that have much in it. Each entry is looked at once: the place
 * that was reached is remembered, and what comes due later lies behind it. Bounds: one reading at a
 * time of all domains, AHEAD_READ entries every AHEAD_PAUSE; in memory, what the domain keeps of
 * its window for others and one reading more. A domain's mail that is parked (park.c), or has
 * no route, is not looked for: it could not go.
 *
 * A domain comes into the list in domain.c, when it has no room. Called by intake.c (taken) and at
 * the end of a turn, on the dispatcher's thread. */
#include "ahead.h"

#include "domain.h"
#include "fair.h"
#include "party.h"
#include "reader.h"

#define AHEAD_READ  100u
#define AHEAD_PAUSE 20 /* ms */
#define MUCH_PART   8u /* of a window */

ms_t ahead_next(const struct dispatch *d)
{
	return list_empty(&d->reads.ahead) || d->reads.ahead_reading ? 0 : d->reads.ahead_at;
}

/* Parties with a good part of the window; how many, each with a reference. */
static unsigned with_much(const struct dispatch *d, const struct domain *m, struct party **ret)
{
	unsigned n = 0;

	for (const struct flow *f = m->flows; f && n < WITHOUT_MAX; f = f->next)
		if (f->party && !f->diverted && f->works > d->p.window / MUCH_PART)
			ret[n++] = party_ref(f->party);
	return n;
}

static bool look(struct dispatch *d, struct domain *m)
{
	struct party *many[WITHOUT_MAX];
	uint32_t limit = AHEAD_READ, room;
	unsigned n;

	if (m->feed.state != FEED_FULL || m->feed.next > loop_wall(d->loop) || domain_probing(m) ||
		m->in_memory - m->gathered >= fair_window_end(d))
		return false;
	room = d->p.work_max - d->p.work_max / 16;
	if (d->held.work + d->reads.reserved >= room)
		return false;
	room -= d->held.work + d->reads.reserved;
	if (limit > room)
		limit = room;
	n = with_much(d, m, many);
	if (n && reader_ask_ahead(d, m, limit, many, n))
		return true;
	while (n)
		party_unref(d, many[--n]);
	return false;
}

void ahead_turn(struct dispatch *d)
{
	ms_t now = loop_mono(d->loop);

	if (d->reads.ahead_reading || d->match.draining || d->reads.ahead_at > now)
		return;
	while (!list_empty(&d->reads.ahead) && reader_room(d->reads.reader)) {
		struct domain *m = container(d->reads.ahead.next, struct domain, in_ahead);

		/* if not now, then with the next that leaves memory: domain_touch */
		list_del(&m->in_ahead);
		if (look(d, m)) {
			d->reads.ahead_reading = true;
			break;
		}
	}
	d->reads.ahead_at = now + AHEAD_PAUSE;
}

void ahead_taken(struct dispatch *d)
{
	d->reads.ahead_reading = false;
}
