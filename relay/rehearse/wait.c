/* Flows that wait, and those that look for connections: what waits too long expires, and who looks is
 * offered to the scheduler (relay/sched/match.c), which says what it gets. Called by assign.c,
 * link.c and by the events of rehearse.c. */
#include "state.h"

#define AGE_EVERY  60000 /* ms; what has expired is looked for as often in a flow */
#define ASK_A_TURN 512u	 /* flows that look, one after the other */

void mail_wait(struct rehearsal *r, struct flow *f, const struct policy_choice *why)
{
	waiter_wait(&r->match.places, &f->match.waiter, why, false, policy_time(r).mono);
}

static void age_one(struct rehearsal *r, struct flow *f, struct letter *g)
{
	match_remove(&r->match, &f->match, &g->match);
	end_expire(r, g);
}

/* Those that were tried before stand among younger ones. */
static void age_astray(struct rehearsal *r, struct flow *f)
{
	struct list *next;
	ms_t latest = 0;

	f->astray = 0;
	for (struct list *l = f->match.ready.next; l != &f->match.ready; l = next) {
		struct letter *g = letter_of(l);

		next = l->next;
		if (end_expired(r, g)) {
			age_one(r, f, g);
			continue;
		}
		if (g->arrived < latest)
			is_astray(f, g);
		else
			latest = g->arrived;
	}
}

/* What has waited too long. The oldest come first but for those astray: a long queue is walked only
 * when one of these expires. */
static void mail_age(struct rehearsal *r, struct flow *f)
{
	if (r->now - f->aged < AGE_EVERY)
		return; /* nor is a long queue walked at each turn */
	f->aged = r->now;
	while (f->match.nready && end_expired(r, letter_of(f->match.ready.next)))
		age_one(r, f, letter_of(f->match.ready.next));
	if (!f->match.nready)
		f->astray = 0;
	else if (f->astray && r->now - f->astray >= class_expire(r->params, f->class))
		age_astray(r, f);
}

static struct flow *waiting(struct waiter *w)
{
	return flow_of(container(w, struct match_flow, waiter));
}

void mail_due(struct rehearsal *r)
{
	struct waiter *w;

	while ((w = places_due(&r->match.places, policy_time(r).mono))) {
		mail_age(r, waiting(w));
		waiter_over(&r->match.places, w);
	}
}

void mail_asked(struct rehearsal *r)
{
	struct waiter *w;

	for (unsigned n = 0; n < ASK_A_TURN && (w = places_asking(&r->match.places)); n++) {
		struct flow *f = waiting(w);

		mail_age(r, f);
		if (!f->match.nready || (w->waiting && hold_is_domains(w->reason)))
			continue;
		match_link(&r->match, policy_time(r), &f->match);
		match_look(&r->match, policy_time(r), &f->match);
	}
}
