/* Hosts as shared between domains, and what each domain has of them: its candidates, by which name,
 * and which of them failed in this cycle. Called by route.c (a new answer), host.c (failures),
 * connection.c and whoever gives mail out; on the dispatcher's thread. A host stays for as long as
 * a candidate or a connection names it. */
#include "candidate.h"

#include <stdio.h>
#include <stdlib.h>

#include "flow.h"
#include "postern/must.h"
#include "unproven.h"

/* ---- hosts ---- */

struct host *host_by_address(
	struct dispatch *d, const struct addr *a, unsigned provider, const char *name)
{
	char key[sizeof(*a) + sizeof(provider) + 256];
	size_t n = sizeof(*a) + sizeof(provider), name_n = 0;
	struct host *h;

	memcpy(key, a, sizeof(*a));
	memcpy(key + sizeof(*a), &provider, sizeof(provider));
	/* a verified connection is good for one name alone */
	if (provider_of(d, provider)->transport.tls == TLS_VERIFY)
		name_n = strnlen(name, 256);
	memcpy(key + n, name, name_n);
	n += name_n;
	HASH_FIND(hh, d->hosts, key, n, h);
	if (h)
		goto found;
	h = calloc(1, sizeof(*h) + n);
	if (!h)
		return NULL;
	memcpy(h->key, key, n);
	h->key_n = n;
	h->addr = *a;
	unproven_known(d, h);
	h->provider = provider;
	match_host_init(&h->match);
	addr_format(h->text, a);
	HASH_ADD_KEYPTR(hh, d->hosts, h->key, n, h);
	if (!h->hh.tbl) {
		free(h);
		return NULL;
	}
found:
	h->refs++;
	return h;
}

void host_unref(struct dispatch *d, struct host *h)
{
	must(h->refs > 0);
	if (--h->refs)
		return;
	if (!h->match.retired)
		HASH_DEL(d->hosts, h);
	free(h);
}

/* After a reload numbers of providers mean something else: nothing new is put on these. */
void hosts_retire(struct dispatch *d)
{
	struct host *h, *next;

	HASH_ITER (hh, d->hosts, h, next) {
		HASH_DEL(d->hosts, h);
		h->match.retired = true;
		if (!h->refs)
			free(h);
	}
}

/* ---- of a domain ---- */

void route_drop(struct dispatch *d, struct domain *m)
{
	for (struct flow *f = m->flows; f; f = f->next) {
		match_forget_hosts(&d->match, &f->match);
	}
	for (unsigned i = 0; i < m->nhosts; i++)
		host_unref(d, m->candidates[i].host);
	free(m->hosts);
	free(m->candidates);
	m->hosts = NULL;
	m->candidates = NULL;
	m->nhosts = 0;
	m->route = m->route ? dns_route_unref(m->route) : NULL;
	wake_clear(&d->wakes, &m->route_wake);
}

const char *route_name_of(const struct domain *m, const struct host *h)
{
	for (unsigned i = 0; i < m->nhosts; i++)
		if (m->candidates[i].host == h)
			return m->candidates[i].name;
	return NULL;
}

void route_host_well(struct domain *m, const struct host *h)
{
	for (unsigned i = 0; i < m->nhosts; i++)
		if (m->candidates[i].host == h && !m->candidates[i].in_session) {
			m->hosts[i].failed = false;
			m->hosts[i].failed_from = 0;
		}
}

/* ---- what failed in this cycle ---- */

static void say_failed(const struct host *h, struct domain *m, unsigned i, const char *why)
{
	size_t n = m->failure ? strlen(m->failure) : 0;
	char text[512], *joined;

	snprintf(text, sizeof(text), "%s%s[%s]: %.160s", n ? "; " : "", m->candidates[i].name,
		h->text, why);
	if (n > 400)
		return;
	joined = realloc(m->failure, n + strlen(text) + 1);
	if (joined) {
		strcpy(joined + n, text);
		m->failure = joined;
	}
}

void route_relink(struct dispatch *d, struct domain *m)
{
	for (struct flow *f = m->flows; f; f = f->next) {
		match_unlink(&d->match, &f->match);
		if (f->match.nready)
			flow_ask(d, f);
	}
}

static void mark(struct dispatch *d, struct domain *m, const struct host *h,
	const struct host_failure *failure)
{
	for (unsigned i = 0; i < m->nhosts; i++) {
		struct policy_host *k = &m->hosts[i];

		if (m->candidates[i].host != h || k->failed)
			continue;
		k->failed_from |= failure->from;
		k->failed = k->failed_from == POLICY_FROM_ALL;
		m->candidates[i].in_session |= failure->in_session;
		m->candidates[i].refused |= failure->refused;
		if (!m->failed_at)
			m->failed_at = loop_mono(d->loop);
		say_failed(h, m, i, failure->why);
	}
	route_relink(d, m);
}

void route_host_failed(
	struct dispatch *d, struct domain *m, struct host *h, const struct host_failure *f)
{
	if (m)
		mark(d, m, h, f);
	if (f->in_session)
		return;
	for (struct match_link *l; (l = match_links_first(&h->match));)
		mark(d, container(l->flow, struct flow, match)->domain, h, f);
}

bool route_all_failed(const struct domain *m)
{
	for (unsigned i = 0; i < m->nhosts; i++)
		if (!m->hosts[i].failed)
			return false;
	return m->nhosts > 0;
}

void route_clear_failures(struct domain *m)
{
	for (unsigned i = 0; i < m->nhosts; i++) {
		m->hosts[i].failed = false;
		m->candidates[i].in_session = m->candidates[i].refused = false;
		m->hosts[i].failed_from = 0;
	}
	m->failed_at = 0;
	free(m->failure);
	m->failure = NULL;
}
