/* postern queue and postern show: what waits, as the relay's control socket tells it. Main thread
 * of a tool; all text goes through print.c. */
#include <string.h>

#include "select.h"

static void print_summary(const json_t *s)
{
	char bytes[24], used[24], max[24];

	print("%lld messages for %lld recipients wait, %s; file %s of %s%s\n",
		number_of(s, "messages"), number_of(s, "recipients"),
		human_size(bytes, number_of(s, "bytes")), human_size(used, number_of(s, "used")),
		human_size(max, number_of(s, "max")),
		json_is_true(json_object_get(s, "full")) ? ", FULL" : "");
}

static void print_domain(const json_t *d)
{
	const char *when = text_of(d, "until");
	char until[32], held[48] = "", size[24];

	if (!*when)
		when = text_of(d, "next_due");
	if (number_of(d, "held"))
		snprintf(held, sizeof(held), "  %lld held", number_of(d, "held"));
	print("  %-40s %8lld waiting %9s  %-14s %4lld ready %4lld in flight%s  %s%s%s\n",
		text_of(d, "domain"), number_of(d, "recipients"),
		human_size(size, number_of(d, "bytes")), text_of(d, "provider"),
		number_of(d, "ready"), number_of(d, "in_flight"), held, text_of(d, "reason"),
		*when ? "  next in " : "", human_until(until, when));
}

static void print_recipient(const json_t *r)
{
	char until[32];
	const char *when = text_of(r, "until");

	print("    to %s  %lld attempts  %s%s%s\n", text_of(r, "address"), number_of(r, "attempts"),
		text_of(r, "reason"), *when ? "  until " : "", *when ? when : "");
	if (*when)
		print("       that is in %s\n", human_until(until, when));
	if (*text_of(r, "reply") && *text_of(r, "host"))
		print("       %s [%s] said: %s\n", text_of(r, "host"), text_of(r, "source"),
			text_of(r, "reply"));
}

static void print_message(const json_t *m)
{
	const json_t *r;
	char size[24];
	size_t i;

	print("%s  %s  %s  from <%s>  pool %s%s\n", text_of(m, "id"), text_of(m, "arrived"),
		human_size(size, number_of(m, "size")), text_of(m, "from"), text_of(m, "pool"),
		json_is_true(json_object_get(m, "held")) ? "  HELD" : "");
	json_array_foreach(json_object_get(m, "recipients"), i, r) print_recipient(r);
}

static void print_group(const json_t *g)
{
	const json_t *ages = json_object_get(g, "ages"), *n;
	const char *age, *name = text_of(g, "name");

	print("  %-40s %9lld %9lld", *name ? name : "-", number_of(g, "recipients"),
		number_of(g, "messages"));
	json_object_foreach((json_t *)(uintptr_t)ages, age, n)
		print(" %7lld", (long long)json_integer_value(n));
	print("  %s\n", text_of(g, "oldest"));
}

static void print_heads(const json_t *g)
{
	const json_t *ages = json_object_get(g, "ages"), *n;
	const char *age;

	print("  %-40s %9s %9s", text_of(g, "by"), "waiting", "messages");
	json_object_foreach((json_t *)(uintptr_t)ages, age, n) print(" %7s", age);
	print("  oldest\n");
}

struct printing {
	bool one;    /* of one domain, or some mail: what all others have is no matter */
	bool headed; /* the heads of the columns stand there */
};

static void print_line(void *arg, const json_t *line)
{
	struct printing *p = arg;

	if (json_object_get(line, "summary") && p->one)
		return;
	if (json_object_get(line, "group") && !p->headed)
		print_heads(json_object_get(line, "group"));
	p->headed = p->headed || json_object_get(line, "group");
	if (json_object_get(line, "summary"))
		print_summary(json_object_get(line, "summary"));
	else if (json_object_get(line, "group"))
		print_group(json_object_get(line, "group"));
	else if (json_is_object(json_object_get(line, "domain")))
		print_domain(json_object_get(line, "domain"));
	else
		print_message(line);
}

