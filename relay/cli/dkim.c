/* postern dkim: makes a key that signs mail, tells the record that belongs into DNS, and checks that
 * what is there fits the keys of the configuration. Asks no relay. Main thread of a tool. */
#include <string.h>
#include <strings.h>
#include <time.h>

#include "cli.h"
#include "key_file.h"
#include "look_up.h"
#include "postern/dkim.h"

#define BITS_USUAL 2048
#define BITS_LEAST 2048 /* of a new key; shorter ones are read, not made */
#define STRING_MAX 255	/* bytes of a string in a TXT record (RFC 1035 section 3.3.14) */

static const char *signs_as(const struct config_dkim *d)
{
	return d->sign_as ? d->sign_as : d->domain;
}

/* As a zone file wants it: strings of at most 255 bytes. */
static int print_record(const char *selector, const char *domain, const struct dkim_key *k)
{
	struct slice text;
	struct buf b;
	int r;

	buf_init(&b, 16384);
	r = dkim_key_record(k, &b);
	if (r) {
		print_error("postern dkim: the public key cannot be written: %s\n", strerror(-r));
		buf_deinit(&b);
		return EX_SOFTWARE;
	}
	text = buf_slice(&b);
	print("%s._domainkey.%s. IN TXT (", selector, domain);
	for (size_t i = 0; i < text.n; i += STRING_MAX) {
		size_t n = text.n - i < STRING_MAX ? text.n - i : STRING_MAX;

		print("\n\t\"%.*s\"", (int)n, text.p + i);
	}
	print(" )\n");
	buf_deinit(&b);
	return EX_OK;
}

/* ---- keygen ---- */

static const char *default_selector(char out[16])
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(out, 16, "s%Y%m", &tm);
	return out;
}

