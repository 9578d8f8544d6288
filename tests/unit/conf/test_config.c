/* Good configurations: what the parameters then hold, and the way back to text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../temporary.h"
#include "postern/classify.h"
#include "postern/config.h"

static const char *conf_dir; /* where the sample configurations lie */

static struct config *parse(const char *text)
{
	struct config *c = NULL;
	struct buf errors;

	buf_init(&errors, 0);
	if (config_parse(&c, "x.conf", slice_of(text), &errors))
		fail_msg("%.*s", (int)buf_size(&errors), buf_slice(&errors).p);
	assert_int_equal(buf_size(&errors), 0); /* no warnings either */
	buf_deinit(&errors);
	return c;
}

static const char minimal[] =
	"hostname = \"out.example.net\"\n"
	"listener \"in\" { address = \"127.0.0.1:2525\" allow = \"127.0.0.0/8\" }\n"
	"source \"a\" { address = \"192.0.2.1\" }\n"
	"pool \"main\" { sources = \"a\" }\n";

static void test_defaults(void **state)
{
	struct config *c = parse(minimal);
	const struct listener_params *l = c->listeners;

	assert_string_equal(c->path, "x.conf");
	assert_string_equal(c->hostname, "out.example.net");
	assert_null(c->postmaster);
	assert_null(c->user);
	assert_int_equal(c->workers, 0);
	assert_int_equal(c->body_memory_max, 16 << 20);
	assert_string_equal(c->queue.path, "/var/lib/postern");
	assert_int_equal(c->queue.max_size, 64ull << 30);
	assert_int_equal(c->policy.retry.nschedule, 6);
	assert_int_equal(c->policy.retry.schedule[5], 7200000);
	assert_true(c->policy.retry.jitter > 0.199 && c->policy.retry.jitter < 0.201);
	assert_int_equal(c->policy.retry.expire, 48 * 3600000);
	assert_int_equal(c->policy.retry.delay_notice, 4 * 3600000);
	assert_string_equal(c->control_socket, "/run/postern/control.sock");
	assert_int_equal(c->control_mode, 0660);
	assert_false(c->http.enabled);
	assert_string_equal(c->log.file, "-");
	assert_int_equal(c->log.level, LOG_INFO);
	assert_string_equal(c->dispatch.hostname, "out.example.net");
	assert_int_equal(c->dispatch.body_memory_max, c->body_memory_max);
	assert_int_equal(c->dispatch.dns.nservers, 0);
	assert_true(c->dispatch.dns.ipv4);
	assert_false(c->dispatch.dns.ipv6);
	assert_int_equal(c->nlisteners, 1);
	assert_string_equal(l->name, "in");
	assert_int_equal(l->naddresses, 1);
	assert_int_equal(l->addresses[0].port, 2525);
	assert_int_equal(l->nallow, 1);
	assert_true(l->pool_by_user);
	assert_string_equal(l->smtp.pool, "main"); /* the only one */
	assert_string_equal(l->smtp.listener, "in");
	assert_string_equal(l->smtp.hostname, "out.example.net");
	assert_int_equal(l->smtp.size_max, 50 << 20);
	assert_int_equal(l->smtp.bare_newline, BARE_REJECT);
	assert_int_equal(l->smtp.expire, c->policy.retry.expire);
	assert_string_equal(c->policy.sources[0].ehlo, "out.example.net");
	assert_int_equal(c->policy.sources[0].subnet.bits, 24);
	assert_int_equal(c->policy.pools[0].nmembers, 1);
	assert_int_equal(c->policy.pools[0].members[0].weight, 1);
	config_free(c);
}

