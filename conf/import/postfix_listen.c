/* Services of master.cf: smtpd as listeners, smtp as sources. Who may send through a listener is
 * Postfix's mynetworks, for services that let these relay without a password. Called by postfix.c. */
#include <stdio.h>
#include <string.h>

#include "postfix_import.h"

const struct cf_param *cf_use(struct cf *cf, const char *name)
{
	for (struct cf_param *p = cf->first; p; p = p->next) {
		if (strcmp(p->name, name) != 0)
			continue;
		p->used = true;
		return p;
	}
	return NULL;
}

static const char *port_of(const char *service)
{
	static const char *const ports[][2] = { { "smtp", "25" }, { "submission", "587" },
		{ "smtps", "465" }, { "submissions", "465" } };

	for (size_t i = 0; i < sizeof(ports) / sizeof(*ports); i++)
		if (!strcmp(service, ports[i][0]))
			return ports[i][1];
	return service;
}

static void address(struct cf *cf, struct import_section *sec, struct slice host, const char *port,
	const struct origin *at)
{
	bool bare6 = host.n && host.p[0] != '[' && memchr(host.p, ':', host.n);
	char *text =
		import_printf(cf->im, bare6 ? "[%.*s]:%s" : "%.*s:%s", (int)host.n, host.p, port);

	if (text)
		import_value(cf->im, sec, "address", slice_of(text), at);
}

/* inet_interfaces × the service's port. */
static void addresses(
	struct cf *cf, struct import_section *sec, const char *port, const struct origin *at)
{
	const struct cf_param *p = cf_use(cf, "inet_interfaces");
	const char *all = p ? cf_value(cf, p->name) : "all";
	const char *protocols = cf_value(cf, "inet_protocols");
	bool v6 = !protocols || !strcmp(protocols, "all") || strstr(protocols, "ipv6");
	bool v4 = !protocols || !strcmp(protocols, "all") || strstr(protocols, "ipv4");
	struct slice left = slice_of(all), word;

	cf_use(cf, "inet_protocols");
	while ((word = import_word(&left, true)).n) {
		bool any = slice_eq(word, SLICE_LIT("all"));
		bool loopback = slice_eq(word, SLICE_LIT("loopback-only")) ||
				slice_eq(word, SLICE_LIT("localhost"));

		if (!any && !loopback) {
			address(cf, sec, word, port, at);
			continue;
		}
		if (v4)
			address(cf, sec, any ? SLICE_LIT("0.0.0.0") : SLICE_LIT("127.0.0.1"), port,
				at);
		if (v6)
			address(cf, sec, any ? SLICE_LIT("[::]") : SLICE_LIT("[::1]"), port, at);
	}
}

static bool is_yes(const char *value)
{
	return value && !strcmp(value, "yes");
}

/* Networks may send without a password unless the service says what may, and names them not. */
static bool networks_may(struct cf *cf, const struct cf_service *s)
{
	static const char *const lists[] = { "smtpd_relay_restrictions",
		"smtpd_recipient_restrictions", "smtpd_client_restrictions" };
	bool given = false;

	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
		const char *value = cf_service_value(cf, s, lists[i]);

		cf_use(cf, lists[i]);
		if (!value || !*value)
			continue;
		if (strstr(value, "permit_mynetworks"))
			return true;
		given |= strstr(value, "permit_sasl_authenticated") != NULL;
	}
	return !given;
}

static void networks(struct cf *cf, const struct cf_service *s, struct import_section *sec,
	const struct origin *at)
{
	const struct cf_param *p = cf_use(cf, "mynetworks");
	const char *value = cf_service_value(cf, s, "mynetworks");
	struct slice left = slice_of(value ? value : "127.0.0.0/8"), word;

	if (!value)
		import_note(cf->im, at, "mynetworks is not set: this machine alone may send");
	while ((word = import_word(&left, true)).n) {
		char *net = import_dup(cf->im, word), *close;
		struct net parsed;

		if (!net)
			return;
		close = *net == '[' ? strchr(net, ']') : NULL;
		if (close) { /* "[2001:db8::]/32" */
			memmove(close, close + 1, strlen(close + 1) + 1);
			net++;
		}
		if (net_parse(&parsed, slice_of(net)))
			import_note(
				cf->im, p ? &p->at : at, "%s: only networks are taken over", net);
		else
			import_value(cf->im, sec, "allow", slice_of(net), p ? &p->at : at);
	}
}

