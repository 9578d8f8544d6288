/* MAIL and RCPT. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "smtp.h"

#define RCPT_PARAMS_MAX 1100

void smtp_reset(struct conn *c)
{
	c->mail = c->mail_failed = c->rcpt_failed = c->data_failed = false;
	c->bdat_last = c->bdat_bad = c->bdat_ruled = c->chunking = c->has_body = false;
	c->utf8 = c->binary = c->eightbit = false;
	c->noted_bare = c->noted_long = c->noted_8bit = false;
	c->nrcpts = 0;
	buf_reset(&c->rcpt_text);
	buf_reset(&c->body);
	c->tenant = NULL;
	c->domain[0] = c->from[0] = c->mail_params[0] = '\0';
	c->test_id[0] = c->message_id[0] = c->sha256[0] = '\0';
	c->declared = c->size = c->bdat_left = 0;
	c->hdr_n = 0;
	c->take_fold = false;
}

/* "FROM:<path> PARAMS": cuts out the path, returns the parameters or NULL. */
static char *take_path(struct conn *c, char *args, const char *keyword, char **path)
{
	size_t n = strlen(keyword);
	bool quoted = false;
	char *p;

	if (strncasecmp(args, keyword, n) != 0)
		return NULL;
	p = args + n;
	if (*p == ' ') {
		violation(c, "space-before-path", args, strlen(args));
		p += strspn(p, " ");
	}
	if (*p != '<')
		return NULL;
	*path = ++p;
	for (; *p && (quoted || *p != '>'); p++) {
		if (*p == '"')
			quoted = !quoted;
		else if (quoted && *p == '\\' && p[1])
			p++;
	}
	if (*p != '>')
		return NULL;
	*p++ = '\0';
	if (*p && *p != ' ')
		return NULL;
	return p + strspn(p, " ");
}

/* Deliberately simple and strict: what a relay may send on. */
static bool address_valid(const char *s, bool utf8)
{
	const char *at = strrchr(s, '@');

	if (!at || at == s || !at[1] || at - s > 64 || strlen(at + 1) > 255)
		return false;
	for (const char *p = s; *p; p++) {
		unsigned char b = (unsigned char)*p;

		if (b < 32 || b == 127 || (b >= 0x80 && !utf8))
			return false;
		if (s[0] != '"' && p < at && strchr(" \t\"(),:;<>@[\\]", b))
			return false;
	}
	for (const char *p = at + 1; *p; p++) {
		unsigned char b = (unsigned char)*p;

		if (!(isalnum(b) || b >= 0x80 || strchr("-._[]:", b)))
			return false;
		if (b == '.' && (p == at + 1 || p[-1] == '.' || !p[1]))
			return false;
	}
	return true;
}

static void lower_domain(char *addr)
{
	char *at = strrchr(addr, '@');

	for (; at && *at; at++)
		*at = (char)tolower((unsigned char)*at);
}

static bool not_offered(struct conn *c, const char *param)
{
	violation(c, "parameter-not-offered", param, strlen(param));
	reply_tail(c, "555 5.5.4 Unsupported option");
	return false;
}

static bool bad_param(struct conn *c, const char *param)
{
	violation(c, "parameter-syntax", param, strlen(param));
	reply_tail(c, "501 5.5.4 Invalid arguments");
	return false;
}

static bool xtext_valid(const char *s)
{
	for (; *s; s++) {
		if (*s == '+') {
			if (!isxdigit((unsigned char)s[1]) || !isxdigit((unsigned char)s[2]) ||
				islower((unsigned char)s[1]) || islower((unsigned char)s[2]))
				return false;
			s += 2;
		} else if (*s < 33 || *s > 126 || *s == '=') {
			return false;
		}
	}
	return true;
}

static bool mail_param(struct conn *c, char *param)
{
	unsigned f = c->esmtp ? c->cluster->features : 0;
	char *value = strchr(param, '=');

	if (value)
		value++;
	if (strncasecmp(param, "SIZE=", 5) == 0) {
		char *end;

		if (!(f & F_SIZE))
			return not_offered(c, param);
		errno = 0;
		c->declared = strtoull(value, &end, 10);
		return !*value || *end || errno || !isdigit((unsigned char)*value)
			       ? bad_param(c, param)
			       : true;
	}
	if (strncasecmp(param, "BODY=", 5) == 0) {
		c->eightbit = strcasecmp(value, "8BITMIME") == 0;
		c->binary = strcasecmp(value, "BINARYMIME") == 0;
		if (c->binary ? !(f & F_BINARYMIME && f & F_CHUNKING) : !(f & F_8BITMIME))
			return not_offered(c, param);
		return c->eightbit || c->binary || strcasecmp(value, "7BIT") == 0
			       ? true
			       : bad_param(c, param);
	}
	if (strcasecmp(param, "SMTPUTF8") == 0) {
		c->utf8 = true;
		return f & F_SMTPUTF8 ? true : not_offered(c, param);
	}
	if (strncasecmp(param, "RET=", 4) == 0) {
		if (!(f & F_DSN))
			return not_offered(c, param);
		return strcasecmp(value, "FULL") == 0 || strcasecmp(value, "HDRS") == 0
			       ? true
			       : bad_param(c, param);
	}
	if (strncasecmp(param, "ENVID=", 6) == 0) {
		if (!(f & F_DSN))
			return not_offered(c, param);
		return xtext_valid(value) && strlen(value) <= 100 ? true : bad_param(c, param);
	}
	if (strncasecmp(param, "AUTH=", 5) == 0)
		return f & F_AUTH ? true : not_offered(c, param);
	return not_offered(c, param);
}

