/* Routes: what a look-up found, as one block of memory that any thread may hold. Made on the resolver's
 * thread by dns_job.c out of a domain's hosts, or by dns.c where nothing has to be asked; immutable
 * from then on, freed with the last reference.
 *
 * The worst news of a domain is told only when no host of it is usable, and news that may pass before
 * news that stays. */
#include "dns_job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

struct dns_route *route_without_hosts(
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
struct dns_route *route_build(const struct dns_job *job)
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

struct dns_route *route_literal(const struct dns *d, const char *text)
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
