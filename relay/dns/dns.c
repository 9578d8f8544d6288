/* The resolver's front: coalesces look-ups of a domain, follows RFC 5321 section 5.1 from MX to
 * addresses, and remembers the outcome. */
#include "postern/dns.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dns_budget.h"
#include "dns_private.h"
#include "postern/must.h"

#include <utlist.h>

#define STALE_WAIT 200 /* ms that a renewal may take before the old route serves */

struct waiter {
	struct waiter *next;
	void (*done)(void *arg, struct dns_route *r);
	void *arg;
};

/* One look-up of a domain: first its MX, then all hosts at once. */
struct dns_job {
	struct dns_job *prev, *next; /* of the slow ones */
	ms_t began;
	bool renews, late; /* there is an old route; it serves now */
	bool silent;	   /* nobody answered */
	struct dns *dns;
	struct dns_domain *domain;
	struct dns_query q;
	struct waiter *first, **last;
	unsigned pending; /* hosts whose addresses are under way, and one while they are being asked
			     for */
	unsigned nhosts;
	struct dns_host_entry *hosts[DNS_MX_MAX];
	struct host_wait waits[DNS_MX_MAX];
};

const char *dns_status_name(enum dns_status s)
{
	switch (s) {
	case DNS_OK:
		return "ok";
	case DNS_NXDOMAIN:
		return "nxdomain";
	case DNS_NULL_MX:
		return "null-mx";
	case DNS_NO_ADDRESS:
		return "no-address";
	case DNS_OTHER_FAMILY:
		return "other-family";
	case DNS_TEMPORARY:
		return "temporary";
	case DNS_BAD:
		return "bad";
	}
	return "?";
}

struct dns_route *dns_route_ref(struct dns_route *r)
{
	if (r)
		atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	return r;
}

struct dns_route *dns_route_unref(struct dns_route *r)
{
	if (r && atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) == 1)
		free(r);
	return NULL;
}

/* How much of everything a route has. */
struct route_size {
	unsigned nhosts, naddrs, nlost;
	size_t names; /* bytes, with their ends */
};

/* A route is one block: itself, its hosts, those lost, the addresses, the names. */
static struct dns_route *route_new(enum dns_status status, ms_t expires, const struct route_size *n,
	struct addr **addrs, char **text)
{
	struct dns_route *r = calloc(1, sizeof(*r) + n->nhosts * sizeof(struct dns_host) +
						n->nlost * sizeof(struct dns_lost_host) +
						n->naddrs * sizeof(struct addr) + n->names);

	if (!r)
		return NULL;
	atomic_init(&r->refs, 1);
	r->status = status;
	r->expires = expires;
	r->nhosts = n->nhosts;
	r->hosts = (struct dns_host *)(r + 1);
	r->nlost = n->nlost;
	r->lost = (struct dns_lost_host *)(r->hosts + n->nhosts);
	*addrs = (struct addr *)(r->lost + n->nlost);
	*text = (char *)(*addrs + n->naddrs);
	return r;
}

static struct dns_route *route_without_hosts(
	enum dns_status status, ms_t expires, const char *detail, const char *name)
{
	const struct route_size nothing = { 0 };
	struct addr *addrs;
	char *text;
	struct dns_route *r = route_new(status, expires, &nothing, &addrs, &text);

	if (r)
		snprintf(r->detail, sizeof(r->detail), "%s%s%s", detail, name ? " " : "",
			name ? name : "");
	return r;
}

/* r is handed over; NULL: memory was out. */
static void answer(
	struct dns *d, void (*done)(void *arg, struct dns_route *r), void *arg, struct dns_route *r)
{
	done(arg, r ? r : dns_route_ref(d->no_memory));
}

static const struct seen_addr *usable(const struct dns_host_entry *h, unsigned *n)
{
	*n = h->status == DNS_OK ? h->n : 0;
	return h->addrs;
}

static unsigned count_current(const struct dns_host_entry *h)
{
	unsigned n = 0;

	while (n < h->n && h->addrs[n].left == 0)
		n++;
	return n;
}

static char *put_name(char **text, const char *name)
{
	size_t size = strlen(name) + 1;
	char *at = memcpy(*text, name, size);

	*text += size;
	return at;
}

static void fill_host(struct dns_host *to, const struct dns_host_entry *h, uint16_t preference,
	struct addr **addrs, char **text)
{
	to->name = put_name(text, h->e.name);
	to->preference = preference;
	to->addrs = *addrs;
	to->naddrs = h->n;
	to->ncurrent = count_current(h);
	for (unsigned i = 0; i < h->n; i++)
		to->addrs[i] = h->addrs[i].addr;
	*addrs += h->n;
}