static bool notify_valid(const char *v)
{
	char copy[64], *save, *word;
	bool never = false;
	int n = 0;

	if (strlen(v) >= sizeof(copy))
		return false;
	memcpy(copy, v, strlen(v) + 1);
	for (word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		if (strcasecmp(word, "NEVER") == 0)
			never = true;
		else if (strcasecmp(word, "SUCCESS") != 0 && strcasecmp(word, "FAILURE") != 0 &&
			 strcasecmp(word, "DELAY") != 0)
			return false;
		n++;
	}
	return n > 0 && (!never || n == 1);
}

static bool rcpt_param(struct conn *c, char *param)
{
	bool dsn = c->esmtp && c->cluster->features & F_DSN;

	if (strncasecmp(param, "NOTIFY=", 7) == 0) {
		if (!dsn)
			return not_offered(c, param);
		return notify_valid(param + 7) ? true : bad_param(c, param);
	}
	if (strncasecmp(param, "ORCPT=", 6) == 0) {
		const char *semi = strchr(param, ';');

		if (!dsn)
			return not_offered(c, param);
		if (!semi || semi == param + 6 || !semi[1] || strlen(param) > 500)
			return bad_param(c, param);
		return strncasecmp(param + 6, "utf-8;", 6) == 0 || xtext_valid(semi + 1)
			       ? true
			       : bad_param(c, param);
	}
	return not_offered(c, param);
}