static void test_values(void **state)
{
	struct config *c = parse(
		"hostname = 'out.example.net' workers = 3 drain_timeout = \"1m30s\" # comment\n"
		"queue { path = /q retry = {\"1m\"} retry += {\"2m\", \"3m\",} retry_jitter = 0 "
		"delay_notice = 0 }\n"
		"dns { servers = {\"127.0.0.1\", \"[::1]:5353\", \"::1\"} }\n"
		"http { address = \"[::1]:8025\" }\n"
		"control { socket = \"\" mode = \"600\" }\n"
		"log { level = \"debug\" }\n"
		"/* a listener */ listener two.b { address = {\"0.0.0.0:25\", \"[::]:25\"}\n"
		"  allow = {\"10.0.0.0/8\", \"::1\"} pool = \"q\" bare_newline = \"fix\"\n"
		"  proxy = yes proxy_from = {\"192.0.2.9\"} message_size_max = 1048576 }\n"
		"source \"b\" { address = \"2001:db8::1\" subnet = \"2001:db8::/48\" ehlo = "
		"\"b.example\" }\n"
		"source \"a\" { address = \"192.0.2.1\" }\n"
		"pool \"p\" { sources = {\"a\"} }  pool \"q\" { sources = {\"a:7\", \"b\"} }\n"
		"sender \"*.x.example\" { pool = \"q\" } sender \"*.example\" { pool = \"p\" }\n");
	const struct listener_params *l = c->listeners;

	assert_int_equal(c->workers, 3);
	assert_int_equal(c->dispatch.drain_deadline, 90000);
	assert_int_equal(c->policy.retry.nschedule, 3);
	assert_int_equal(c->policy.retry.schedule[2], 180000);
	assert_true(c->policy.retry.jitter == 0);
	assert_int_equal(c->policy.retry.delay_notice, 0);
	assert_int_equal(c->dispatch.dns.nservers, 3);
	assert_string_equal(c->dispatch.dns.servers[0], "127.0.0.1:53");
	assert_string_equal(c->dispatch.dns.servers[1], "[::1]:5353");
	assert_string_equal(c->dispatch.dns.servers[2], "[::1]:53");
	assert_true(c->dispatch.dns.ipv4 && c->dispatch.dns.ipv6);
	assert_true(c->http.enabled);
	assert_int_equal(c->http.port, 8025);
	assert_null(c->control_socket);
	assert_int_equal(c->control_mode, 0600);
	assert_int_equal(c->log.level, LOG_DBG);
	assert_string_equal(l->name, "two.b");
	assert_int_equal(l->addresses[1].addr.family, ADDR_V6);
	assert_int_equal(l->allow[1].bits, 128);
	assert_true(l->proxy);
	assert_int_equal(l->nproxy_from, 1);
	assert_int_equal(l->smtp.bare_newline, BARE_FIX);
	assert_int_equal(l->smtp.size_max, 1 << 20);
	assert_int_equal(c->policy.sources[0].subnet.bits, 48);
	assert_int_equal(c->policy.pools[1].members[0].source, 1);
	assert_int_equal(c->policy.pools[1].members[0].weight, 7);
	assert_int_equal(c->policy.pools[1].members[1].source, 0);
	assert_true(l->smtp.pool_known(l->smtp.arg, "p"));
	assert_false(l->smtp.pool_known(l->smtp.arg, "r"));
	assert_string_equal(l->smtp.pool_for_sender(l->smtp.arg, SLICE_LIT("a.X.example")), "q");
	assert_string_equal(l->smtp.pool_for_sender(l->smtp.arg, SLICE_LIT("y.example")), "p");
	assert_null(l->smtp.pool_for_sender(l->smtp.arg, SLICE_LIT("example.org")));
	config_free(c);
}

static void test_providers(void **state)
{
	static const char *const names[] = { "own", "second", "microsoft365", "outlook",
		"default" };
	struct buf text;
	struct config *c;
	const struct provider_params *p;

	buf_init(&text, 0);
	buf_printf(&text,
		"%sprovider \"default\" { connections_per_lane = 9 }\n"
		"provider \"own\" { mx = {\"*.own.example\"} tls = \"verify\" port = 2525 }\n"
		"provider \"microsoft365\" { connections_per_cluster = 77 timeout_eod = \"1m\" }\n"
		"provider \"second\" { mx = {\"x\", \"y\"} }%c",
		minimal, '\0');
	c = parse(text.p);
	p = c->policy.providers;
	assert_int_equal(c->policy.nproviders, 5);
	for (unsigned i = 0; i < 5; i++)
		assert_string_equal(p[i].name, names[i]);
	assert_int_equal(p[0].transport.tls, TLS_VERIFY);
	assert_int_equal(p[0].transport.port, 2525);
	assert_int_equal(p[0].connections_per_lane, 5); /* the usual, not that of "default" */
	assert_int_equal(p[0].lane_message_rate.count, 0);
	assert_int_equal(p[1].nmx, 2);
	assert_int_equal(p[2].connections_per_cluster, 77); /* overridden */
	assert_int_equal(p[2].transport.timeouts.eod, 60000);
	assert_int_equal(p[2].connections_per_lane, 5); /* built in */
	assert_int_equal(p[2].nmx, 3);
	assert_string_equal(p[2].mx[1], "*.mx.microsoft");
	assert_int_equal(p[2].lane_message_rate.count, 600);
	assert_int_equal(p[2].lane_message_rate.per, 60000);
	assert_int_equal(p[2].transport.tls, TLS_OPPORTUNISTIC);
	assert_true(p[2].transport.pipelining && p[2].transport.chunking);
	assert_int_equal(p[3].recipients_per_transaction, 1);
	assert_int_equal(p[4].nmx, 0);
	assert_int_equal(p[4].connections_per_lane, 9);
	assert_int_equal(p[4].messages_per_connection, 100);
	config_free(c);
	buf_deinit(&text);
}

