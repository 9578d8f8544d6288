/* postern check: is this configuration right, what does it come to, what options are there. Reads
 * the file itself; only --running asks the relay. Main thread of a tool. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static int print_all(struct buf *b, int r)
{
	if (r == 0)
		print_text(stdout, buf_slice(b));
	buf_deinit(b);
	return r ? EX_SOFTWARE : EX_OK;
}

static const char page_head[] =
	".TH POSTERN.CONF 5 \"\" \"Postern " POSTERN_VERSION "\" \"File Formats\"\n"
	".SH NAME\npostern.conf \\- configuration of the Postern relay\n"
	".SH DESCRIPTION\n"
	"Options are written \\fIname = value\\fR, lists \\fI{\"a\", \"b\"}\\fR, sections\n"
	"\\fIname {\\fR \\&...\\& \\fI}\\fR or \\fIname \"title\" {\\fR \\&...\\& \\fI}\\fR.\n"
	"A comment begins with \\fB#\\fR. Durations are written \"90s\", \"5m\", \"4h\", \"2d\";\n"
	"sizes \"64MiB\"; rates \"30/1m\".\n.PP\n"
	"Text in double quotes knows \\fB\\en\\fR, \\fB\\et\\fR, \\fB\\exHH\\fR and the like, a backslash\n"
	"before any other character means that character, and \\fB${NAME}\\fR or\n"
	"\\fB${NAME:\\-otherwise}\\fR is taken from the environment. Text in single quotes is as it is.\n.PP\n"
	"\\fBinclude \"conf.d/*.conf\"\\fR, outside all sections, reads other files at that place: by name or\n"
	"pattern, beside the file that says so, in the order of their names; at most 1000, eight deep,\n"
	"16 MiB in all. What is given in two files is an error, as in one. A pattern may find nothing.\n"
	"A reload reads them again as the relay's user, who must be able to list their directory.\n.PP\n"
	"\\fBpostern check\\fR names every error with file and line;\n"
	"\\fBpostern reload\\fR takes changes over and says what needs a restart.\n"
	".SH OPTIONS\n";

/* What a reader wants to see first: whole files that do something. */
static const char page_examples[] =
	".SH EXAMPLES\nThe least: one network that may send, one address that mail leaves from.\n"
	".PP\n.nf\n.RS\n"
	"hostname = \"out.example.net\"\n"
	"listener \"internal\" { address = {\"0.0.0.0:2525\"} allow = {\"10.0.0.0/8\"} }\n"
	"source \"a1\" { address = \"192.0.2.10\" ehlo = \"a1.out.example.net\" }\n"
	"pool \"main\" { sources = {\"a1\"} }\n.RE\n.fi\n.PP\n"
	"A second subnet, new, brought up to volume at Microsoft 365; mail over its daily amount\n"
	"goes to a1:\n.PP\n.nf\n.RS\n"
	"source \"b1\" { address = \"198.51.100.10\" ehlo = \"b1.out.example.net\" }\n"
	"pool \"main\" { sources = {\"a1\", \"b1\"} }\n"
	"warmup \"b\" { provider = \"microsoft365\" sources = {\"b1\"} start = \"2026-12-01\" }\n"
	".RE\n.fi\n.PP\n"
	"Applications that log in, over TLS, and a provider that is given more than usual:\n"
	".PP\n.nf\n.RS\n"
	"listener \"apps\" {\n"
	"    address = {\"[::]:587\"} require_auth = true users_file = \"/etc/postern/users\"\n"
	"    certificate = \"/etc/postern/tls.pem\" key = \"/etc/postern/tls.key\"\n"
	"}\n"
	"provider \"microsoft365\" { connections_per_cluster = 40 lane_message_rate = \"1200/1m\" }\n"
	".RE\n.fi\n"
	".SH SEE ALSO\n.BR postern (8)\n";

static int describe(bool roff)
{
	struct buf b;
	int r;

	buf_init(&b, 0);
	if (roff)
		print("%s", page_head);
	r = print_all(&b, config_describe(&b, roff));
	if (roff)
		print("%s", page_examples);
	return r;
}

static int dump(const struct config *c, bool changed)
{
	struct buf b;

	buf_init(&b, 0);
	return print_all(&b, config_dump(&b, c, changed));
}

/* The reply rules are data that the configuration names: wrong ones are wrong configuration. about:
 * which they are and of what date. */
static int check_rules(const struct config *c, struct buf *errors, struct buf *about)
{
	struct classifier *rules = NULL;
	int r = config_classifier(c, &rules, errors);

	if (!r)
		r = classifier_describe(rules, about);
	if (!r)
		r = buf_add(about, "", 1);
	classifier_free(rules);
	return r;
}

