/* postern retry, hold, release, remove and bounce: alike but for their verb. Asks the relay, which
 * answers at once and then tells how far it is; main thread of a tool. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static void print_changed(void *arg, const json_t *line)
{
	(void)arg;
	print("%lld recipients\n", number_of(line, "changed"));
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	const char *domain;
	bool all;
	int r = cli_parse(self, argc, argv, &a), chosen;

	if (r >= 0)
		return r;
	domain = cli_value(self, &a, "domain");
	all = cli_value(self, &a, "all") != NULL;
	chosen = (domain != NULL) + all + (a.nrest > 0);
	if (chosen != 1 || a.nrest > 1) {
		print_error("postern %s: say which: one queue id, --domain NAME, or --all\n",
			self->name);
		return EX_USAGE;
	}
	return cli_ask_and_print(&a,
		json_pack("{ss ss* ss* sb}", "command", self->name, "id",
			a.nrest ? a.rest[0] : NULL, "domain", domain, "all", all),
		cli_value(self, &a, "json") != NULL, print_changed, NULL);
}

static const struct cli_option options[] = {
	{ "domain", 0, "NAME", "all waiting recipients of this domain" },
	{ "all", 0, NULL, "everything that waits" },
	{ "json", 'j', NULL, "one JSON document" },
	{ 0 },
};

#define OPERATION(verb, says, more)                                                                \
	const struct cli_command command_##verb = { .name = #verb,                                 \
		.asks = true,                                                                      \
		.arguments = "ID | --domain NAME | --all",                                         \
		.summary = says,                                                                   \
		.help = more,                                                                      \
		.options = options,                                                                \
		.takes_id = true,                                                                  \
		.run = run }

OPERATION(retry, "Try waiting mail again now.",
	"Clears back-off and waits of the chosen mail. Caps, rates and resting lanes still hold.");
OPERATION(hold, "Keep mail from being delivered.",
	"Held mail stays until `postern release`. With --domain what still comes for the domain is "
	"held, too, over restarts; \nreleasing the domain, or --all, ends that. A running "
	"transaction "
	"is not interrupted.");
OPERATION(release, "Let held mail go.", NULL);
OPERATION(remove, "Take mail out of the queue without a notification.",
	"What is being delivered at this moment may still arrive. The delivery log has an event "
	"`removed` for each recipient.");
OPERATION(bounce, "Return mail to its sender now.",
	"As if it had failed for good; the notification follows the sender's NOTIFY wishes.");
