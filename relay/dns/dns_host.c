/* The addresses of one MX host: what the last answer said, and for some minutes what earlier ones
 * did, since large receivers answer with a few of their addresses at a time. Called by dns.c, on
 * the resolver's loop. */
#include "dns_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postern/list.h"
#include "postern/must.h"

static bool has_addr(const struct addr *addrs, unsigned n, const struct addr *a)
{
	for (unsigned i = 0; i < n; i++) {
		if (addr_eq(&addrs[i], a))
			return true;
	}
	return false;
}

/* New ones first; then those that left the answer, for as long as they are kept. One that was
 * current leaves when the old answer's time ran out, not when somebody happened to ask again. */
static bool merge(struct dns_host_entry *h, ms_t now, ms_t keep)
{
	struct seen_addr *to = calloc(DNS_ADDRS_MAX, sizeof(*to)), *fit;
	ms_t left_now = h->expires && h->expires < now ? h->expires : now;
	unsigned n = 0;

	if (!to)
		return false;
	for (unsigned i = 0; i < h->nnew && n < DNS_ADDRS_MAX; i++)
		to[n++].addr = h->new[i];
	for (unsigned i = 0; i < h->n && n < DNS_ADDRS_MAX; i++) {
		struct seen_addr *a = &h->addrs[i];
		ms_t left = a->left ? a->left : left_now;

		if (left + keep > now && !has_addr(h->new, h->nnew, &a->addr))
			to[n++] = (struct seen_addr){ a->addr, left };
	}
	free(h->addrs);
	/* most hosts have few: keep what is used */
	fit = realloc(to, (n ? n : 1) * sizeof(*to));
	h->addrs = fit ? fit : to;
	h->n = n;
	return true;
}

static void forget(struct dns_host_entry *h)
{
	free(h->addrs);
	h->addrs = NULL;
	h->n = 0;
}

/* Addresses of a family that nobody asked for only serve to tell "other family" from "no address".
 */
static enum dns_status judge(const struct dns *d, const struct dns_host_entry *h)
{
	/* temporary before permanent: who did not answer may know an address */
	static const enum dns_status order[] = { DNS_TEMPORARY, DNS_BAD, DNS_OK, DNS_NXDOMAIN };

	if (h->nnew > 0)
		return DNS_OK;
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		if (h->status4 == order[i] || h->status6 == order[i])
			return order[i] == DNS_OK ? DNS_OTHER_FAMILY : order[i];
	}
	return DNS_NO_ADDRESS;
}

/* The look-up failed: what was right minutes ago serves until the name server is well again. */
static void keep_earlier(const struct dns *d, struct dns_host_entry *h, ms_t now)
{
	ms_t keep = d->params.keep_addresses;

	if (h->n > 0 && merge(h, now, keep) && h->n > 0)
		h->status = DNS_OK;
	h->expires = now + dns_temporary_ttl(d);
	/* the first left last */
	if (h->n > 0 && h->addrs[0].left + keep < h->expires)
		h->expires = h->addrs[0].left + keep;
}

static void finish(struct dns *d, struct dns_host_entry *h)
{
	ms_t now = loop_mono(d->loop);
	struct host_wait *w = h->waiting, *next;

	h->status = judge(d, h);
	switch (h->status) {
	case DNS_OK:
		if (!merge(h, now, d->params.keep_addresses))
			h->status = DNS_TEMPORARY;
		h->expires = now + h->ttl;
		break;
	case DNS_TEMPORARY:
	case DNS_BAD:
		keep_earlier(d, h, now);
		break;
	case DNS_NXDOMAIN:
	case DNS_NULL_MX:
	case DNS_NO_ADDRESS:
	case DNS_OTHER_FAMILY:
		forget(h);
		h->expires = now + d->params.negative_ttl;
		break;
	}
	free(h->new);
	h->new = NULL;
	h->nnew = 0;
	h->waiting = NULL;
	h->looking = false;
	/* the waits lie inside the jobs, which end inside host_arrived */
	for (; w; w = next) {
		next = w->next;
		host_arrived(w->job);
	}
}

