/* How many connections a lane may have at present: it starts small, grows by one after some
 * deliveries, and is halved by a throttle. Called by cause.c and cluster.c, asked by caps.c.
 * Pure. */
#include "window.h"
#include "policy_impl.h"

#define START	     2u
#define GROW_AFTER   6u	  /* deliveries */
#define SLOW_AT_MOST 5000 /* ms between steps of a slow start */
#define ONE_THROTTLE 1000 /* ms; refusals of one moment halve once */

uint32_t window_start(uint32_t cap)
{
	return cap && cap < START ? cap : START;
}

void window_good(struct policy *p, struct lane *l, uint32_t n, ms_t mono)
{
	uint32_t cap = p->params->providers[l->cluster->provider].connections_per_lane;

	if (cap && l->window >= cap) {
		l->slow = false;
		return;
	}
	l->good += n;
	if (l->good < GROW_AFTER || (l->slow && mono - l->grown < SLOW_AT_MOST))
		return;
	/* growth that is not used proves nothing */
	if (l->uses.in_use < l->window && l->window >= START)
		return;
	l->window++;
	if (l->window >= l->unshrunk)
		l->unshrunk = 0;
	l->good = 0;
	l->grown = mono;
	l->window_dirty = true;
}

void window_throttled(struct lane *l, ms_t mono, bool at_connect)
{
	l->good = 0;
	if (l->shrunk && mono - l->shrunk < ONE_THROTTLE)
		return;
	l->shrunk = mono;
	l->window_dirty = true;
	if (at_connect)
		l->unshrunk = 0; /* it is connections that are counted */
	else if (l->window > l->unshrunk)
		l->unshrunk = l->window;
	if (at_connect && l->uses.up < l->window) /* those that are up are no more than it allows */
		l->window = l->uses.up;
	else
		l->window /= 2;
	if (!l->window)
		l->window = 1;
}

void window_excuse(struct lane *l)
{
	if (l->slow || l->unshrunk <= l->window)
		return;
	l->window = l->unshrunk;
	l->unshrunk = 0;
	l->window_dirty = true;
}

void window_slow_start(struct lane *l, ms_t mono)
{
	l->unshrunk = 0;
	l->window = 1;
	l->good = 0;
	l->slow = true;
	l->grown = mono;
	l->window_dirty = true;
}
