/* A new configuration: what is open and what waits goes on under the new numbers of providers,
 * sources and pools. Called by whoever reloads: dispatch_change_init on its thread,
 * dispatch_reload on the dispatcher's.
 *
 * Everything that can fail comes first (change_init, pools_reserve, policy_reload), then it is
 * adopted in steps that cannot. */
#include <string.h>

#include "backlog.h"
#include "candidate.h"
#include "clock_step.h"
#include "flow.h"
#include "own.h"
#include "party.h"
#include "pool.h"
#include "setup.h"

static void forget_sources(struct work *w)
{
	w->match.tried.n = 0;
	w->match.tried.prefer = 0;
}

static void forget_numbers(struct dispatch *d)
{
	struct domain *m, *next;

	HASH_ITER (hh, d->domains, m, next) {
		route_drop(d, m);
		for (struct flow *f = m->flows; f; f = f->next) {
			for (struct list *l = f->match.ready.next; l != &f->match.ready;
				l = l->next)
				forget_sources(container(l, struct work, match.in_flow));
			match_rank(&d->match, &f->match, party_rank(f->party));
			flow_wait_over(d, f);
			if (f->match.nready)
				flow_ask(d, f);
		}
	}
	for (uint32_t i = 0; i < d->table.cap; i++) {
		struct connection *c = d->table.all[i];
		struct policy_slot_info info;

		if (!c)
			continue;
		policy_slot(d->policy, c->match.slot, &info);
		c->match.provider = info.provider < d->params->nproviders
					    ? info.provider
					    : d->params->nproviders - 1;
		c->match.source = info.source;
		c->match.retire = true;
		for (unsigned k = 0; k < c->match.nrunning; k++)
			forget_sources(c->running[k]);
		match_sort(&d->match, now_of(d), &c->match);
	}
	hosts_retire(d);
}

int dispatch_change_init(struct dispatch_change *c, const struct dispatch_params *p,
	const struct policy_params *policy, struct classifier *rules, char *error, size_t error_max)
{
	*c = (struct dispatch_change){
		.p = p, .policy = policy, .rules = rules, .ntls = policy->nproviders
	};
	return setup_tls(&c->tls, policy, error, error_max);
}

void dispatch_change_deinit(struct dispatch_change *c)
{
	setup_tls_free(c->tls, c->ntls);
	*c = (struct dispatch_change){ 0 };
}

/* Those that can change while running; the others were given to threads and tables at the start. */
static void adopt_params(struct dispatch *d, const struct dispatch_params *p)
{
	d->p.hostname = p->hostname;
	d->p.postmaster = p->postmaster;
	d->p.transcript_memory = p->transcript_memory;
	d->p.transcript_disk = p->transcript_disk;
	if (p->window)
		d->p.window = p->window;
	if (p->work_max)
		d->p.work_max = p->work_max;
	if (p->drain_deadline)
		d->p.drain_deadline = p->drain_deadline;
}

static void adopt(struct dispatch *d, struct dispatch_change *c, struct own *own, bool **has)
{
	struct tls_context **before = d->tls;
	unsigned nbefore = d->params->nproviders;

	own_free(d->own);
	d->own = own;
	d->tls = c->tls;
	d->params = d->match.params = c->policy;
	d->rules = c->rules;
	c->tls = before;
	c->ntls = nbefore;
	adopt_params(d, c->p);
	due_longest_set(d);
	pools_adopt(d, has);
	parties_adopt(d);
	forget_numbers(d);
	backlog_reset(d);   /* begun with the old numbers */
	d->relieved = true; /* what waits may find what it waits for */
}

/* First all that can fail, the policy last, which takes over all or nothing; behind it nothing can.
 */
int dispatch_reload(struct dispatch *d, struct dispatch_change *c)
{
	struct own *own = NULL;
	bool **has = NULL;
	int r = own_new(&own, c->p->hostname, c->p->listening, c->p->nlistening, c->policy);

	if (!r)
		r = pools_reserve(d, c->policy->nsources, &has);
	if (!r)
		r = policy_reload(d->policy, c->policy);
	if (!r) {
		adopt(d, c, own, has);
		return 0;
	}
	own_free(own);
	pools_unreserve(d, has);
	return r;
}
