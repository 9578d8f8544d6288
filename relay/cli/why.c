/* postern why: what the relay believes about receivers, by which figures, and what a pool's mail
 * waits for. Asks the relay; main thread of a tool. */
#include <string.h>

#include "cli.h"

struct printed {
	unsigned diagnoses, bottlenecks;
	char pool[80];
};

static void print_rows(const json_t *contrast)
{
	const json_t *r;
	size_t i;

	json_array_foreach(contrast, i, r)
	{
		if (!i)
			print("    %9s %9s %7s\n", "ACCEPTED", "REFUSED", "RATIO");
		print("    %9.0f %9.0f %7.1f  %s\n",
			json_number_value(json_object_get(r, "accepted")),
			json_number_value(json_object_get(r, "refused")),
			json_number_value(json_object_get(r, "ratio")), text_of(r, "what"));
	}
}

static void print_diagnosis(const json_t *d)
{
	const char *who = text_of(d, "sender");
	const char *places[] = { "domain", "cluster", "provider" };
	double score = json_number_value(json_object_get(d, "score"));
	double needed = json_number_value(json_object_get(d, "needed"));
	const char *at = "";
	char until[32];

	if (!*who)
		who = text_of(d, "source");
	if (!*who)
		who = text_of(d, "subnet");
	for (unsigned i = 0; i < 3 && !*at; i++)
		at = text_of(d, places[i]);
	print("%s%s%s: %s", who, *who ? " at " : "", at, text_of(d, "state"));
	if (text_of(d, "since")[0])
		print(", since %.19s", text_of(d, "since"));
	if (text_of(d, "until")[0])
		print(", tested next in %s", human_until(until, text_of(d, "until")));
	print("\n  %s\n", text_of(d, "text"));
	print_rows(json_object_get(d, "contrast"));
	if (needed > 0)
		print("    log likelihood ratio %.1f; it is believed from %.1f on\n", score,
			needed);
	if (text_of(d, "counted")[0])
		print("    counted at %.19s\n", text_of(d, "counted"));
}

static void print_bottleneck(struct printed *p, const json_t *b)
{
	char until[32];

	if (strncmp(p->pool, text_of(b, "pool"), sizeof(p->pool) - 1)) {
		snprintf(p->pool, sizeof(p->pool), "%s", text_of(b, "pool"));
		print("%spool %s:\n", p->diagnoses || p->bottlenecks ? "\n" : "", p->pool);
	}
	p->bottlenecks++;
	print("%9lld  %s%s%s%s%s\n", number_of(b, "recipients"), text_of(b, "reason"),
		text_of(b, "limit")[0] ? ": " : "", text_of(b, "limit"),
		text_of(b, "cluster")[0] ? " at " : "", text_of(b, "cluster"));
	print("           %s%s%s\n", text_of(b, "text"), text_of(b, "until")[0] ? "; next in " : "",
		human_until(until, text_of(b, "until")));
	if (text_of(b, "lift")[0])
		print("           what would lift it: %s\n", text_of(b, "lift"));
}

static void print_line(void *arg, const json_t *line)
{
	struct printed *p = arg;

	if (!strcmp(text_of(line, "row"), "bottleneck")) {
		print_bottleneck(p, line);
	} else if (!strcmp(text_of(line, "row"), "diagnosis")) {
		if (p->diagnoses++)
			print("\n");
		print_diagnosis(line);
	} else {
		print("%s\n", text_of(line, "text"));
	}
}

static int run_why(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	struct printed p = { 0 };
	bool json;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	json = cli_value(self, &a, "json") != NULL;
	r = cli_ask_and_print(&a,
		json_pack("{ss ss* ss* ss*}", "command", self->name, "source",
			cli_value(self, &a, "source"), "at", cli_value(self, &a, "at"), "pool",
			cli_value(self, &a, "pool")),
		json, print_line, &p);
	if (!r && !json && !p.diagnoses && !p.bottlenecks)
		print("nothing is held against anybody there, and no mail waits\n");
	return r;
}

static const struct cli_option why_options[] = {
	{ "source", 's', "NAME", "what is held against this source" },
	{ "at", 'a', "NAME", "at this cluster, provider or recipient domain" },
	{ "pool", 'p', "NAME", "this pool's sources, and what its mail waits for" },
	{ "json", 'j', NULL, "one JSON object a line" },
	{ 0 },
};
const struct cli_command command_why = {
	.name = "why",
	.asks = true,
	.arguments = "",
	.summary = "Print what is held against whom, by which figures, and what mail waits for.",
	.options = why_options,
	.help = "For each source, subnet, cluster, domain and sender that rests, is refused, "
		"limited or\n"
		"suspected: a sentence, when it is tested next, and the figures that it was found "
		"by:\n"
		"messages accepted and refused lately, and how much better (a log likelihood "
		"ratio)\n"
		"\"refused at a share of its own\" explains them than \"refused like all else "
		"there\".\n"
		"Then for each pool with waiting mail the limits that hold it, the widest first.",
	.run = run_why,
};
