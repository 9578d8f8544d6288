/* The simulator's scenario file: sections and options, read by libconfuse, with errors by line. */
#include "scenario_conf.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postern/text.h"

const char *const form_words[3] = { "new", "old", "plain" };
const char *const kind_words[2] = { "tenant", "consumer" };
const char *const tls_words[4] = { "works", "refused", "garbage", "stall" };
const char *const cert_words[4] = { "trusted", "self", "expired", "wrong-name" };
const char *const listen_words[3] = { "yes", "no", "blackhole" };
const char *const action_words[ACT_N] = {
	"reply",
	"close-after-reply",
	"raw",
	"garbage",
	"drop",
	"reset",
	"stall",
	"slow",
	"delay",
	"accept-drop",
	"accept-stall",
};
const char *const per_words[PER_N] = {
	"all",
	"source",
	"subnet",
	"cluster",
	"forest",
	"source-cluster",
	"subnet-cluster",
	"tenant",
};
const char *const dns_action_words[DNS_ACTIONS] = {
	"ok",
	"nxdomain",
	"servfail",
	"refused",
	"drop",
	"garbage",
	"truncated",
	"empty",
	"formerr",
	"slow",
};

static cfg_opt_t cluster_opts[] = {
	CFG_STR_LIST("addresses", 0, CFGF_NONE),
	CFG_STR("form", NULL, CFGF_NONE),
	CFG_STR("kind", NULL, CFGF_NONE),
	CFG_STR("forest", NULL, CFGF_NONE),
	CFG_STR("site", NULL, CFGF_NONE),
	CFG_STR("size", NULL, CFGF_NONE),
	CFG_STR_LIST("features", 0, CFGF_NONE),
	CFG_STR_LIST("without", 0, CFGF_NONE),
	CFG_STR("latency", NULL, CFGF_NONE),
	CFG_STR("bandwidth", NULL, CFGF_NONE),
	CFG_STR("tls", NULL, CFGF_NONE),
	CFG_STR("certificate", NULL, CFGF_NONE),
	CFG_STR("listen", NULL, CFGF_NONE),
	CFG_STR("session_life", NULL, CFGF_NONE),
	CFG_STR("idle_timeout", NULL, CFGF_NONE),
	CFG_INT("messages_per_connection", -1, CFGF_NONE),
	CFG_INT("recipients", -1, CFGF_NONE),
	CFG_INT("connections", -1, CFGF_NONE),
	CFG_INT("connections_per_source", -1, CFGF_NONE),
	CFG_INT("connections_per_subnet", -1, CFGF_NONE),
	CFG_INT("connections_per_forest", -1, CFGF_NONE),
	CFG_STR("cap_reply", NULL, CFGF_NONE),
	CFG_STR("source_cap_reply", NULL, CFGF_NONE),
	CFG_STR("region_check", NULL, CFGF_NONE),
	CFG_STR("multi_tenant", NULL, CFGF_NONE),
	CFG_STR("close_on_421", NULL, CFGF_NONE),
	CFG_STR("tails", NULL, CFGF_NONE),
	CFG_INT("answers", -1, CFGF_NONE),
	CFG_INT("addresses_per_tenant", -1, CFGF_NONE),
	CFG_INT("ttl", -1, CFGF_NONE),
	CFG_INT("mx_ttl", -1, CFGF_NONE),
	CFG_STR("auth", NULL, CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t tenant_opts[] = {
	CFG_STR_LIST("cluster", 0, CFGF_NONE),
	CFG_STR_LIST("mx", 0, CFGF_NONE),
	CFG_STR("dns", "ok", CFGF_NONE),
	CFG_STR("dns_delay", "0", CFGF_NONE),
	CFG_STR("require_tls", "no", CFGF_NONE),
	CFG_STR_LIST("aaaa", 0, CFGF_NONE),
	CFG_INT("answers", 0, CFGF_NONE),
	CFG_INT("addresses", 0, CFGF_NONE),
	CFG_INT("ttl", 0, CFGF_NONE),
	CFG_INT("mx_ttl", 0, CFGF_NONE),
	CFG_END(),
};

#define FILTER_OPTS                                                                                \
	CFG_STR_LIST("source", 0, CFGF_NONE), CFG_STR_LIST("cluster", 0, CFGF_NONE),               \
		CFG_STR_LIST("tenant", 0, CFGF_NONE), CFG_STR_LIST("recipient", 0, CFGF_NONE),     \
		CFG_STR_LIST("sender", 0, CFGF_NONE)

static cfg_opt_t rule_opts[] = {
	FILTER_OPTS,
	CFG_STR("phase", NULL, CFGF_NONE),
	CFG_STR("action", "reply", CFGF_NONE),
	CFG_STR("reply", NULL, CFGF_NONE),
	CFG_STR("from", "0", CFGF_NONE),
	CFG_STR("until", NULL, CFGF_NONE),
	CFG_STR("delay", NULL, CFGF_NONE),
	CFG_FLOAT("share", 1.0, CFGF_NONE),
	CFG_INT("every", 1, CFGF_NONE),
	CFG_INT("limit", 0, CFGF_NONE),
	CFG_INT("after", 0, CFGF_NONE),
	CFG_BOOL("enabled", cfg_true, CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t limit_opts[] = {
	FILTER_OPTS,
	CFG_STR("per", "all", CFGF_NONE),
	CFG_INT("connections", 0, CFGF_NONE),
	CFG_STR("connects", NULL, CFGF_NONE),
	CFG_STR("messages", NULL, CFGF_NONE),
	CFG_STR("recipients", NULL, CFGF_NONE),
	CFG_STR("phase", NULL, CFGF_NONE),
	CFG_FLOAT("grow", 1.0, CFGF_NONE),
	CFG_FLOAT("grow_at", 0.5, CFGF_NONE),
	CFG_INT("ceiling", 0, CFGF_NONE),
	CFG_STR("reply", NULL, CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t dns_opts[] = {
	CFG_STR_LIST("name", 0, CFGF_NONE),
	CFG_STR_LIST("type", 0, CFGF_NONE),
	CFG_STR("action", "servfail", CFGF_NONE),
	CFG_STR("from", "0", CFGF_NONE),
	CFG_STR("until", NULL, CFGF_NONE),
	CFG_STR("delay", NULL, CFGF_NONE),
	CFG_FLOAT("share", 1.0, CFGF_NONE),
	CFG_INT("every", 1, CFGF_NONE),
	CFG_INT("limit", 0, CFGF_NONE),
	CFG_END(),
};

static cfg_opt_t top_opts[] = {
	CFG_INT("seed", 1, CFGF_NONE),
	CFG_INT("errors_before_close", 0, CFGF_NONE),
	CFG_BOOL("tlsa", cfg_true, CFGF_NONE),
	CFG_BOOL("dnssec", cfg_false, CFGF_NONE),
	CFG_BOOL("edns", cfg_true, CFGF_NONE),
	CFG_STR_LIST("records", 0, CFGF_NONE),
	CFG_SEC("defaults", cluster_opts, CFGF_NONE),
	CFG_SEC("cluster", cluster_opts, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	CFG_SEC("tenant", tenant_opts, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	CFG_SEC("rule", rule_opts, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	CFG_SEC("limit", limit_opts, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	CFG_SEC("dns", dns_opts, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
	CFG_END(),
};

int word_index(const char *const *words, size_t n, const char *s)
{
	for (size_t i = 0; i < n && words[i]; i++) {
		if (strcmp(words[i], s) == 0)
			return (int)i;
	}
	return -1;
}

uint64_t duration_us(const char *s)
{
	ms_t ms = 0;

	return s && duration_parse(&ms, slice_of(s)) == 0 ? (uint64_t)ms * 1000 : 0;
}

int record_parse(struct record *ret, const char *text)
{
	static const struct {
		const char *name;
		uint16_t type;
	} types[] = { { "A", 1 }, { "NS", 2 }, { "CNAME", 5 }, { "PTR", 12 }, { "MX", 15 },
		{ "TXT", 16 }, { "AAAA", 28 }, { "TLSA", 52 } };
	struct record r = { .ttl = 60 };
	char name[NAME_MAX_TEXT], type[16];
	int at = 0;

	if (sscanf(text, "%255s %15s %n", name, type, &at) < 2 || !at || !text[at])
		return -1;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strcmp(types[i].name, type) == 0)
			r.type = types[i].type;
	}
	if (!r.type)
		return -1;
	for (char *p = name; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	r.name = xstrdup(name);
	r.data = xstrdup(text + at);
	*ret = r;
	return 0;
}

/* Validators: libconfuse calls them right behind the value, so that the line is the value's. */
static const char *value_of(cfg_opt_t *opt)
{
	return opt->nvalues ? opt->values[opt->nvalues - 1]->string : NULL;
}

static int check_words(cfg_t *cfg, cfg_opt_t *opt, const char *const *words, size_t n)
{
	const char *v = value_of(opt);
	char list[256] = "";

	if (!v || word_index(words, n, v) >= 0)
		return 0;
	for (size_t i = 0; i < n && words[i]; i++) {
		if (i)
			strncat(list, ", ", sizeof(list) - strlen(list) - 1);
		strncat(list, words[i], sizeof(list) - strlen(list) - 1);
	}
	cfg_error(cfg, "%s: '%s' is none of: %s", opt->name, v, list);
	return -1;
}

#define WORDS_CHECK(fn, words)                                                                     \
	static int fn(cfg_t *cfg, cfg_opt_t *opt)                                                  \
	{                                                                                          \
		return check_words(cfg, opt, words, sizeof(words) / sizeof((words)[0]));           \
	}

static const char *const yes_no[2] = { "yes", "no" };
WORDS_CHECK(check_form, form_words)
WORDS_CHECK(check_kind, kind_words)
WORDS_CHECK(check_tls, tls_words)
WORDS_CHECK(check_cert, cert_words)
WORDS_CHECK(check_listen, listen_words)
WORDS_CHECK(check_phase, phase_names)
WORDS_CHECK(check_action, action_words)
WORDS_CHECK(check_per, per_words)
WORDS_CHECK(check_dns_mode, dns_mode_names)
WORDS_CHECK(check_dns_action, dns_action_words)
WORDS_CHECK(check_yes_no, yes_no)

static int check_duration(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *v = value_of(opt);
	ms_t ms;

	if (!v || (duration_parse(&ms, slice_of(v)) == 0 && ms >= 0))
		return 0;
	cfg_error(cfg, "%s: '%s' is no duration (such as 250ms, 10s, 5m, 2h, 1d)", opt->name, v);
	return -1;
}

static int check_size(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *v = value_of(opt);
	uint64_t n;

	if (!v || size_parse(&n, slice_of(v)) == 0)
		return 0;
	cfg_error(cfg, "%s: '%s' is no size (such as 1024, 64MiB)", opt->name, v);
	return -1;
}

static int check_rate(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *v = value_of(opt);
	struct rate r;

	if (!v || (rate_parse(&r, slice_of(v)) == 0 && r.per > 0))
		return 0;
	cfg_error(cfg, "%s: '%s' is no rate (such as 100/1h)", opt->name, v);
	return -1;
}

static int check_sources(cfg_t *cfg, cfg_opt_t *opt)
{
	struct net net;

	for (unsigned i = 0; i < opt->nvalues; i++) {
		if (net_parse(&net, slice_of(opt->values[i]->string)) == 0)
			continue;
		cfg_error(cfg, "%s: '%s' is no address or network", opt->name,
			opt->values[i]->string);
		return -1;
	}
	return 0;
}

static int check_features(cfg_t *cfg, cfg_opt_t *opt)
{
	for (unsigned i = 0; i < opt->nvalues; i++) {
		if (word_index(feature_names, 10, opt->values[i]->string) >= 0)
			continue;
		cfg_error(cfg, "%s: '%s' is no feature", opt->name, opt->values[i]->string);
		return -1;
	}
	return 0;
}

static int check_records(cfg_t *cfg, cfg_opt_t *opt)
{
	for (unsigned i = 0; i < opt->nvalues; i++) {
		struct record r = { 0 };

		if (record_parse(&r, opt->values[i]->string)) {
			cfg_error(cfg, "records: '%s' is not NAME TYPE DATA with a known type",
				opt->values[i]->string);
			return -1;
		}
		free(r.name);
		free(r.data);
	}
	return 0;
}

static int check_share(cfg_t *cfg, cfg_opt_t *opt)
{
	if (opt->values[0]->fpnumber >= 0 && opt->values[0]->fpnumber <= 1)
		return 0;
	cfg_error(cfg, "%s: must lie between 0 and 1", opt->name);
	return -1;
}

static int check_count(cfg_t *cfg, cfg_opt_t *opt)
{
	if (opt->values[0]->number >= 0 && opt->values[0]->number <= UINT32_MAX)
		return 0;
	cfg_error(cfg, "%s: must not be negative", opt->name);
	return -1;
}

static const struct {
	const char *option;
	cfg_validate_callback_t check;
} checks[] = {
	{ "form", check_form },
	{ "kind", check_kind },
	{ "size", check_size },
	{ "features", check_features },
	{ "without", check_features },
	{ "latency", check_duration },
	{ "bandwidth", check_size },
	{ "tls", check_tls },
	{ "certificate", check_cert },
	{ "listen", check_listen },
	{ "session_life", check_duration },
	{ "idle_timeout", check_duration },
	{ "region_check", check_yes_no },
	{ "multi_tenant", check_yes_no },
	{ "close_on_421", check_yes_no },
	{ "tails", check_yes_no },
	{ "messages_per_connection", check_count },
	{ "recipients", check_count },
	{ "connections", check_count },
	{ "connections_per_source", check_count },
	{ "connections_per_subnet", check_count },
	{ "connections_per_forest", check_count },
	{ "answers", check_count },
	{ "addresses_per_tenant", check_count },
	{ "ttl", check_count },
	{ "mx_ttl", check_count },
};

static void set_checks(cfg_t *cfg)
{
	char path[64];

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		snprintf(path, sizeof(path), "cluster|%s", checks[i].option);
		cfg_set_validate_func(cfg, path, checks[i].check);
		snprintf(path, sizeof(path), "defaults|%s", checks[i].option);
		cfg_set_validate_func(cfg, path, checks[i].check);
	}
	cfg_set_validate_func(cfg, "records", check_records);
	cfg_set_validate_func(cfg, "tenant|dns", check_dns_mode);
	cfg_set_validate_func(cfg, "tenant|dns_delay", check_duration);
	cfg_set_validate_func(cfg, "tenant|require_tls", check_yes_no);
	cfg_set_validate_func(cfg, "tenant|answers", check_count);
	cfg_set_validate_func(cfg, "tenant|addresses", check_count);
	cfg_set_validate_func(cfg, "tenant|ttl", check_count);
	cfg_set_validate_func(cfg, "tenant|mx_ttl", check_count);
	cfg_set_validate_func(cfg, "rule|source", check_sources);
	cfg_set_validate_func(cfg, "rule|phase", check_phase);
	cfg_set_validate_func(cfg, "rule|action", check_action);
	cfg_set_validate_func(cfg, "rule|share", check_share);
	cfg_set_validate_func(cfg, "rule|every", check_count);
	cfg_set_validate_func(cfg, "rule|limit", check_count);
	cfg_set_validate_func(cfg, "rule|after", check_count);
	cfg_set_validate_func(cfg, "limit|source", check_sources);
	cfg_set_validate_func(cfg, "limit|per", check_per);
	cfg_set_validate_func(cfg, "limit|phase", check_phase);
	cfg_set_validate_func(cfg, "limit|connections", check_count);
	cfg_set_validate_func(cfg, "limit|connects", check_rate);
	cfg_set_validate_func(cfg, "limit|messages", check_rate);
	cfg_set_validate_func(cfg, "limit|recipients", check_rate);
	cfg_set_validate_func(cfg, "limit|grow_at", check_share);
	cfg_set_validate_func(cfg, "limit|ceiling", check_count);
	cfg_set_validate_func(cfg, "dns|action", check_dns_action);
	cfg_set_validate_func(cfg, "dns|share", check_share);
	cfg_set_validate_func(cfg, "dns|every", check_count);
	cfg_set_validate_func(cfg, "dns|limit", check_count);
	for (size_t i = 0; i < 2; i++) {
		const char *sec = i ? "dns" : "rule";

		for (size_t j = 0; j < 3; j++) {
			snprintf(path, sizeof(path), "%s|%s", sec,
				(const char *[]){ "from", "until", "delay" }[j]);
			cfg_set_validate_func(cfg, path, check_duration);
		}
	}
}

/* libconfuse's error function has no argument of ours; scenarios are read by one thread only. */
static struct {
	struct buf *errors;
	const char *name;
} reading;

static void __attribute__((format(printf, 2, 0))) on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	char text[512];

	vsnprintf(text, sizeof(text), fmt, ap);
	if (reading.errors)
		put_fmt(reading.errors, "%s:%d: %s\n", reading.name, cfg ? cfg->line : 0, text);
}

void scenario_conf_error(
	struct buf *errors, const char *name, const cfg_t *sec, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put_fmt(errors, "%s:%d: %s\n", name, sec ? sec->line : 0, text);
}

cfg_t *scenario_conf_new(void)
{
	cfg_t *cfg = cfg_init(top_opts, CFGF_NONE);

	if (!cfg)
		die("out of memory");
	set_checks(cfg);
	cfg_set_error_function(cfg, on_error);
	return cfg;
}

int scenario_conf_parse(cfg_t *cfg, const char *name, const char *text, struct buf *errors)
{
	int r;

	reading.errors = errors;
	reading.name = name;
	r = cfg_parse_buf(cfg, text);
	if (r != CFG_SUCCESS && buf_size(errors) == 0)
		put_fmt(errors, "%s: syntax error\n", name);
	reading.errors = NULL;
	return r == CFG_SUCCESS ? 0 : -1;
}
