/* Bad configurations, and the position and wording of each error. Warm-ups: test_bad_warmup.c. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../temporary.h"
#include "bad.h"

static void test_syntax(void **state)
{
	static const struct row rows[] = {
		{ "", { NULL } },
		{ "queue { path = }", { "1: syntax: a value is missing after \"=\"" } },
		{ "\nworkers 5\n", { "2: syntax: \"=\" is missing" } },
		{ "workers = = 5", { "1: syntax: a value is missing after \"=\"" } },
		{ "workers = 5, ", { "1: syntax: an option or a section is expected here" } },
		{ "queue {\n path = \"/x\n",
			{ "2: queue: path: \"/x\\x0a\\x0ahostname = \" must not contain a line end",
				"4: syntax: " } },
		{ "\n/* never\nclosed",
			{ "2: syntax: the comment that begins here is not closed" } },
		{ "}\n", { "1: syntax: a closing brace too many" } },
		{ "queue { retry = {\"5m\"\n \"10m\"} }",
			{ "2: syntax: a list has its values in braces" } },
		{ "queue { retry = {\"5m\",,\"10m\"} }",
			{ "1: syntax: a list has its values in braces" } },
		{ "pid_file = a*b", { "1: syntax: unexpected character" } },
		{ "pid_file = f(x)", { "1: syntax: unexpected character" } },
		{ "queue { a { b { c { d { e { f { g { h { i { j { k { l { m { n { o { p { q { r { "
		  "}",
			{ "1: unknown section \"a\" in queue",
				"1: syntax: sections are nested too deeply" } },
		/* what stands before the bad place is judged, what would come after is not missed
		 */
		{ "workers = 999\nfoo = 1\nqueue { expire = \"1x\"\n = }",
			{ "1: workers: \"999\" is out of bounds", "2: unknown option \"foo\"",
				"3: queue: expire: \"1x\" is not a duration",
				"4: syntax: an option or a closing brace is expected here" } },
	};

	check_rows(rows, COUNT(rows));
}

static void test_closing(void **state)
{
	static const char *const want[] = {
		"2: syntax: the section that begins here has no closing brace", NULL
	};

	static const char *const quote[] = {
		"3: syntax: the text that begins here has no closing quote", NULL
	};

	check("\nqueue {\n", "", want);
	check("\nqueue {\n path = \"/x\n\n", "", quote);
}

static void test_names(void **state)
{
	static const struct row rows[] = {
		{ "hostnam = \"x\"", { "1: unknown option \"hostnam\" in the file: did you mean "
				       "\"hostname\"?" } },
		{ "\n\nfoo = {1,\n2}", { "3: unknown option \"foo\" in the file: remove it" } },
		{ "foo += 5", { "1: unknown option \"foo\"" } },
		{ "retry = {\"5m\"}",
			{ "1: unknown option \"retry\" in the file: it belongs into queue { }" } },
		{ "queue { workers = 5 }", { "1: unknown option \"workers\" in queue: it belongs "
					     "outside all sections" } },
		{ "queue = 5", { "1: \"queue\" is a section" } },
		{ "workers { }", { "1: \"workers\" is an option, not a section" } },
		{ "listner \"x\" { address = {} }", { "1: unknown section \"listner\" in the file: "
						      "did you mean \"listener\"?" } },
		{ "queue { dns { timeout = \"1x\" } }",
			{ "1: section \"dns\" inside queue: close that section before it" } },
		{ "provider \"p\" { mx = \"m\" poort = 25 }",
			{ "1: unknown option \"poort\" in provider: did you mean \"port\"?" } },
		{ "workers = 1\nworkers = 2",
			{ "2: workers is given again; it was given in line 1: remove one" } },
		{ "queue { retry = \"5m\"\n retry = \"6m\" }",
			{ "2: retry is given again; it was given in line 1: remove one, or write "
			  "+=" } },
		{ "queue { }\nqueue { }",
			{ "2: queue is given again; it was given in line 1: join the two" } },
		{ "source \"b\" { address = \"192.0.2.2\" }\nsource 'b' { address = \"192.0.2.3\" "
		  "}",
			{ "2: source \"b\" is given again; it was given in line 1" } },
		{ "source { address = \"192.0.2.2\" }", { "1: source has no title" } },
		{ "queue \"q\" { }", { "1: queue takes no title" } },
		{ "source \"b c\" { address = \"192.0.2.2\" }",
			{ "1: source \"b c\": not a name" } },
		{ "source \"\" { address = \"192.0.2.2\" }", { "1: source \"\": not a name" } },
		{ "sender \"\" { pool = \"main\" }", { "1: sender \"\": the title is a domain" } },
		{ "workers = {1, 2}", { "1: workers takes one value, not a list" } },
	};

	check_rows(rows, COUNT(rows));
}

