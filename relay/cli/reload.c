/* postern reload: asks the running relay to read its configuration again, and prints what came of
 * it. Main thread of a tool. */
#include "cli.h"

static void print_notes(void *arg, const json_t *j)
{
	(void)arg;
	const char *restart = text_of(j, "restart");

	print("reloaded%s%s\n%s", *restart ? "; not taken over until a restart: " : "", restart,
		text_of(j, "notes"));
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	return cli_ask_and_print(
		&a, json_pack("{ss}", "command", "reload"), false, print_notes, NULL);
}

const struct cli_command command_reload = {
	.name = "reload",
	.asks = true,
	.arguments = "",
	.summary = "Make the running relay read its configuration again.",
	.help = "As SIGHUP does, but says what came of it. On an error the old configuration stays "
		"in force (exit code 78).",
	.run = run,
};