static void check_round_trip(const struct config *c, bool only_changed)
{
	struct config *again = NULL;
	struct buf first, second, errors;

	buf_init(&first, 0);
	buf_init(&second, 0);
	buf_init(&errors, 0);
	assert_int_equal(config_dump(&first, c, only_changed), 0);
	if (config_parse(&again, "dump", buf_slice(&first), &errors))
		fail_msg("%.*s\n%.*s", (int)buf_size(&first), buf_slice(&first).p,
			(int)buf_size(&errors), buf_slice(&errors).p);
	/* whole against whole: also shows that what was left out is at its default */
	buf_reset(&first);
	assert_int_equal(config_dump(&first, c, false), 0);
	assert_int_equal(config_dump(&second, again, false), 0);
	assert_true(slice_eq(buf_slice(&first), buf_slice(&second)));
	assert_true(config_reloadable(c, again, &errors));
	config_free(again);
	buf_deinit(&first);
	buf_deinit(&second);
	buf_deinit(&errors);
}

static void test_dump(void **state)
{
	static const char odd[] =
		"hostname = \"out.example.net\" pid_file = \"a\\\"b\\\\c $d \\${HOME}\"\n"
		"queue { retry_jitter = 0.123456 expire = \"90m\" delay_notice = \"61s\" retry = "
		"{\"61s\",\"1h1m\"} }\n"
		"listener \"in\" { address = {\"127.0.0.1:0\",\"[::1]:0\"} allow = {\"0.0.0.0/0\"} "
		"allow_world = on }\n"
		"source \"a\" { address = \"192.0.2.1\" } source \"b\" { address = \"192.0.2.2\" "
		"ehlo = \"x.example\" }\n"
		"pool \"main\" { sources = {\"a\",\"b:12\"} }\n"
		"sender \"*\" { pool = \"main\" }\n"
		"provider \"microsoft365\" { lane_message_rate = \"none\" lane_connect_rate = "
		"\"7/90s\" }\n"
		"provider \"own\" { mx = {\"x*\"} tls = \"none\" pipelining = off }\n";
	struct config *c = parse(minimal);
	struct buf b;

	check_round_trip(c, false);
	check_round_trip(c, true);
	buf_init(&b, 0);
	assert_int_equal(config_dump(&b, c, true), 0);
	assert_true(slice_eq(
		buf_slice(&b), SLICE_LIT("hostname = \"out.example.net\"\n"
					 "listener \"in\" {\n\taddress = {\"127.0.0.1:2525\"}\n"
					 "\tallow = {\"127.0.0.0/8\"}\n}\n"
					 "source \"a\" {\n\taddress = \"192.0.2.1\"\n}\n"
					 "pool \"main\" {\n\tsources = {\"a\"}\n}\n")));
	buf_deinit(&b);
	config_free(c);

	c = parse(odd);
	assert_string_equal(c->pid_file, "a\"b\\c $d ${HOME}");
	check_round_trip(c, false);
	check_round_trip(c, true);
	config_free(c);
}

