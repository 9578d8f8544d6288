/* Waiting work that meets a finding of our own: no route, no host left, no source, a hold of the
 * policy's. It is deferred or bounced without an attempt. Called by route.c, host.c, assign.c and
 * aside.c, on the dispatcher's thread. */
#include "finding.h"

#include <stdio.h>

#include "candidate.h"
#include "flow.h"
#include "item.h"
#include "settle.h"
#include "sorting.h"

void finding_local(struct dispatch *d, struct work *w, const struct own_finding *f)
{
	struct sorting s = { .d = d, .message = w->message, .tried = { 0 }, .flow = w->flow };
	struct item *next;

	for (struct item *i = w->items; i; i = next) {
		char reply[640] = "";
		ms_t delay;

		next = i->next;
		i->next = NULL;
		i->work = NULL;
		i->waited = (uint8_t)f->reason;
		if (f->text) {
			snprintf(reply, sizeof(reply), "%s %s", f->status, f->text);
			sorting_remember(&s, i, reply, 0, VERDICT_TRANSIENT_OTHER);
		}
		if (f->end == FINDING_BOUNCES) {
			sorting_log(&s, i, EVENT_BOUNCED, NULL, NULL, NULL, reply, 0);
			sorting_bounce(&s, i, f->status, f->text);
			continue;
		}
		delay = policy_backoff(d->policy, class_of(d, w->message), i->attempts + 1u);
		sorting_log(&s, i, EVENT_DEFERRED, NULL, NULL, NULL,
			f->text ? reply : hold_reason_text(f->reason), loop_wall(d->loop) + delay);
		sorting_defer(&s, i, delay);
	}
	sorting_end(&s);
	work_free(w);
}

void finding_waits(struct dispatch *d, struct work *w, ms_t wait, enum hold_reason why)
{
	struct sorting s = { .d = d, .message = w->message, .flow = w->flow };
	struct item *next;

	for (struct item *i = w->items; i; i = next) {
		next = i->next;
		i->next = NULL;
		i->work = NULL;
		i->waited = (uint8_t)why;
		settle_defer(d, s.message, i, wait);
		sorting_settle(&s, i);
	}
	sorting_end(&s);
	work_free(w);
}

/* All that waits for this domain meets our own finding. */
void finding_domain(struct dispatch *d, struct domain *m, enum finding_end end, const char *status,
	const char *text)
{
	const struct own_finding finding = { end, status, text, HOLD_DNS };

	for (struct flow *f = m->flows; f; f = f->next)
		while (!list_empty(&f->match.ready)) {
			struct work *w = container(f->match.ready.next, struct work, match.in_flow);

			flow_remove(d, w);
			finding_local(d, w, &finding);
		}
}

void finding_no_host(struct dispatch *d, struct domain *m)
{
	char text[600];

	snprintf(text, sizeof(text), "No mail host of %s could be reached: %s", m->name,
		m->failure ? m->failure : "connection failed");
	finding_domain(d, m, FINDING_DEFERS, "4.4.1", text);
	route_clear_failures(m);
}
