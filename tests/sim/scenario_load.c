/* From option values to the scenario. Everything that refers to something else is checked here,
 * with the line at which its section ends. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postern/text.h"
#include "scenario_loader.h"

static const char *str_of(struct loader *ld, cfg_t *sec, const char *key, const char *builtin)
{
	const char *v = cfg_getstr(sec, key);

	if (!v && ld->defaults)
		v = cfg_getstr(ld->defaults, key);
	return v ? v : builtin;
}

static uint32_t int_of(struct loader *ld, cfg_t *sec, const char *key, uint32_t builtin)
{
	long v = cfg_getint(sec, key);

	if (v < 0 && ld->defaults)
		v = cfg_getint(ld->defaults, key);
	return v < 0 ? builtin : (uint32_t)v;
}

static bool yes_of(struct loader *ld, cfg_t *sec, const char *key, bool builtin)
{
	return strcmp(str_of(ld, sec, key, builtin ? "yes" : "no"), "yes") == 0;
}

static unsigned features_of(struct loader *ld, cfg_t *sec)
{
	unsigned f = 0x1ff; /* all but AUTH */
	cfg_t *from = cfg_size(sec, "features") ? sec : ld->defaults;

	if (from && cfg_size(from, "features")) {
		f = 0;
		for (unsigned i = 0; i < cfg_size(from, "features"); i++)
			f |= 1U << word_index(feature_names, 10, cfg_getnstr(from, "features", i));
	}
	for (int d = 0; d < 2; d++) {
		cfg_t *w = d ? ld->defaults : sec;

		for (unsigned i = 0; w && i < cfg_size(w, "without"); i++)
			f &= ~(1U << word_index(feature_names, 10, cfg_getnstr(w, "without", i)));
	}
	return f;
}

static void host_name(struct host *h)
{
	const struct cluster *c = h->cluster;
	char upper[32];
	size_t i;

	for (i = 0; c->name[i] && i < sizeof(upper) - 1; i++)
		upper[i] = (char)toupper((unsigned char)c->name[i]);
	upper[i] = '\0';
	if (c->form == FORM_OLD)
		snprintf(h->name, sizeof(h->name), "%s%sFT%03u", c->site, upper, h->ip & 255);
	else if (c->form == FORM_NEW)
		snprintf(h->name, sizeof(h->name), "%sPEPF%08X", c->site,
			(unsigned)(hash_mix(h->ip) & 0xfffff));
	else
		snprintf(h->name, sizeof(h->name), "mx%u.%s", h->ip & 255, c->name);
}

static void cluster_limits(struct loader *ld, cfg_t *sec, struct cluster *c)
{
	c->messages_per_connection = int_of(ld, sec, "messages_per_connection", 0);
	c->recipients = int_of(ld, sec, "recipients", 200);
	c->cap_cluster = int_of(ld, sec, "connections", 0);
	c->cap_source = int_of(ld, sec, "connections_per_source", 0);
	c->cap_subnet = int_of(ld, sec, "connections_per_subnet", 0);
	c->cap_forest = int_of(ld, sec, "connections_per_forest", 0);
	c->cap_reply = xstrdup(str_of(ld, sec, "cap_reply",
		"421 4.3.2 The maximum number of concurrent connections per resource forest has "
		"exceeded "
		"a limit, closing transmission channel. {host}. PRX8"));
	c->source_cap_reply = xstrdup(str_of(ld, sec, "source_cap_reply",
		"451 4.7.652 The mail server [{ip}] has exceeded the maximum number of "
		"connections. (S3115) "
		"{tail}"));
	if (!scenario_reply_valid(c->cap_reply) || !scenario_reply_valid(c->source_cap_reply))
		fail(ld, sec, "cluster \"%s\": a reply begins with a three-digit code", c->name);
	c->answers = int_of(ld, sec, "answers", 4);
	c->addresses_per_tenant = int_of(ld, sec, "addresses_per_tenant", 0);
	c->ttl = int_of(ld, sec, "ttl", 10);
	c->mx_ttl = int_of(ld, sec, "mx_ttl", 300);
}

