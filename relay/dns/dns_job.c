/* A look-up of one domain, and those who wait for it. Called by dns.c, and by dns_host.c when a host's
 * addresses are there; on the resolver's thread.
 *
 *     job_start ── MX is asked for ──► on_mx ── hosts are asked for ──► host_arrived ──► finish
 *                └── MX is still known ────────────┘      (the last of them)
 *
 * A renewal, which has an old route, is in d->slow until it ends or has taken STALE_WAIT: then all who
 * wait are served with the old route, and who comes later is, too. finish answers all who still wait
 * and frees the job; its domain and hosts are pinned in the cache until then. */
#include "dns_job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dns_budget.h"
#include "postern/list.h"

#include <utlist.h>

#define STALE_WAIT 200 /* ms that a renewal may take before the old route serves */

struct waiter {
	struct waiter *next;
	dns_done *done;
	void *arg;
};

void dns_answer(struct dns *d, dns_done *done, void *arg, struct dns_route *r)
{
	done(arg, r ? r : dns_route_ref(d->no_memory));
}

bool route_stale_serves(const struct dns *d, const struct dns_domain *dom)
{
	return dom->route && dom->route->status == DNS_OK && dom->mx_good &&
	       loop_mono(d->loop) - dom->route->expires < d->params.keep_addresses;
}

static void slow_end(struct dns_job *job)
{
	struct dns *d = job->dns;

	if (!job->renews || job->late)
		return;
	DL_DELETE(d->slow, job);
	if (!d->slow)
		loop_timer_disarm(d->loop, &d->slow_timer);
}

/* Who waits for a renewal that takes long is served with the old route; the renewal goes on. */
void jobs_slow(void *arg)
{
	struct dns *d = arg;
	ms_t now = loop_mono(d->loop);

	while (d->slow && now - d->slow->began >= STALE_WAIT) {
		struct dns_job *job = d->slow;
		struct dns_route *r = dns_route_ref(job->domain->route);
		struct waiter *w = job->first;

		DL_DELETE(d->slow, job);
		job->late = true;
		job->first = NULL;
		job->last = &job->first;
		while (w) {
			struct waiter *next = w->next;

			d->waiters--;
			dns_answer(d, w->done, w->arg, dns_route_ref(r));
			free(w);
			w = next;
		}
		dns_route_unref(r);
	}
	if (d->slow)
		loop_timer_arm(d->loop, &d->slow_timer, STALE_WAIT);
}

/* Who did not answer is left alone for a while; who has nothing to remember need not be in the
 * cache for it. */
static void note_outcome(struct dns_job *job, const struct dns_route *r)
{
	struct dns *d = job->dns;
	struct dns_domain *dom = job->domain;
	struct dns_budget *b = dns_channel_budget(d->channel);
	bool silent = job->silent;

	if (d->closing || !r)
		return;
	if (r->status != DNS_TEMPORARY) {
		budget_note_heard(b, dom->e.name);
		return;
	}
	for (unsigned i = 0; i < job->nhosts; i++) {
		silent |= job->hosts[i]->silent;
		if (job->hosts[i]->n == 0 && job->hosts[i]->e.pins == 0)
			cache_age(&d->cache, &job->hosts[i]->e);
	}
	if (silent)
		budget_note_silent(b, dom->e.name, dns_temporary_ttl(d), loop_mono(d->loop));
	if (!dom->mx_good)
		cache_age(&d->cache, &dom->e);
}

/* Answers all who wait. The domain may be dropped from the table inside their calls. */
static void finish(struct dns_job *job, struct dns_route *r)
{
	struct dns *d = job->dns;
	struct dns_domain *dom = job->domain;
	struct waiter *w = job->first, *next;

	slow_end(job);
	dns_route_unref(dom->route);
	dom->route = dns_route_ref(r);
	dom->job = NULL;
	dom->e.pins--;
	for (unsigned i = 0; i < job->nhosts; i++)
		job->hosts[i]->e.pins--;
	note_outcome(job, r);
	free(job);
	for (; w; w = next) {
		next = w->next;
		d->waiters--;
		dns_answer(d, w->done, w->arg, dns_route_ref(r));
		free(w);
	}
	dns_route_unref(r);
}

void host_arrived(struct dns_job *job)
{
	if (--job->pending == 0)
		finish(job, route_build(job));
}

const char *dns_host_name(const struct dns_domain *dom, unsigned i)
{
	return dom->implicit ? dom->e.name : dom->mx[i].name;
}

static void ask_hosts(struct dns_job *job)
{
	struct dns *d = job->dns;
	struct dns_domain *dom = job->domain;
	unsigned n = dom->implicit ? 1 : dom->nmx;

	for (unsigned i = 0; i < n; i++) {
		struct dns_host_entry *h = (struct dns_host_entry *)cache_get(
			&d->cache, ENTRY_HOST, dns_host_name(dom, i));

		if (!h) {
			finish(job, NULL);
			return;
		}
		h->e.pins++;
		job->hosts[job->nhosts++] = h;
	}
	job->pending = n + 1;
	for (unsigned i = 0; i < n; i++) {
		if (host_resolve(d, job->hosts[i], &job->waits[i], job))
			job->pending--;
	}
	host_arrived(job);
}

