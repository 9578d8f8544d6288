/* postern warmup: ramps as they stand, and what operators do to them. Asks the relay; main thread
 * of a tool. */
#include <string.h>

#include "cli.h"

static const char *count_of(char out[24], const json_t *w, const char *key)
{
	const json_t *v = json_object_get(w, key);

	if (!json_is_integer(v))
		return "-";
	snprintf(out, 24, "%lld", (long long)json_integer_value(v));
	return out;
}

static void print_ramp(void *arg, const json_t *w)
{
	char rung[32], share[16], until[32], allowance[24], left[24];
	bool *headed = arg;

	if (!*headed)
		print("%-12s %-13s %-10s %-10s %-7s %9s %9s %9s %8s  %-12s %-10s %-10s  %s\n",
			"SOURCE", "PROVIDER", "PLAN", "DAY", "RUNG", "ALLOWANCE", "USED",
			"LEFT NOW", "DEFERRED", "STATE", "MORE IN", "FULL ON", "LAST DAY");
	*headed = true;
	if (number_of(w, "rung") > number_of(w, "rungs"))
		snprintf(rung, sizeof(rung), "-/%lld", number_of(w, "rungs"));
	else
		snprintf(rung, sizeof(rung), "%lld/%lld", number_of(w, "rung"),
			number_of(w, "rungs"));
	snprintf(share, sizeof(share), "%.2f %%",
		json_number_value(json_object_get(w, "deferral_share")) * 100);
	print("%-12s %-13s %-10s %-10s %-7s %9s %9lld %9s %8s  %-12s %-10s %-10s  %s\n",
		text_of(w, "source"), text_of(w, "provider"), text_of(w, "plan"), text_of(w, "day"),
		rung, count_of(allowance, w, "allowance"), number_of(w, "used"),
		count_of(left, w, "left_now"), share, text_of(w, "state"),
		human_until(until, text_of(w, "until")), text_of(w, "full"), text_of(w, "why"));
}

static void print_result(void *arg, const json_t *line)
{
	(void)arg;
	print("%s\n", text_of(line, "result"));
}

static int misplaced(const struct cli_command *self, const char *what, const char *belongs)
{
	print_error("postern warmup: --%s belongs to `postern warmup %s`\n", what, belongs);
	print_error("postern %s --help tells more\n", self->name);
	return EX_USAGE;
}

static int operate(const struct cli_command *self, const struct cli_arguments *a)
{
	const char *action = a->rest[0];
	json_t *request;
	long long rung;
	int r = cli_number(self, a, "rung", &rung);

	if (r >= 0)
		return r;
	if (a->nrest != 2) {
		print_error("postern warmup: say what and to which source, as in "
			    "`postern warmup %s NAME`\n",
			action);
		return EX_USAGE;
	}
	if (cli_value(self, a, "rung") && strcmp(action, "set") != 0)
		return misplaced(self, "rung", "set");
	if (cli_value(self, a, "for") && strcmp(action, "hold") != 0)
		return misplaced(self, "for", "hold");
	request = json_pack("{ss ss ss ss* ss*}", "command", "warmup", "action", action, "source",
		a->rest[1], "provider", cli_value(self, a, "provider"), "for",
		cli_value(self, a, "for"));
	if (cli_value(self, a, "rung"))
		json_object_set_new(request, "rung", json_integer(rung));
	return cli_ask_and_print(
		a, request, cli_value(self, a, "json") != NULL, print_result, NULL);
}

static int run_warmup(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	bool headed = false;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	if (a.nrest > 0)
		return operate(self, &a);
	if (cli_value(self, &a, "rung") || cli_value(self, &a, "for") ||
		cli_value(self, &a, "provider")) {
		print_error("postern warmup: say what to do: set, hold, release, skip or reset\n");
		return EX_USAGE;
	}
	return cli_ask_and_print(&a, json_pack("{ss}", "command", "warmup"),
		cli_value(self, &a, "json") != NULL, print_ramp, &headed);
}

static const struct cli_option options[] = {
	{ "rung", 0, "N", "set: the rung, from 1; one beyond the last is warm" },
	{ "for", 'f', "DURATION", "hold: ends by itself after this time, as \"4d\"" },
	{ "provider", 'p', "NAME", "at this provider (default: wherever the source has a plan)" },
	{ "json", 'j', NULL, "one JSON object a line" },
	{ 0 },
};
const struct cli_command command_warmup = {
	.name = "warmup",
	.asks = true,
	.arguments =
		"[set SOURCE --rung N | hold SOURCE | release SOURCE | skip SOURCE | reset SOURCE]",
	.summary = "Print how far new sources are warmed up; set, hold or skip a step.",
	.help = "Without words: each source with a plan, its day, rung, allowance and use, what "
		"the "
		"last day changed and why,\nand when it will be warm if every day goes well.\n\n"
		"hold keeps the rung, whatever the days are like; release ends that, and a pause. "
		"What was used today stays used.",
	.options = options,
	.takes_id = true,
	.run = run_warmup,
};