/* Plans as the policy gets them. */
static void test_warmups(void **state)
{
	static const char text[] =
		"hostname = \"out.example.net\" timezone = \"Europe/Berlin\"\n"
		"listener \"in\" { address = \"127.0.0.1:2525\" allow = \"127.0.0.0/8\" pool = "
		"\"p\" }\n"
		"source \"a\" { address = \"192.0.2.1\" } source \"b\" { address = \"192.0.2.2\" "
		"}\n"
		"source \"c\" { address = \"192.0.2.3\" } source \"d\" { address = \"192.0.2.4\" "
		"}\n"
		"pool \"p\" { sources = {\"a\", \"b\", \"c\"} } pool \"q\" { sources = \"d\" }\n"
		"warmup \"one\" { sources = {\"c\", \"b\"} start = \"2026-11-01\" }\n"
		"warmup \"two\" { sources = \"a\" start = \"2026-11-02\" provider = \"outlook\"\n"
		"  first = 3 growth = \"1.1\" ceiling = 8 pace = \"hours\" hours = \"22:15-6\"\n"
		"  advance_at = \"75%\" hold_at = \"0.25%\" step_back_at = \"2%\" pause_at = "
		"\"12.5%\"\n"
		"  idle_reset = 0 overflow = \"pool:q\" }\n"
		"warmup \"three\" { sources = \"d\" start = \"2026-11-03\" daily = {7, 9} pace = "
		"\"none\" overflow = \"wait\" }\n";
	static const uint32_t growing[] = { 3, 4, 5, 6, 7, 8 };
	struct config *c = parse(text);
	const struct warmup_params *w = c->policy.warmups;
	struct buf dump;

	assert_int_equal(c->policy.nwarmups, 3);
	assert_int_equal(zone_offset(c->policy.zone, 1795651200000), 3600);
	assert_string_equal(w[0].name, "one");
	assert_string_equal(c->policy.providers[w[0].provider].name, "microsoft365");
	assert_int_equal(w[0].nsources, 2);
	assert_int_equal(w[0].sources[0], 2);
	assert_int_equal(w[0].sources[1], 1);
	assert_int_equal(w[0].start, 20758);
	assert_int_equal(w[0].ndaily, 26);
	assert_int_equal(w[0].daily[0], 200);
	assert_int_equal(w[0].pace, PACE_EVEN);
	assert_true(w[0].advance_at == 0.9 && w[0].hold_at == 0.005);
	assert_true(w[0].step_back_at == 0.05 && w[0].pause_at == 0.2);
	assert_int_equal(w[0].idle_reset, 30);
	assert_int_equal(w[0].overflow, OVERFLOW_POOL);
	assert_string_equal(c->policy.providers[w[1].provider].name, "outlook");
	assert_int_equal(w[1].ndaily, 6);
	assert_memory_equal(w[1].daily, growing, sizeof(growing));
	assert_int_equal(w[1].pace, PACE_HOURS);
	assert_int_equal(w[1].hours_from, 22 * 60 + 15);
	assert_int_equal(w[1].hours_to, 360);
	assert_true(w[1].advance_at == 0.75 && w[1].pause_at == 0.125);
	assert_int_equal(w[1].idle_reset, 0);
	assert_int_equal(w[1].overflow, OVERFLOW_NAMED);
	assert_int_equal(w[1].overflow_pool, 1);
	assert_int_equal(w[2].ndaily, 2);
	assert_int_equal(w[2].daily[1], 9);
	assert_int_equal(w[2].pace, PACE_NONE);
	assert_int_equal(w[2].overflow, OVERFLOW_WAIT);
	check_round_trip(c, false);
	check_round_trip(c, true);
	buf_init(&dump, 0);
	assert_int_equal(config_dump(&dump, c, false), 0);
	assert_non_null(memmem(dump.p, dump.len, "pause_at = \"12.5%\"", 18));
	assert_non_null(memmem(dump.p, dump.len, "advance_at = \"90%\"", 18));
	buf_deinit(&dump);
	config_free(c);
}

