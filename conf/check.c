/* What no single option can tell: names that must exist, addresses that must differ, values that
 * must fit one another. Also fills in what is derived. Called by config.c after bind.c, on the
 * thread that loads the configuration; the parts are check_*.c. All that is wrong is told, not
 * only the first. */
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "class.h"
#include "postern/smtp_command.h"
#include "source.h"

static unsigned line(const struct source *s, enum section_id id, unsigned i, const char *option)
{
	return scan_line(scan_find(&s->scan, &sections[id], i), option);
}

/* Only root can become somebody else, so for others it does not matter yet. */
static void tell_missing(struct source *s, const char *option, const char *name)
{
	(geteuid() == 0 ? diag_error : diag_warning)(s->diag, line(s, SECTION_ROOT, 0, option),
		"%s: there is no %s \"%.64s\" on this system: create it, or leave the option out",
		option, option, name);
}

static int check_identity(struct source *s)
{
	struct config *c = s->config;
	char name[HOST_NAME_MAX + 1] = "";
	struct smtp_path path;

	if (!c->hostname) {
		if (gethostname(name, sizeof(name) - 1))
			return -errno;
		c->hostname = strdup(name);
		if (!c->hostname)
			return -ENOMEM;
		if (!host_name_valid(slice_of(name)) &&
			!scan_given(scan_find(&s->scan, &sections[SECTION_ROOT], 0), "hostname"))
			diag_error(s->diag, 1,
				"hostname: the system's name \"%.64s\" is not a fully qualified "
				"domain name: "
				"write hostname = \"out.example.net\"",
				name);
	}
	if (c->postmaster && smtp_mailbox_parse(&path, slice_of(c->postmaster), false))
		diag_error(s->diag, line(s, SECTION_ROOT, 0, "postmaster"),
			"postmaster: \"%.100s\" is not an address such as "
			"\"postmaster@example.net\"",
			c->postmaster);
	if (c->user && !getpwnam(c->user))
		tell_missing(s, "user", c->user);
	if (c->group && !getgrnam(c->group))
		tell_missing(s, "group", c->group);
	return 0;
}

/* A field's name: RFC 5322 section 3.6.8. */
static bool is_field_name(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++)
		if (s[i] <= ' ' || s[i] >= 0x7f || s[i] == ':')
			return false;
	return n > 0 && n <= 64;
}

static void check_log_headers(struct source *s)
{
	const struct config *c = s->config;

	for (unsigned i = 0; i < c->nlog_headers; i++) {
		if (!is_field_name(c->log_headers[i]))
			diag_error(s->diag, line(s, SECTION_LOG, 0, "headers"),
				"log: headers: \"%s\" is no name of a header field: write it without "
				"colon or blanks, such as \"X-Campaign\"",
				c->log_headers[i]);
		for (unsigned k = 0; k < i; k++)
			if (!strcasecmp(c->log_headers[k], c->log_headers[i]))
				diag_error(s->diag, line(s, SECTION_LOG, 0, "headers"),
					"log: headers: \"%s\" is there twice", c->log_headers[i]);
	}
}

static void check_queue(struct source *s)
{
	const struct retry_params *retry = &s->config->policy.retry;
	const struct queue_params *q = &s->config->queue;

	if (!q->path)
		diag_error(s->diag, line(s, SECTION_QUEUE, 0, "path"),
			"queue: path: a directory is needed");
	if (q->reserve >= q->max_size)
		diag_error(s->diag, line(s, SECTION_QUEUE, 0, "reserve"),
			"queue: reserve: must be less than max_size, of which it is a part");
	if (retry->nschedule == 0)
		diag_error(s->diag, line(s, SECTION_QUEUE, 0, "retry"),
			"queue: retry: at least one delay is needed, such as {\"5m\"}");
	else if (retry->schedule[0] >= retry->expire)
		diag_warning(s->diag, line(s, SECTION_QUEUE, 0, "retry"),
			"queue: retry: the first delay is not shorter than expire: there will be "
			"one attempt only");
	if (retry->delay_notice >= retry->expire)
		diag_warning(s->diag, line(s, SECTION_QUEUE, 0, "delay_notice"),
			"queue: delay_notice: not shorter than expire, so no notice will ever be "
			"sent; write "
			"\"0\" if that is wanted");
	if (s->config->dispatch.dns.ttl_min > s->config->dispatch.dns.ttl_max)
		diag_error(s->diag, line(s, SECTION_DNS, 0, "ttl_min"),
			"dns: ttl_min is more than ttl_max");
	if (!s->config->log.file)
		diag_error(s->diag, line(s, SECTION_LOG, 0, "file"),
			"log: file: a file is needed, or \"-\" for standard output");
	check_log_headers(s);
}