static void cluster_hosts(struct loader *ld, cfg_t *sec, struct cluster *c, uint32_t number)
{
	uint32_t *ips = NULL;
	size_t n = 0;

	for (unsigned i = 0; i < cfg_size(sec, "addresses"); i++) {
		const char *text = cfg_getnstr(sec, "addresses", i);

		if (addresses_expand(&ips, &n, text, number))
			fail(ld, sec,
				"cluster \"%s\": '%s' is no address or range within 127.0.0.0/8",
				c->name, text);
	}
	if (!n && cfg_size(sec, "addresses") == 0)
		fail(ld, sec, "cluster \"%s\" has no addresses", c->name);
	c->hosts = xcalloc(n, sizeof(*c->hosts));
	c->nhosts = n;
	for (size_t i = 0; i < n; i++) {
		c->hosts[i] = (struct host){ .ip = ips[i], .cluster = c };
		host_name(&c->hosts[i]);
	}
	free(ips);
}

static void load_cluster(struct loader *ld, cfg_t *sec, uint32_t number)
{
	struct cluster *c = xcalloc(1, sizeof(*c));
	struct scenario *s = ld->s;

	c->name = number_expand(cfg_title(sec), number);
	c->form = (enum form)word_index(form_words, 3, str_of(ld, sec, "form", "new"));
	c->consumer = strcmp(str_of(ld, sec, "kind", "tenant"), "consumer") == 0;
	c->forest = number_expand(str_of(ld, sec, "forest", c->name), number);
	c->site = xstrdup(str_of(ld, sec, "site", c->form == FORM_OLD ? "DB5" : "AM2"));
	c->features = features_of(ld, sec);
	c->tls = (enum tls_mode)word_index(tls_words, 4, str_of(ld, sec, "tls", "works"));
	c->certificate = (enum certificate)word_index(
		cert_words, 4, str_of(ld, sec, "certificate", "trusted"));
	c->listen = (enum listen_mode)word_index(listen_words, 3, str_of(ld, sec, "listen", "yes"));
	size_parse(&c->size,
		slice_of(str_of(ld, sec, "size", c->consumer ? "49283072" : "157286400")));
	size_parse(&c->bandwidth, slice_of(str_of(ld, sec, "bandwidth", "0")));
	c->latency_us = duration_us(str_of(ld, sec, "latency", "0"));
	c->session_us = duration_us(str_of(ld, sec, "session_life", "20m"));
	c->idle_us = duration_us(str_of(ld, sec, "idle_timeout", "5m"));
	c->region_check = yes_of(ld, sec, "region_check", true);
	c->multi_tenant = yes_of(ld, sec, "multi_tenant", false);
	c->close_on_421 = yes_of(ld, sec, "close_on_421", true);
	c->tails = yes_of(ld, sec, "tails", true);
	if (str_of(ld, sec, "auth", NULL)) {
		c->auth = xstrdup(str_of(ld, sec, "auth", ""));
		c->features |= F_AUTH;
	}
	cluster_limits(ld, sec, c);
	cluster_hosts(ld, sec, c, number);
	s->clusters = xrealloc(s->clusters, (s->nclusters + 1) * sizeof(*s->clusters));
	s->clusters[s->nclusters++] = c;
}

static void load_clusters(struct loader *ld)
{
	for (unsigned i = 0; i < cfg_size(ld->cfg, "cluster"); i++) {
		cfg_t *sec = cfg_getnsec(ld->cfg, "cluster", i);
		uint32_t lo = 0, hi = 0;
		const char *begin, *end;
		int width;

		range_find(cfg_title(sec), &lo, &hi, &width, &begin, &end);
		if (hi - lo > 9999) {
			fail(ld, sec, "cluster \"%s\": more than 10,000 clusters", cfg_title(sec));
			continue;
		}
		for (uint32_t n = lo; n <= hi; n++)
			load_cluster(ld, sec, n);
	}
}

static int host_order(const void *a, const void *b)
{
	const struct host *x = a, *y = b;

	return x->ip < y->ip ? -1 : x->ip > y->ip;
}

static void index_hosts(struct loader *ld)
{
	struct scenario *s = ld->s;
	char text[IP_TEXT];

	for (size_t i = 0; i < s->nclusters; i++)
		s->nby_ip += s->clusters[i]->nhosts;
	s->by_ip = xcalloc(s->nby_ip, sizeof(*s->by_ip));
	for (size_t i = 0, at = 0; i < s->nclusters; i++) {
		if (!s->clusters[i]->nhosts)
			continue;
		memcpy(&s->by_ip[at], s->clusters[i]->hosts,
			s->clusters[i]->nhosts * sizeof(*s->by_ip));
		at += s->clusters[i]->nhosts;
	}
	qsort(s->by_ip, s->nby_ip, sizeof(*s->by_ip), host_order);
	for (size_t i = 1; i < s->nby_ip; i++) {
		if (s->by_ip[i].ip == s->by_ip[i - 1].ip)
			fail(ld, NULL, "address %s is in clusters \"%s\" and \"%s\"",
				ip_text(text, s->by_ip[i].ip), s->by_ip[i - 1].cluster->name,
				s->by_ip[i].cluster->name);
	}
}

