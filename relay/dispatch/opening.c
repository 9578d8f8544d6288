/* Connections that are being opened to hosts that nobody has seen well: a share of all outbound
 * places. A host may accept and never greet, and a thousand of them would hold every place for
 * minutes each. Called by assign.c, connection.c and candidate.c, on the dispatcher's thread.
 *
 * A host is proven once it has greeted us and answered EHLO; that is remembered by address in a
 * table of fixed size. Unproven ones have half of the places while they are opening, the last of
 * them for domains whose route has just come, given away one by one. While many are opening they
 * get less time for connection, greeting and EHLO. */
#include "opening.h"

#include <stdlib.h>

#define SHARE	    2u	   /* part of outbound_max */
#define KEPT	    4u	   /* part of that, for who has just come */
#define BURST	    4u	   /* part of those, at once */
#define JUST_COME   500	   /* ms */
#define SHORT	    5000   /* ms; time-outs while many are opening */
#define PROVEN_MAX  16384u /* addresses */
#define PROVEN_WAYS 4u

static uint32_t most(const struct dispatch *d)
{
	uint32_t n = d->p.outbound_max / SHARE;

	return !d->p.outbound_max ? UINT32_MAX : n ? n : 1;
}

/* ---- who was seen well ---- */

static struct addr *bucket(const struct dispatch *d, const struct addr *a)
{
	return &d->opening.proven[addr_hash(a) % (PROVEN_MAX / PROVEN_WAYS) * PROVEN_WAYS];
}

bool opening_proven(const struct dispatch *d, const struct addr *a)
{
	for (unsigned i = 0; d->opening.proven && i < PROVEN_WAYS; i++)
		if (addr_eq(&bucket(d, a)[i], a))
			return true;
	return false;
}

void opening_prove(struct dispatch *d, struct host *h)
{
	struct addr *b;

	if (h->proven)
		return;
	h->proven = true;
	if (!d->opening.proven)
		d->opening.proven = calloc(PROVEN_MAX, sizeof(*d->opening.proven));
	if (!d->opening.proven || opening_proven(d, &h->addr))
		return;
	b = bucket(d, &h->addr);
	for (unsigned i = PROVEN_WAYS - 1; i; i--) /* the oldest goes */
		b[i] = b[i - 1];
	b[0] = h->addr;
}

/* ---- places ---- */

static bool any_proven(const struct domain *m)
{
	for (unsigned i = 0; i < m->nhosts; i++)
		if (!m->hosts[i].failed && m->candidates[i].host->proven)
			return true;
	return false;
}

/* The last places, of which few are given away at once and the others slowly; whoever comes up well
 * gives his back at once. So a flood has few of them, and who comes after it finds one. */
static bool kept_left(struct dispatch *d, uint32_t kept)
{
	ms_t now = loop_mono(d->loop), each = SHORT / (ms_t)(kept ? kept : 1);

	while (d->opening.kept_used && now - d->opening.kept_at >= each) {
		d->opening.kept_used--;
		d->opening.kept_at += each;
	}
	if (!d->opening.kept_used)
		d->opening.kept_at = now;
	return d->opening.kept_used < (kept + BURST - 1) / BURST;
}

bool opening_room(struct dispatch *d, const struct domain *m)
{
	uint32_t max = most(d), kept = max / KEPT;

	if (d->opening.unproven < max - kept || any_proven(m))
		return true;
	return d->opening.unproven < max && loop_mono(d->loop) - m->asked_at < JUST_COME &&
	       kept_left(d, kept);
}

void opening_begin(struct dispatch *d, struct connection *c, struct client_timeouts *t)
{
	uint32_t max = most(d);

	if (c->host->proven)
		return;
	if (d->opening.unproven >= max / 2) {
		t->connect = t->connect < SHORT ? t->connect : SHORT;
		t->banner = t->banner < SHORT ? t->banner : SHORT;
		t->ehlo = t->ehlo < SHORT ? t->ehlo : SHORT;
	}
	c->kept = d->opening.unproven >= max - max / KEPT;
	d->opening.kept_used += c->kept;
	c->unproven = true;
	d->opening.unproven++;
}

void opening_end(struct dispatch *d, struct connection *c, bool well)
{
	if (well && c->kept && d->opening.kept_used)
		d->opening.kept_used--;
	d->opening.unproven -= c->unproven;
	c->unproven = c->kept = false;
}
