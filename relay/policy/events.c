/* What happened, for the log: a list that the caller takes after each turn. Bounded: beyond it events
 * are counted as lost. */
#include <string.h>

#include "events.h"
#include "health.h"
#include "policy_impl.h"

const char *policy_event_name(enum policy_event_kind k)
{
	static const char *const names[] = {
#define X(name, text) text,
		POLICY_EVENTS(X)
#undef X
	};

	return names[k];
}

/* Never NULL: what there is no room for is written into the last one, and counted. */
struct policy_event *event_add(struct policy *p, enum policy_event_kind kind, struct policy_now now)
{
	struct policy_event *e;

	if (p->events.n < EVENTS_MAX) {
		e = &p->events.all[p->events.n++];
	} else {
		e = &p->events.all[EVENTS_MAX - 1];
		p->events.lost++;
	}
	memset(e, 0, sizeof(*e));
	e->kind = kind;
	e->wall = now.wall;
	return e;
}

void policy_events(struct policy *p, void (*fn)(void *arg, const struct policy_event *e), void *arg)
{
	for (unsigned i = 0; i < p->events.n; i++)
		fn(arg, &p->events.all[i]);
	p->events.n = 0;
}

void count_change(struct policy *p, unsigned provider, enum cause c, bool rests)
{
	struct provider_state *v = &p->providers[provider];

	++*(rests ? &v->changes[c].rests : &v->changes[c].returns);
}

bool policy_urgent(struct policy *p)
{
	bool r = p->urgent;

	p->urgent = false;
	return r;
}
