/* postern stats: the relay's counters, as its control socket tells them. Main thread of a tool. */
#include "cli.h"

static void print_stats(void *arg, const json_t *j)
{
	const json_t *in = json_object_get(j, "inbound"), *q = json_object_get(j, "queue"),
		     *out = json_object_get(j, "outbound");
	char size[24], used[24], max[24];

	(void)arg;
	print("%s, Postern %s, process %lld, since %s\n", text_of(j, "hostname"),
		text_of(j, "version"), number_of(j, "pid"), text_of(j, "started"));
	print("rules  %s\n", text_of(j, "reply_rules"));
	print("in     %lld sessions open, %lld in all, %lld refused; %lld messages accepted for "
	      "%lld recipients (%s), %lld refused\n",
		number_of(in, "open"), number_of(in, "sessions"), number_of(in, "sessions_refused"),
		number_of(in, "messages"), number_of(in, "recipients"),
		human_size(size, number_of(in, "bytes")), number_of(in, "rejected_messages"));
	print("queue  %lld messages for %lld recipients (%s); file %s of %s%s; %lld commits\n",
		number_of(q, "messages"), number_of(q, "recipients"),
		human_size(size, number_of(q, "bytes")), human_size(used, number_of(q, "used")),
		human_size(max, number_of(q, "max")),
		json_is_true(json_object_get(q, "full")) ? ", FULL: new mail is refused" : "",
		number_of(q, "commits"));
	print("out    %lld delivered, %lld deferred, %lld held, %lld bounced, %lld expired, %lld "
	      "in doubt; %lld notifications\n",
		number_of(out, "delivered"), number_of(out, "deferred"), number_of(out, "held"),
		number_of(out, "bounced"), number_of(out, "expired"), number_of(out, "in_doubt"),
		number_of(out, "dsns"));
	print("       %lld connections (%lld idle), %lld opened, %lld failed; %lld domains, %lld "
	      "recipients in work, %lld in flight\n",
		number_of(out, "connections"), number_of(out, "connections_idle"),
		number_of(out, "connects"), number_of(out, "connect_failures"),
		number_of(out, "domains"), number_of(out, "work"), number_of(out, "in_flight"));
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	return cli_ask_and_print(&a, json_pack("{ss}", "command", "stats"),
		cli_value(self, &a, "json") != NULL, print_stats, NULL);
}

static const struct cli_option options[] = { { "json", 'j', NULL, "one JSON document" }, { 0 } };
const struct cli_command command_stats = { .name = "stats",
	.asks = true,
	.arguments = "",
	.summary = "Print counters of the running relay.",
	.options = options,
	.run = run };