static struct dns_route *route_of(const struct dns_job *job, enum dns_status status, ms_t expires)
{
	const struct dns_domain *dom = job->domain;
	struct route_size size = { 0 };
	unsigned n, host = 0, lost = 0;
	struct addr *addrs;
	char *text;
	struct dns_route *r;

	for (unsigned i = 0; i < job->nhosts; i++) {
		usable(job->hosts[i], &n);
		size.nhosts += n > 0;
		size.nlost += n == 0;
		size.naddrs += n;
		size.names += strlen(job->hosts[i]->e.name) + 1;
	}
	r = route_new(status, expires, &size, &addrs, &text);
	if (!r)
		return NULL;
	r->implicit = status == DNS_OK && dom->implicit;
	for (unsigned i = 0; i < job->nhosts; i++) {
		const struct dns_host_entry *h = job->hosts[i];
		uint16_t preference = dom->implicit ? 0 : dom->mx[i].preference;

		usable(h, &n);
		if (n > 0)
			fill_host(&r->hosts[host++], h, preference, &addrs, &text);
		else
			r->lost[lost++] = (struct dns_lost_host){ put_name(&text, h->e.name),
				preference, h->status };
	}
	return r;
}

static bool any_host(const struct dns_job *job, enum dns_status status, const char **detail)
{
	for (unsigned i = 0; i < job->nhosts; i++) {
		if (job->hosts[i]->status != status)
			continue;
		*detail = job->hosts[i]->detail;
		return true;
	}
	return false;
}

static void describe_failure(const struct dns_job *job, struct dns_route *r, const char *detail)
{
	const char *name = job->domain->e.name;
	size_t max = sizeof(r->detail);

	switch (r->status) {
	case DNS_OK:
	case DNS_NULL_MX:
		break;
	case DNS_TEMPORARY:
	case DNS_BAD:
		snprintf(r->detail, max, "%s", detail);
		break;
	case DNS_OTHER_FAMILY:
		snprintf(r->detail, max, "only %s addresses for %s",
			job->dns->params.ipv4 ? "IPv6" : "IPv4", name);
		break;
	case DNS_NXDOMAIN:
		snprintf(r->detail, max, "no such domain: %s", name);
		break;
	case DNS_NO_ADDRESS:
		snprintf(r->detail, max, "%s %s",
			job->domain->implicit ? "neither MX nor address for"
					      : "no MX host has an address:",
			name);
		break;
	}
}

/* All hosts were asked. Worst news only when no host is usable; temporary ones before permanent
 * ones. */
static struct dns_route *build_route(const struct dns_job *job)
{
	static const enum dns_status order[] = {
		DNS_OK,
		DNS_TEMPORARY,
		DNS_BAD,
		DNS_OTHER_FAMILY,
		DNS_NXDOMAIN,
	};
	const struct dns_domain *dom = job->domain;
	enum dns_status status = DNS_NO_ADDRESS;
	ms_t expires = dom->mx_expires;
	const char *detail = "";
	struct dns_route *r;

	for (unsigned i = 0; i < job->nhosts; i++) {
		if (job->hosts[i]->expires < expires)
			expires = job->hosts[i]->expires;
	}
	for (size_t k = 0; k < sizeof(order) / sizeof(order[0]); k++) {
		if (any_host(job, order[k], &detail)) {
			status = order[k];
			break;
		}
	}
	/* of an MX host that does not exist it is no news of the domain */
	if (status == DNS_NXDOMAIN && !dom->implicit)
		status = DNS_NO_ADDRESS;
	r = route_of(job, status, expires);
	if (r)
		describe_failure(job, r, detail);
	return r;
}

/* May the route that ran out serve until a new one is there? As long as addresses are kept. */
static bool stale_serves(const struct dns *d, const struct dns_domain *dom)
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
static void on_slow(void *arg)
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
			answer(d, w->done, w->arg, dns_route_ref(r));
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
		answer(d, w->done, w->arg, dns_route_ref(r));
		free(w);
	}
	dns_route_unref(r);
}

void host_arrived(struct dns_job *job)
{
	if (--job->pending == 0)
		finish(job, build_route(job));
}

static const char *host_name(const struct dns_domain *dom, unsigned i)
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
			&d->cache, ENTRY_HOST, host_name(dom, i));

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
	struct dns_job *job = (struct dns_job *)((char *)q - offsetof(struct dns_job, q));
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

