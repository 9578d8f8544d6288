/* A new configuration: what is open and what waits goes on under the new numbers of providers,
 * sources and pools. */
#include <string.h>

#include "dispatcher.h"
#include "own.h"

static void forget_sources(struct work *w)
{
	w->tried.n = 0;
	w->tried.prefer = 0;
}

static void forget_numbers(struct dispatch *d)
{
	struct domain *m, *next;

	HASH_ITER (hh, d->domains, m, next) {
		route_drop(d, m);
		for (struct flow *f = m->flows; f; f = f->next) {
			for (struct list *l = f->ready.next; l != &f->ready; l = l->next)
				forget_sources(container(l, struct work, in_flow));
			flow_wait_over(d, f);
			if (f->nready)
				flow_ask(d, f);
		}
	}
	for (uint32_t i = 0; i < d->connections_cap; i++) {
		struct connection *c = d->connections[i];
		struct policy_slot_info info;

		if (!c)
			continue;
		policy_slot(d->policy, c->slot, &info);
		c->provider = info.provider < d->params->nproviders ? info.provider
								    : d->params->nproviders - 1;
		c->source = info.source;
		c->retire = true;
		for (unsigned k = 0; k < c->nrunning; k++)
			forget_sources(c->running[k]);
		connection_sort(d, c);
	}
	hosts_retire(d);
}

int dispatch_reload(
	struct dispatch *d, const struct policy_params *policy, struct classifier *rules)
{
	struct tls_context **tls = NULL;
	struct own *own = NULL;
	unsigned before = d->params->nproviders;
	char error[256] = "";
	int r = setup_tls(&tls, policy, error, sizeof(error));

	if (r) {
		log_event(d->log, LOG_ERR, "reload-failed", "%s", error[0] ? error : strerror(-r));
		return r;
	}
	r = own_renew(&own, d->own, policy);
	if (!r)
		r = policy_reload(d->policy, policy);
	if (r) {
		own_free(own);
		setup_tls_free(tls, policy->nproviders);
		return r;
	}
	own_free(d->own);
	d->own = own;
	setup_tls_free(d->tls, before);
	d->tls = tls;
	d->params = policy;
	d->rules = rules;
	r = pools_bind(d);
	forget_numbers(d);
	backlog_reset(d);   /* begun with the old numbers */
	d->relieved = true; /* what waits may find what it waits for */
	return r;
}
