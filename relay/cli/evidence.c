/* postern evidence: what a receiver's support asks for about mail that it defers or refuses, in one
 * document. Asks the relay for sessions and counts, and DNS for the source's names; main thread of a
 * tool.
 *
 * One of two sessions is of the source or subnet that has trouble, the other is the last that went
 * well at the same cluster, from another subnet if there is one. What of them differs is the first
 * thing that support looks for. */
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

#include "evidence.h"
#include "facts.h"
#include "postern/foreign.h"

struct gathering {
	const char *source, *subnet, *at, *since; /* source or subnet NULL */
	json_t *rows, *sessions;		  /* arrays */
};

static void collect(void *arg, const json_t *line)
{
	answers_add(arg, json_incref((json_t *)(uintptr_t)line));
}

/* Is it of whom the question is about? */
static bool is_ours(const struct gathering *g, const json_t *line)
{
	return g->source ? !strcmp(g->source, text_of(line, "source"))
			 : !strcmp(g->subnet, text_of(line, "subnet"));
}

static int ask_relay(struct gathering *g, const struct cli_arguments *a)
{
	json_t *request = json_pack("{ss ss ss ss ss*}", "command", "history", "by", "lane", "step",
		"hour", "of", g->at, "since", g->since);
	int r = cli_ask_and_collect(a, request, collect, g->rows);

	if (r)
		return r;
	if (json_array_size(g->rows))
		json_array_remove(g->rows, 0); /* what was asked */
	r = cli_ask_and_collect(a,
		json_pack("{ss ss ss* ss* sb}", "command", "transcript", "at", g->at, "source",
			g->source, "subnet", g->subnet, "may_be_none", 1),
		collect, g->sessions);
	return r ? r
		 : cli_ask_and_collect(a,
			   json_pack("{ss ss sb}", "command", "transcript", "at", g->at,
				   "may_be_none", 1),
			   collect, g->sessions);
}

/* ---- counts ---- */

static void add_counts(json_t *to, const json_t *row)
{
	static const char *const keys[] = { "attempts", "delivered", "deferred", "bounced" };

	for (size_t i = 0; i < 4; i++)
		json_object_set_new(to, keys[i],
			json_integer(number_of(to, keys[i]) + number_of(row, keys[i])));
}

/* By hour: ours, and the other subnets' at the same place. */
static json_t *counts_of(const struct gathering *g, const char *subnet)
{
	json_t *hours = json_array(), *row, *last = NULL;
	size_t i;

	json_array_foreach(g->rows, i, row)
	{
		bool ours = is_ours(g, row);

		if (!ours && !strcmp(text_of(row, "subnet"), subnet))
			continue; /* the same subnet is no comparison */
		if (!last || strcmp(text_of(last, "start"), text_of(row, "start"))) {
			last = json_pack("{sO s{} s{}}", "start", json_object_get(row, "start"),
				"ours", "others");
			answers_add(hours, last);
		}
		add_counts(json_object_get(last, ours ? "ours" : "others"), row);
	}
	return hours;
}

/* ---- sessions ---- */

/* The newest of that outcome: of ours, or else of others, from another subnet rather than the same. */
static json_t *session_of(
	const struct gathering *g, bool ours, const char *outcome, const char *subnet)
{
	json_t *best = NULL, *s;
	bool best_other = false;
	size_t i;

	json_array_foreach(g->sessions, i, s)
	{
		bool other = strcmp(text_of(s, "subnet"), subnet) != 0;

		if (is_ours(g, s) != ours || strcmp(text_of(s, "outcome"), outcome))
			continue;
		if (best && (other < best_other ||
				    (other == best_other &&
					    strcmp(text_of(s, "at"), text_of(best, "at")) < 0)))
			continue;
		best = s;
		best_other = other;
	}
	return best;
}

static const char *line_of(const json_t *session, size_t i, const char *who)
{
	const json_t *l = json_array_get(json_object_get(session, "lines"), i);

	return !strcmp(text_of(l, "who"), who) ? text_of(l, "line") : "";
}

static size_t count_lines(const json_t *session)
{
	return json_array_size(json_object_get(session, "lines"));
}

/* The first line of that speaker that begins so. */
static json_t *first_line(const json_t *session, const char *who, const char *prefix)
{
	for (size_t i = 0; i < count_lines(session); i++)
		if (*line_of(session, i, who) &&
			!strncasecmp(line_of(session, i, who), prefix, strlen(prefix)))
			return json_text(line_of(session, i, who));
	return json_text("");
}

/* Line by line what is left of the first reply that begins with that digit or the next; their whole
 * text, which some forms want. */