static void test_values(void **state)
{
	static const struct row rows[] = {
		{ "workers = 257",
			{ "1: workers: \"257\" is out of bounds: it must be from 0 to 256" } },
		{ "workers = -1", { "1: workers: \"-1\" is not a whole number" } },
		{ "workers = many", { "1: workers: \"many\" is not a whole number" } },
		{ "workers = \"\"", { "1: workers: \"\" is not a whole number" } },
		{ "workers = 99999999999999999999",
			{ "1: workers: \"99999999999999999999\" is out of bounds" } },
		{ "body_memory_max = \"16MB\"", { "1: body_memory_max: \"16MB\" is not a size" } },
		{ "body_memory_max = \"1KiB\"", { "1: body_memory_max: \"1KiB\" is out of bounds: "
						  "it must be from 1MiB to 1TiB" } },
		{ "drain_timeout = 30",
			{ "1: drain_timeout: \"30\" is not a duration: write it like" } },
		{ "drain_timeout = \"0\"",
			{ "1: drain_timeout: \"0\" is out of bounds: it must be from 1s to 1h" } },
		{ "queue { delay_notice = \"1s\" }",
			{ "1: queue: delay_notice: \"1s\" is out of bounds: it must be from 10s to "
			  "30d, or 0" } },
		{ "queue { delay_notice = \"0\" }", { NULL } },
		{ "queue {\n retry = {\"5m\",\n \"10\", \"1h\",\n \"x\"} }",
			{ "3: queue: retry: \"10\" is not a duration",
				"4: queue: retry: \"x\" is not a duration" } },
		{ "queue { retry_jitter = 1.5 }", { "1: queue: retry_jitter: \"1.5\" is out of "
						    "bounds: it must be from 0.0 to 0.9" } },
		{ "queue { retry_jitter = \"0,2\" }",
			{ "1: queue: retry_jitter: \"0,2\" is not a fraction" } },
		{ "control { mode = 0680 }", { "1: control: mode: \"0680\" is not a file mode" } },
		{ "control { mode = 7777 }", { "1: control: mode: \"7777\" is not a file mode" } },
		{ "log { level = \"loud\" }",
			{ "1: log: level: \"loud\" is none of \"error\", \"warning\"" } },
		{ "http { address = \"127.0.0.1\" }",
			{ "1: http: address: \"127.0.0.1\" is not an address with a port" } },
		{ "http { address = \"localhost:80\" }",
			{ "1: http: address: \"localhost:80\" is not an address with a port" } },
		{ "dns { servers = {\"127.0.0.1\", \"ns.example.net\"} }",
			{ "1: dns: servers: \"ns.example.net\" is not a resolver's address" } },
		{ "dns { ttl_min = \"1h\" ttl_max = \"1m\" }",
			{ "1: dns: ttl_min is more than ttl_max" } },
		{ "rules_file = \"/nonexistent/rules\"",
			{ "1: rules_file: \"/nonexistent/rules\" cannot be read: No such file" } },
		{ "rules_file = \"/dev/null\"",
			{ "1: rules_file: \"/dev/null\" is not a regular file" } },
		{ "pid_file = \"a\nb\"",
			{ "1: pid_file: \"a\\x0ab\" must not contain a line end" } },
		{ "postmaster = \"nobody\"", { "1: postmaster: \"nobody\" is not an address" } },
		{ "provider \"default\" { lane_message_rate = \"30\" }",
			{ "1: provider \"default\": lane_message_rate: \"30\" is not a rate" } },
		{ "provider \"default\" { port = 0 }",
			{ "1: provider \"default\": port: \"0\" is out of bounds" } },
		{ "provider \"default\" { pipelining = maybe }",
			{ "1: provider \"default\": pipelining: \"maybe\" is neither true nor "
			  "false" } },
		{ "provider \"default\" { tls = \"starttls\" }",
			{ "1: provider \"default\": tls: \"starttls\" is none of \"none\"" } },
	};

	check_rows(rows, COUNT(rows));
}