static struct cluster *cluster_named(const struct scenario *s, const char *name)
{
	for (size_t i = 0; i < s->nclusters; i++) {
		if (strcmp(s->clusters[i]->name, name) == 0)
			return s->clusters[i];
	}
	return NULL;
}

static const char *mx_style(const char *s)
{
	static const char *const styles[][2] = {
		{ "eop", "0 {dash}.mail.protection.outlook.com" },
		{ "mx.microsoft", "0 {dash}.h-v1.mx.microsoft" },
		{ "olc", "0 {dash}.olc.protection.outlook.com" },
		{ "eo", "0 {dash}.mail.eo.outlook.com" },
		{ "pamx1", "0 {dash}.pamx1.hotmail.com" },
		{ "plain", "10 mx1.{domain}" },
	};

	for (size_t i = 0; i < sizeof(styles) / sizeof(styles[0]); i++) {
		if (strcmp(s, styles[i][0]) == 0)
			return styles[i][1];
	}
	return s;
}

/* "10 {dash}.mail.protection.outlook.com @EUR01" */
static bool load_mx(struct loader *ld, cfg_t *sec, struct mx_name *mx, const char *text)
{
	const char *s = mx_style(text), *name, *end, *hole;
	char *stop;
	unsigned long pref = strtoul(s, &stop, 10);
	bool ok = false;

	name = stop + strspn(stop, " ");
	end = name + strcspn(name, " ");
	if (stop == s || pref > 65535 || end == name)
		goto out;
	if (*end) {
		const char *at = end + strspn(end, " ");

		if (*at != '@')
			goto out;
		mx->cluster = cluster_named(ld->s, at + 1);
		if (!mx->cluster) {
			fail(ld, sec, "tenant \"%s\": mx '%s': no cluster \"%s\"", cfg_title(sec),
				text, at + 1);
			return false;
		}
	}
	mx->preference = (uint16_t)pref;
	hole = memchr(name, '{', (size_t)(end - name));
	mx->kind = MX_FIXED;
	if (hole && strncmp(hole, "{dash}", 6) == 0)
		mx->kind = MX_DASH;
	else if (hole && strncmp(hole, "{domain}", 8) == 0)
		mx->kind = MX_DOMAIN;
	else if (hole)
		goto out;
	mx->prefix = xstrndup(name, hole ? (size_t)(hole - name) : (size_t)(end - name));
	hole = hole ? hole + (mx->kind == MX_DASH ? 6 : 8) : end;
	mx->suffix = xstrndup(hole, (size_t)(end - hole));
	ok = true;
out:
	if (!ok)
		fail(ld, sec,
			"tenant \"%s\": mx '%s' is neither a known style nor 'PREFERENCE NAME "
			"[@CLUSTER]' with "
			"{dash} or {domain}",
			cfg_title(sec), text);
	return ok;
}

static void load_tenant(struct loader *ld, cfg_t *sec)
{
	struct scenario *s = ld->s;
	struct tenant t = { 0 };
	const char *why;

	if (pattern_parse(&t.domain, cfg_title(sec), &why)) {
		fail(ld, sec, "tenant \"%s\": %s", cfg_title(sec), why);
		return;
	}
	t.title = xstrdup(cfg_title(sec));
	t.dns = (enum dns_mode)word_index(dns_mode_names, DNS_MODE_N, cfg_getstr(sec, "dns"));
	t.dns_delay_us = duration_us(cfg_getstr(sec, "dns_delay"));
	t.require_tls = strcmp(cfg_getstr(sec, "require_tls"), "yes") == 0;
	t.answers = (uint32_t)cfg_getint(sec, "answers");
	t.addresses = (uint32_t)cfg_getint(sec, "addresses");
	t.ttl = (uint32_t)cfg_getint(sec, "ttl");
	t.mx_ttl = (uint32_t)cfg_getint(sec, "mx_ttl");
	scenario_strings(&t.aaaa, sec, "aaaa");
	for (unsigned i = 0; i < cfg_size(sec, "cluster"); i++) {
		const char *glob = cfg_getnstr(sec, "cluster", i);
		size_t before = t.nclusters;

		for (size_t j = 0; j < s->nclusters; j++) {
			if (!glob_match(slice_of(glob), slice_of(s->clusters[j]->name)))
				continue;
			t.clusters = xrealloc(t.clusters, (t.nclusters + 1) * sizeof(*t.clusters));
			t.clusters[t.nclusters++] = s->clusters[j];
		}
		if (t.nclusters == before)
			fail(ld, sec, "tenant \"%s\": no cluster \"%s\"", cfg_title(sec), glob);
	}
	if (!cfg_size(sec, "cluster") && t.dns == DNS_OK)
		fail(ld, sec, "tenant \"%s\" has no cluster", cfg_title(sec));
	t.nmx = cfg_size(sec, "mx") ? cfg_size(sec, "mx") : 1;
	t.mx = xcalloc(t.nmx, sizeof(*t.mx));
	for (size_t i = 0; i < t.nmx; i++) {
		bool consumer = t.nclusters && t.clusters[0]->consumer;

		load_mx(ld, sec, &t.mx[i],
			cfg_size(sec, "mx") ? cfg_getnstr(sec, "mx", (unsigned)i)
			: consumer	    ? "olc"
					    : "eop");
	}
	s->tenants = xrealloc(s->tenants, (s->ntenants + 1) * sizeof(*s->tenants));
	s->tenants[s->ntenants++] = t;
}

