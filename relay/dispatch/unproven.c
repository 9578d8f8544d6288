/* Connections to hosts that nobody has seen well: which of them have a place, and for how long
 * (relay/sched/opening.c says so). Called by assign.c and connection.c when one is opened, is up or
 * down, and by dispatch.c with the outcome of a transaction; on the dispatcher's thread.
 *
 * A first try that was cut short by us is no verdict on the host: the policy prefers others for
 * some seconds, and the mail waits for a place of the slow lane, no retry used up. */
#include "unproven.h"

#define AT_ONCE 4u /* that look when a place is left */

static struct opening_ask ask_of(const struct flow *f, const struct opening_party *party)
{
	const struct domain *m = f->domain;
	struct opening_ask a = { .party = party, .since = m->asked_at };
	unsigned n = 0, silent = 0, busy = 0;

	for (unsigned i = 0; i < m->nhosts; i++) {
		const struct host *h = m->candidates[i].host;

		if (m->hosts[i].failed)
			continue;
		n++;
		a.proven |= h->proven;
		silent += h->silent;
		busy += h->places > 0;
	}
	a.silent = n && silent == n;
	a.busy = n && busy == n;
	return a;
}

bool unproven_room(struct dispatch *d, struct flow *f, const struct opening_party *party)
{
	struct opening_ask a = ask_of(f, party);

	if (opening_room(&d->opening, &a, loop_mono(d->loop)))
		return true;
	opening_wait(&d->opening, &a, &f->in_opening);
	return false;
}

void unproven_begin(struct dispatch *d, struct connection *c, struct opening_party *party,
	struct client_timeouts *t)
{
	ms_t most;

	if (c->host->proven)
		return;
	opening_begin(&d->opening, &c->place, party, &c->host->addr, loop_mono(d->loop));
	c->host->places++;
	most = c->place.patience;
	if (!most)
		return;
	t->connect = t->connect < most ? t->connect : most;
	t->banner = t->banner < most ? t->banner : most;
	t->ehlo = t->ehlo < most ? t->ehlo : most;
	/* the answer to a command may hang on others; nothing is in doubt before content */
	most = most > OPENING_PATIENT ? most : OPENING_PATIENT;
	t->mail = t->mail < most ? t->mail : most;
	t->rcpt = t->rcpt < most ? t->rcpt : most;
}

static void look(struct dispatch *d)
{
	struct list *l;

	for (unsigned n = 0; n < AT_ONCE && (l = opening_next(&d->opening)); n++)
		waiter_over(&d->match.places, &container(l, struct flow, in_opening)->match.waiter);
}

static void leave(struct dispatch *d, struct connection *c, enum opening_end how)
{
	if (!c->place.held)
		return;
	opening_end(&d->opening, &c->place, how);
	c->host->places--;
	look(d);
}

static void prove(struct dispatch *d, struct connection *c)
{
	c->host->proven = true;
	c->host->silent = false;
	leave(d, c, OPENING_WELL);
	match_freed(&d->match, &c->host->match, NULL, 0);
}

void unproven_up(struct dispatch *d, struct connection *c)
{
	opening_up(&d->opening, &c->place, loop_mono(d->loop));
	if (c->host->proven)
		leave(d, c, OPENING_WELL);
}

void unproven_result(struct dispatch *d, struct connection *c, const struct outbound_transact *t)
{
	if (!c->place.held)
		return;
	for (uint32_t i = 0; i < t->n; i++) {
		enum rcpt_outcome o = t->results[i].outcome;

		if (o == RCPT_DELIVERED || o == RCPT_REPLIED) {
			prove(d, c);
			return;
		}
	}
}

bool unproven_down(struct dispatch *d, struct connection *c, int error)
{
	bool cut = c->place.held && c->match.state == MATCH_OPENING && c->place.patience &&
		   error == -ETIMEDOUT;

	if (c->place.held && error == -ETIMEDOUT)
		c->host->silent = true;
	leave(d, c, error == -ETIMEDOUT ? OPENING_IS_SILENT : OPENING_OTHER);
	return cut;
}

void unproven_gone(struct dispatch *d, struct connection *c)
{
	leave(d, c, OPENING_OTHER);
}

void unproven_known(const struct dispatch *d, struct host *h)
{
	h->proven = opening_proven(&d->opening, &h->addr);
	h->silent = opening_silent(&d->opening, &h->addr) > 0;
}
