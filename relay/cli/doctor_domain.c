/* postern doctor, of a domain that sends: SPF evaluated for each source, DKIM keys published and
 * fitting, DMARC and its alignment. Main thread of a tool. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "doctor.h"
#include "look_up.h"
#include "postern/dkim.h"
#include "postern/spf.h"

#define WHY_515                                                                                         \
	"Microsoft's consumers refuse more than 5,000 messages a day without SPF, DKIM and DMARC that " \
	"agree (5.7.515); organisations quarantine them"

static int ask(void *arg, enum spf_type type, const char *name, struct spf_records *ret)
{
	static const enum look_up_type types[] = { [SPF_TXT] = LOOK_UP_TXT,
		[SPF_A] = LOOK_UP_A,
		[SPF_AAAA] = LOOK_UP_AAAA,
		[SPF_MX] = LOOK_UP_MX,
		[SPF_PTR] = LOOK_UP_PTR };
	struct look_up found;
	char why[128];
	int r = look_up(&found, arg, types[type], name, why, sizeof(why));

	_Static_assert(LOOK_UP_MAX == SPF_RECORDS_MAX, "records are handed over");
	memcpy(ret->text, found.records, sizeof(found.records));
	ret->n = found.n;
	return r;
}

/* ---- SPF ---- */

static void spf_of(struct doctor *d, const char *domain, const struct source_params *s)
{
	struct spf_question q = { .ip = s->address,
		.local = "postmaster",
		.domain = domain,
		.helo = s->ehlo,
		.look = ask,
		.arg = (void *)(uintptr_t)d->dns };
	struct finding f = { FINDING_WRONG, "spf", domain, WHY_515,
		"add the address to the SPF record of the domain: ip4: or ip6:, before \"all\"" };
	struct spf_outcome o;
	char address[ADDR_TEXT_MAX];

	spf_check(&q, &o);
	addr_format(address, &s->address);
	if (o.result == SPF_PASS) {
		doctor_good(d, "spf", domain, "%s (%s) passes by %s, with %u look-ups", s->name,
			address, o.what, o.look_ups);
		return;
	}
	if (o.result == SPF_TEMPERROR) {
		f.level = FINDING_UNKNOWN;
		f.advice = "ask again; if it stays so, look at the name servers";
	} else if (o.result == SPF_PERMERROR) {
		f.advice = "mend the record: with an error in it, it holds for no address at all";
	} else if (o.result == SPF_NONE) {
		f.advice = "publish one: a TXT record \"v=spf1 ip4:… -all\" at the domain";
	}
	doctor_tell(d, &f, "%s (%s) gets %s%s%s", s->name, address, spf_result_name(o.result),
		o.what[0] ? ": " : "", o.what);
}

/* Also the terms that our sources do not come to: others of the same record do. */
static void spf_size(struct doctor *d, const char *domain)
{
	struct spf_question q = { .ip = { .family = ADDR_V4 },
		.local = "postmaster",
		.domain = domain,
		.helo = domain,
		.look = ask,
		.arg = (void *)(uintptr_t)d->dns,
		.all = true };
	struct finding f = { FINDING_WARNING, "spf", domain,
		"receivers look up ten terms at most; with more the record is an error, whatever it says",
		"replace includes by the addresses they stand for" };
	struct spf_outcome o;

	spf_check(&q, &o);
	if (o.look_ups > SPF_LOOK_UPS)
		f.level = FINDING_WRONG;
	if (o.look_ups > SPF_LOOK_UPS - 2)
		doctor_tell(d, &f, "the record takes %u look-ups of %d", o.look_ups, SPF_LOOK_UPS);
}

/* ---- DKIM ---- */

static const char *signs_as(const struct config_dkim *k)
{
	return k->sign_as ? k->sign_as : k->domain;
}

static bool is_below(const char *name, const char *domain)
{
	size_t n = strlen(name), m = strlen(domain);

	return n >= m && !strcasecmp(name + n - m, domain) && (n == m || name[n - m - 1] == '.');
}

static void dkim_record(struct doctor *d, const char *domain, const struct config_dkim *k)
{
	struct finding f = { FINDING_WRONG, "dkim", domain, WHY_515,
		"publish what `postern dkim record` prints" };
	char name[600], why[300] = "";
	struct dkim_key *key = NULL;
	struct look_up found = { .n = 0 };
	int r = config_dkim_key(k, &key, why, sizeof(why));

	snprintf(name, sizeof(name), "%s._domainkey.%s", k->selector, signs_as(k));
	if (r) {
		f.advice = "make the key readable for this user, or run as the relay's";
		f.level = FINDING_UNKNOWN;
		doctor_tell(d, &f, "the key of %s cannot be read: %s", name, why);
		return;
	}
	r = look_up(&found, d->dns, LOOK_UP_TXT, name, why, sizeof(why));
	if (r && r != -ENOENT) {
		f.level = FINDING_UNKNOWN;
		f.advice = "ask again; if it stays so, look at the name servers";
		doctor_tell(d, &f, "%s: DNS gave no answer: %s", name, why);
	} else if (found.n != 1) {
		doctor_tell(d, &f, found.n ? "%s has several records" : "%s has no record", name);
	} else if (dkim_record_fits(buf_slice(&found.records[0]), key, why, sizeof(why))) {
		doctor_tell(d, &f, "%s does not fit the key: %s", name, why);
	} else {
		doctor_good(d, "dkim", domain, "%s fits the key", name);
	}
	look_up_deinit(&found);
	dkim_key_free(key);
}

