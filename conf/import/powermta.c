/* PowerMTA's configuration file as a configuration of Postern. Called by `postern import`. A line is a
 * directive with its value; sections are <name argument> … </name>, some inside others. What a
 * directive of a section becomes stands in tables here.
 *
 * VMTAs become sources, each with a pool of its own, since mail is sent to VMTAs and to pools by the
 * same header there. Limits of a domain become those of a provider, where the provider's MX hosts
 * are known: by an mx roll-up of the file, or by the table below. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "import.h"

#define DEPTH_MAX    8u
#define INCLUDES_MAX 8u

struct section_open {
	char *name, *argument;
};
struct pmta {
	struct import *im;
	struct section_open stack[DEPTH_MAX];
	unsigned depth, includes;
	unsigned patterns; /* of the list that is read */
};

static bool is(struct slice word, const char *name)
{
	return slice_case_eq(word, slice_of(name));
}

/* ---- values ---- */

/* Of a unit's name, none being a second; 0: not known. */
static unsigned long long unit_seconds(struct slice name)
{
	static const struct {
		const char *name;
		unsigned long long s;
	} units[] = { { "", 1 }, { "s", 1 }, { "sec", 1 }, { "m", 60 }, { "min", 60 },
		{ "h", 3600 }, { "hr", 3600 }, { "d", 86400 }, { "day", 86400 }, { "w", 604800 } };

	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (is(name, units[i].name))
			return units[i].s;
	return 0;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "4d12h" in seconds; 0: not understood. */
static unsigned long long seconds(struct slice text)
{
	unsigned long long sum = 0;

	while (text.n) {
		uint64_t n;
		unsigned long long unit;
		size_t i = 0, m = 0;

		while (i < text.n && is_digit(text.p[i]))
			i++;
		if (i > 9 || slice_u64((struct slice){ text.p, i }, &n))
			return 0;
		text = slice_from(text, i);
		while (m < text.n && !is_digit(text.p[m]))
			m++;
		unit = unit_seconds((struct slice){ text.p, m });
		if (!unit)
			return 0;
		sum += n * unit;
		text = slice_from(text, m);
	}
	return sum;
}

enum form { TEXT, NUMBER, DURATION, RATE };

/* In our syntax; NULL: not understood. */
static const char *value_of(struct import *im, struct slice v, enum form form)
{
	const char *slash = form == RATE && v.n ? memchr(v.p, '/', v.n) : NULL;
	unsigned long long s;
	size_t n;
	char *text;

	if (form == TEXT || form == NUMBER)
		return import_dup(im, v);
	if (form == DURATION) {
		s = seconds(v);
		return s ? import_printf(im, "%llus", s) : NULL;
	}
	if (!slash)
		return NULL;
	n = (size_t)(slash - v.p);
	text = import_dup(im, slice_from(v, n + 1));
	/* "100/h" is a hundred in one of them, "50/10min" fifty in ten */
	if (text && (*text < '0' || *text > '9'))
		text = import_printf(im, "1%s", text);
	s = text ? seconds(slice_of(text)) : 0;
	return s ? import_printf(im, "%.*s/%llus", (int)n, v.p, s) : NULL;
}

/* ---- domains ---- */

static const struct {
	const char *domain, *provider, *mx; /* mx NULL: built in */
} known[] = { { "*", "default", NULL }, { "hotmail.com", "outlook", NULL },
	{ "outlook.com", "outlook", NULL }, { "live.com", "outlook", NULL },
	{ "msn.com", "outlook", NULL }, { "*.mail.protection.outlook.com", "microsoft365", NULL },
	{ "*.olc.protection.outlook.com", "outlook", NULL },
	{ "gmail.com", "google", "*.google.com" }, { "googlemail.com", "google", "*.google.com" },
	{ "*.google.com", "google", "*.google.com" }, { "yahoo.com", "yahoo", "*.yahoodns.net" },
	{ "aol.com", "yahoo", "*.yahoodns.net" }, { "*.yahoodns.net", "yahoo", "*.yahoodns.net" },
	{ "icloud.com", "icloud", "*.mail.icloud.com" },
	{ "me.com", "icloud", "*.mail.icloud.com" } };

static struct import_section *provider_of(
	struct import *im, struct slice domain, const struct origin *at)
{
	struct import_section *s;
	char *name;

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (!is(domain, known[i].domain))
			continue;
		s = import_section(im, SECTION_PROVIDER, known[i].provider, at);
		if (known[i].mx)
			import_value(im, s, "mx", slice_of(known[i].mx), at);
		return s;
	}
	name = import_name(im, domain); /* a roll-up of the file */
	return name ? import_find(im, SECTION_PROVIDER, name) : NULL;
}

