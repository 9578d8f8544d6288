/* Postfix's main.cf and master.cf, and the tables that they name, as a configuration of Postern. Called
 * by `postern import`. What a parameter becomes stands in tables here; postfix_listen.c has who may
 * send, and where; postfix_cf.c reads the files. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postfix_import.h"

static const char *const providers[] = { "microsoft365", "outlook", "default" };

/* "5d", "300" with the parameter's unit; weeks become days. */
static const char *duration(struct import *im, const char *text, char unit)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (end == text)
		return text;
	if (*end && !end[1])
		unit = *end;
	else if (*end)
		return text;
	if (unit == 'w')
		return import_printf(im, "%lud", n > 1000 ? 7000 : n * 7);
	return import_printf(im, "%lu%s", n, n ? (char[2]){ unit, 0 } : "");
}

/* Parameters with one value that an option of ours has as well. */
static const struct simple {
	const char *name, *option;
	enum section_id section; /* LISTENER and PROVIDER: of all, of "default" */
	char unit;		 /* of a time without one; 0: no time */
} simples[] = {
	{ "myhostname", "hostname", SECTION_ROOT, 0 },
	{ "maximal_queue_lifetime", "expire", SECTION_QUEUE, 'd' },
	{ "delay_warning_time", "delay_notice", SECTION_QUEUE, 'h' },
	{ "smtp_connect_timeout", "timeout_connect", SECTION_PROVIDER, 's' },
	{ "smtp_helo_timeout", "timeout_ehlo", SECTION_PROVIDER, 's' },
	{ "smtp_starttls_timeout", "timeout_starttls", SECTION_PROVIDER, 's' },
	{ "smtp_mail_timeout", "timeout_mail", SECTION_PROVIDER, 's' },
	{ "smtp_rcpt_timeout", "timeout_rcpt", SECTION_PROVIDER, 's' },
	{ "smtp_data_init_timeout", "timeout_data", SECTION_PROVIDER, 's' },
	{ "smtp_data_xfer_timeout", "timeout_body", SECTION_PROVIDER, 's' },
	{ "smtp_data_done_timeout", "timeout_eod", SECTION_PROVIDER, 's' },
	{ "smtp_quit_timeout", "timeout_quit", SECTION_PROVIDER, 's' },
	{ "default_destination_concurrency_limit", "connections_per_lane", SECTION_PROVIDER, 0 },
	{ "smtp_destination_concurrency_limit", "connections_per_lane", SECTION_PROVIDER, 0 },
	{ "default_destination_recipient_limit", "recipients_per_transaction", SECTION_PROVIDER,
		0 },
	{ "smtp_destination_recipient_limit", "recipients_per_transaction", SECTION_PROVIDER, 0 },
};

static void take_simple(struct cf *cf)
{
	struct import *im = cf->im;

	for (size_t i = 0; i < sizeof(simples) / sizeof(*simples); i++) {
		const struct simple *s = &simples[i];
		const char *value = cf_value(cf, s->name);
		const struct cf_param *p = cf_use(cf, s->name);
		struct import_section *sec;

		if (!p || !value || !*value)
			continue;
		sec = import_section(
			im, s->section, s->section == SECTION_PROVIDER ? "default" : NULL, NULL);
		if (s->unit)
			value = duration(im, value, s->unit);
		if (value)
			import_value(im, sec, s->option, slice_of(value), &p->at);
	}
}

/* Retries double from the least to the most. */
static void take_backoff(struct cf *cf)
{
	const struct cf_param *low = cf_use(cf, "minimal_backoff_time");
	const struct cf_param *high = cf_use(cf, "maximal_backoff_time");
	struct import_section *sec;
	struct slice text;
	ms_t from = 300000, to = 4000000;

	if (!low && !high)
		return;
	text = slice_of(low ? duration(cf->im, cf_value(cf, low->name), 's') : "300s");
	if (!text.p || duration_parse(&from, text) || from < 1000)
		from = 300000;
	text = slice_of(high ? duration(cf->im, cf_value(cf, high->name), 's') : "4000s");
	if (!text.p || duration_parse(&to, text) || to < from)
		to = from;
	sec = import_section(cf->im, SECTION_QUEUE, NULL, NULL);
	for (unsigned i = 0; i < 12; i++, from *= 2) {
		char *one =
			import_printf(cf->im, "%llds", (long long)(from < to ? from : to) / 1000);

		if (one)
			import_value(
				cf->im, sec, "retry", slice_of(one), low ? &low->at : &high->at);
		if (from >= to)
			break;
	}
}