void host_forget(struct dns_host_entry *h)
{
	forget(h);
	h->expires = 0;
}

static void ask(struct dns *d, struct dns_host_entry *h, enum dns_type type);

/* Nothing in the families wanted: looks whether there is something in the other one. */
static bool ask_the_other(struct dns *d, struct dns_host_entry *h)
{
	if (h->nnew > 0 || h->status4 == DNS_NXDOMAIN || h->status6 == DNS_NXDOMAIN)
		return false;
	if (!h->asked6 && h->status4 == DNS_NO_ADDRESS)
		ask(d, h, DNS_TYPE_AAAA);
	else if (!h->asked4 && h->status6 == DNS_NO_ADDRESS)
		ask(d, h, DNS_TYPE_A);
	else
		return false;
	return true;
}

static bool keep_answer(struct dns *d, struct dns_host_entry *h, const struct dns_answer *a)
{
	struct addr *more = realloc(h->new, (h->nnew + a->naddrs) * sizeof(*more));
	ms_t ttl = dns_clamp_ttl(d, a->ttl);

	if (!more)
		return false;
	h->new = more;
	memcpy(h->new + h->nnew, a->addrs, a->naddrs * sizeof(*more));
	h->nnew += a->naddrs;
	if (ttl < h->ttl)
		h->ttl = ttl;
	return true;
}

static void on_answer(
	struct dns_query *q, enum dns_status status, const struct dns_answer *a, const char *detail)
{
	struct dns_host_entry *h = q->type == DNS_TYPE_A ? container(q, struct dns_host_entry, q4)
							 : container(q, struct dns_host_entry, q6);
	struct dns *d = h->dns;
	bool wanted = q->type == DNS_TYPE_A ? d->params.ipv4 : d->params.ipv6;

	if (status == DNS_OK && a->naddrs == 0)
		status = DNS_NO_ADDRESS;
	if (status == DNS_OK && wanted && !keep_answer(d, h, a))
		status = DNS_TEMPORARY;
	if (q->type == DNS_TYPE_A)
		h->status4 = status;
	else
		h->status6 = status;
	h->silent |= q->silent;
	if (detail)
		snprintf(h->detail, sizeof(h->detail), "%s", detail);
	if (--h->running == 0 && !ask_the_other(d, h))
		finish(d, h);
}

static void ask(struct dns *d, struct dns_host_entry *h, enum dns_type type)
{
	h->running++;
	if (type == DNS_TYPE_A) {
		h->asked4 = true;
		dns_query_start(d->channel, &h->q4, h->e.name, type, h->n > 0, on_answer);
	} else {
		h->asked6 = true;
		dns_query_start(d->channel, &h->q6, h->e.name, type, h->n > 0, on_answer);
	}
}

bool host_resolve(struct dns *d, struct dns_host_entry *h, struct host_wait *w, struct dns_job *job)
{
	bool both = d->params.ipv4 && d->params.ipv6;

	if (!h->looking && h->expires > loop_mono(d->loop))
		return true;
	w->job = job;
	w->next = h->waiting;
	h->waiting = w;
	if (h->looking)
		return false;
	h->looking = true;
	h->silent = false;
	h->dns = d;
	h->asked4 = h->asked6 = false;
	h->status4 = h->status6 = DNS_NO_ADDRESS;
	h->ttl = d->params.ttl_max;
	h->detail[0] = '\0';
	/* answers may come inside ask: the first must not end the look-up before the second is
	 * asked */
	h->running = both ? 1 : 0;
	ask(d, h, d->params.ipv4 ? DNS_TYPE_A : DNS_TYPE_AAAA);
	if (both) {
		h->running--;
		ask(d, h, DNS_TYPE_AAAA);
	}
	return false;
}