/* "mx *.example.com name.rollup" in an <mx-rollup-list>. */
static void rollup(struct import *im, struct slice left, const struct origin *at)
{
	struct slice pattern = import_word(&left, false), name = import_word(&left, false);
	char *title = import_name(im, name);
	struct import_section *s;

	if (!name.n || !title)
		return;
	s = provider_of(im, pattern, at);
	if (s) {
		import_note(im, at, "%s is provider \"%s\" here", title, s->title);
		return;
	}
	s = import_section(im, SECTION_PROVIDER, title, at);
	import_value(im, s, "mx", pattern, at);
}

static const struct rule {
	const char *directive, *option;
	enum form form;
} domain_rules[] = {
	{ "max-smtp-out", "connections_per_cluster", NUMBER },
	{ "source-ip-max-smtp-out", "connections_per_lane", NUMBER },
	{ "max-msg-rate", "lane_message_rate", RATE },
	{ "max-connect-rate", "lane_connect_rate", RATE },
	{ "max-msg-per-connection", "messages_per_connection", NUMBER },
	{ "max-rcpt-per-message", "recipients_per_transaction", NUMBER },
	{ "max-rcpt-per-transaction", "recipients_per_transaction", NUMBER },
	{ "connect-timeout", "timeout_connect", DURATION },
	{ "smtp-greeting-timeout", "timeout_banner", DURATION },
	{ "data-send-timeout", "timeout_body", DURATION },
	{ "connection-idle-timeout", "connection_idle_max", DURATION },
};

static void one(struct import *im, struct import_section *s, const char *option, struct slice v,
	enum form form, const struct origin *at)
{
	const char *text;

	if (is(v, "unlimited")) {
		import_note(
			im, at, "unlimited: the built-in limit of \"%s\" stays", s ? s->title : "");
		return;
	}
	text = value_of(im, v, form);
	if (text)
		import_value(im, s, option, slice_of(text), at);
	else
		import_note(im, at, "%.*s is not understood", (int)v.n, v.p);
}

static bool starttls(struct import *im, struct import_section *s, struct slice directive,
	struct slice v, const struct origin *at)
{
	if (is(directive, "use-starttls"))
		import_value(im, s, "tls",
			is(v, "yes") ? SLICE_LIT("opportunistic") : SLICE_LIT("none"), at);
	else if (is(directive, "require-starttls") && is(v, "yes"))
		import_value(im, s, "tls", SLICE_LIT("require"), at);
	else
		return is(directive, "require-starttls");
	return true;
}

static void in_domain(struct import *im, struct slice domain, struct slice directive,
	struct slice v, const struct origin *at)
{
	struct import_section *s;