static void dkim_of(struct doctor *d, const char *domain)
{
	unsigned n = 0;

	for (unsigned i = 0; i < d->config->ndkims; i++) {
		const struct config_dkim *k = &d->config->dkims[i];

		if (!is_below(domain, k->domain))
			continue;
		n++;
		dkim_record(d, domain, k);
		if (!is_below(domain, signs_as(k)) && !is_below(signs_as(k), domain))
			doctor_tell(d,
				&(struct finding){ FINDING_WARNING, "dkim", domain,
					"DMARC counts a signature of the From field's own domain only",
					"sign as the domain, or one above or below it" },
				"its mail is signed as %s", signs_as(k));
	}
	if (!n)
		doctor_tell(d,
			&(struct finding){ FINDING_WARNING, "dkim", domain, WHY_515,
				"`postern dkim keygen` makes a key and says what to do with it; none is "
				"needed where the application signs" },
			"the relay does not sign its mail");
}

/* ---- DMARC ---- */

/* A record at _dmarc below name: 1, none: 0; -errno: no answer. */
static int dmarc_at(struct doctor *d, const char *name, char *policy, size_t max, char *why)
{
	char at[300];
	struct look_up found;
	int n = 0, r;

	snprintf(at, sizeof(at), "_dmarc.%.255s", name);
	r = look_up(&found, d->dns, LOOK_UP_TXT, at, why, 128);
	for (unsigned i = 0; i < found.n; i++) {
		const char *text = look_up_text(&found, i), *p;

		if (strncmp(text, "v=DMARC1", 8))
			continue;
		n++;
		p = strstr(text, "p=");
		while (p && p > text && p[-1] != ';' && p[-1] != ' ')
			p = strstr(p + 1, "p=");
		snprintf(policy, max, "%.*s", p ? (int)strcspn(p + 2, "; ") : 0, p ? p + 2 : "");
	}
	look_up_deinit(&found);
	return r && r != -ENOENT ? r : n;
}

/* At the domain, or at the nearest above it that has two labels at least. */
static void dmarc_of(struct doctor *d, const char *domain)
{
	struct finding f = { FINDING_WARNING, "dmarc", domain, WHY_515,
		"publish at least \"v=DMARC1; p=none; rua=mailto:…\" at _dmarc below the domain" };
	char policy[40] = "", why[128] = "";
	int r = 0;

	for (const char *name = domain; name && strchr(name, '.') && !r;
		name = strchr(name, '.') + 1)
		r = dmarc_at(d, name, policy, sizeof(policy), why);
	if (r < 0) {
		f.level = FINDING_UNKNOWN;
		f.advice = "ask again; if it stays so, look at the name servers";
		doctor_tell(d, &f, "DNS gave no answer: %s", why);
	} else if (!r) {
		doctor_tell(d, &f, "there is no DMARC record");
	} else if (r > 1 || (strcasecmp(policy, "none") && strcasecmp(policy, "quarantine") &&
				    strcasecmp(policy, "reject"))) {
		f.level = FINDING_WRONG;
		doctor_tell(d, &f,
			r > 1 ? "there are several DMARC records, which is as none%s"
			      : "its policy is none of none, quarantine, reject: '%s'",
			r > 1 ? "" : policy);
	} else {
		doctor_good(d, "dmarc", domain, "its policy is %s", policy);
	}
}

/* A sender that cannot be answered is refused by many (5.1.8), and never hears of a bounce. */
static void answers_to(struct doctor *d, const char *domain)
{
	static const enum look_up_type types[] = { LOOK_UP_MX, LOOK_UP_A, LOOK_UP_AAAA };
	char why[128];
	unsigned n = 0;
	int r = 0;

	for (size_t i = 0; i < 3 && !n; i++) {
		struct look_up found;
		int one = look_up(&found, d->dns, types[i], domain, why, sizeof(why));

		n = found.n;
		r = one && one != -ENOENT ? one : r;
		look_up_deinit(&found);
	}
	if (!n && !r)
		doctor_tell(d,
			&(struct finding){ FINDING_WRONG, "mx", domain,
				"mail of a domain that cannot be written to is refused (5.1.8, 5.7.512)",
				"publish an MX record, and take the bounces" },
			"has neither MX nor address");
}

void doctor_domain(struct doctor *d, const char *domain)
{
	for (unsigned i = 0; i < d->config->policy.nsources; i++)
		if (doctor_wants(d, &d->config->policy.sources[i]))
			spf_of(d, domain, &d->config->policy.sources[i]);
	spf_size(d, domain);
	dkim_of(d, domain);
	dmarc_of(d, domain);
	answers_to(d, domain);
}