/* What is built in is what its comment says: steps that receivers bear. */
static void test_ladders(void **state)
{
	static const struct {
		const char *name;
		uint32_t first, last;
		unsigned days;
		double step_max;
	} rows[] = {
		{ "outlook", 200, 97600, 26, 1.4 },
		{ "sendgrid", 480, 1102011, 24, 1.41 },
		{ "sparkpost", 200, 1000000, 20, 2.5 },
		{ "ses", 50, 50000, 45, 1.18 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf text;
		struct config *c;
		const struct warmup_params *w;

		buf_init(&text, 0);
		buf_printf(&text,
			"%swarmup \"w\" { sources = \"a\" start = \"2026-11-01\" ladder = \"%s\" "
			"overflow = \"wait\" }%c",
			minimal, rows[i].name, '\0');
		c = parse(text.p);
		w = c->policy.warmups;
		assert_int_equal(w->ndaily, rows[i].days);
		assert_int_equal(w->daily[0], rows[i].first);
		assert_int_equal(w->daily[w->ndaily - 1], rows[i].last);
		for (unsigned k = 1; k < w->ndaily; k++) {
			assert_true(w->daily[k] > w->daily[k - 1]);
			assert_true(w->daily[k] <= w->daily[k - 1] * rows[i].step_max);
			/* the careful one: smaller steps as the numbers grow */
			if (i == 0 && w->daily[k - 1] >= 1000)
				assert_true(w->daily[k] <= w->daily[k - 1] * 1.301);
			if (i == 0 && w->daily[k - 1] >= 10000)
				assert_true(w->daily[k] <= w->daily[k - 1] * 1.251);
			if (i == 0 && k < 18)
				assert_true(w->daily[k] < 20000);
		}
		config_free(c);
		buf_deinit(&text);
	}
}

static void test_reloadable(void **state)
{
	static const struct {
		const char *more;
		const char *why; /* "": may be reloaded */
	} rows[] = {
		{ "", "" },
		{ "source \"b\" { address = \"192.0.2.2\" }", "" },
		{ "sender \"*\" { pool = \"main\" }", "" },
		{ "provider \"microsoft365\" { connections_per_lane = 1 }", "" },
		{ "queue { retry = \"1m\" expire = \"24h\" }", "" },
		{ "log { level = \"debug\" }", "" },
		{ "timezone = \"UTC\"", "" },
		{ "warmup \"w\" { sources = \"a\" start = \"2026-11-01\" overflow = \"wait\" }",
			"" },
		{ "workers = 2", "workers" },
		{ "queue { path = \"/elsewhere\" }", "queue.path" },
		{ "http { address = \"127.0.0.1:1\" }", "http.address" },
		{ "workers = 2 queue { path = \"/elsewhere\" }", "workers, queue.path" },
		{ "source \"b\" { address = \"2001:db8::1\" }",
			"look-ups for sources of another IP version" },
		{ "listener \"two\" { address = \"127.0.0.1:99\" allow = \"127.0.0.1\" }", "" },
	};
	struct config *now = parse(minimal);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config *next;
		struct buf text, why;

		buf_init(&text, 0);
		buf_init(&why, 0);
		buf_printf(&text, "%s%s%c", minimal, rows[i].more, '\0');
		next = parse(text.p);
		assert_int_equal(config_reloadable(now, next, &why), rows[i].why[0] == '\0');
		assert_true(slice_eq(buf_slice(&why), slice_of(rows[i].why)));
		config_free(next);
		buf_deinit(&text);
		buf_deinit(&why);
	}
	config_free(now);
}

static void test_describe(void **state)
{
	static const char *const words[] = { "hostname   (domain name)",
		"max_size = \"64GiB\"   (size, 16MiB to 64TiB)", "listener \"NAME\" { }",
		"retry_jitter = \"0.2\"   (fraction, 0.0 to 0.9)",
		"bare_newline = \"reject\"   (\"reject\", \"fix\")",
		"Built in for \"outlook\":", "\"outlook\": the default",
		"hold_at = \"0.5%\"   (percentage, 0% to 100%)", "lane_message_rate = \"600/1m\"",
		"; required)" };
	struct buf text, roff;

	buf_init(&text, 0);
	buf_init(&roff, 0);
	assert_int_equal(config_describe(&text, false), 0);
	assert_int_equal(config_describe(&roff, true), 0);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		assert_non_null(memmem(text.p, text.len, words[i], strlen(words[i])));
	assert_non_null(memmem(roff.p, roff.len, "\n.TP\n.B max_size\n", 17));
	assert_non_null(memmem(roff.p, roff.len, "\n.SS listener \"NAME\" { }\n", 25));
	buf_deinit(&text);
	buf_deinit(&roff);
}

/* The built-in rules are what the classifier takes. */
static void test_rules(void **state)
{
	struct config *c = parse(minimal);
	struct classifier *rules = NULL;
	struct buf errors;

	buf_init(&errors, 0);
	if (config_classifier(c, &rules, &errors))
		fail_msg("%.*s", (int)buf_size(&errors), buf_slice(&errors).p);
	assert_string_equal(classifier_text(rules, 0)->name, "built-in replies.rules");
	assert_int_equal(strlen(classifier_text(rules, 0)->dated), 10);
	assert_null(classifier_text(rules, 1));
	classifier_free(rules);
	config_free(c);
	buf_deinit(&errors);
}