static bool params_ok(struct conn *c, char *params, bool (*each)(struct conn *c, char *param))
{
	char *save, *word;

	for (word = strtok_r(params, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		if (!each(c, word))
			return false;
	}
	return true;
}

static void mail_refused(struct conn *c)
{
	if (!c->hold_until) {
		smtp_reset(c);
		c->mail_failed = true;
	}
}

static bool mail_allowed(struct conn *c, const char *args)
{
	if (!c->ehlo[0]) {
		violation(c, "mail-before-ehlo", args, strlen(args));
		reply_tail(c, "503 5.5.2 Send hello first");
		return false;
	}
	if (c->mail) {
		violation(c, "nested-mail", args, strlen(args));
		reply_tail(c, "503 5.5.2 Sender already specified");
		return false;
	}
	if (c->cluster->auth && !c->authenticated) {
		refuse(c, PH_MAIL, "#auth-required",
			"530 5.7.57 Client not authenticated to send mail. {tail}", NULL);
		return false;
	}
	return true;
}

static bool mail_parse(struct conn *c, char *args)
{
	char *path, *params = take_path(c, args, "FROM:", &path);

	if (!params) {
		violation(c, "mail-syntax", args, strlen(args));
		reply_tail(c, "501 5.5.4 Invalid arguments");
		return false;
	}
	strncat(c->mail_params, params, sizeof(c->mail_params) - 1);
	if (!params_ok(c, params, mail_param))
		return false;
	if (strlen(path) >= sizeof(c->from) || (*path && !address_valid(path, c->utf8))) {
		violation(c, "sender-syntax", path, strlen(path));
		reply_tail(c, "501 5.1.7 Invalid address");
		return false;
	}
	memcpy(c->from, path, strlen(path) + 1);
	return true;
}

void smtp_mail(struct conn *c, char *args)
{
	struct cluster *cl = c->cluster;
	bool again = c->skip_rules;

	if (!mail_allowed(c, args)) {
		c->mail_failed = !c->mail;
		return;
	}
	smtp_reset(c);
	for (int i = 0; i < G_N && !again; i++)
		c->gauges[i]->mails++;
	if (!mail_parse(c, args)) {
		mail_refused(c);
		return;
	}
	if (c->over_cap && ((cl->cap_source && c->gauges[G_LANE]->now > cl->cap_source) ||
				   (cl->cap_subnet && c->gauges[G_SUBNET]->now > cl->cap_subnet))) {
		refuse(c, PH_MAIL, "#source-cap", cl->source_cap_reply, NULL);
		mail_refused(c);
		return;
	}
	c->over_cap = false;
	if (cl->messages_per_connection && c->messages >= cl->messages_per_connection) {
		refuse(c, PH_MAIL, "#messages-per-connection",
			"421 4.4.2 Message limit of this connection reached, closing transmission "
			"channel {tail}",
			NULL);
		mail_refused(c);
		return;
	}
	if (rules_apply(c, PH_MAIL, NULL)) {
		mail_refused(c);
		return;
	}
	if (c->declared > cl->size && cl->features & F_SIZE) {
		refuse(c, PH_MAIL, "#size",
			"552 5.3.4 Message size exceeds fixed maximum message size {tail}", NULL);
		mail_refused(c);
		return;
	}
	c->mail = true;
	REPLY_LIT(c, "250 2.1.0 Sender OK\r\n");
}

static void add_rcpt(struct conn *c, const char *path, const char *params)
{
	struct rcpt *r;

	if (c->nrcpts == c->rcpts_cap) {
		c->rcpts_cap = c->rcpts_cap ? c->rcpts_cap * 2 : 4;
		c->rcpts = xrealloc(c->rcpts, c->rcpts_cap * sizeof(*c->rcpts));
	}
	r = &c->rcpts[c->nrcpts++];
	r->at = (uint32_t)c->rcpt_text.len;
	put(&c->rcpt_text, path, strlen(path) + 1);
	r->params = (uint32_t)c->rcpt_text.len;
	put(&c->rcpt_text, params, strlen(params) + 1);
}

/* Is this the right place for the domain? */
static bool rcpt_tenant(struct conn *c, const char *path)
{
	if (!c->tenant) {
		refuse(c, PH_RCPT, "#no-tenant",
			"550 5.7.64 TenantAttribution; Relay Access Denied {tail}", path);
		return false;
	}
	if (c->cluster->region_check &&
		!tenant_lives_at(c->tenant, c->tenant_index, c->domain, c->host)) {
		for (int i = 0; i < G_N; i++)
			c->gauges[i]->wrong_region++;
		refuse(c, PH_RCPT, "#wrong-region",
			"451 4.4.62 Mail sent to the wrong Office 365 region. ATTR35. For more "
			"information please go "
			"to https://go.microsoft.com/fwlink/?linkid=865268 {tail}",
			path);
		return false;
	}
	if (c->tenant->require_tls && !c->ssl) {
		refuse(c, PH_RCPT, "#tls-required",
			"451 5.7.3 STARTTLS is required to send mail {tail}", path);
		return false;
	}
	return true;
}

static bool rcpt_accepted(struct conn *c, const char *path, bool other)
{
	if (!rcpt_tenant(c, path))
		return false;
	if (rules_apply(c, PH_RCPT, path))
		return false;
	if (other && !c->cluster->multi_tenant) {
		refuse(c, PH_RCPT, "#regions",
			"452 4.5.3 Recipients belong to multiple regions ATTR38 {tail}", path);
		return false;
	}
	if (c->cluster->recipients && c->nrcpts >= c->cluster->recipients) {
		refuse(c, PH_RCPT, "#recipients", "452 4.5.3 Too many recipients (AS780090) {tail}",
			path);
		return false;
	}
	return true;
}

/* Tenant and domain become those of this recipient; the first ones come back when it is refused. */
static void rcpt_check(struct conn *c, char *path, const char *params)
{
	char domain[NAME_MAX_TEXT];
	struct tenant *tenant = c->tenant;
	uint32_t index = c->tenant_index;
	bool other;

	lower_domain(path);
	memcpy(domain, c->domain, sizeof(domain));
	c->domain[0] = '\0';
	strncat(c->domain, strrchr(path, '@') + 1, sizeof(c->domain) - 1);
	other = c->nrcpts && strcmp(domain, c->domain) != 0;
	if (!tenant || strcmp(domain, c->domain) != 0)
		c->tenant = scenario_tenant(c->sc, c->domain, strlen(c->domain), &c->tenant_index);
	if (rcpt_accepted(c, path, other)) {
		add_rcpt(c, path, params);
		REPLY_LIT(c, "250 2.1.5 Recipient OK\r\n");
		return;
	}
	c->rcpt_failed |= !c->hold_until;
	if (c->nrcpts) {
		memcpy(c->domain, domain, sizeof(domain));
		c->tenant = tenant;
		c->tenant_index = index;
	}
}

void smtp_rcpt(struct conn *c, char *args)
{
	char *path, *params, kept[RCPT_PARAMS_MAX] = "";

	if (!c->mail) {
		if (!c->mail_failed)
			violation(c, "rcpt-before-mail", args, strlen(args));
		smtp_echo(c, "503 5.5.2 Need mail command");
		return;
	}
	if (c->has_body) {
		violation(c, "rcpt-after-bdat", args, strlen(args));
		reply_tail(c, "503 5.5.2 Recipients come before the message");
		return;
	}
	params = take_path(c, args, "TO:", &path);
	if (!params) {
		violation(c, "rcpt-syntax", args, strlen(args));
		reply_tail(c, "501 5.5.4 Invalid arguments");
		c->rcpt_failed = true;
		return;
	}
	strncat(kept, params, sizeof(kept) - 1);
	if (!params_ok(c, params, rcpt_param)) {
		c->rcpt_failed = true;
		return;
	}
	if (strlen(path) > 320 || !address_valid(path, c->utf8)) {
		violation(c, "recipient-syntax", path, strlen(path));
		reply_tail(c, "501 5.1.3 Invalid address");
		c->rcpt_failed = true;
		return;
	}
	rcpt_check(c, path, kept);
}