static json_t *reply_text(const json_t *session, const char *digits)
{
	struct buf b;
	json_t *text;
	bool in = false;

	buf_init(&b, 65536);
	for (size_t i = 0; i < count_lines(session); i++) {
		const char *line = line_of(session, i, "them");

		if (!in && (!*line || !strchr(digits, *line)))
			continue;
		if (!*line || buf_printf(&b, "%s%s", in ? "\n" : "", line))
			break;
		in = true;
		if (strlen(line) < 4 || line[3] != '-')
			break;
	}
	text = json_slice(buf_slice(&b));
	buf_deinit(&b);
	return text ? text : json_text("");
}

/* "250-" and "250 " lines behind EHLO, in one line. */
static json_t *offers(const json_t *session)
{
	struct buf b;
	json_t *text;
	size_t i = 0, n = count_lines(session);

	buf_init(&b, 65536);
	while (i < n && strncasecmp(line_of(session, i, "us"), "EHLO", 4))
		i++;
	for (i++; i < n; i++) {
		const char *line = line_of(session, i, "them");

		if (strncmp(line, "250", 3) || strlen(line) < 4)
			break;
		if (strncasecmp(line + 4, "SIZE", 4) && buf_printf(&b, " %s", line + 4))
			break;
	}
	text = json_slice(slice_from(buf_slice(&b), 1));
	buf_deinit(&b);
	return text ? text : json_text("");
}

/* The host that a greeting or an EHLO names. */
static json_t *word_of(json_t *line)
{
	const char *s = json_string_value(line), *from = s ? strchr(s, ' ') : NULL;
	json_t *word = from ? json_slice((struct slice){ from + 1, strcspn(from + 1, " ") }) : NULL;

	json_decref(line);
	return word ? word : json_text("");
}

static json_t *tls_of(const json_t *session)
{
	for (size_t i = 0; i < count_lines(session); i++)
		if (strstr(line_of(session, i, "note"), "certificate"))
			return json_text(line_of(session, i, "note"));
	return json_text("none");
}

static void compare(json_t *all, const char *what, json_t *refused, json_t *good)
{
	answers_add(
		all, json_pack("{so so so sb}", "what", json_text(what), "refused", refused, "good",
			     good, "differs",
			     strcmp(json_string_value(refused) ? json_string_value(refused) : "",
				     json_string_value(good) ? json_string_value(good) : "") != 0));
}

static json_t *comparison(const json_t *bad, const json_t *good)
{
	static const char *const keys[] = { "source", "subnet", "address", "session", "at" };
	json_t *all = json_array();

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		compare(all, keys[i], json_text(text_of(bad, keys[i])),
			json_text(text_of(good, keys[i])));
	compare(all, "greeting", first_line(bad, "them", "220"), first_line(good, "them", "220"));
	compare(all, "greeting host", word_of(first_line(bad, "them", "220")),
		word_of(first_line(good, "them", "220")));
	compare(all, "EHLO", word_of(first_line(bad, "us", "EHLO")),
		word_of(first_line(good, "us", "EHLO")));
	compare(all, "offers", offers(bad), offers(good));
	compare(all, "TLS", tls_of(bad), tls_of(good));
	compare(all, "refusal", reply_text(bad, "45"), reply_text(good, "45"));
	return all;
}

/* ---- all of it ---- */

static json_t *facts(const struct gathering *g, const struct config *c)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < c->policy.nsources; i++) {
		const struct source_params *s = &c->policy.sources[i];
		char net[ADDR_TEXT_MAX + 4];

		net_format(net, &s->subnet);
		if (g->source ? !strcmp(g->source, s->name) : !strcmp(g->subnet, net))
			answers_add(all, facts_of(s, &c->dispatch.dns));
	}
	return all;
}

static json_t *evidence_of(const struct gathering *g, const struct config *c)
{
	json_t *sources = facts(g, c), *bad, *good, *all;
	char net[ADDR_TEXT_MAX + 4] = "";
	const char *subnet = g->subnet;

	for (unsigned i = 0; !subnet && i < c->policy.nsources; i++)
		if (!strcmp(c->policy.sources[i].name, g->source))
			net_format(net, &c->policy.sources[i].subnet);
	if (!subnet)
		subnet = net;
	bad = session_of(g, true, "refused", subnet);
	good = session_of(g, false, "good", subnet);
	if (!good)
		good = session_of(g, true, "good", subnet);
	all = json_pack("{so so so so so so so}", "written", json_time((ms_t)time(NULL) * 1000),
		"source", json_text(g->source ? g->source : ""), "subnet", json_text(subnet), "at",
		json_text(g->at), "since", json_text(g->since ? g->since : "24h"), "sources",
		sources, "counts", counts_of(g, subnet));
	if (!all)
		return NULL;
	json_object_set_new(all, "refusal", bad ? reply_text(bad, "45") : json_null());
	json_object_set_new(all, "comparison", bad && good ? comparison(bad, good) : json_null());
	json_object_set(all, "refused", bad ? bad : json_null());
	json_object_set(all, "good", good ? good : json_null());
	return all;
}