static enum verdict verdict_of(const struct classifier *rules, const char *text, unsigned *at)
{
	static struct reply r;
	struct classification got;

	assert_int_equal(reply_from_text(&r, slice_of(text)), 0);
	classify(rules, SLICE_LIT("microsoft365"), SLICE_LIT("rcpt"), &r, &got);
	*at = got.rule_line ? got.rule_text : 99;
	return got.verdict;
}

/* An operator's rules are asked first, and the built-in ones stay behind them. */
static void test_own_rules(void **state)
{
	static const char *const texts[] = {
		"dated 2026-03-01\n* * 550 5.1.1 * * -> transient-other\n",
		"builtin off\n* * 550 5.1.1 * * -> transient-other\n",
	};
	const char *busy =
		"451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719)";

	for (size_t i = 0; i < 2; i++) {
		char path[256];
		struct config *c = parse(minimal);
		struct classifier *rules = NULL;
		struct buf errors;
		unsigned at;
		int fd;

		buf_init(&errors, 0);
		temporary_name(path, sizeof(path), "rules");
		fd = mkstemp(path);
		assert_true(fd >= 0);
		assert_true(write(fd, texts[i], strlen(texts[i])) > 0);
		close(fd);
		c->rules_file = strdup(path);
		assert_int_equal(config_classifier(c, &rules, &errors), 0);
		assert_string_equal(classifier_text(rules, 0)->name, path);
		assert_string_equal(classifier_text(rules, 0)->dated, i ? "" : "2026-03-01");
		assert_int_equal(verdict_of(rules, "550 5.1.1 no", &at), VERDICT_TRANSIENT_OTHER);
		assert_int_equal(at, 0);
		assert_int_equal(verdict_of(rules, busy, &at),
			i ? VERDICT_TRANSIENT_OTHER : VERDICT_SOURCE_THROTTLE);
		assert_int_equal(at, i ? 99 : 1);
		assert_int_equal(classifier_text(rules, 1) == NULL, i == 1);
		classifier_free(rules);
		rules = NULL;
		unlink(path);
		assert_int_equal(config_classifier(c, &rules, &errors), -ENOENT);
		assert_null(rules);
		assert_non_null(memmem(errors.p, errors.len, ":1: cannot be read: ", 20));
		config_free(c);
		buf_deinit(&errors);
	}
}

static char *replace(char *text, const char *old, const char *new)
{
	char *at = strstr(text, old), *all = NULL;

	assert_non_null(at);
	assert_true(asprintf(&all, "%.*s%s%s", (int)(at - text), text, new, at + strlen(old)) > 0);
	free(text);
	return all;
}

static char *read_sample(const char *name)
{
	char path[4096], *text = calloc(1, 65536);
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", conf_dir, name);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	assert_non_null(text);
	n = read(fd, text, 65535);
	assert_true(n > 0 && n < 65535);
	close(fd);
	return text;
}

/* The sample configurations pass, once the user and the files that they name are there. */
static void test_samples(void **state)
{
	char name[200];
	int fd;
	struct config *c;
	char *text;

	temporary_name(name, sizeof(name), "users");
	fd = mkstemp(name);
	assert_true(fd >= 0);
	assert_true(write(fd, "# nobody yet\n", 13) == 13);
	close(fd);
	text = replace(read_sample("postern.conf"), "user = \"postern\"", "");
	c = parse(text);
	assert_int_equal(c->policy.pools[0].nmembers, 2);
	check_round_trip(c, true);
	config_free(c);
	free(text);
	text = replace(read_sample("postern-pools.conf"), "user       = \"postern\"", "");
	text = replace(text, "/etc/postern/tls/fullchain.pem", name);
	text = replace(text, "/etc/postern/tls/key.pem", name);
	text = replace(text, "/etc/postern/users", name);
	c = parse(text);
	assert_int_equal(c->nlisteners, 3);
	assert_string_equal(c->policy.providers[0].name, "partner");
	check_round_trip(c, false);
	config_free(c);
	free(text);
	unlink(name);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_providers),
		cmocka_unit_test(test_dump),
		cmocka_unit_test(test_warmups),
		cmocka_unit_test(test_ladders),
		cmocka_unit_test(test_reloadable),
		cmocka_unit_test(test_describe),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_own_rules),
		cmocka_unit_test(test_samples),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: %s DIRECTORY-OF-SAMPLES\n", argv[0]);
		return 64;
	}
	conf_dir = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