/* 0, or the status of a route without hosts. */
static enum dns_status keep_mx(struct dns_domain *dom, const struct dns_answer *a)
{
	unsigned n = 0;

	free(dom->mx);
	dom->mx = NULL;
	dom->nmx = 0;
	/* RFC 7505 section 3: a null MX stands alone */
	if (a->nmx == 1 && !a->mx[0].name[0] && a->skipped == 0)
		return DNS_NULL_MX;
	dom->implicit = a->nmx == 0 && a->skipped == 0;
	if (dom->implicit)
		return DNS_OK;
	dom->mx = calloc(a->nmx ? a->nmx : 1, sizeof(*dom->mx));
	if (!dom->mx)
		return DNS_TEMPORARY;
	for (unsigned i = 0; i < a->nmx; i++) {
		if (dns_name_valid(slice_of(a->mx[i].name)))
			dom->mx[n++] = a->mx[i];
	}
	dom->nmx = n;
	return n > 0 ? DNS_OK : DNS_NO_ADDRESS;
}

static void on_mx(
	struct dns_query *q, enum dns_status status, const struct dns_answer *a, const char *detail)
{
	struct dns_job *job = container(q, struct dns_job, q);
	struct dns *d = job->dns;
	struct dns_domain *dom = job->domain;
	ms_t now = loop_mono(d->loop), negative = now + d->params.negative_ttl;
	enum dns_status s;

	job->silent = q->silent;
	if ((status == DNS_TEMPORARY || status == DNS_BAD) && dom->mx_good &&
		now - dom->mx_good < d->params.keep_addresses) {
		/* what was right minutes ago serves until the name server is well again */
		dom->mx_expires = now + dns_temporary_ttl(d);
		ask_hosts(job);
		return;
	}
	if (status == DNS_NXDOMAIN || status == DNS_OK)
		dom->mx_good = 0;
	if (status == DNS_NXDOMAIN) {
		finish(job, route_without_hosts(
				    DNS_NXDOMAIN, negative, "no such domain:", dom->e.name));
		return;
	}
	if (status != DNS_OK) {
		finish(job, route_without_hosts(status, now + dns_temporary_ttl(d), detail, NULL));
		return;
	}
	dom->mx_expires = now + (a->nmx ? dns_clamp_ttl(d, a->ttl) : d->params.negative_ttl);
	s = keep_mx(dom, a);
	if (s == DNS_OK) {
		dom->mx_good = dom->mx_expires;
		ask_hosts(job);
		return;
	}
	if (s == DNS_NULL_MX)
		finish(job, route_without_hosts(
				    s, dom->mx_expires, "takes no mail (null MX):", dom->e.name));
	else if (s == DNS_NO_ADDRESS)
		finish(job, route_without_hosts(s, dom->mx_expires,
				    "no MX of it is a host name:", dom->e.name));
	else
		finish(job, NULL);
}

bool job_join(struct dns *d, struct dns_job *job, dns_done *done, void *arg)
{
	struct waiter *w;

	if (d->waiters >= d->params.waiting_max)
		return false;
	w = malloc(sizeof(*w));
	if (!w)
		return false;
	*w = (struct waiter){ .done = done, .arg = arg };
	*job->last = w;
	job->last = &w->next;
	d->waiters++;
	return true;
}

static struct dns_job *job_new(struct dns *d, struct dns_domain *dom)
{
	struct dns_job *job;

	if (dns_channel_stats(d->channel)->waiting >= d->params.waiting_max)
		return NULL;
	job = calloc(1, sizeof(*job));
	if (!job)
		return NULL;
	job->dns = d;
	job->domain = dom;
	job->last = &job->first;
	return job;
}

struct dns_route *route_busy(const struct dns *d)
{
	return route_without_hosts(DNS_TEMPORARY, loop_mono(d->loop) + dns_temporary_ttl(d),
		d->closing ? "shutting down" : "too many look-ups at once", NULL);
}

void job_start(struct dns *d, struct dns_domain *dom, dns_done *done, void *arg)
{
	struct dns_job *job = job_new(d, dom);

	if (!job || !job_join(d, job, done, arg)) {
		free(job);
		dns_answer(d, done, arg, route_busy(d));
		return;
	}
	dom->job = job;
	dom->e.pins++;
	job->began = loop_mono(d->loop);
	job->renews = route_stale_serves(d, dom);
	if (job->renews) {
		if (!d->slow)
			loop_timer_arm(d->loop, &d->slow_timer, STALE_WAIT);
		DL_APPEND(d->slow, job);
	}
	/* only what a route can be built from is kept apart from the route */
	if (dom->mx_expires > loop_mono(d->loop) && (dom->implicit || dom->nmx > 0))
		ask_hosts(job);
	else
		dns_query_start(
			d->channel, &job->q, dom->e.name, DNS_TYPE_MX, dom->mx_good != 0, on_mx);
}
