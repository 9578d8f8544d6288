/* postern classify: lines of provider, phase and reply on standard input, verdicts on standard
 * output. Uses the rules of the configuration or those of --rules; asks no relay. Main thread of a
 * tool. */
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

static json_t *verdict_json(const struct classifier *rules, const struct classification *v)
{
	const struct rules_about *text = v->rule_line ? classifier_text(rules, v->rule_text) : NULL;
	json_t *j = json_pack("{so so so so sI sI}", "verdict", json_text(verdict_name(v->verdict)),
		"scope", json_text(verdict_scope_name(v->scope)), "voice",
		json_text(voice_name(v->voice)), "token", json_text(v->token), "rule_line",
		(json_int_t)v->rule_line, "cooldown_ms", (json_int_t)v->cooldown);

	if (text && j) {
		json_object_set_new(j, "rule_file", json_text(text->name));
		json_object_set_new(j, "rules_dated", json_text(text->dated));
	}
	return j;
}

/* The verdict, then why: words that are set, and the rule. */
static void print_explained(const struct classifier *rules, const struct classification *v)
{
	const struct rules_about *text = classifier_text(rules, v->rule_text);

	print("%s", verdict_name(v->verdict));
	if (v->scope != SCOPE_DEFAULT)
		print(" %s", verdict_scope_name(v->scope));
	if (v->voice != VOICE_RECEIVER)
		print(" voice=%s", voice_name(v->voice));
	if (v->cooldown)
		print(" %llds", (long long)v->cooldown / 1000);
	if (*v->token)
		print(" token %s", v->token);
	if (v->rule_line && text)
		print(": rule %s:%u%s%s\n", text->name, v->rule_line,
			*text->dated ? ", dated " : "", text->dated);
	else
		print("%s\n", ": no rule fits, by code and phase");
}

enum form { FORM_PLAIN, FORM_JSON, FORM_EXPLAIN };

static void classify_line(const struct classifier *rules, char *line, enum form form)
{
	char *phase = strchr(line, '\t'), *text = phase ? strchr(phase + 1, '\t') : NULL;
	struct classification v;
	struct reply reply;

	if (!text) {
		print("%s\n", form == FORM_JSON
				      ? "{\"error\":\"expected provider<TAB>phase<TAB>response\"}"
				      : "?");
		return;
	}
	*phase++ = 0;
	*text++ = 0;
	unfold(text);
	if (reply_from_text(&reply, slice_of(text)))
		reply_make(&reply, 450, text); /* no code: the wording still says something */
	classify(rules, slice_of(line), slice_of(phase), &reply, &v);
	if (form == FORM_JSON)
		print_json_take(verdict_json(rules, &v));
	else if (form == FORM_EXPLAIN)
		print_explained(rules, &v);
	else
		print("%s\n", verdict_name(v.verdict));
}

static int load_rules(
	const struct cli_command *self, const struct cli_arguments *a, struct classifier **ret)
{
	const char *file = cli_value(self, a, "rules");
	struct config c = { 0 };
	struct buf errors;
	int r;

	buf_init(&errors, 1 << 20);
	c.rules_file = file ? strdup(file) : NULL;
	r = config_classifier(&c, ret, &errors);
	if (buf_size(&errors))
		print_text(stderr, buf_slice(&errors));
	free(c.rules_file);
	buf_deinit(&errors);
	return r;
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct classifier *rules = NULL;
	enum form form = FORM_PLAIN;
	struct cli_arguments a;
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	if (load_rules(self, &a, &rules))
		return EX_CONFIG;
	if (cli_value(self, &a, "json"))
		form = FORM_JSON;
	else if (cli_value(self, &a, "explain"))
		form = FORM_EXPLAIN;
	while ((n = getline(&line, &cap, stdin)) > 0) {
		while (n && (line[n - 1] == '\n' || line[n - 1] == '\r'))
			line[--n] = 0;
		classify_line(rules, line, form);
		fflush(stdout);
	}
	free(line);
	classifier_free(rules);
	return EX_OK;
}

static const struct cli_option options[] = {
	{ "rules", 'r', "FILE", "rules that are asked before the built-in ones" },
	{ "explain", 'e', NULL,
		"with scope, voice, token and the rule that decided: file, line, date" },
	{ "json", 'j', NULL, "the same as one object a line" },
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
