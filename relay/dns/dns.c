/* The resolver's front: coalesces look-ups of a domain, follows RFC 5321 section 5.1 from MX to
 * addresses, and remembers the outcome. On the resolver's loop; called by resolver.c, or directly
 * by tests.
 *
 * asked → MX → addresses of all hosts at once → route (to all who asked) → kept until its time
 * runs out; then the old one serves while a new one is made, for as long as addresses are kept. */
#include "postern/dns.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dns_budget.h"
#include "dns_job.h"
#include "postern/must.h"

static void ask_or_leave_alone(struct dns *d, struct dns_domain *dom, dns_done *done, void *arg)
{
	const char *name = dom->e.name;
	ms_t until = budget_silent_until(dns_channel_budget(d->channel), name, loop_mono(d->loop));

	if (!until) {
		job_start(d, dom, done, arg);
	} else if (route_stale_serves(d, dom)) {
		dns_answer(d, done, arg, dns_route_ref(dom->route));
	} else {
		if (!dom->mx_good)
			cache_age(&d->cache, &dom->e);
		d->answers_cached++;
		dns_answer(d, done, arg,
			route_without_hosts(DNS_TEMPORARY, until,
				"no answer in time to earlier questions for", name));
	}
}

void dns_resolve(struct dns *d, const char *domain, dns_done *done, void *arg)
{
	ms_t now = loop_mono(d->loop);
	char name[DNS_NAME_MAX];
	struct dns_domain *dom;

	if (domain[0] == '[') {
		dns_answer(d, done, arg, route_literal(d, domain));
		return;
	}
	if (domain_to_ascii(slice_of(domain), name, sizeof(name))) {
		dns_answer(d, done, arg,
			route_without_hosts(DNS_NXDOMAIN, now + d->params.negative_ttl,
				"not a domain name:", domain));
		return;
	}
	dom = d->closing ? NULL : (struct dns_domain *)cache_get(&d->cache, ENTRY_DOMAIN, name);
	if (!dom) {
		dns_answer(d, done, arg, route_busy(d));
	} else if (dom->job && dom->job->late && route_stale_serves(d, dom)) {
		dns_answer(d, done, arg, dns_route_ref(dom->route));
	} else if (dom->job) {
		if (job_join(d, dom->job, done, arg))
			d->coalesced++;
		else
			dns_answer(d, done, arg, route_busy(d));
	} else if (dom->route && dom->route->expires > now) {
		d->answers_cached++;
		dns_answer(d, done, arg, dns_route_ref(dom->route));
	} else {
		ask_or_leave_alone(d, dom, done, arg);
	}
}

void dns_forget(struct dns *d, const char *domain)
{
	char name[DNS_NAME_MAX];
	struct dns_domain *dom;

	if (domain_to_ascii(slice_of(domain), name, sizeof(name)))
		return;
	budget_note_heard(dns_channel_budget(d->channel), name);
	dom = (struct dns_domain *)cache_find(&d->cache, ENTRY_DOMAIN, name);
	if (!dom || dom->job)
		return; /* what is being looked up is fresh */
	for (unsigned i = 0; i < (dom->implicit ? 1 : dom->nmx); i++) {
		struct dns_host_entry *h = (struct dns_host_entry *)cache_find(
			&d->cache, ENTRY_HOST, dns_host_name(dom, i));

		if (h && !h->looking)
			host_forget(h);
	}
	dom->mx_expires = dom->mx_good = 0;
	dom->route = dns_route_unref(dom->route);
}

static void or_default(ms_t *v, ms_t value)
{
	if (*v == 0)
		*v = value;
}

int dns_new(
	struct dns **ret, struct loop *l, const struct dns_params *p, char *error, size_t error_max)
{
	struct dns *d;
	int r;

	if (!p->ipv4 && !p->ipv6) {
		snprintf(error, error_max, "name resolution: no address family is wanted");
		return -EINVAL;
	}
	d = calloc(1, sizeof(*d));
	if (!d) {
		snprintf(error, error_max, "out of memory");
		return -ENOMEM;
	}
	d->loop = l;
	d->params = *p;
	d->params.servers = NULL;
	d->cache.max = p->cache_max ? p->cache_max : 200000;
	if (d->params.waiting_max == 0)
		d->params.waiting_max = 100000;
	or_default(&d->params.ttl_min, 5000);
	or_default(&d->params.ttl_max, 3600000);
	or_default(&d->params.negative_ttl, 60000);
	or_default(&d->params.keep_addresses, 300000);
	loop_timer_init(&d->slow_timer, jobs_slow, d);
	d->no_memory = route_without_hosts(DNS_TEMPORARY, 0, "out of memory", NULL);
	if (d->no_memory) {
		r = dns_channel_new(&d->channel, l, p, error, error_max);
	} else {
		snprintf(error, error_max, "out of memory");
		r = -ENOMEM;
	}
	if (r) {
		dns_route_unref(d->no_memory);
		free(d);
		return r;
	}
	*ret = d;
	return 0;
}

struct dns *dns_free(struct dns *d)
{
	if (!d)
		return NULL;
	d->closing = true;
	dns_channel_close(d->channel);
	must(d->waiters == 0 && !d->slow);
	cache_deinit(&d->cache);
	dns_route_unref(d->no_memory);
	free(d);
	return NULL;
}

void dns_stats(const struct dns *d, struct dns_stats *ret)
{
	const struct dns_channel_stats *c = dns_channel_stats(d->channel);

	*ret = (struct dns_stats){
		.queries = c->queries,
		.answers_cached = d->answers_cached,
		.failures = c->failures,
		.timeouts = c->timeouts,
		.coalesced = d->coalesced,
		.running = c->running,
		.waiting = c->waiting,
		.names = d->cache.n,
	};
}