/* Letters, digits, hyphens and dots between: what stands in a name, and in a file's. */
static bool is_name(const char *s)
{
	static const char good[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";

	for (;;) {
		size_t n = strspn(s, good);

		if (n == 0 || n > 63 || *s == '-' || s[n - 1] == '-')
			return false;
		if (!s[n])
			return true;
		if (s[n] != '.')
			return false;
		s += n + 1;
	}
}

static int keygen(const struct cli_command *self, const struct cli_arguments *a, const char *domain)
{
	bool ed25519 = cli_value(self, a, "ed25519") != NULL;
	const char *selector = cli_value(self, a, "selector");
	const char *path = cli_value(self, a, "output");
	char month[16], name[600];
	struct dkim_key *k = NULL;
	long long bits;
	int r = cli_number(self, a, "bits", &bits);

	if (r >= 0)
		return r;
	if (!selector)
		selector = default_selector(month);
	if (!is_name(domain) || !is_name(selector) || strlen(domain) + strlen(selector) > 240) {
		print_error("postern dkim: '%s': no name for DNS\n",
			is_name(domain) ? selector : domain);
		return EX_USAGE;
	}
	if (bits && (ed25519 || bits < BITS_LEAST || bits > DKIM_RSA_MOST)) {
		print_error("postern dkim: --bits: %d to %d, for RSA alone\n", BITS_LEAST,
			DKIM_RSA_MOST);
		return EX_USAGE;
	}
	snprintf(name, sizeof(name), "%s.%s.pem", selector, domain);
	if (!path)
		path = name;
	r = dkim_key_generate(
		&k, ed25519 ? DKIM_ED25519 : DKIM_RSA, bits ? (unsigned)bits : BITS_USUAL);
	if (r) {
		print_error("postern dkim: no key could be made: %s\n", strerror(-r));
		return EX_SOFTWARE;
	}
	r = key_file_write(path, k);
	if (!r) {
		print("# wrote %s (mode 0600): the relay's user must be able to read it\n"
		      "# 1. publish in the zone of %s:\n",
			path, domain);
		r = print_record(selector, domain, k);
		print("# 2. when `postern dkim check %s` finds it, sign with it:\n"
		      "dkim \"%s\" { selector = \"%s\"  key = \"%s\" }\n",
			domain, domain, selector, path);
	}
	dkim_key_free(k);
	return r;
}

/* ---- record, check: of the configuration's sections ---- */

struct checked {
	bool json;
	unsigned n;
	int worst; /* exit code */
};

static void worse(struct checked *c, int code)
{
	/* what is wrong weighs more than what could not be found out */
	if (c->worst == EX_OK || code == EX_DATAERR)
		c->worst = code;
}

static void tell(
	struct checked *c, const struct config_dkim *d, const char *status, const char *text)
{
	char name[600];

	snprintf(name, sizeof(name), "%s._domainkey.%s", d->selector, signs_as(d));
	if (c->json)
		print_json_take(json_pack("{so so so so}", "domain", json_text(d->domain), "record",
			json_text(name), "status", json_text(status), "text", json_text(text)));
	else
		print("%-8s %s%s%s\n", status, name, *text ? ": " : "", text);
}

static void check_record(struct checked *c, const struct config *config,
	const struct config_dkim *d, const struct dkim_key *k)
{
	char name[600], why[256] = "";
	struct look_up t;
	int r;

	snprintf(name, sizeof(name), "%s._domainkey.%s", d->selector, signs_as(d));
	r = look_up(&t, &config->dispatch.dns, LOOK_UP_TXT, name, why, sizeof(why));
	if (r == -ENOENT || (!r && t.n == 0)) {
		tell(c, d, "missing",
			"DNS has no such record: publish what `postern dkim record` prints, and wait "
			"until it is there");
		worse(c, EX_DATAERR);
	} else if (r) {
		tell(c, d, "unknown", why);
		worse(c, EX_TEMPFAIL);
	} else if (t.n > 1) {
		tell(c, d, "wrong",
			"DNS has several records there: verifiers may take any; leave one");
		worse(c, EX_DATAERR);
	} else if (dkim_record_fits(buf_slice(&t.records[0]), k, why, sizeof(why))) {
		tell(c, d, "wrong", why);
		worse(c, EX_DATAERR);
	} else {
		tell(c, d, "ok", "");
	}
	look_up_deinit(&t);
}

static void each_section(
	struct checked *c, const struct config *config, const char *domain, bool look)
{
	for (unsigned i = 0; i < config->ndkims; i++) {
		const struct config_dkim *d = &config->dkims[i];
		struct dkim_key *k = NULL;
		char why[256];

		if (domain && strcasecmp(domain, d->domain) && strcasecmp(domain, signs_as(d)))
			continue;
		c->n++;
		if (config_dkim_key(d, &k, why, sizeof(why))) {
			tell(c, d, "no key", why);
			worse(c, EX_NOINPUT);
		} else if (look) {
			check_record(c, config, d, k);
		} else {
			worse(c, print_record(d->selector, signs_as(d), k));
		}
		dkim_key_free(k);
	}
}

static int sections(const struct cli_command *self, const struct cli_arguments *a,
	const char *domain, bool look)
{
	struct checked c = { .json = look && cli_value(self, a, "json") };
	struct config *config = cli_config(a, true);

	if (!config)
		return EX_CONFIG;
	each_section(&c, config, domain, look);
	if (!c.n) {
		print_error("postern dkim: the configuration has no dkim section%s%s\n",
			domain ? " for " : "", domain ? domain : "");
		c.worst = EX_NOINPUT;
	}
	config_free(config);
	return c.worst;
}

static int run_dkim(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	const char *what, *domain;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	what = a.nrest > 0 ? a.rest[0] : "";
	domain = a.nrest > 1 ? a.rest[1] : NULL;
	if (a.nrest < 3 && !strcmp(what, "keygen") && domain)
		return keygen(self, &a, domain);
	if (a.nrest < 3 && (!strcmp(what, "record") || !strcmp(what, "check")))
		return sections(self, &a, domain, *what == 'c');
	cli_usage(self, stderr);
	return EX_USAGE;
}

static const struct cli_option options[] = {
	{ "selector", 's', "NAME", "keygen: the key's name below _domainkey (default: sYYYYMM)" },
	{ "bits", 'b', "N", "keygen: of RSA, 2048 to 4096 (default 2048)" },
	{ "ed25519", 'e', NULL, "keygen: Ed25519 (RFC 8463), beside an RSA key: not all know it" },
	{ "output", 'o', "FILE", "keygen: where the key goes (default: SELECTOR.DOMAIN.pem)" },
	{ "json", 'j', NULL, "check: one JSON object a line" },
	{ 0 },
};
const struct cli_command command_dkim = {
	.name = "dkim",
	.arguments = "keygen DOMAIN | record [DOMAIN] | check [DOMAIN]",
	.summary = "Make keys that sign mail, tell and check their records.",
	.help = "keygen writes a new private key, never over a file that is there, and prints the "
		"record for DNS and the\nsection for the configuration. record prints the records "
		"of the keys that the configuration names, for a\nzone file. check asks the "
		"configured name servers for them: ok, missing, wrong or unknown, each with the "
		"reason.\nExit codes of check: 0 all are right, 65 one is missing or wrong, 66 a "
		"key cannot be read, 75 DNS gave no answer.",
	.options = options,
	.run = run_dkim,
	.takes_id = true,
};
