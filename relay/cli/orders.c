/* postern orders: what operators hold by standing orders. Main thread of a tool. */
#include <string.h>

#include "cli.h"

static void print_order(void *arg, const json_t *o)
{
	bool *any = arg;
	const char *when = text_of(o, "until");
	const json_t *term;
	char until[32];
	size_t i;

	*any = true;
	print("%lld ", number_of(o, "order"));
	json_array_foreach(json_object_get(o, "selector"), i, term)
		print(" --%s", json_string_value(term));
	print("\n    %lld messages for %lld recipients  by %s since %s%s%s%s\n",
		number_of(o, "messages"), number_of(o, "recipients"), text_of(o, "who"),
		text_of(o, "since"), *when ? "  ends in " : "", human_until(until, when),
		json_is_true(json_object_get(o, "ending")) ? "  is ending" : "");
	if (*text_of(o, "reason"))
		print("    %s\n", text_of(o, "reason"));
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	bool any = false, json;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	json = cli_value(self, &a, "json") != NULL;
	r = cli_ask_and_print(&a, json_pack("{ss}", "command", "orders"), json, print_order, &any);
	if (r == EX_OK && !any && !json)
		print("there are no orders\n");
	return r;
}

static const struct cli_option options[] = {
	{ "json", 'j', NULL, "one JSON object a line" },
	{ 0 },
};
const struct cli_command command_orders = {
	.name = "orders",
	.asks = true,
	.arguments = "",
	.summary =
		"List the standing orders: what they hold, who gave them, why, since and until when.",
	.options = options,
	.run = run,
};