static bool is_unusable(const struct addr *a)
{
	static const struct addr zero[2] = { { .family = ADDR_V4 }, { .family = ADDR_V6 } };

	if (addr_eq(a, &zero[0]) || addr_eq(a, &zero[1]))
		return true;
	/* multicast, reserved and broadcast */
	return a->family == ADDR_V4 ? a->ip[0] >= 224 : a->ip[0] == 0xff;
}

static int check_source(struct source *s, unsigned i)
{
	struct source_params *p = &s->config->policy.sources[i];

	if (!p->ehlo) {
		p->ehlo = strdup(s->config->hostname);
		if (!p->ehlo)
			return -ENOMEM;
	}
	if (p->address.family == ADDR_NONE)
		return 0; /* told already */
	if (is_unusable(&p->address))
		diag_error(s->diag, line(s, SECTION_SOURCE, i, "address"),
			"source \"%s\": address: nothing can be sent from this address: give one "
			"of the "
			"machine's own",
			p->name);
	if (p->subnet.addr.family == ADDR_NONE)
		p->subnet = net_of(&p->address, 24, 64);
	else if (!net_contains(&p->subnet, &p->address))
		diag_error(s->diag, line(s, SECTION_SOURCE, i, "subnet"),
			"source \"%s\": subnet: its address does not lie in it", p->name);
	return 0;
}

struct source_address {
	struct addr addr;
	unsigned index;
};

static int compare_addresses(const void *a, const void *b)
{
	const struct source_address *x = a, *y = b;
	int order = memcmp(&x->addr, &y->addr, sizeof(x->addr));

	return order ? order : (x->index > y->index) - (x->index < y->index);
}

static int check_duplicates(struct source *s)
{
	const struct policy_params *p = &s->config->policy;
	struct source_address *all = calloc(p->nsources + 1, sizeof(*all));
	char where[DIAG_WHERE_MAX];

	if (!all)
		return -ENOMEM;
	for (unsigned i = 0; i < p->nsources; i++)
		all[i] = (struct source_address){ p->sources[i].address, i };
	qsort(all, p->nsources, sizeof(*all), compare_addresses);
	for (unsigned i = 1; i < p->nsources; i++) {
		unsigned first = all[i - 1].index, again = all[i].index;

		if (all[i].addr.family != ADDR_NONE && addr_eq(&all[i].addr, &all[i - 1].addr))
			diag_error(s->diag, line(s, SECTION_SOURCE, again, "address"),
				"source \"%s\": address: source \"%s\" in %s has the same: "
				"limits and "
				"reputation belong to the address, so name it once and use it in "
				"several pools",
				p->sources[again].name, p->sources[first].name,
				diag_where(s->diag, line(s, SECTION_SOURCE, first, "address"),
					line(s, SECTION_SOURCE, again, "address"), where));
	}
	free(all);
	return 0;
}

static int check_sources(struct source *s)
{
	int r = 0;

	for (unsigned i = 0; i < s->config->policy.nsources && !r; i++)
		r = check_source(s, i);
	return r ? r : check_duplicates(s);
}

/* "NAME" or "NAME:WEIGHT" into the next member of the pool. */
static void add_member(struct source *s, unsigned pool, unsigned at, const char *text)
{
	struct pool_params *p = &s->config->policy.pools[pool];
	unsigned where =
		scan_value_line(scan_find(&s->scan, &sections[SECTION_POOL], pool), "sources", at);
	const char *colon = strrchr(text, ':');
	struct slice name = { text, colon ? (size_t)(colon - text) : strlen(text) };
	uint64_t weight = 1;
	int source;

	if (colon && (slice_u64(slice_of(colon + 1), &weight) || weight < 1 || weight > 1000)) {
		diag_error(s->diag, where,
			"pool \"%s\": sources: \"%.80s\": the weight behind the colon must be from "
			"1 to 1000",
			p->name, text);
		return;
	}
	source = config_find_source(s->config, name);
	if (source < 0) {
		diag_error(s->diag, where,
			"pool \"%s\": sources: there is no source \"%.*s\": write source \"%.*s\" "
			"{ address = ... }",
			p->name, (int)(name.n < 80 ? name.n : 80), name.p,
			(int)(name.n < 80 ? name.n : 80), name.p);
		return;
	}
	for (unsigned i = 0; i < p->nmembers; i++) {
		if (p->members[i].source == (unsigned)source) {
			diag_error(s->diag, where,
				"pool \"%s\": sources: \"%.*s\" is in it twice: give it a weight "
				"instead, as in "
				"\"%.*s:2\"",
				p->name, (int)name.n, name.p, (int)name.n, name.p);
			return;
		}
	}
	p->members[p->nmembers].source = (unsigned)source;
	p->members[p->nmembers++].weight = (unsigned)weight;
}

