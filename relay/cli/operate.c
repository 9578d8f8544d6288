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

/* The last one given: of an order it is why, else it selects. */
static const char *said_reason(const struct cli_arguments *a)
{
	const char *said = NULL;

	for (unsigned i = 0; i < a->nselects; i++)
		if (!strcmp(a->selects[i].word, "reason"))
			said = a->selects[i].value;
	return said;
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	struct total t = { 0 };
	const char *domain;
	long long order;
	bool all;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	domain = cli_value(self, &a, "domain");
	all = cli_value(self, &a, "all") != NULL;
	t.dry = cli_value(self, &a, "dry-run") != NULL;
	t.json = cli_value(self, &a, "json") != NULL;
	if (all + (domain || cli_selects(&a)) + (cli_value(self, &a, "order") != NULL) != 1) {
		print_error("postern %s: say which: queue ids, selectors such as --domain NAME or "
			    "--user NAME, or --all\n",
			self->name);
		return EX_USAGE;
	}
	if (all && destroys(self) && !t.dry && !cli_value(self, &a, "yes") &&
		!cli_sure(self, "everything that waits"))
		return EX_USAGE;
	r = cli_number(self, &a, "order", &order);
	if (r >= 0)
		return r;
	r = cli_select_and_ask(&a,
		json_pack("{ss ss* sb sb ss* ss* ss* sI}", "command", self->name, "domain", domain,
			"all", all, "dry_run", t.dry, "for", cli_value(self, &a, "for"), "reason",
			said_reason(&a), "by", getenv("SUDO_USER"), "order", (json_int_t)order),
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
static const struct cli_option of_hold[] = { COMMON,
	{ "for", 0, "DURATION", "of an order: it ends by itself then" }, { 0 } };
static const struct cli_option of_release[] = { COMMON,
	{ "order", 0, "N", "what this order holds, as `postern orders` numbers them" }, { 0 } };
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
OPERATION(hold, "Keep mail from being delivered.", of_hold,
	"By sender, user, client, listener, pool, class, tag or recipient alone it is a standing "
	"order: what still comes is held,\ntoo, over restarts, until --for is over or it is "
	"released; --reason then tells why it is given. By other words, or by\nid, what waits now "
	"is held. A running transaction is not interrupted.\n" WORDS);
OPERATION(release, "Let held mail go.", of_release,
	"Ends the order with the same selector, or with --all every order.\n" WORDS);
OPERATION(remove, "Take mail out of the queue without a notification.", with_yes,
	"What is being delivered at this moment may still arrive. The delivery log has an event "
	"`removed` for each recipient.\n" WORDS);
OPERATION(bounce, "Return mail to its sender now.", with_yes,
	"As if it had failed for good; the notification follows the sender's NOTIFY wishes.\n" WORDS);
