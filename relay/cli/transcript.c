/* postern transcript: what was said in the last good and the last refused session of lanes. */
#include <string.h>

#include "cli.h"

static void print_line(const json_t *l)
{
	const char *who = text_of(l, "who");

	print("  %8.3f  %s ", (double)number_of(l, "ms") / 1000,
		!strcmp(who, "us")     ? ">"
		: !strcmp(who, "them") ? "<"
				       : "*");
	print("%s\n", text_of(l, "line"));
}

static void print_session(void *arg, const json_t *s)
{
	json_t *l;
	size_t i;

	(void)arg;
	print("%s: %s (%s) at %s, %s; session %s", text_of(s, "outcome"), text_of(s, "source"),
		text_of(s, "subnet"), text_of(s, "cluster"), text_of(s, "address"),
		text_of(s, "session"));
	if (text_of(s, "id")[0])
		print(", message %s", text_of(s, "id"));
	print(", ended %s\n", text_of(s, "at"));
	json_array_foreach(json_object_get(s, "lines"), i, l) print_line(l);
	print("%s\n", json_is_true(json_object_get(s, "cut")) ? "  (more was said)\n" : "");
}

static int run_transcript(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	if (a.nrest > 1) {
		print_error("postern transcript: one message or session at a time\n");
		return EX_USAGE;
	}
	return cli_ask_and_print(&a,
		json_pack("{ss ss* ss* ss*}", "command", self->name, "id",
			a.nrest ? a.rest[0] : NULL, "source", cli_value(self, &a, "source"), "at",
			cli_value(self, &a, "at")),
		cli_value(self, &a, "json") != NULL, print_session, NULL);
}

static const struct cli_option options[] = {
	{ "source", 's', "NAME", "of this source (default: all)" },
	{ "at", 'a', "NAME", "at this cluster or provider (default: all)" },
	{ "json", 'j', NULL, "one JSON object a session" },
	{ 0 },
};
const struct cli_command command_transcript = {
	.name = "transcript",
	.asks = true,
	.arguments = "[ID|SESSION]",
	.takes_id = true,
	.summary = "Print what was said in the last good and the last refused session of lanes.",
	.help = "ID: of a message, SESSION: as the log has it. Seconds count from the beginning of the "
		"connection; > was sent, < came, * is a note.\nOf a session of many messages it is what "
		"made it ready, and the last message's part; content is never kept.",
	.options = options,
	.run = run_transcript,
};
