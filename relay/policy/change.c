/* Something rests or is back: the event, the count, and the figures by which it was found. Called by
 * whatever finds it: cause.c, tenant.c, warmup_control.c, operate.c. */
#include <stdio.h>

#include "change.h"
#include "events.h"
#include "evidence.h"
#include "finding.h"
#include "health.h"
#include "params.h"
#include "policy_impl.h"

void event_health(struct policy *p, struct policy_now now, const struct cluster *c, unsigned source,
	unsigned subnet, const struct health *h, enum cause cause, const struct evidence *e,
	const char *domain)
{
	bool ill = sick(h);
	enum policy_event_kind kind = POLICY_EVENT_HEALTH;
	struct policy_event *v;

	if (cause == CAUSE_CLUSTER)
		kind = ill ? POLICY_EVENT_CLUSTER_DEFERS : POLICY_EVENT_CLUSTER_WELL;
	v = event_add(p, kind, now);
	p->health_changes++;
	v->alarm = kind == POLICY_EVENT_CLUSTER_DEFERS;
	v->over = !ill;
	if (c) {
		count_change(p, c->provider, cause, ill);
		snprintf(v->provider, sizeof(v->provider), "%.31s",
			p->params->providers[c->provider].name);
		snprintf(v->cluster, sizeof(v->cluster), "%s", c->key.name);
	}
	if (source != ~0u)
		snprintf(v->source, sizeof(v->source), "%.63s", p->params->sources[source].name);
	if (subnet != ~0u)
		path_subnet_text(p, subnet, v->subnet);
	if (domain)
		snprintf(v->domain, sizeof(v->domain), "%.255s", domain);
	snprintf(v->health, sizeof(v->health), "%s", ill ? "resting" : "healthy");
	snprintf(v->cause, sizeof(v->cause), "%s", ill ? cause_name(cause) : "");
	v->until = ill ? h->until : 0;
	evidence_decayed(e, now.mono, &v->good, &v->bad);
	if (ill)
		finding_note(p, now, c, source, subnet, cause, e, domain);
	snprintf(v->text, sizeof(v->text), "%s %s", cause_name(cause),
		ill ? "is put to rest" : "is back in service");
}