static int check_pools(struct source *s)
{
	struct policy_params *p = &s->config->policy;

	if (p->npools == 0)
		diag_error(s->diag, 1,
			"there is no pool: mail can leave from nowhere. Write source \"a\" { "
			"address = \"192.0.2.1\" } "
			"and pool \"main\" { sources = {\"a\"} }");
	for (unsigned i = 0; i < p->npools; i++) {
		const struct scan_section *given = scan_find(&s->scan, &sections[SECTION_POOL], i);
		unsigned n = scan_values(given, "sources");

		p->pools[i].members = calloc(n + 1, sizeof(*p->pools[i].members));
		if (!p->pools[i].members)
			return -ENOMEM;
		for (unsigned k = 0; k < n; k++)
			add_member(s, i, k, scan_value(given, "sources", k));
		if (n == 0 && scan_given(given, "sources"))
			diag_error(s->diag, line(s, SECTION_POOL, i, "sources"),
				"pool \"%s\": sources: a pool needs at least one source",
				p->pools[i].name);
	}
	return 0;
}

static void check_provider(struct source *s, unsigned given, const struct provider_params *p)
{
	bool catch_all = strcmp(p->name, "default") == 0;

	if (catch_all && p->nmx > 0)
		diag_error(s->diag, line(s, SECTION_PROVIDER, given, "mx"),
			"provider \"default\": mx: it is what remains when no other provider fits: "
			"leave mx out");
	if (!catch_all && p->nmx == 0)
		diag_error(s->diag, line(s, SECTION_PROVIDER, given, "mx"),
			"provider \"%s\": mx: give the MX host names that it is known by, such as "
			"{\"*.mx.example.net\"}",
			p->name);
	if (p->transport.ca_file && p->transport.tls != TLS_VERIFY)
		diag_warning(s->diag, line(s, SECTION_PROVIDER, given, "ca_file"),
			"provider \"%s\": ca_file: only used with tls = \"verify\"", p->name);
	if (!p->transport.certificate != !p->transport.key)
		diag_error(s->diag,
			line(s, SECTION_PROVIDER, given,
				p->transport.certificate ? "certificate" : "key"),
			"provider \"%s\": certificate and key belong together: give both", p->name);
	if (p->transport.certificate && p->transport.tls == TLS_NONE)
		diag_warning(s->diag, line(s, SECTION_PROVIDER, given, "certificate"),
			"provider \"%s\": certificate: means nothing with tls = \"none\"", p->name);
	if (p->connections_per_cluster && p->connections_per_lane > p->connections_per_cluster)
		diag_warning(s->diag, line(s, SECTION_PROVIDER, given, "connections_per_lane"),
			"provider \"%s\": connections_per_lane (%u) is more than "
			"connections_per_cluster (%u) and "
			"will never be reached",
			p->name, p->connections_per_lane, p->connections_per_cluster);
}

static void check_providers(struct source *s)
{
	const struct policy_params *p = &s->config->policy;

	for (unsigned i = 0; i < scan_count(&s->scan, &sections[SECTION_PROVIDER]); i++) {
		const char *title = scan_find(&s->scan, &sections[SECTION_PROVIDER], i)->title;

		for (unsigned k = 0; k < p->nproviders; k++) {
			if (title && strcmp(p->providers[k].name, title) == 0)
				check_provider(s, i, &p->providers[k]);
		}
	}
}

/* The rules' own errors carry their own file and line; each is told at the option that names the
 * file. */
static int check_rules(struct source *s)
{
	const struct config *c = s->config;
	struct classifier *rules = NULL;
	struct buf errors;
	struct slice left;
	int r;

	if (!c->rules_file)
		return 0;
	buf_init(&errors, 0);
	r = config_classifier(c, &rules, &errors);
	for (left = buf_slice(&errors); left.n > 0;) {
		const char *end = memchr(left.p, '\n', left.n);
		size_t n = end ? (size_t)(end - left.p) : left.n;

		diag_error(s->diag, line(s, SECTION_ROOT, 0, "rules_file"), "rules_file: %.*s",
			(int)n, left.p);
		left = slice_from(left, n + 1);
	}
	classifier_free(rules);
	buf_deinit(&errors);
	return r == -ENOMEM ? r : 0;
}

/* Days are only counted where there is a warm-up: a broken system zone is of no account without. */
static int check_zone(struct source *s)
{
	struct config *c = s->config;
	const char *name = c->timezone ? c->timezone : "system";
	bool given = scan_given(scan_find(&s->scan, &sections[SECTION_ROOT], 0), "timezone");
	int r = zone_load(&c->policy.zone, name);

	if (r == -ENOMEM || (r && !given && c->nwarmups == 0))
		return r == -ENOMEM ? r : 0;
	if (r == -ENOENT)
		diag_error(s->diag, line(s, SECTION_ROOT, 0, "timezone"),
			"timezone: there is no zone \"%.64s\" in /usr/share/zoneinfo: write "
			"\"system\", \"UTC\" or a name such as \"Europe/Berlin\" (package tzdata)",
			name);
	else if (r)
		diag_error(s->diag, line(s, SECTION_ROOT, 0, "timezone"),
			"timezone: the file of the zone \"%.64s\" cannot be used (%s): write "
			"timezone = \"UTC\", or another",
			name, r == -EINVAL ? "it is no TZif file" : strerror(-r));
	return 0;
}

