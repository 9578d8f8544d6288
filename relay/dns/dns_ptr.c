/* Names of addresses (PTR), as evidence of a host's cluster and its geography. Called by
 * resolver.c, on the resolver's loop. A name that is not there is an ordinary answer. */
#include "dns_private.h"
#include "postern/list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dns_ptr_wait {
	struct dns_ptr_wait *next;
	void (*done)(void *arg, const char *name);
	void *arg;
};

static void reverse_name(char out[DNS_NAME_MAX], const struct addr *a)
{
	size_t n = 0;

	if (a->family == ADDR_V4) {
		snprintf(out, DNS_NAME_MAX, "%u.%u.%u.%u.in-addr.arpa", a->ip[3], a->ip[2],
			a->ip[1], a->ip[0]);
		return;
	}
	for (int i = 15; i >= 0; i--)
		n += (size_t)snprintf(out + n, DNS_NAME_MAX - n, "%x.%x.", a->ip[i] & 15u,
			(unsigned)a->ip[i] >> 4);
	snprintf(out + n, DNS_NAME_MAX - n, "ip6.arpa");
}

static void on_answer(
	struct dns_query *q, enum dns_status status, const struct dns_answer *a, const char *detail)
{
	struct dns_ptr_entry *e = container(q, struct dns_ptr_entry, q);
	struct dns *d = e->dns;
	struct dns_ptr_wait *w = e->waiting, *next;
	ms_t ttl = status == DNS_OK && a->ptr[0]		? dns_clamp_ttl(d, a->ttl)
		   : status == DNS_OK || status == DNS_NXDOMAIN ? d->params.negative_ttl
								: dns_temporary_ttl(d);

	free(e->answer);
	e->answer = status == DNS_OK && a->ptr[0] ? strdup(a->ptr) : NULL;
	e->expires = loop_mono(d->loop) + ttl;
	e->waiting = NULL;
	e->looking = false;
	/* pinned until all were told: they look at our copy of the name */
	for (; w; w = next) {
		next = w->next;
		d->waiters--;
		w->done(w->arg, e->answer);
		free(w);
	}
	e->e.pins--;
}

static struct dns_ptr_wait *wait_new(
	struct dns *d, void (*done)(void *arg, const char *name), void *arg)
{
	struct dns_ptr_wait *w = NULL;

	if (d->waiters < d->params.waiting_max)
		w = malloc(sizeof(*w));
	if (w)
		*w = (struct dns_ptr_wait){ .done = done, .arg = arg };
	return w;
}

void dns_ptr(
	struct dns *d, const struct addr *a, void (*done)(void *arg, const char *name), void *arg)
{
	char name[DNS_NAME_MAX];
	struct dns_ptr_entry *e = NULL;
	struct dns_ptr_wait *w;

	if (a->family != ADDR_NONE && !d->closing) {
		reverse_name(name, a);
		e = (struct dns_ptr_entry *)cache_get(&d->cache, ENTRY_PTR, name);
	}
	if (e && !e->looking && e->expires > loop_mono(d->loop)) {
		d->answers_cached++;
		done(arg, e->answer);
		return;
	}
	w = e ? wait_new(d, done, arg) : NULL;
	if (!w) {
		done(arg, NULL);
		return;
	}
	w->next = e->waiting;
	e->waiting = w;
	d->waiters++;
	if (e->looking) {
		d->coalesced++;
		return;
	}
	e->looking = true;
	e->e.pins++;
	e->dns = d;
	dns_query_start(d->channel, &e->q, e->e.name, DNS_TYPE_PTR, e->answer != NULL, on_answer);
}