static int run_queue(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	int r = cli_parse(self, argc, argv, &a);
	struct printing p = { 0 };
	bool list, domains;
	long long limit;

	if (r >= 0)
		return r;
	r = cli_number(self, &a, "limit", &limit);
	if (r >= 0)
		return r;
	list = cli_value(self, &a, "list") != NULL;
	domains = cli_value(self, &a, "domains") != NULL;
	p.one = cli_value(self, &a, "domain") != NULL || cli_selects(&a);
	return cli_select_and_ask(&a,
		json_pack("{ss sb sb ss* ss* sI}", "command", "queue", "messages", list, "domains",
			domains, "domain", cli_value(self, &a, "domain"), "by",
			cli_value(self, &a, "by"), "limit", (json_int_t)limit),
		cli_value(self, &a, "json") != NULL, print_line, &p);
}

static const struct cli_option queue_options[] = {
	{ "list", 'l', NULL, "list each message with its recipients, and why they wait" },
	{ "domains", 'd', NULL,
		"list the domains that have waiting mail, and how much; most first" },
	{ "by", 0, "WHAT",
		"count in groups, with their ages: by domain, pool, user, from, class, tag, client, "
		"listener, source, reason, provider, cluster" },
	SELECTOR_OPTIONS,
	{ "limit", 0, "N", "list N messages, or domains, at most" },
	{ "json", 'j', NULL, "one JSON object a line" },
	{ 0 },
};
const struct cli_command command_queue = {
	.name = "queue",
	.asks = true,
	.arguments = "[SELECTOR…]",
	.summary = "Print what waits, and with --list why and until when.",
	.help = "Of selectors all words that are given must fit, and of several values of one word "
		"any; * stands for any text.\nWith --domain alone: how much waits for it. With other "
		"selectors: the list of what they mean.",
	.options = queue_options,
	.takes_id = true,
	.run = run_queue,
};

/* base64 back to bytes, for --content */
static void print_base64(const json_t *line)
{
	struct buf b;

	buf_init(&b, 0);
	if (base64_decode(&b, slice_of(text_of(line, "content"))) == 0)
		print_content(buf_slice(&b));
	buf_deinit(&b);
}

static void print_show(void *arg, const json_t *m)
{
	const bool *content = arg;

	if (json_object_get(m, "content")) {
		print_base64(m);
		return;
	}
	if (*content)
		return;
	print_message(m);
	print("  expires %s\n  client %s  listener %s%s%s\n  Message-ID %s\n",
		text_of(m, "expires"), text_of(m, "client"), text_of(m, "listener"),
		*text_of(m, "user") ? "  user " : "", text_of(m, "user"), text_of(m, "message_id"));
	if (*text_of(m, "from_domain") || *text_of(m, "class") || *text_of(m, "tag"))
		print("  From domain %s%s%s%s%s\n", text_of(m, "from_domain"),
			*text_of(m, "class") ? "  class " : "", text_of(m, "class"),
			*text_of(m, "tag") ? "  tag " : "", text_of(m, "tag"));
}

static int run_show(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	bool content;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	if (a.nrest != 1) {
		print_error("postern show: say which: one queue id, as `postern queue --list` "
			    "and the log tell it\n");
		return EX_USAGE;
	}
	content = cli_value(self, &a, "content") != NULL;
	return cli_ask_and_print(&a,
		json_pack("{ss ss sb}", "command", "show", "id", a.rest[0], "content", content),
		cli_value(self, &a, "json") != NULL, print_show, &content);
}

static const struct cli_option show_options[] = {
	{ "content", 0, NULL, "print the message's content instead" },
	{ "json", 'j', NULL, "one JSON document" },
	{ 0 },
};
const struct cli_command command_show = {
	.name = "show",
	.asks = true,
	.arguments = "ID",
	.summary = "Print one message, and for each recipient why it waits.",
	.options = show_options,
	.takes_id = true,
	.run = run_show,
};