	if (is(domain, "*") && is(directive, "bounce-after")) {
		one(im, import_section(im, SECTION_QUEUE, NULL, at), "expire", v, DURATION, at);
		return;
	}
	if (is(domain, "*") && is(directive, "retry-after")) {
		one(im, import_section(im, SECTION_QUEUE, NULL, at), "retry", v, DURATION, at);
		return;
	}
	s = provider_of(im, domain, at);
	if (!s) {
		import_note(im, at,
			"limits of the domain %.*s: here a provider has them, known by its MX hosts",
			(int)domain.n, domain.p);
		return;
	}
	if (starttls(im, s, directive, v, at))
		return;
	for (size_t i = 0; i < sizeof(domain_rules) / sizeof(*domain_rules); i++) {
		if (!is(directive, domain_rules[i].directive))
			continue;
		one(im, s, domain_rules[i].option, v, domain_rules[i].form, at);
		return;
	}
	if (!strncmp(at->name, "backoff-", 8) || is(directive, "smtp-pattern-list"))
		import_note(im, at,
			"back-off follows the evidence of replies; rules_file adds "
			"readings of your own");
	else if (!is(directive, "dkim-sign"))
		import_note(im, at, "no counterpart here");
}

/* ---- sources and pools ---- */

static void source(struct import *im, const char *vmta, struct slice v, const struct origin *at)
{
	struct slice address = import_word(&v, false), ehlo = import_word(&v, false);
	char *title = import_name(im, slice_of(vmta)), *name = title;
	struct import_section *s, *pool;

	for (unsigned i = 2; name && i < 1000 && import_find(im, SECTION_SOURCE, name); i++)
		name = import_printf(im, "%s-%u", title, i);
	if (!name)
		return;
	s = import_section(im, SECTION_SOURCE, name, at);
	import_value(im, s, "address", address, at);
	if (ehlo.n)
		import_value(im, s, "ehlo", ehlo, at);
	pool = import_section(im, SECTION_POOL, title, at);
	import_value(im, pool, "sources", slice_of(name), at);
}

static void in_vmta(struct pmta *m, const char *vmta, struct slice directive, struct slice v,
	const struct origin *at)
{
	if (is(directive, "smtp-source-host") || is(directive, "smtp-source-ip"))
		source(m->im, vmta, v, at);
	else if (strstr(at->name, "cold-virtual-mta"))
		import_note(m->im, at,
			"write a warmup section: it goes by volume and health, at "
			"delivery");
	else
		import_note(m->im, at,
			"of one VMTA alone: limits here are a provider's, for all "
			"sources");
}

/* A pool's VMTAs by name, until all are known. */
static void in_pool(struct import *im, const char *pool, struct slice directive, struct slice v,
	const struct origin *at)
{
	char *title = import_name(im, slice_of(pool));
	struct import_section *s = title ? import_section(im, SECTION_POOL, title, at) : NULL;
	struct slice word;

	if (!is(directive, "virtual-mta")) {
		import_note(im, at, "no counterpart here");
		return;
	}
	while ((word = import_word(&v, true)).n) {
		char *name = import_name(im, word);

		if (name)
			import_value(im, s, "sources", slice_of(name), at);
	}
}

/* A VMTA of several addresses is several sources: its pool has them, and so have those that name it. */
static void finish_pools(struct import *im)
{
	for (struct import_section *s = im->first; s; s = s->next) {
		for (struct import_value *v = s->kind == &sections[SECTION_POOL] ? s->first : NULL;
			v; v = v->next) {
			struct import_section *vmta = import_find(im, SECTION_POOL, v->text);

			for (struct import_value *x = vmta && vmta != s ? vmta->first : NULL; x;
				x = x->next)
				import_value(im, s, "sources", slice_of(x->text), NULL);
		}
	}
}

/* ---- at the top, and in sections of who sends ---- */

static struct import_section *listener(struct import *im)
{
	return import_section(im, SECTION_LISTENER, "smtp", NULL);
}

static void in_source(struct import *im, struct slice network, struct slice directive,
	struct slice v, const struct origin *at)
{
	char *pool;