static void load_records(struct loader *ld)
{
	struct scenario *s = ld->s;

	for (unsigned i = 0; i < cfg_size(ld->cfg, "records"); i++) {
		struct record r = { 0 };

		if (record_parse(&r, cfg_getnstr(ld->cfg, "records", i)))
			continue; /* told while the file was read */
		s->records = xrealloc(s->records, (s->nrecords + 1) * sizeof(*s->records));
		s->records[s->nrecords++] = r;
	}
}

static void load_all(struct loader *ld)
{
	struct scenario *s = ld->s;
	struct rule **tail = &s->rules;

	s->seed = (uint64_t)cfg_getint(ld->cfg, "seed");
	s->violations_close = (uint32_t)cfg_getint(ld->cfg, "errors_before_close");
	s->tlsa = cfg_getbool(ld->cfg, "tlsa");
	s->dnssec = cfg_getbool(ld->cfg, "dnssec");
	s->edns = cfg_getbool(ld->cfg, "edns");
	load_clusters(ld);
	index_hosts(ld);
	for (unsigned i = 0; i < cfg_size(ld->cfg, "tenant"); i++)
		load_tenant(ld, cfg_getnsec(ld->cfg, "tenant", i));
	for (unsigned i = 0; i < cfg_size(ld->cfg, "rule"); i++) {
		*tail = scenario_load_rule(ld, cfg_getnsec(ld->cfg, "rule", i));
		tail = &(*tail)->next;
	}
	for (unsigned i = 0; i < cfg_size(ld->cfg, "limit"); i++)
		scenario_load_limit(ld, cfg_getnsec(ld->cfg, "limit", i));
	for (unsigned i = 0; i < cfg_size(ld->cfg, "dns"); i++)
		scenario_load_dns(ld, cfg_getnsec(ld->cfg, "dns", i));
	load_records(ld);
	if (!s->nclusters)
		fail(ld, NULL, "no cluster");
}

static char *file_text(const char *path)
{
	struct buf b;
	char block[16384];
	size_t n;
	FILE *f = fopen(path, "re");

	if (!f)
		return NULL;
	buf_init(&b, 0);
	while ((n = fread(block, 1, sizeof(block), f)) > 0)
		put(&b, block, n);
	fclose(f);
	put(&b, "", 1);
	return b.p;
}

int scenario_load(struct scenario **ret, const char *path, const char *text, struct buf *errors)
{
	char *owned = NULL;
	struct loader ld = { .name = path, .errors = errors };
	int r = -1;

	if (!text) {
		text = owned = file_text(path);
		if (!text) {
			put_fmt(errors, "%s: %s\n", path, strerror(errno));
			return -1;
		}
	}
	ld.s = xcalloc(1, sizeof(*ld.s));
	ld.s->refs = 1;
	ld.cfg = scenario_conf_new();
	if (scenario_conf_parse(ld.cfg, path, text, errors))
		goto out;
	ld.defaults = cfg_getsec(ld.cfg, "defaults");
	load_all(&ld);
	if (buf_size(errors))
		goto out;
	*ret = ld.s;
	ld.s = NULL;
	r = 0;
out:
	cfg_free(ld.cfg);
	scenario_unref(ld.s);
	free(owned);
	return r;
}
