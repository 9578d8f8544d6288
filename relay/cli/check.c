#include <stdlib.h>

#include "cli.h"

static int print_text(struct buf *b, int r)
{
	if (r == 0)
		fwrite(buf_slice(b).p, 1, buf_size(b), stdout);
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
	"\\fBpostern check\\fR names every error with file and line;\n"
	"\\fBpostern reload\\fR takes changes over and says what needs a restart.\n"
	".SH OPTIONS\n";

static int describe(bool roff)
{
	struct buf b;

	buf_init(&b, 0);
	if (roff)
		fputs(page_head, stdout);
	return print_text(&b, config_describe(&b, roff));
}

static int dump(const struct config *c, bool changed)
{
	struct buf b;

	buf_init(&b, 0);
	return print_text(&b, config_dump(&b, c, changed));
}

/* The reply rules are data that the configuration names: wrong ones are wrong configuration. */
static int check_rules(const struct config *c)
{
	struct classifier *rules = NULL;
	struct buf text, errors;
	int r;

	buf_init(&text, 0);
	buf_init(&errors, 1 << 20);
	r = config_rules(c, &text);
	if (r)
		fprintf(stderr, "%s: cannot be read\n",
			c->rules_file ? c->rules_file : "reply rules");
	else
		r = classifier_new(&rules, buf_slice(&text),
			c->rules_file ? c->rules_file : "replies.rules", &errors);
	if (buf_size(&errors))
		fwrite(buf_slice(&errors).p, 1, buf_size(&errors), stderr);
	classifier_free(rules);
	buf_deinit(&text);
	buf_deinit(&errors);
	return r ? EX_CONFIG : EX_OK;
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	struct config *c;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	if (cli_value(self, &a, "defaults") || cli_value(self, &a, "roff"))
		return describe(cli_value(self, &a, "roff") != NULL);
	c = cli_config(&a, false);
	if (!c)
		return EX_CONFIG;
	r = check_rules(c);
	if (r == EX_OK && cli_value(self, &a, "dump"))
		r = dump(c, false);
	else if (r == EX_OK && cli_value(self, &a, "changed"))
		r = dump(c, true);
	else if (r == EX_OK)
		printf("%s: ok (%u listeners, %u sources, %u pools, %u providers)\n", a.config,
			c->nlisteners, c->policy.nsources, c->policy.npools, c->policy.nproviders);
	config_free(c);
	return r;
}

static const struct cli_option options[] = {
	{ "dump", 'd', NULL, "print the effective configuration with all defaults filled in" },
	{ "changed", 'n', NULL, "print what differs from the defaults" },
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