	if (is(directive, "always-allow-relaying") && is(v, "yes")) {
		import_value(im, listener(im), "allow",
			is(network, "0/0") ? SLICE_LIT("0.0.0.0/0") : network, at);
	} else if (is(directive, "process-x-virtual-mta") && is(v, "yes")) {
		import_value(im, listener(im), "pool_header", SLICE_LIT("true"), at);
		import_note(im, at,
			"the header that names a pool is X-Postern-Pool, not "
			"x-virtual-mta");
	} else if (is(directive, "default-virtual-mta")) {
		pool = import_name(im, v);
		if (pool)
			import_value(im, listener(im), "pool", slice_of(pool), at);
	} else if (!is(v, "no")) {
		import_note(im, at, "no counterpart here");
	}
}

static void dkim(struct import *im, struct slice v, const struct origin *at)
{
	struct slice selector = import_word(&v, true), domain = import_word(&v, true);
	struct slice key = import_word(&v, true);
	char *title = import_dup(im, domain);
	struct import_section *s;

	if (!title || !key.n || is(domain, "*")) {
		import_note(im, at, "a key is of a domain: write a dkim section for each");
		return;
	}
	s = import_section(im, SECTION_DKIM, title, at);
	import_value(im, s, "selector", selector, at);
	import_value(im, s, "key", key, at);
}

static void listen_at(struct import *im, struct slice v, const struct origin *at)
{
	struct slice address = import_word(&v, false);
	const char *colon = address.n ? memrchr(address.p, ':', address.n) : NULL;
	char *text;

	if (colon && is((struct slice){ address.p, (size_t)(colon - address.p) }, "0/0"))
		text = import_printf(im, "0.0.0.0:%.*s",
			(int)(address.n - (size_t)(colon - address.p) - 1), colon + 1);
	else
		text = import_printf(im, colon ? "%.*s" : "%.*s:25", (int)address.n, address.p);
	if (text)
		import_value(im, listener(im), "address", slice_of(text), at);
}

static void at_top(
	struct import *im, struct slice directive, struct slice v, const struct origin *at)
{
	struct import_section *root = import_section(im, SECTION_ROOT, NULL, NULL);
	char *text;

	if (is(directive, "host-name"))
		import_value(im, root, "hostname", v, at);
	else if (is(directive, "postmaster"))
		import_value(im, root, "postmaster", v, at);
	else if (is(directive, "total-max-smtp-out"))
		import_value(im, root, "outbound_max", v, at);
	else if (is(directive, "smtp-listener"))
		listen_at(im, v, at);
	else if (is(directive, "domain-key"))
		dkim(im, v, at);
	else if (is(directive, "http-mgmt-port")) {
		text = import_printf(im, "127.0.0.1:%.*s", (int)v.n, v.p);
		if (text)
			import_value(im, import_section(im, SECTION_HTTP, NULL, at), "address",
				slice_of(text), at);
	} else
		import_note(im, at, "no counterpart here, or not known");
}

/* Sections that are noted as a whole, at their beginning. */
static const char *whole_section(struct slice name)
{
	static const char *const sections_noted[][2] = {
		{ "smtp-user",
			"passwords are not copied: write users_file, lines name:crypt-hash" },
		{ "acct-file", "the log has a JSON object for each attempt: event delivered is "
			       "type d, bounced b, deferred t" },
		{ "bounce-category-patterns", "verdict and cause of a line of the log are the "
					      "categories" },
		{ "spool", "the queue is one file: queue { path }" },
		{ "smtp-pattern-list", "replies are read by built-in rules, and back-off follows "
				       "their evidence; rules_file adds readings of your own" },
	};

	for (size_t i = 0; i < sizeof(sections_noted) / sizeof(*sections_noted); i++)
		if (is(name, sections_noted[i][0]))
			return sections_noted[i][1];
	return NULL;
}

