/* The simulator's scenario in memory: clusters, tenants, hosts, rules, and their look-up. */
#include "scenario.h"

#include <stdlib.h>
#include <string.h>

const char *const phase_names[PH_N] = {
	"connect",
	"ehlo",
	"starttls",
	"tls",
	"auth",
	"mail",
	"rcpt",
	"data",
	"eod",
	"rset",
	"quit",
};

const char *const feature_names[] = {
	"PIPELINING",
	"SIZE",
	"DSN",
	"ENHANCEDSTATUSCODES",
	"STARTTLS",
	"8BITMIME",
	"BINARYMIME",
	"CHUNKING",
	"SMTPUTF8",
	"AUTH",
	NULL,
};

const char *const dns_mode_names[DNS_MODE_N] = {
	"ok",
	"nxdomain",
	"servfail",
	"refused",
	"drop",
	"garbage",
	"truncated",
	"null-mx",
	"no-mx",
	"empty",
	"only-aaaa",
	"no-address",
	"mx-nxdomain",
	"mx-servfail",
	"cname",
	"mx-cname",
	"formerr",
};

static void filter_deinit(struct filter *f)
{
	free(f->sources);
	strings_free(&f->clusters);
	strings_free(&f->tenants);
	strings_free(&f->recipients);
	strings_free(&f->senders);
}

static void rule_free(struct rule *r)
{
	filter_deinit(&r->filter);
	free(r->name);
	free(r->reply);
	free(r);
}

static void rules_free(struct rule *r)
{
	while (r) {
		struct rule *next = r->next;

		rule_free(r);
		r = next;
	}
}

static void cluster_free(struct cluster *c)
{
	free(c->name);
	free(c->forest);
	free(c->site);
	free(c->cap_reply);
	free(c->source_cap_reply);
	free(c->auth);
	free(c->hosts);
	free(c);
}

static void tenant_deinit(struct tenant *t)
{
	pattern_deinit(&t->domain);
	for (size_t i = 0; i < t->nmx; i++) {
		free(t->mx[i].prefix);
		free(t->mx[i].suffix);
	}
	free(t->mx);
	free(t->clusters);
	free(t->title);
	strings_free(&t->aaaa);
}

static void limit_deinit(struct limit *l)
{
	filter_deinit(&l->filter);
	map64_clear(&l->count);
	map64_clear(&l->window);
	map64_clear(&l->allowance);
	free(l->name);
	free(l->reply);
}

static void scenario_free(struct scenario *s)
{
	for (size_t i = 0; i < s->nclusters; i++)
		cluster_free(s->clusters[i]);
	for (size_t i = 0; i < s->ntenants; i++)
		tenant_deinit(&s->tenants[i]);
	for (size_t i = 0; i < s->nlimits; i++)
		limit_deinit(&s->limits[i]);
	for (size_t i = 0; i < s->ndns; i++) {
		strings_free(&s->dns[i].names);
		strings_free(&s->dns[i].types);
		free(s->dns[i].name);
	}
	for (size_t i = 0; i < s->nrecords; i++) {
		free(s->records[i].name);
		free(s->records[i].data);
	}
	rules_free(s->rules);
	rules_free(s->graveyard);
	free(s->clusters);
	free(s->by_ip);
	free(s->tenants);
	free(s->limits);
	free(s->dns);
	free(s->records);
	free(s);
}

struct scenario *scenario_ref(struct scenario *s)
{
	s->refs++;
	return s;
}

struct scenario *scenario_unref(struct scenario *s)
{
	if (s && --s->refs == 0)
		scenario_free(s);
	return NULL;
}

struct rule *scenario_rule(const struct scenario *s, const char *name)
{
	for (struct rule *r = s->rules; r; r = r->next) {
		if (strcmp(r->name, name) == 0)
			return r;
	}
	return NULL;
}

bool scenario_remove_rule(struct scenario *s, const char *name)
{
	for (struct rule **p = &s->rules; *p; p = &(*p)->next) {
		struct rule *r = *p;

		if (strcmp(r->name, name) != 0)
			continue;
		/* a connection may still be under its spell: it goes with the scenario */
		*p = r->next;
		r->next = s->graveyard;
		s->graveyard = r;
		return true;
	}
	return false;
}

const struct host *scenario_host(const struct scenario *s, uint32_t ip)
{
	size_t lo = 0, hi = s->nby_ip;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->by_ip[mid].ip == ip)
			return &s->by_ip[mid];
		if (s->by_ip[mid].ip < ip)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

struct tenant *scenario_tenant(
	const struct scenario *s, const char *domain, size_t n, uint32_t *index)
{
	for (size_t i = 0; i < s->ntenants; i++) {
		if (pattern_match(&s->tenants[i].domain, domain, n, false, index))
			return &s->tenants[i];
	}
	return NULL;
}

struct cluster *tenant_cluster(const struct tenant *t, uint32_t index)
{
	return t->nclusters ? t->clusters[index % t->nclusters] : NULL;
}

size_t tenant_hosts(
	const struct tenant *t, const struct cluster *c, const char *domain, size_t *start)
{
	size_t k = t->addresses ? t->addresses : c->addresses_per_tenant;

	*start = c->nhosts ? hash_str(domain) % c->nhosts : 0;
	return k && k < c->nhosts ? k : c->nhosts;
}

bool tenant_lives_at(
	const struct tenant *t, uint32_t index, const char *domain, const struct host *h)
{
	for (size_t i = 0; i <= t->nmx; i++) {
		const struct cluster *c = i < t->nmx && t->mx[i].cluster ? t->mx[i].cluster
									 : tenant_cluster(t, index);
		size_t start, k;

		if (c != h->cluster)
			continue;
		k = tenant_hosts(t, c, domain, &start);
		for (size_t j = 0; j < k; j++) {
			if (c->hosts[(start + j) % c->nhosts].ip == h->ip)
				return true;
		}
	}
	return false;
}