static int write_file(const char *dir, const char *name, struct slice text)
{
	char path[4096];
	FILE *f;
	bool failed;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "wxe");
	failed = !f || fwrite(text.p, 1, text.n, f) != text.n;
	if ((f && fclose(f)) || failed) {
		print_error("postern evidence: %s: %s\n", path, strerror(errno));
		return EX_CANTCREAT;
	}
	print("%s\n", path);
	return EX_OK;
}

static int write_dir(const char *dir, const json_t *evidence, struct slice text)
{
	char *json = json_dumps(evidence, JSON_INDENT(1) | JSON_ENSURE_ASCII);
	struct buf shown;
	int r = EX_OSERR;

	buf_init(&shown, 0);
	if (mkdir(dir, 0700) && errno != EEXIST)
		print_error("postern evidence: %s: %s\n", dir, strerror(errno));
	else if (json && !foreign_show(&shown, text, FOREIGN_LINES))
		r = write_file(dir, "evidence.txt", buf_slice(&shown));
	if (!r)
		r = write_file(dir, "evidence.json", slice_of(json));
	buf_deinit(&shown);
	free(json);
	return r;
}

static int tell(
	const struct cli_command *self, const struct cli_arguments *a, const json_t *evidence)
{
	const char *dir = cli_value(self, a, "output");
	struct buf text;
	int r = EX_OK;

	if (!dir && cli_value(self, a, "json")) {
		print_json(evidence);
		return EX_OK;
	}
	buf_init(&text, 0);
	if (evidence_text(&text, evidence))
		r = EX_OSERR;
	else if (dir)
		r = write_dir(dir, evidence, buf_slice(&text));
	else
		print_text(stdout, buf_slice(&text));
	buf_deinit(&text);
	return r;
}

/* Did the relay have to do with it at all? */
static bool anything(const struct gathering *g)
{
	json_t *line;
	size_t i;

	json_array_foreach(g->rows, i, line) if (is_ours(g, line)) return true;
	json_array_foreach(g->sessions, i, line) if (is_ours(g, line)) return true;
	return false;
}

static int gather(const struct cli_command *self, const struct cli_arguments *a,
	struct gathering *g, const struct config *c)
{
	json_t *evidence;
	int r = ask_relay(g, a);

	if (r)
		return r;
	evidence = evidence_of(g, c);
	if (!evidence) {
		print_error("postern evidence: out of memory\n");
		return EX_OSERR;
	}
	if (!anything(g)) {
		print_error(
			"postern evidence: nothing was sent from there to %s in that time, and no "
			"session is kept: `postern lanes` names what there is\n",
			g->at);
		r = EX_NOINPUT;
	} else {
		r = tell(self, a, evidence);
	}
	json_decref(evidence);
	return r;
}

static int run_evidence(const struct cli_command *self, int argc, char **argv)
{
	struct gathering g = { 0 };
	struct cli_arguments a;
	struct config *c;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	g.source = cli_value(self, &a, "source");
	g.subnet = cli_value(self, &a, "subnet");
	g.at = cli_value(self, &a, "at");
	g.since = cli_value(self, &a, "since");
	if (!g.at || !g.source == !g.subnet) {
		print_error(
			"postern evidence: --at CLUSTER, and --source NAME or --subnet NET, are "
			"needed\n");
		return EX_USAGE;
	}
	c = cli_config(&a, true);
	if (!c)
		return EX_CONFIG;
	g.rows = json_array();
	g.sessions = json_array();
	r = gather(self, &a, &g, c);
	json_decref(g.rows);
	json_decref(g.sessions);
	config_free(c);
	return r;
}

static const struct cli_option options[] = {
	{ "source", 's', "NAME", "of this source" },
	{ "subnet", 0, "NET", "or of this subnet of sources, as `postern lanes` has it" },
	{ "at", 'a', "CLUSTER", "at this cluster" },
	{ "since", 0, "DURATION", "counts of that long until now (default 24h)" },
	{ "output", 'o', "DIR", "write evidence.txt and evidence.json there, over no other file" },
	{ "json", 'j', NULL, "one JSON object" },
	{ 0 },
};
const struct cli_command command_evidence = {
	.name = "evidence",
	.asks = true,
	.arguments = "--source NAME|--subnet NET --at CLUSTER",
	.summary = "Write what a receiver's support asks for about deferred or refused mail.",
	.help = "The last refusal in full, the refused session beside a good one at the same cluster "
		"with what differs marked,\ncounts by hour beside those of other subnets, and what DNS "
		"says of the source: text to paste, or JSON.\nSessions are kept without content, and "
		"without local parts unless dispatch.transcript_addresses is set.",
	.options = options,
	.run = run_evidence,
};