static void directive(struct pmta *m, struct slice word, struct slice v, const struct origin *at)
{
	const struct section_open *in = m->depth ? &m->stack[m->depth - 1] : NULL;
	struct slice name = in ? slice_of(in->name) : (struct slice){ 0 };
	struct slice argument = in ? slice_of(in->argument) : (struct slice){ 0 };

	if (!in)
		at_top(m->im, word, v, at);
	else if (m->depth > 1 && is(slice_of(m->stack[0].name), "virtual-mta"))
		in_vmta(m, m->stack[0].argument, SLICE_LIT(""), v, at);
	else if (is(name, "domain"))
		in_domain(m->im, argument, word, v, at);
	else if (is(name, "virtual-mta"))
		in_vmta(m, in->argument, word, v, at);
	else if (is(name, "virtual-mta-pool"))
		in_pool(m->im, in->argument, word, v, at);
	else if (is(name, "source"))
		in_source(m->im, argument, word, v, at);
	else if (is(name, "mx-rollup-list") && is(word, "mx"))
		rollup(m->im, v, at);
	else if (!whole_section(name))
		import_note(m->im, at, "no counterpart here, or not known");
}

static void bracket(struct pmta *m, struct slice line, const struct origin *at)
{
	struct slice name;
	struct section_open *s;

	line = slice_from(line, 1);
	while (line.n && line.p[line.n - 1] == '>')
		line.n--;
	if (line.n && line.p[0] == '/') {
		m->depth -= m->depth > 0;
		return;
	}
	if (m->depth == DEPTH_MAX) {
		import_note(m->im, at, "sections more than %u deep", DEPTH_MAX);
		return;
	}
	name = import_word(&line, false);
	s = &m->stack[m->depth];
	s->name = import_dup(m->im, name);
	s->argument = import_dup(m->im, slice_trim(line));
	if (!s->name || !s->argument)
		return;
	m->depth++;
	if (whole_section(name))
		import_note(m->im, at, "%s", whole_section(name));
}

static void read_file(struct pmta *m, const char *path, const struct origin *from)
{
	struct slice left = import_file(m->im, path, from);
	struct origin at = { .file = path, .line = 0 };

	while (left.n && !m->im->error) {
		const char *lf = memchr(left.p, '\n', left.n);
		size_t n = lf ? (size_t)(lf - left.p) : left.n;
		struct slice line = slice_trim((struct slice){ left.p, n }), word;

		left = slice_from(left, n + 1);
		at.line++;
		while (line.n && (line.p[line.n - 1] == '\r' || line.p[line.n - 1] == ' '))
			line.n--;
		if (!line.n || line.p[0] == '#')
			continue;
		at.name = import_dup(
			m->im, line.p[0] == '<' ? line : (word = line, import_word(&word, false)));
		if (line.p[0] == '<') {
			bracket(m, line, &at);
			continue;
		}
		word = import_word(&line, false);
		line = slice_trim(line);
		if (is(word, "include") && m->includes < INCLUDES_MAX) {
			char *other = import_dup(m->im, line);

			m->includes++;
			if (other)
				read_file(m, other, &at);
			m->includes--;
			continue;
		}
		if (at.name)
			directive(m, word, line, &at);
	}
}

/* With several pools mail that names none needs one. */
static void finish_listener(struct import *im)
{
	struct import_section *s = import_find(im, SECTION_LISTENER, "smtp"), *pool = NULL;
	unsigned n = 0;

	for (struct import_section *x = im->first; x; x = x->next) {
		if (x->kind != &sections[SECTION_POOL])
			continue;
		pool = pool ? pool : x;
		n++;
	}
	if (n < 2 || (s && import_has(s, "pool")))
		return;
	s = listener(im);
	import_value(im, s, "pool", slice_of(pool->title), NULL);
	import_note(im, NULL,
		"listener \"smtp\": no default-virtual-mta: mail that names no pool "
		"goes by pool \"%s\"",
		pool->title);
}

int import_powermta(
	struct buf *out, struct buf *notes, const char *path, import_read_fn *read, void *arg)
{
	struct import im;
	struct pmta m = { .im = &im };
	int r;

	import_init(&im, notes, read, arg);
	read_file(&m, path, NULL);
	finish_pools(&im);
	finish_listener(&im);
	r = import_write(&im, "powermta", out);
	import_deinit(&im);
	return r;
}