static void take_tls(struct cf *cf)
{
	static const char *const levels[][2] = { { "none", "none" }, { "may", "opportunistic" },
		{ "encrypt", "require" }, { "verify", "verify" }, { "secure", "verify" } };
	const struct cf_param *p = cf_use(cf, "smtp_tls_security_level");
	const struct cf_param *ca = cf_use(cf, "smtp_tls_CAfile");
	const char *level = p ? cf_value(cf, p->name) : "", *ours = NULL;

	for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++)
		if (!strcmp(level, levels[i][0]))
			ours = levels[i][1];
	if (*level && !ours)
		import_note(cf->im, &p->at, "%s: not known here, TLS stays opportunistic", level);
	for (size_t i = 0; ours && i < sizeof(providers) / sizeof(*providers); i++) {
		struct import_section *s =
			import_section(cf->im, SECTION_PROVIDER, providers[i], NULL);

		import_value(cf->im, s, "tls", slice_of(ours), &p->at);
		if (ca && !strcmp(ours, "verify"))
			import_value(
				cf->im, s, "ca_file", slice_of(cf_value(cf, ca->name)), &ca->at);
	}
}

/* ---- where mail leaves from ---- */

/* Only with an address of its own: others send from that of the service "smtp". */
static bool has_own(const struct cf_service *s, const char *parameter)
{
	for (unsigned i = 0; i < s->n; i++)
		if (!strcmp(s->names[i], parameter))
			return true;
	return !strcmp(s->name, "smtp");
}

static void source(struct cf *cf, const struct cf_service *s, const char *parameter,
	const char *suffix, const struct origin *at)
{
	const char *address = cf_service_value(cf, s, parameter);
	const char *helo = cf_service_value(cf, s, "smtp_helo_name");
	struct origin from = { at->file, at->line, parameter };
	char *pool = import_name(cf->im, slice_of(s->name));
	char *name = pool ? import_printf(cf->im, "%s%s", pool, suffix) : NULL;
	struct import_section *sec;

	if (!name || !address || !*address || !has_own(s, parameter))
		return;
	sec = import_section(cf->im, SECTION_SOURCE, name, at);
	import_value(cf->im, sec, "address", slice_of(address), &from);
	if (helo && *helo)
		import_value(cf->im, sec, "ehlo", slice_of(helo),
			&(struct origin){ at->file, at->line, "smtp_helo_name" });
	sec = import_section(cf->im, SECTION_POOL, pool, at);
	import_value(cf->im, sec, "sources", slice_of(name), at);
}

void postfix_client(struct cf *cf, const struct cf_service *s, const struct origin *at)
{
	source(cf, s, "smtp_bind_address", "", at);
	source(cf, s, "smtp_bind_address6", "-6", at);
	cf_use(cf, "smtp_bind_address");
	cf_use(cf, "smtp_bind_address6");
	cf_use(cf, "smtp_helo_name");
}

/* "name:" or "name:nexthop"; the pool of that name, NULL if there is none. */
static const char *pool_of(struct cf *cf, struct slice transport, const struct origin *at)
{
	const char *colon = transport.n ? memchr(transport.p, ':', transport.n) : NULL;
	size_t n = colon ? (size_t)(colon - transport.p) : transport.n;
	char *pool = import_name(cf->im, (struct slice){ transport.p, n });

	if (colon && n + 1 < transport.n)
		import_note(cf->im, at, "next hop %.*s: mail goes to the recipient's own MX hosts",
			(int)(transport.n - n - 1), colon + 1);
	return pool && import_find(cf->im, SECTION_POOL, pool) ? pool : NULL;
}

static void sender_line(void *arg, struct slice key, struct slice value, const struct origin *at)
{
	struct cf *cf = arg;
	const char *pool = pool_of(cf, value, at);
	char *domain;

	if (!key.n || key.p[0] != '@') {
		import_note(cf->im, at,
			"%.*s: a pool is chosen by a sender's domain, not by its "
			"address",
			(int)key.n, key.p);
		return;
	}
	domain = import_dup(cf->im, slice_from(key, 1));
	if (!pool || !domain) {
		import_note(cf->im, at, "%.*s: its transport names no address to send from",
			(int)key.n, key.p);
		return;
	}
	import_value(cf->im, import_section(cf->im, SECTION_SENDER, domain, at), "pool",
		slice_of(pool), at);
}

/* default_transport: the pool of what comes in; randmap:{a:,b:} is a pool of several. */
static void take_default_transport(struct cf *cf)
{
	const struct cf_param *p = cf_use(cf, "default_transport");
	const char *value = p ? cf_value(cf, p->name) : "smtp";
	struct slice left = slice_of(value), word;
	struct import_section *all;

	if (strncmp(value, "randmap:{", 9) != 0) {
		cf->pool = pool_of(cf, left, p ? &p->at : NULL);
		return;
	}
	left = slice_from(left, 9);
	if (left.n && left.p[left.n - 1] == '}')
		left.n--;
	all = import_section(cf->im, SECTION_POOL, "main", &p->at);
	while ((word = import_word(&left, true)).n) {
		const char *pool = pool_of(cf, word, &p->at);
		struct import_section *one = pool ? import_find(cf->im, SECTION_POOL, pool) : NULL;

		for (struct import_value *v = one && one != all ? one->first : NULL; v; v = v->next)
			import_value(cf->im, all, "sources", slice_of(v->text), &p->at);
	}
	cf->pool = "main";
}

/* ---- the others ---- */

static void key_noted(void *arg, struct slice key, struct slice value, const struct origin *at)
{
	struct cf *cf = arg;

	(void)value; /* it may be a password */
	import_note(cf->im, at, "%.*s: %s", (int)key.n, key.p, cf->reason);
}