static bool add_waiter(
	struct dns *d, struct dns_job *job, void (*done)(void *arg, struct dns_route *r), void *arg)
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

static struct dns_route *literal_route(const struct dns *d, const char *text)
{
	struct slice s = slice_of(text), inside = { s.p + 1, s.n >= 2 ? s.n - 2 : 0 };
	ms_t expires = loop_mono(d->loop) + d->params.ttl_max;
	struct route_size one = { .nhosts = 1, .naddrs = 1, .names = s.n + 1 };
	struct addr a, *addrs;
	struct dns_route *r;
	char *name;

	if (s.n < 3 || s.p[s.n - 1] != ']')
		goto bad;
	if (slice_case_prefix(inside, SLICE_LIT("IPv6:")))
		inside = slice_from(inside, 5);
	if (addr_parse(&a, inside))
		goto bad;
	if (a.family == ADDR_V4 ? !d->params.ipv4 : !d->params.ipv6)
		return route_without_hosts(
			DNS_OTHER_FAMILY, expires, "no source of the family of", text);
	r = route_new(DNS_OK, expires, &one, &addrs, &name);
	if (!r)
		return NULL;
	memcpy(name, text, s.n + 1);
	*addrs = a;
	r->implicit = true;
	r->hosts[0] = (struct dns_host){ .name = name, .addrs = addrs, .naddrs = 1, .ncurrent = 1 };
	return r;
bad:
	return route_without_hosts(DNS_NXDOMAIN, expires, "not a domain or address:", text);
}

static struct dns_route *busy_route(const struct dns *d)
{
	return route_without_hosts(DNS_TEMPORARY, loop_mono(d->loop) + dns_temporary_ttl(d),
		d->closing ? "shutting down" : "too many look-ups at once", NULL);
}

static void start(struct dns *d, struct dns_domain *dom,
	void (*done)(void *arg, struct dns_route *r), void *arg)
{
	struct dns_job *job = job_new(d, dom);

	if (!job || !add_waiter(d, job, done, arg)) {
		free(job);
		answer(d, done, arg, busy_route(d));
		return;
	}
	dom->job = job;
	dom->e.pins++;
	job->began = loop_mono(d->loop);
	job->renews = stale_serves(d, dom);
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

static void ask_or_leave_alone(struct dns *d, struct dns_domain *dom,
	void (*done)(void *arg, struct dns_route *r), void *arg)
{
	const char *name = dom->e.name;
	ms_t until = budget_silent_until(dns_channel_budget(d->channel), name, loop_mono(d->loop));

	if (!until) {
		start(d, dom, done, arg);
	} else if (stale_serves(d, dom)) {
		answer(d, done, arg, dns_route_ref(dom->route));
	} else {
		if (!dom->mx_good)
			cache_age(&d->cache, &dom->e);
		d->answers_cached++;
		answer(d, done, arg,
			route_without_hosts(DNS_TEMPORARY, until,
				"no answer in time to earlier questions for", name));
	}
}

void dns_resolve(
	struct dns *d, const char *domain, void (*done)(void *arg, struct dns_route *r), void *arg)
{
	ms_t now = loop_mono(d->loop);
	char name[DNS_NAME_MAX];
	struct dns_domain *dom;

	if (domain[0] == '[') {
		answer(d, done, arg, literal_route(d, domain));
		return;
	}
	if (domain_to_ascii(slice_of(domain), name, sizeof(name))) {
		answer(d, done, arg,
			route_without_hosts(DNS_NXDOMAIN, now + d->params.negative_ttl,
				"not a domain name:", domain));
		return;
	}
	dom = d->closing ? NULL : (struct dns_domain *)cache_get(&d->cache, ENTRY_DOMAIN, name);
	if (!dom) {
		answer(d, done, arg, busy_route(d));
	} else if (dom->job && dom->job->late && stale_serves(d, dom)) {
		answer(d, done, arg, dns_route_ref(dom->route));
	} else if (dom->job) {
		if (add_waiter(d, dom->job, done, arg))
			d->coalesced++;
		else
			answer(d, done, arg, busy_route(d));
	} else if (dom->route && dom->route->expires > now) {
		d->answers_cached++;
		answer(d, done, arg, dns_route_ref(dom->route));
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
			&d->cache, ENTRY_HOST, host_name(dom, i));

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
	loop_timer_init(&d->slow_timer, on_slow, d);
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