/* One finding, "file:line: text" or "file:line: warning: text", as an object. */
static void print_finding(struct slice line)
{
	static const char mark[] = "warning: ";
	const char *end = line.p + line.n, *p = line.p, *text;
	bool warning;
	json_t *j;

	for (;; p++) {
		p = memchr(p, ':', (size_t)(end - p));
		if (!p)
			return;
		text = p + 1;
		while (text < end && *text >= '0' && *text <= '9')
			text++;
		if (text > p + 1 && end - text > 2 && text[0] == ':' && text[1] == ' ')
			break;
	}
	text += 2;
	warning = (size_t)(end - text) >= sizeof(mark) - 1 && !memcmp(text, mark, sizeof(mark) - 1);
	if (warning)
		text += sizeof(mark) - 1;
	j = json_pack("{so so sI so}", "finding", json_text(warning ? "warning" : "error"), "file",
		json_slice((struct slice){ line.p, (size_t)(p - line.p) }), "line",
		(json_int_t)atoll(p + 1), "text",
		json_slice((struct slice){ text, (size_t)(end - text) }));
	print_json(j);
	json_decref(j);
}

static void say_findings(const struct buf *errors, bool json)
{
	struct slice s = buf_slice(errors);

	if (!json)
		print_text(stderr, s);
	while (json && s.n > 0) {
		const char *lf = memchr(s.p, '\n', s.n);
		size_t n = lf ? (size_t)(lf - s.p) : s.n;

		print_finding((struct slice){ s.p, n });
		s = slice_from(s, lf ? n + 1 : n);
	}
}

static void say_ok(const struct config *c, const char *path, const char *rules, bool json)
{
	json_t *j;

	if (!json) {
		print("%s: ok (%u listeners, %u sources, %u pools, %u providers)\n", path,
			c->nlisteners, c->policy.nsources, c->policy.npools, c->policy.nproviders);
		print("reply rules: %s\n", rules);
		return;
	}
	j = json_pack("{sb so sI sI sI sI so}", "ok", 1, "file", json_text(path), "listeners",
		(json_int_t)c->nlisteners, "sources", (json_int_t)c->policy.nsources, "pools",
		(json_int_t)c->policy.npools, "providers", (json_int_t)c->policy.nproviders,
		"reply_rules", json_text(rules));
	print_json(j);
	json_decref(j);
}

static void print_running(void *arg, const json_t *j)
{
	(void)arg;
	print("%s", text_of(j, "configuration"));
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	struct config *c = NULL;
	struct buf errors, rules;
	bool json;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	if (cli_value(self, &a, "defaults") || cli_value(self, &a, "roff"))
		return describe(cli_value(self, &a, "roff") != NULL);
	json = cli_value(self, &a, "json") != NULL;
	if (cli_value(self, &a, "running"))
		return cli_ask_and_print(
			&a, json_pack("{ss}", "command", "running"), json, print_running, NULL);
	buf_init(&errors, 1 << 20);
	buf_init(&rules, 0);
	r = config_load(&c, a.config, &errors);
	if (r == 0)
		r = check_rules(c, &errors, &rules);
	if (r && !buf_size(&errors))
		buf_printf(&errors, "%s:1: %s\n", a.config, strerror(-r));
	say_findings(&errors, json);
	buf_deinit(&errors);
	r = r ? EX_CONFIG : EX_OK;
	if (r == EX_OK && cli_value(self, &a, "dump"))
		r = dump(c, false);
	else if (r == EX_OK && cli_value(self, &a, "changed"))
		r = dump(c, true);
	else if (r == EX_OK)
		say_ok(c, a.config, buf_slice(&rules).p, json);
	buf_deinit(&rules);
	config_free(c);
	return r;
}

static const struct cli_option options[] = {
	{ "dump", 'd', NULL, "print the effective configuration with all defaults filled in" },
	{ "changed", 'n', NULL, "print what differs from the defaults" },
	{ "running", 0, NULL, "print the configuration that the running relay goes by" },
	{ "json", 'j', NULL, "findings as one JSON object a line" },
	{ "defaults", 0, NULL, "print every option with type, bounds, default and meaning" },
	{ "roff", 0, NULL, "the same for the manual page" },
	{ 0 },
};
const struct cli_command command_check = {
	.name = "check",
	.arguments = "",
	.summary = "Check the configuration: every error with file and line.",
	.help = "Ends with 0 when the relay would start with this file, with 78 otherwise. Changes "
		"nothing.",
	.options = options,
	.run = run,
};
