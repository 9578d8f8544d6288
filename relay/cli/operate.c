/* postern retry, hold, release, remove and bounce: alike but for their verb. Asks the relay, which
 * answers at once and then tells how far it is; main thread of a tool. */
#include <stdlib.h>
#include <string.h>

#include "select.h"

struct total {
	long long recipients;
	bool json, dry;
};

static void add_up(void *arg, const json_t *line)
{
	struct total *t = arg;

	t->recipients += number_of(line, t->dry ? "selected" : "changed");
}

static bool destroys(const struct cli_command *self)
{
	return !strcmp(self->name, "remove") || !strcmp(self->name, "bounce");
}

static void tell(const struct total *t)
{
	if (t->json)
		print_json_take(json_pack("{sIsb}", t->dry ? "selected" : "changed",
			(json_int_t)t->recipients, "dry_run", t->dry));
	else
		print("%lld recipients%s\n", t->recipients,
			t->dry ? "; nothing was changed (--dry-run)" : "");
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	struct total t = { 0 };
	const char *domain;
	bool all;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	domain = cli_value(self, &a, "domain");
	all = cli_value(self, &a, "all") != NULL;
	t.dry = cli_value(self, &a, "dry-run") != NULL;
	t.json = cli_value(self, &a, "json") != NULL;
	if (all == (domain || cli_selects(&a))) {
		print_error("postern %s: say which: queue ids, selectors such as --domain NAME or "
			    "--user NAME, or --all\n",
			self->name);
		return EX_USAGE;
	}
	if (all && destroys(self) && !t.dry && !cli_value(self, &a, "yes") &&
		!cli_sure(self, "everything that waits"))
		return EX_USAGE;
	r = cli_select_and_ask(&a,
		json_pack("{ss ss* sb sb}", "command", self->name, "domain", domain, "all", all,
			"dry_run", t.dry),
		false, add_up, &t);
	if (r == EX_OK)
		tell(&t);
	return r;
}

#define COMMON                                                                                     \
	SELECTOR_OPTIONS, { "all", 0, NULL, "everything that waits" },                             \
		{ "dry-run", 'n', NULL, "count only, change nothing" },                            \
	{                                                                                          \
		"json", 'j', NULL, "one JSON document"                                             \
	}
static const struct cli_option options[] = { COMMON, { 0 } };
static const struct cli_option with_yes[] = { COMMON,
	{ "yes", 'y', NULL, "do not ask, though it is everything" }, { 0 } };

#define OPERATION(verb, says, rows, more)                                                          \
	const struct cli_command command_##verb = { .name = #verb,                                 \
		.asks = true,                                                                      \
		.arguments = "ID… | SELECTOR… | --all",                                            \
		.summary = says,                                                                   \
		.help = more,                                                                      \
		.options = rows,                                                                   \
		.takes_id = true,                                                                  \
		.run = run }
#define WORDS                                                                                      \
	"All words that are given must fit, and of several values of one word any; * stands for "  \
	"any text."

OPERATION(retry, "Try waiting mail again now.", options,
	"Clears back-off and waits of the chosen mail. Caps, rates and resting lanes still "
	"hold.\n" WORDS);
OPERATION(hold, "Keep mail from being delivered.", options,
	"Held mail stays until `postern release`. With --domain alone what still comes for the "
	"domain is held, too, over\nrestarts; releasing the domain, or --all, ends that. A running "
	"transaction is not interrupted.\n" WORDS);
OPERATION(release, "Let held mail go.", options, WORDS);
OPERATION(remove, "Take mail out of the queue without a notification.", with_yes,
	"What is being delivered at this moment may still arrive. The delivery log has an event "
	"`removed` for each recipient.\n" WORDS);
OPERATION(bounce, "Return mail to its sender now.", with_yes,
	"As if it had failed for good; the notification follows the sender's NOTIFY wishes.\n" WORDS);