static void check_senders(struct source *s)
{
	for (unsigned i = 0; i < s->config->nsender_pools; i++) {
		const struct config_sender_pool *p = &s->config->sender_pools[i];

		if (p->pool && !config_has_pool(s->config, p->pool))
			diag_error(s->diag, line(s, SECTION_SENDER, i, "pool"),
				"sender \"%.63s\": pool: there is no pool \"%s\"", p->pattern,
				p->pool);
	}
}

static bool given_here(const struct source *s, unsigned i, const char *option)
{
	return scan_given(scan_find(&s->scan, &sections[SECTION_CLASS], i), option) != NULL;
}

static void check_class(struct source *s, unsigned i)
{
	const struct config *c = s->config;
	const struct class_params *k = &c->policy.classes[i];

	for (unsigned n = 0; n < k->npool; n++)
		if (!strchr(k->pool[n], '*') && !config_has_pool(c, k->pool[n]))
			diag_error(s->diag, line(s, SECTION_CLASS, i, "pool"),
				"class \"%.63s\": pool: there is no pool \"%.63s\"", k->name,
				k->pool[n]);
	for (unsigned n = 0; n < k->nlistener; n++) {
		bool found = strchr(k->listener[n], '*') != NULL;

		for (unsigned j = 0; j < c->nlisteners; j++)
			found |= !strcmp(c->listeners[j].name, k->listener[n]);
		if (!found)
			diag_error(s->diag, line(s, SECTION_CLASS, i, "listener"),
				"class \"%.63s\": listener: there is no listener \"%.63s\"",
				k->name, k->listener[n]);
	}
	if (k->nschedule && k->schedule[0] >= k->expire)
		diag_warning(s->diag,
			line(s, SECTION_CLASS, i, given_here(s, i, "retry") ? "retry" : "expire"),
			"class \"%.63s\": the first delay of retry is not shorter than expire: "
			"there will be one attempt only",
			k->name);
	if (k->delay_notice >= k->expire && given_here(s, i, "delay_notice"))
		diag_warning(s->diag, line(s, SECTION_CLASS, i, "delay_notice"),
			"class \"%.63s\": delay_notice: not shorter than expire, so no notice will "
			"ever be sent",
			k->name);
}

static int check_classes(struct source *s)
{
	struct policy_params *p = &s->config->policy;

	for (unsigned i = 0; i < p->nclasses; i++) {
		struct class_params *c = &p->classes[i];
		struct class_mistake m;
		int r = class_make(c, &m);

		if (r && r != -ENOMEM)
			diag_error(s->diag,
				scan_value_line(scan_find(&s->scan, &sections[SECTION_CLASS], i),
					m.option, m.value),
				"class \"%.63s\": %s: %s", c->name, m.option, m.why);
		if (r != -ENOMEM)
			r = class_derive(c, &p->retry, given_here(s, i, "expire"),
				given_here(s, i, "delay_notice"));
		if (r)
			return r;
		check_class(s, i);
	}
	return 0;
}

/* Only what is asked for can be answered: no AAAA look-ups when no source has an IPv6 address. */
static void derive(struct config *c)
{
	c->dispatch.hostname = c->hostname;
	c->dispatch.postmaster = c->postmaster;
	c->dispatch.body_memory_max = c->body_memory_max;
	for (unsigned i = 0; i < c->policy.nsources; i++) {
		c->dispatch.dns.ipv4 |= c->policy.sources[i].address.family == ADDR_V4;
		c->dispatch.dns.ipv6 |= c->policy.sources[i].address.family == ADDR_V6;
	}
}

int source_check(struct source *s)
{
	int r = check_identity(s);

	if (!r)
		r = check_sources(s);
	if (!r)
		r = check_pools(s);
	if (!r)
		r = source_check_listeners(s);
	if (!r)
		r = check_rules(s);
	if (!r)
		r = source_check_dkims(s);
	if (!r)
		r = check_zone(s);
	if (!r)
		r = source_bind_warmups(s);
	if (!r)
		r = check_classes(s);
	if (r)
		return r;
	check_queue(s);
	check_providers(s);
	check_senders(s);
	source_check_warmups(s);
	if (s->on_machine)
		source_check_machine(s);
	derive(s->config);
	return 0;
}
