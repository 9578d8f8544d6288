/* postern history: what was delivered, deferred and bounced, by minute, hour or day, for lanes and
 * what they roll up into. Asks the relay; main thread of a tool. */
#include <string.h>

#include "cli.h"

static const char *const names[] = { "pool", "source", "subnet", "cluster", "provider", "reason" };

struct printed {
	char by[16];
	bool about, headed;
};

static void print_about(struct printed *p, const json_t *line)
{
	p->about = true;
	snprintf(p->by, sizeof(p->by), "%s", text_of(line, "by"));
	if (text_of(line, "complete_since")[0])
		print("complete since %.16sZ: earlier ones had to go for want of room\n",
			text_of(line, "complete_since"));
}

static void print_names(const json_t *line, bool head)
{
	char upper[16];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		int wide = strcmp(names[i], "subnet") && strcmp(names[i], "reason") ? 14 : 20;
		size_t n = strlen(names[i]);

		if (!json_object_get(line, names[i]))
			continue;
		for (size_t k = 0; k <= n; k++)
			upper[k] = (char)(names[i][k] >= 'a' ? names[i][k] - 32 : names[i][k]);
		print("%-*s ", wide, head ? upper : text_of(line, names[i]));
	}
}

static void print_delay(const json_t *line, const char *key)
{
	const json_t *v = json_object_get(line, key);

	if (json_is_real(v))
		print(" %9.2f", json_real_value(v));
	else
		print(" %9s", "-");
}

static void print_ramp(const struct printed *p, const json_t *line)
{
	char allowance[24] = "no limit";

	if (!p->headed)
		print("%-10s %-14s %-14s %7s %9s %9s %9s  %-12s %s\n", "DAY", "SOURCE", "PROVIDER",
			"RUNG", "ALLOWANCE", "USED", "DEFERRED", "BEFORE", "WHY");
	if (json_is_integer(json_object_get(line, "allowance")))
		snprintf(allowance, sizeof(allowance), "%lld", number_of(line, "allowance"));
	print("%-10s %-14s %-14s %3lld/%-3lld %9s %9lld %8.2f%%  %-12s %s\n",
		text_of(line, "start"), text_of(line, "source"), text_of(line, "provider"),
		number_of(line, "rung"), number_of(line, "rungs"), allowance,
		number_of(line, "used"),
		json_number_value(json_object_get(line, "deferral_share")) * 100,
		text_of(line, "change"), text_of(line, "why"));
}

static void print_counts(const struct printed *p, const json_t *line)
{
	bool queue = !strcmp(p->by, "queue");

	if (!p->headed) {
		print("%-17s ", "START");
		print_names(line, true);
		if (queue)
			print("%10s %10s\n", "WAITING", "OLDEST s");
		else
			print("%9s %9s %9s %9s %7s %9s %9s %9s\n", "ATTEMPTS", "DELIVERED",
				"DEFERRED", "BOUNCED", "CONNS", "P50 s", "P95 s", "P99 s");
	}
	print("%.16sZ ", text_of(line, "start"));
	print_names(line, false);
	if (queue) {
		print("%10lld %10lld\n", number_of(line, "recipients"),
			number_of(line, "oldest_s"));
		return;
	}
	print("%9lld %9lld %9lld %9lld %7lld", number_of(line, "attempts"),
		number_of(line, "delivered"), number_of(line, "deferred"),
		number_of(line, "bounced"), number_of(line, "connections"));
	print_delay(line, "delay_p50");
	print_delay(line, "delay_p95");
	print_delay(line, "delay_p99");
	print("\n");
}

static void print_line(void *arg, const json_t *line)
{
	struct printed *p = arg;

	if (!p->about) {
		print_about(p, line);
		return;
	}
	if (!strcmp(p->by, "ramp"))
		print_ramp(p, line);
	else
		print_counts(p, line);
	p->headed = true;
}

static int run_history(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	struct printed p = { 0 };
	bool json;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	json = cli_value(self, &a, "json") != NULL;
	r = cli_ask_and_print(&a,
		json_pack("{ss ss* ss* ss* ss* sb}", "command", self->name, "by",
			cli_value(self, &a, "by"), "step", cli_value(self, &a, "step"), "since",
			cli_value(self, &a, "since"), "of", cli_value(self, &a, "of"), "sum",
			cli_value(self, &a, "sum") != NULL),
		json, print_line, &p);
	if (!r && !json && !p.headed)
		print("nothing happened in that time\n");
	return r;
}

static const struct cli_option options[] = {
	{ "by", 'b', "WHAT",
		"lane, source, subnet, cluster, path (subnet and cluster), provider, pool, "
		"total, queue or ramp (default total)" },
	{ "step", 0, "STEP", "minute, hour or day (default hour)" },
	{ "since", 0, "DURATION", "so long ago until now (default 24h)" },
	{ "of", 0, "NAME", "only of this source, subnet, cluster, provider or pool" },
	{ "sum", 0, NULL, "all of that time as one" },
	{ "json", 'j', NULL, "one JSON object a line" },
	{ 0 },
};
const struct cli_command command_history = {
	.name = "history",
	.asks = true,
	.arguments = "",
	.summary = "Print what was delivered, deferred and bounced, by minute, hour or day.",
	.help = "Minutes are kept for 26 hours, hours for 8 days, days (of UTC) for 400, over "
		"restarts; where memory was\nshort the oldest of lanes went first, and the answer "
		"says from when on it is complete.\nDelays are those from acceptance to delivery, "
		"right within a fifth.\nqueue: the most that waited. ramp: each day of warm-ups, "
		"and what was decided before it.",
	.options = options,
	.run = run_history,
};
