/* postern lanes, clusters, suspend and resume: what the policy knows, as tables. Asks the relay;
 * main thread of a tool. */
#include "cli.h"

static void print_lane(void *arg, const json_t *l)
{
	char until[32], lately[32];
	bool *headed = arg;

	if (text_of(l, "text")[0]) {
		print("%s; since %.19s%s%s\n", text_of(l, "text"), text_of(l, "since"),
			text_of(l, "until")[0] ? ", until " : "",
			human_until(until, text_of(l, "until")));
		return;
	}
	if (!*headed)
		print("%-12s %-18s %-20s %-13s %-11s %-9s %6s %6s %5s %-9s %9s %10s %10s  %-20s  "
		      "%s\n",
			"SOURCE", "SUBNET", "CLUSTER", "PROVIDER", "HEALTH", "CAUSE", "WINDOW",
			"IN USE", "IDLE", "RATE", "LATELY", "DELIVERED", "DEFERRED", "SINCE",
			"UNTIL");
	*headed = true;
	/* accepted/refused in the last ten minutes or so */
	snprintf(lately, sizeof(lately), "%lld/%lld", number_of(l, "accepted_lately"),
		number_of(l, "refused_lately"));
	print("%-12s %-18s %-20s %-13s %-11s %-9s %6lld %6lld %5lld %-9s %9s %10lld %10lld  "
	      "%-20.19s  %s\n",
		text_of(l, "source"), text_of(l, "subnet"), text_of(l, "cluster"),
		text_of(l, "provider"), text_of(l, "health"), text_of(l, "cause"),
		number_of(l, "window"), number_of(l, "in_use"), number_of(l, "idle"),
		text_of(l, "rate"), lately, number_of(l, "delivered"), number_of(l, "deferred"),
		text_of(l, "since"), human_until(until, text_of(l, "until")));
	if (text_of(l, "belief")[0])
		print("    %s\n", text_of(l, "belief"));
}

static void print_cluster(void *arg, const json_t *c)
{
	bool *headed = arg;

	if (!*headed)
		print("%-40s %-20s %-13s %-10s %-12s %11s %5s %8s %5s %-8s  %-20s  %s\n", "HOST",
			"CLUSTER", "PROVIDER", "GEOGRAPHY", "LEARNED BY", "CONNECTIONS", "CAP",
			"MESSAGES", "RCPTS", "HEALTH", "WHEN", "WITHOUT");
	*headed = true;
	print("%-40s %-20s %-13s %-10s %-12s %11lld %5lld %8lld %5lld %-8s  %-20.19s  %s\n",
		text_of(c, "host"), text_of(c, "cluster"), text_of(c, "provider"),
		text_of(c, "geography"), text_of(c, "how"), number_of(c, "connections"),
		number_of(c, "cap"), number_of(c, "session_max"), number_of(c, "transaction_max"),
		text_of(c, "health"), text_of(c, "learned"), text_of(c, "without"));
}

static int run_list(const struct cli_command *self, int argc, char **argv,
	void (*each)(void *arg, const json_t *line))
{
	struct cli_arguments a;
	bool headed = false;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	return cli_ask_and_print(&a, json_pack("{ss}", "command", self->name),
		cli_value(self, &a, "json") != NULL, each, &headed);
}

static int run_lanes(const struct cli_command *self, int argc, char **argv)
{
	return run_list(self, argc, argv, print_lane);
}

static int run_clusters(const struct cli_command *self, int argc, char **argv)
{
	return run_list(self, argc, argv, print_cluster);
}

static const struct cli_option list_options[] = { { "json", 'j', NULL, "one JSON object a line" },
	{ 0 } };
const struct cli_command command_lanes = {
	.name = "lanes",
	.asks = true,
	.arguments = "",
	.summary = "Print the lanes (source × cluster): window, use, health, cause.",
	.options = list_options,
	.run = run_lanes,
};
const struct cli_command command_clusters = {
	.name = "clusters",
	.asks = true,
	.arguments = "",
	.summary = "Print the known hosts, their clusters, and how each was learned.",
	.options = list_options,
	.run = run_clusters,
};

static void print_result(void *arg, const json_t *line)
{
	(void)arg;
	print("%s\n", text_of(line, "result"));
}

static int run_suspension(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	return cli_ask_and_print(&a,
		json_pack("{ss ss* ss* ss*}", "command", self->name, "source",
			cli_value(self, &a, "source"), "at", cli_value(self, &a, "at"), "for",
			cli_value(self, &a, "for")),
		false, print_result, NULL);
}

static const struct cli_option suspend_options[] = {
	{ "source", 's', "NAME", "this source (default: all)" },
	{ "at", 'a', "NAME",
		"at this cluster, network, geography or provider (default: everywhere)" },
	{ "for", 'f', "DURATION",
		"ends by itself after this time, as \"4h\" (default: stays until resume)" },
	{ 0 },
};
static const struct cli_option resume_options[] = {
	{ "source", 's', "NAME", "this source (default: all)" },
	{ "at", 'a', "NAME",
		"at this cluster, geography or provider, or recipient domain (default: "
		"everywhere)" },
	{ "for", 'f', "DURATION",
		"and keep it in service for this time, whatever the relay finds" },
	{ 0 },
};
const struct cli_command command_suspend = {
	.name = "suspend",
	.asks = true,
	.arguments = "--source NAME | --at NAME",
	.summary =
		"Send nothing from a source, to a cluster or provider, or from one to the other.",
	.options = suspend_options,
	.run = run_suspension,
};
const struct cli_command command_resume = {
	.name = "resume",
	.asks = true,
	.arguments = "--source NAME | --at NAME",
	.summary = "End a suspension, the operator's or the relay's own.",
	.options = resume_options,
	.run = run_suspension,
};