static void test_sources_and_pools(void **state)
{
	static const struct row rows[] = {
		{ "source \"b\" { }", { "1: source \"b\": address is missing" } },
		{ "source \"b\" { address = \"host.example\" }",
			{ "1: source \"b\": address: \"host.example\" is not an IP address" } },
		{ "source \"b\" { address = \"0.0.0.0\" }",
			{ "1: source \"b\": address: nothing can be sent from" } },
		{ "source \"b\" { address = \"::\" }",
			{ "1: source \"b\": address: nothing can be sent from" } },
		{ "source \"b\" { address = \"224.0.0.1\" }",
			{ "1: source \"b\": address: nothing can be sent from" } },
		{ "source \"b\" {\n address = \"192.0.2.1\" }", { NULL } }, /* replaced below */
		{ "source \"b\" { address = \"192.0.2.2\"\n ehlo = \"b\" }",
			{ "2: source \"b\": ehlo: \"b\" is not a fully qualified" } },
		{ "source \"b\" { address = \"192.0.2.2\" ehlo = \"-b.example\" }",
			{ "1: source \"b\": ehlo: \"-b.example\" is not" } },
		{ "source \"b\" { address = \"192.0.2.2\" subnet = \"10.0.0.0/8\" }",
			{ "1: source \"b\": subnet: its address does not lie in it" } },
		{ "source \"b\" { address = \"192.0.2.2\" subnet = \"192.0.2.2/24\" }",
			{ "1: source \"b\": subnet: \"192.0.2.2/24\" is not a network: its "
			  "length" } },
		{ "pool \"p\" { }", { "1: pool \"p\": sources is missing" } },
		{ "pool \"p\" { sources = {} }",
			{ "1: pool \"p\": sources: a pool needs at least one source" } },
		{ "pool \"p\" { sources = {\"a\",\n \"zz\",\n \"yy:2\"} }",
			{ "2: pool \"p\": sources: there is no source \"zz\"",
				"3: pool \"p\": sources: there is no source \"yy\"" } },
		{ "pool \"p\" { sources = {\"a\", \"a:2\"} }",
			{ "1: pool \"p\": sources: \"a\" is in it twice" } },
		{ "pool \"p\" { sources = {\"a:0\"} }",
			{ "1: pool \"p\": sources: \"a:0\": the weight" } },
		{ "pool \"p\" { sources = {\"a:1001\"} }",
			{ "1: pool \"p\": sources: \"a:1001\": the weight" } },
		{ "pool \"p\" { sources = {\"a:\"} }",
			{ "1: pool \"p\": sources: \"a:\": the weight" } },
		{ "sender \"x.example\" { pool = \"q\" }",
			{ "1: sender \"x.example\": pool: there is no pool \"q\"" } },
		{ "sender \"x.example\" { }", { "1: sender \"x.example\": pool is missing" } },
	};
	static const char *const twice[] = {
		"5: source \"a\": address: source \"b\" in line 2 has the same", NULL
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		check(rows[i].text, REST, i == 5 ? twice : rows[i].errors);
}

static void test_providers(void **state)
{
	static const struct row rows[] = {
		{ "provider \"p\" { }", { "1: provider \"p\": mx: give the MX host names" } },
		{ "provider \"p\" { mx = {} }",
			{ "1: provider \"p\": mx: give the MX host names" } },
		{ "provider \"outlook\" {\n mx = {} }",
			{ "2: provider \"outlook\": mx: give the MX host names" } },
		{ "provider \"default\" {\n mx = {\"x\"} }",
			{ "2: provider \"default\": mx: it is what remains" } },
		{ "provider \"default\" {\n key = \"/etc/passwd\" }",
			{ "2: provider \"default\": certificate and key belong together" } },
		{ "provider \"default\" { tls = \"none\" key = \"/etc/passwd\"\n certificate = "
		  "\"/etc/passwd\" }",
			{ "2: warning: provider \"default\": certificate: means nothing" } },
		{ "provider \"default\" { connections_per_lane = 50 }",
			{ "1: warning: provider \"default\": connections_per_lane (50) is more" } },
		{ "provider \"microsoft365\" { connections_per_cluster = 2 }",
			{ "1: warning: provider \"microsoft365\": connections_per_lane (5) is more "
			  "than connections_per_cluster (2)" } },
		{ "queue { retry = {} }", { "1: queue: retry: at least one delay" } },
		{ "queue { expire = \"1h\" }",
			{ "1: warning: queue: delay_notice: not shorter than expire" } },
		{ "queue { expire = \"1m\" delay_notice = 0 }",
			{ "1: warning: queue: retry: the first delay is not shorter" } },
		{ "queue { max_size = \"64MiB\" reserve = \"64MiB\" }",
			{ "1: queue: reserve: must be less than max_size" } },
		{ "queue { path = \"\" }", { "1: queue: path: a directory is needed" } },
		{ "log { file = \"\" }", { "1: log: file: a file is needed" } },
	};

	check_rows(rows, COUNT(rows));
}

#define LISTENER "listener \"l\" { address = {\"127.0.0.1:2526\"} pool = \"main\" "

static void test_listeners(void **state)
{
	static const struct row rows[] = {
		{ "listener \"l\" { allow = {\"10.0.0.0/8\"} pool = \"main\" }",
			{ "1: listener \"l\": address is missing" } },
		{ "listener \"l\" { address = {} allow = {\"10.0.0.0/8\"} pool = \"main\" }",
			{ "1: listener \"l\": address: at least one" } },
		{ "listener \"l\" {\n address = {\"127.0.0.1\"} allow = {\"127.0.0.1\"} }",
			{ "2: listener \"l\": address: \"127.0.0.1\" is not an address with a "
			  "port" } },
		{ LISTENER "}", { "1: listener \"l\": nobody may relay here" } },
		{ LISTENER "allow = {} }", { "1: listener \"l\": nobody may relay here" } },
		{ LISTENER "allow = {\"127.0.0.1\",\n\"0.0.0.0/0\"} }",
			{ "2: listener \"l\": allow: 0.0.0.0/0 would make this an open relay" } },
		{ LISTENER "allow = {\"127.0.0.1\", \"::/0\"} }",
			{ "1: listener \"l\": allow: ::/0 would make this an open relay",
				"1: warning: listener \"l\": allow: an IPv6 network" } },
		{ LISTENER "allow = {\"0.0.0.0/1\",\n \"128.0.0.0/1\"} }",
			{ "1: listener \"l\": allow: 0.0.0.0/1 would",
				"2: listener \"l\": allow: 128.0.0.0/1 would" } },
		{ LISTENER "allow = {\"0.0.0.0/0\"} allow_world = false }",
			{ "1: listener \"l\": allow: 0.0.0.0/0 would" } },
		{ LISTENER "allow = {\"0.0.0.0/0\"} allow_world = maybe }",
			{ "1: listener \"l\": allow_world: \"maybe\" is neither",
				"1: listener \"l\": allow: 0.0.0.0/0 would" } },
		{ LISTENER "allow = {\"0.0.0.0/0\"} allow_world = true }", { NULL } },
		{ LISTENER "allow = {\"10.0.0.1/8\"} }",
			{ "1: listener \"l\": allow: \"10.0.0.1/8\" is not a network: its length "
			  "is too great, or bits" } },
		{ LISTENER "allow = {\"example.net\"} }",
			{ "1: listener \"l\": allow: \"example.net\" is not a network such as" } },
		{ LISTENER "allow = {\"fe80::/64\"} }",
			{ "1: warning: listener \"l\": allow: an IPv6 network, but no address" } },
		{ "listener \"l\" { address = {\"127.0.0.1:2525\"} allow = \"127.0.0.1\" pool = "
		  "\"main\" }",
			{ NULL } }, /* see below */
		{ "listener \"l\" { address = {\"127.0.0.1:99\",\n \"0.0.0.0:99\"} allow = "
		  "\"127.0.0.1\" pool = \"main\" }",
			{ "2: listener \"l\": address: listener \"l\" in line 1 takes the same "
			  "address and port" } },
		{ "http { address = \"127.0.0.1:2526\" } " LISTENER "allow = \"127.0.0.1\" }",
			{ "1: listener \"l\": address: http takes the same" } },
		{ LISTENER "allow = \"127.0.0.1\"\n pool_header = 1 }",
			{ "2: listener \"l\": pool_header: \"1\" is neither true nor false" } },
		{ LISTENER "allow = \"127.0.0.1\" require_auth = true }",
			{ "1: listener \"l\": require_auth: without users_file" } },
		{ LISTENER "allow = \"127.0.0.1\" require_tls = true }",
			{ "1: listener \"l\": require_tls: certificate and key are needed" } },
		{ LISTENER "allow = \"127.0.0.1\" implicit_tls = true }",
			{ "1: listener \"l\": implicit_tls: certificate and key are needed" } },
		{ LISTENER "client_names = \"*\" allow = \"127.0.0.1\" }",
			{ "1: listener \"l\": client_names: means nothing without client_ca" } },
		{ LISTENER "client_ca = \"/dev/null\" }",
			{ "1: listener \"l\": client_ca: \"/dev/null\" is not a regular file",
				"1: listener \"l\": client_ca: name the clients that may relay" } },
		{ LISTENER "allow = \"127.0.0.1\" certificates = \"/nonexistent\" }",
			{ "1: listener \"l\": certificates: certificate and key are needed",
				"1: listener \"l\": certificates: \"/nonexistent\" cannot be read" } },
		{ LISTENER "allow = \"127.0.0.1\" min_tls = \"1.1\" }",
			{ "1: listener \"l\": min_tls: \"1.1\" is none of" } },
		{ LISTENER "allow = \"127.0.0.1\" offer_auth_plain_text = true }",
			{ "1: warning: listener \"l\": offer_auth_plain_text: means nothing" } },
		{ LISTENER "allow = \"127.0.0.1\" key = \"/nonexistent\" certificate = "
			   "\"/nonexistent\" }",
			{ "1: listener \"l\": certificate: \"/nonexistent\" cannot be read",
				"1: listener \"l\": key: \"/nonexistent\" cannot be read" } },
		{ LISTENER "users_file = \"/nonexistent\" }",
			{ "1: listener \"l\": users_file: \"/nonexistent\" cannot be read" } },
		{ LISTENER "allow = \"127.0.0.1\" proxy = true }",
			{ "1: listener \"l\": proxy: name the proxies in proxy_from" } },
		{ LISTENER "allow = \"127.0.0.1\" proxy_from = \"10.0.0.1\" }",
			{ "1: listener \"l\": proxy_from: means nothing" } },
		{ LISTENER "allow = \"127.0.0.1\" bare_newline = \"accept\" }",
			{ "1: listener \"l\": bare_newline: \"accept\" is none of \"reject\", "
			  "\"fix\"" } },
		{ LISTENER "allow = \"127.0.0.1\" content_line_max = 100 }",
			{ "1: listener \"l\": content_line_max: \"100\" is out of bounds: it must "
			  "be from 998 to 1000000, or 0" } },
		{ "listener \"l\" { address = \"127.0.0.1:99\" allow = \"127.0.0.1\" pool = \"q\" "
		  "}",
			{ "1: listener \"l\": pool: there is no pool \"q\"" } },
		{ "pool \"q\" { sources = \"a\" }\nlistener \"l\" { address = \"127.0.0.1:99\" "
		  "allow = \"127.0.0.1\" }",
			{ "2: listener \"l\": pool: there are several pools" } },
	};
	static const char *const same[] = {
		"3: listener \"in\": address: listener \"l\" in line 1 takes the same", NULL
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		check(rows[i].text, REST, i == 14 ? same : rows[i].errors);
}

static void test_missing_parts(void **state)
{
	static const char *const nothing[] = { "1: there is no pool", "1: there is no listener",
		NULL };
	static const char *const name[] = { "1: hostname: \"relay\" is not a fully qualified",
		NULL };

	check("hostname = \"out.example.net\"", "", nothing);
	check("hostname = \"relay\"\n",
		"listener \"in\" { address = {\"127.0.0.1:2525\"} allow = {\"127.0.0.0/8\"} pool = "
		"\"main\" }\n"
		"source \"a\" { address = \"192.0.2.1\" }\npool \"main\" { sources = {\"a\"} }\n",
		name);
}

enum { PATH_SIZE = 240 };
static char dir[200];

static void write_file(const char *name, const char *text, char path[PATH_SIZE])
{
	int fd;

	snprintf(path, PATH_SIZE, "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void test_files(void **state)
{
	char users[PATH_SIZE], cert[PATH_SIZE], text[1024];
	static const char *const lone[] = {
		"1: listener \"l\": certificate and key belong together", NULL
	};
	static const char *const bad_users[] = { "1: listener \"l\": users_file: ", NULL };
	static const char *const no_tls[] = {
		"1: warning: listener \"l\": users_file: AUTH is offered over TLS only", NULL
	};
	static const char *const bad_rules[] = { "2: rules_file: /", NULL };
	static const char *const fine[] = { NULL };

	temporary_name(dir, sizeof(dir), "conf");
	assert_non_null(mkdtemp(dir));
	write_file("cert", "x", cert);
	snprintf(text, sizeof(text), LISTENER "allow = \"127.0.0.1\" certificate = \"%s\" }", cert);
	check(text, REST, lone);
	write_file("users", "no colon in here\n", users);
	snprintf(text, sizeof(text), LISTENER "users_file = \"%s\" }", users);
	check(text, REST, bad_users);
	write_file("users",
		"app:$6$saltsalt$q3d4kyYpwUqUbCVJZ0Bi1hh9sV4C3."
		"gIZ3dbCcs2VNSyX8cyEVAv3cX3k2eZf1MSx8Fz0mMH7Xr4Cn1qMqvAl/\n",
		users);
	check(text, REST, fine);
	snprintf(text, sizeof(text),
		"listener \"l\" { address = \"0.0.0.0:99\" pool = \"main\" users_file = \"%s\" }",
		users);
	check(text, REST, no_tls);
	write_file("cert", "* * 4xx * * * -> nonsense\n", cert);
	snprintf(text, sizeof(text), "\nrules_file = \"%s\"", cert);
	check(text, REST, bad_rules);
	write_file("cert", "* * 4xx * * * -> transient-other\n", cert);
	check(text, REST, fine);
	unlink(cert);
	unlink(users);
	rmdir(dir);
}

static void test_load(void **state)
{
	struct config *c = NULL;
	struct buf errors;

	buf_init(&errors, 0);
	assert_int_equal(config_load(&c, "/nonexistent/postern.conf", &errors), -ENOENT);
	assert_true(slice_case_prefix(buf_slice(&errors),
		SLICE_LIT("/nonexistent/postern.conf:1: cannot be read: No such")));
	buf_reset(&errors);
	assert_int_equal(config_load(&c, "/", &errors), -EISDIR);
	buf_reset(&errors);
	assert_int_equal(config_parse(&c, "x", SLICE_LIT("a\n\nb\0c"), &errors), -EINVAL);
	assert_true(slice_eq(
		buf_slice(&errors), SLICE_LIT("x:3: a NUL byte: this is not a text file\n")));
	assert_null(c);
	buf_deinit(&errors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_syntax),
		cmocka_unit_test(test_closing),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_sources_and_pools),
		cmocka_unit_test(test_providers),
		cmocka_unit_test(test_listeners),
		cmocka_unit_test(test_missing_parts),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