/* Tables whose lines have no counterpart: each is named, so that none is forgotten. */
static const struct reason {
	const char *name, *why;
	bool table;
} reasons[] = {
	{ "relayhost", "no fixed next hops: mail goes to the recipient's own MX hosts", false },
	{ "transport_maps", "no fixed next hops: mail goes to the domain's own MX hosts", true },
	{ "sender_dependent_relayhost_maps", "no fixed next hops by sender", true },
	{ "smtp_sasl_password_maps", "no AUTH towards receivers (the password was not copied)",
		true },
	{ "smtp_tls_policy_maps",
		"TLS is chosen by provider: write a provider section with this receiver's mx",
		true },
	{ "smtpd_milters", "no milters; signing is a dkim section, filters belong before the relay",
		false },
	{ "non_smtpd_milters", "no milters", false },
	{ "content_filter", "no content filters: they belong before the relay", false },
	{ "virtual_alias_maps", "recipients are not rewritten", false },
	{ "canonical_maps", "addresses are not rewritten", false },
	{ "sender_canonical_maps", "addresses are not rewritten", false },
	{ "recipient_canonical_maps", "addresses are not rewritten", false },
	{ "smtp_generic_maps", "addresses are not rewritten", false },
	{ "masquerade_domains", "addresses are not rewritten", false },
	{ "header_checks", "content is not looked into", false },
	{ "body_checks", "content is not looked into", false },
	{ "always_bcc", "no copies", false },
	{ "sender_bcc_maps", "no copies", false },
	{ "recipient_bcc_maps", "no copies", false },
	{ "smtpd_sender_login_maps", "who may send as whom is not checked", false },
	{ "smtp_fallback_relay", "no fixed next hops", false },
	{ "mydestination", "nothing is delivered on this machine", false },
	{ "local_transport", "nothing is delivered on this machine", false },
	{ "mailbox_size_limit", "nothing is delivered on this machine", false },
	{ "alias_maps", "nothing is delivered on this machine", false },
	{ "smtp_destination_rate_delay",
		"a rate is a provider's lane_message_rate, which is learned beside it", false },
	{ "default_destination_rate_delay",
		"a rate is a provider's lane_message_rate, which is learned beside it", false },
	{ "smtp_dns_support_level", "DNSSEC is the resolver's", false },
};

static void take_reasons(struct cf *cf)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++) {
		const struct cf_param *p = cf_use(cf, reasons[i].name);
		struct slice left = slice_of(p ? cf_value(cf, p->name) : ""), word;

		if (!left.n)
			continue;
		if (!reasons[i].table) {
			import_note(cf->im, &p->at, "%s", reasons[i].why);
			continue;
		}
		cf->reason = reasons[i].why;
		while ((word = import_word(&left, true)).n) {
			char *table = import_dup(cf->im, word);

			if (table)
				cf_table(cf, table, &p->at, key_noted, cf);
		}
	}
}

static void take_senders(struct cf *cf)
{
	const struct cf_param *p = cf_use(cf, "sender_dependent_default_transport_maps");
	struct slice left = slice_of(p ? cf_value(cf, p->name) : ""), word;

	while ((word = import_word(&left, true)).n) {
		char *table = import_dup(cf->im, word);

		if (table)
			cf_table(cf, table, &p->at, sender_line, cf);
	}
}

/* Those of the Debian package and the like, which say nothing about mail. */
static bool is_housekeeping(const char *name)
{
	static const char *const endings[] = { "_directory", "_path", "_owner", "_group", "_level",
		"_command", "biff", "_domain", "mydomain", "myorigin", "_protocols", "_delimiter",
		"_database", "_version", "_loglevel" };
	size_t n = strlen(name);

	for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++) {
		size_t m = strlen(endings[i]);

		if (n >= m && !strcmp(name + n - m, endings[i]))
			return true;
	}
	return false;
}

static void note_others(struct cf *cf)
{
	for (const struct cf_param *p = cf->first; p; p = p->next)
		if (!p->used && !is_housekeeping(p->name))
			import_note(cf->im, &p->at, "has no counterpart here, or is not known");
}

int import_postfix(
	struct buf *out, struct buf *notes, const char *dir, import_read_fn *read, void *arg)
{
	struct import im;
	struct cf cf = { .im = &im };
	char *main_cf, *master_cf;
	int r;

	import_init(&im, notes, read, arg);
	main_cf = import_printf(&im, "%s/main.cf", dir);
	master_cf = import_printf(&im, "%s/master.cf", dir);
	if (main_cf && master_cf) {
		cf_read(&cf, main_cf, import_file(&im, main_cf, NULL));
		take_simple(&cf);
		take_backoff(&cf);
		take_tls(&cf);
		postfix_services(&cf, master_cf, import_file(&im, master_cf, NULL));
		take_default_transport(&cf);
		take_senders(&cf);
		postfix_listeners(&cf);
		take_reasons(&cf);
		note_others(&cf);
	}
	r = import_write(&im, "postfix", out);
	import_deinit(&im);
	return r;
}
