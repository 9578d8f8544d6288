#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* In the input "\\n" stands between the lines of a reply. */
static void unfold(char *text)
{
	char *to = text;

	for (const char *p = text; *p; p++) {
		if (p[0] == '\\' && p[1] == 'n') {
			*to++ = '\n';
			p++;
		} else {
			*to++ = *p;
		}
	}
	*to = 0;
}

static void classify_line(const struct classifier *rules, char *line, bool json)
{
	char *phase = strchr(line, '\t'), *text = phase ? strchr(phase + 1, '\t') : NULL;
	struct classification v;
	struct reply reply;

	if (!text) {
		puts(json ? "{\"error\":\"expected provider<TAB>phase<TAB>response\"}" : "?");
		return;
	}
	*phase++ = 0;
	*text++ = 0;
	unfold(text);
	if (reply_from_text(&reply, slice_of(text)))
		reply_make(&reply, 450, text); /* no code: the wording still says something */
	classify(rules, slice_of(line), slice_of(phase), &reply, &v);
	if (json)
		printf("{\"verdict\":\"%s\",\"token\":\"%s\",\"rule_line\":%u,\"cooldown_ms\":%lld}"
		       "\n",
			verdict_name(v.verdict), v.token, v.rule_line, (long long)v.cooldown);
	else
		puts(verdict_name(v.verdict));
}

static int load_rules(
	const struct cli_command *self, const struct cli_arguments *a, struct classifier **ret)
{
	const char *file = cli_value(self, a, "rules");
	struct config c = { 0 };
	struct buf text, errors;
	int r;

	buf_init(&text, 0);
	buf_init(&errors, 1 << 20);
	c.rules_file = file ? strdup(file) : NULL;
	r = config_rules(&c, &text);
	if (r)
		fprintf(stderr, "%s: %s\n", file ? file : "reply rules", strerror(-r));
	else
		r = classifier_new(ret, buf_slice(&text), file ? file : "replies.rules", &errors);
	if (buf_size(&errors))
		fwrite(buf_slice(&errors).p, 1, buf_size(&errors), stderr);
	free(c.rules_file);
	buf_deinit(&text);
	buf_deinit(&errors);
	return r;
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct classifier *rules = NULL;
	struct cli_arguments a;
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	if (load_rules(self, &a, &rules))
		return EX_CONFIG;
	while ((n = getline(&line, &cap, stdin)) > 0) {
		while (n && (line[n - 1] == '\n' || line[n - 1] == '\r'))
			line[--n] = 0;
		classify_line(rules, line, cli_value(self, &a, "json") != NULL);
		fflush(stdout);
	}
	free(line);
	classifier_free(rules);
	return EX_OK;
}

static const struct cli_option options[] = {
	{ "rules", 'r', "FILE", "reply rules (default: those built in)" },
	{ "json", 'j', NULL, "one object a line, with token, rule and cool-down" },
	{ 0 },
};
const struct cli_command command_classify = {
	.name = "classify",
	.arguments = "< REPLIES",
	.summary = "Tell the verdict class of replies.",
	.help = "Reads provider<TAB>phase<TAB>response lines on standard input (provider: "
		"microsoft365, outlook or default; \\n between the\n"
		"lines of a reply) and prints the verdict class of each, a line a line.",
	.options = options,
	.run = run,
	.no_config = true,
};