static void certificate(struct cf *cf, const struct cf_service *s, struct import_section *sec)
{
	static const char *const files[][3] = { { "smtpd_tls_cert_file", "certificate",
							"smtpd_tls_key_file" },
		{ "smtpd_tls_key_file", "key", "smtpd_tls_cert_file" } };
	const char *level = cf_service_value(cf, s, "smtpd_tls_security_level");

	cf_use(cf, "smtpd_tls_security_level");
	for (size_t i = 0; i < 2; i++) {
		const struct cf_param *p = cf_use(cf, files[i][0]);
		const char *path = cf_service_value(cf, s, files[i][0]);
		const char *other = cf_service_value(cf, s, files[i][2]);

		if (i == 1 && path && other && !strcmp(path, "$smtpd_tls_cert_file"))
			path = other;
		if (path && *path && strcmp(path, "none") != 0)
			import_value(cf->im, sec, files[i][1], slice_of(path), p ? &p->at : NULL);
	}
	if (level && !strcmp(level, "encrypt") && import_has(sec, "certificate"))
		import_value(cf->im, sec, "require_tls", SLICE_LIT("true"), NULL);
	if (is_yes(cf_service_value(cf, s, "smtpd_tls_wrappermode")) &&
		import_has(sec, "certificate"))
		import_value(cf->im, sec, "implicit_tls", SLICE_LIT("true"), NULL);
}

static void limits(struct cf *cf, const struct cf_service *s, struct import_section *sec)
{
	static const char *const names[][2] = { { "message_size_limit", "message_size_max" },
		{ "smtpd_recipient_limit", "recipients_max" }, { "hopcount_limit", "received_max" },
		{ "smtpd_client_connection_count_limit", "sessions_per_client" } };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const struct cf_param *p = cf_use(cf, names[i][0]);
		const char *value = cf_service_value(cf, s, names[i][0]);

		if (!value || !*value)
			continue;
		if (!strcmp(value, "0"))
			import_note(cf->im, p ? &p->at : NULL,
				"no limit: here there is one, see %s", names[i][1]);
		else
			import_value(cf->im, sec, names[i][1], slice_of(value), p ? &p->at : NULL);
	}
}

static void server(struct cf *cf, const struct cf_service *s, const struct origin *at)
{
	char *title = import_name(cf->im, slice_of(s->name));
	const char *colon = strrchr(s->name, ':');
	struct import_section *sec;

	if (!title)
		return;
	sec = import_section(cf->im, SECTION_LISTENER, title, at);
	if (!sec)
		return;
	if (colon)
		address(cf, sec, (struct slice){ s->name, (size_t)(colon - s->name) },
			port_of(colon + 1), at);
	else
		addresses(cf, sec, port_of(s->name), at);
	if (networks_may(cf, s))
		networks(cf, s, sec, at);
	certificate(cf, s, sec);
	limits(cf, s, sec);
	cf_use(cf, "smtpd_sasl_auth_enable");
	if (is_yes(cf_service_value(cf, s, "smtpd_sasl_auth_enable")))
		import_note(cf->im, at,
			"listener \"%s\": SASL users are not taken over: write users_file, lines "
			"name:crypt-hash",
			title);
	cf_use(cf, "smtpd_upstream_proxy_protocol");
	if (cf_service_value(cf, s, "smtpd_upstream_proxy_protocol"))
		import_note(cf->im, at,
			"listener \"%s\": stood behind a proxy: write proxy = true and proxy_from",
			title);
}

void postfix_services(struct cf *cf, const char *file, struct slice text)
{
	struct origin at = { .file = file };
	unsigned number = 1;
	struct buf line;
	struct cf_service s;

	buf_init(&line, 64u << 10);
	while (text.p && cf_line(&text, &number, &line, &at.line)) {
		if (!cf_service(cf->im, buf_slice(&line), &s)) {
			import_note(cf->im, &at, "not understood as a service");
			continue;
		}
		at.name = s.name;
		if (!strcmp(s.type, "inet") &&
			(!strcmp(s.command, "smtpd") || !strcmp(s.command, "postscreen")))
			server(cf, &s, &at);
		else if (!strcmp(s.command, "smtp"))
			postfix_client(cf, &s, &at);
		else if (!strcmp(s.command, "pipe"))
			import_note(cf->im, &at, "no mail is given to programs");
		at.name = NULL;
	}
	buf_deinit(&line);
}

void postfix_listeners(struct cf *cf)
{
	for (struct import_section *s = cf->im->first; s && cf->pool; s = s->next)
		if (s->kind == &sections[SECTION_LISTENER])
			import_value(cf->im, s, "pool", slice_of(cf->pool), NULL);
}
