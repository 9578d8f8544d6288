/* postern doctor: what stands in the way of mail before the first message shows it: names of the
 * sources, records of the senders' domains, block lists, the way to a real MX, this machine. Asks no
 * relay; uses the configured name servers, and each source's own address. Main thread of a tool. */
#include <string.h>
#include <strings.h>

#include "doctor.h"

#define DOMAINS_MAX 64

static const char *const levels[] = { "good", "warning", "unknown", "wrong" };

static void tell(struct doctor *d, const struct finding *f, const char *what)
{
	if (f->level > d->worst)
		d->worst = f->level;
	if (d->json) {
		print_json_take(json_pack("{so so so so so so}", "level",
			json_text(levels[f->level]), "check", json_text(f->check), "about",
			json_text(f->about), "what", json_text(what), "why", json_text(f->why),
			"advice", json_text(f->advice)));
		return;
	}
	print("%-8s %-10s %s: ", levels[f->level], f->check, f->about);
	print("%s\n", what);
	if (f->why)
		print("%20swhy it matters: %s\n", "", f->why);
	if (f->advice)
		print("%20swhat to do: %s\n", "", f->advice);
}

void doctor_tell(struct doctor *d, const struct finding *f, const char *fmt, ...)
{
	char what[1000];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	tell(d, f, what);
}

void doctor_good(struct doctor *d, const char *check, const char *about, const char *fmt, ...)
{
	const struct finding f = { .level = FINDING_GOOD, .check = check, .about = about };
	char what[1000];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	tell(d, &f, what);
}

bool doctor_wants(const struct doctor *d, const struct source_params *s)
{
	return !d->source || !strcmp(d->source, s->name);
}

/* Of the configuration: those that are signed for, or have a pool of their own. */
static void known_domains(struct doctor *d)
{
	const struct config *c = d->config;
	const char *seen[DOMAINS_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < c->ndkims + c->nsender_pools && n < DOMAINS_MAX; i++) {
		const char *domain =
			i < c->ndkims ? c->dkims[i].domain : c->sender_pools[i - c->ndkims].pattern;
		unsigned k = 0;

		while (k < n && strcasecmp(seen[k], domain))
			k++;
		if (k < n || strpbrk(domain, "*?["))
			continue;
		seen[n++] = domain;
		doctor_domain(d, domain);
	}
	if (!n)
		doctor_tell(d,
			&(struct finding){ FINDING_WARNING, "spf", "-",
				"SPF, DKIM and DMARC decide whether Microsoft's consumers take more than "
				"5,000 messages a day (5.7.515)",
				"name the domain that your mail is from: --domain example.com" },
			"the configuration names no domain that sends");
}

static int exit_code(enum finding_level worst)
{
	static const int codes[] = { EX_OK, 1, EX_TEMPFAIL, EX_DATAERR };

	return codes[worst];
}

static int look(struct doctor *d, const struct cli_command *self, const struct cli_arguments *a)
{
	const char *domain = cli_value(self, a, "domain");
	unsigned found = 0;

	for (unsigned i = 0; i < d->config->policy.nsources; i++)
		found += doctor_wants(d, &d->config->policy.sources[i]);
	if (!found) {
		print_error("postern doctor: the configuration has no source '%s'\n", d->source);
		return EX_USAGE;
	}
	doctor_sources(d);
	if (domain)
		doctor_domain(d, domain);
	else
		known_domains(d);
	if (d->to)
		doctor_reach(d);
	doctor_machine(d);
	return exit_code(d->worst);
}

static int run_doctor(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	struct doctor d = { .to = "microsoft.com" };
	struct config *c;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	c = cli_config(&a, true);
	if (!c)
		return EX_CONFIG;
	d.config = c;
	d.dns = &c->dispatch.dns;
	d.json = cli_value(self, &a, "json") != NULL;
	d.source = cli_value(self, &a, "source");
	if (cli_value(self, &a, "to"))
		d.to = cli_value(self, &a, "to");
	if (!strcmp(d.to, "none"))
		d.to = NULL;
	r = look(&d, self, &a);
	config_free(c);
	return r;
}

static const struct cli_option options[] = {
	{ "source", 's', "NAME", "of this source alone (default: all)" },
	{ "domain", 'd', "NAME",
		"of mail from this domain (default: those the configuration names)" },
	{ "to", 't', "DOMAIN",
		"connect to an MX of this domain, say EHLO and STARTTLS, and leave (default: "
		"microsoft.com; none: not)" },
	{ "json", 'j', NULL, "one JSON object a line" },
	{ 0 },
};
const struct cli_command command_doctor = {
	.name = "doctor",
	.arguments = "",
	.summary = "Look for what stands in the way of mail, before the first message shows it.",
	.help = "Each finding is good, warning, unknown (nobody answered) or wrong, with why it matters and "
		"what to do. Asks the\nconfigured name servers and block lists; connects from each source's "
		"own address; sends no mail.\nExit codes, of the worst: 0 all is good, 1 a warning, 75 "
		"something could not be found out, 65 something is wrong.",
	.options = options,
	.run = run_doctor,
};
