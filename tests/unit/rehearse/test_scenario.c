/* What is wrong with a scenario is said with its line. */
#include "rig.h"

static const char config[] = "hostname = \"out.example.net\"\n"
			     "source \"a1\" { address = \"192.0.2.1\" }\n"
			     "pool \"main\" { sources = {\"a1\"} }\n"
			     "listener \"in\" { address = {\"127.0.0.1:2525\"} allow = "
			     "{\"127.0.0.0/8\"} pool = \"main\" }\n";
#define HEAD "start = \"2026-11-02\"\n"
#define REST "cluster \"EUR01\" { }\ntraffic \"t\" { pool = \"main\" daily = 1000 }\n"
#define SIZES(list)                                                                                \
	"cluster \"EUR01\" { }\ntraffic \"t\" { pool = \"main\" daily = 10\n sizes = {" list "} "  \
	"}\n"

static const struct row {
	const char *text, *error; /* "": none */
} rows[] = {
	{ HEAD REST, "" },
	{ REST, "s:1: start is missing" },
	{ "start = \"tomorrow\"\n" REST, "s:1: start: \"tomorrow\" is no time" },
	{ "start = \"2026-02-30\"\n" REST, "s:1: start: \"2026-02-30\" is no time" },
	{ HEAD "cluster \"EUR01\" { }\n", "s:1: there is no traffic" },
	{ HEAD "traffic \"t\" { pool = \"main\" daily = 10 }\n", "s:1: there is no cluster" },
	{ HEAD REST "duration = \"1000d\"\n", "s:4: duration: \"1000d\" is out of bounds" },
	{ HEAD REST "durtion = \"1d\"\n",
		"s:4: unknown option \"durtion\" in the file: did you mean \"duration\"?" },
	{ HEAD "cluster \"EUR01\" { }\ntraffic \"t\" {\n pool = \"mani\" daily = 10 }\n",
		"s:4: traffic \"t\": pool: there is no pool \"mani\" in the configuration" },
	{ HEAD "cluster \"EUR01\" { provider = \"x\" }\ntraffic \"t\" { pool = \"main\" daily = 10 "
	       "}\n",
		"s:2: cluster \"EUR01\": provider: there is no provider \"x\" in the "
		"configuration" },
	{ HEAD "cluster \"EUR01\" { }\ntraffic \"t\" { pool = \"main\" daily = 10\n hours = {1,2} "
	       "}\n",
		"s:4: traffic \"t\": hours: 2 weights, and there are 24 hours" },
	{ HEAD "cluster \"EUR01\" { }\ntraffic \"t\" { pool = \"main\" daily = 10 changes = {\"day "
	       "2\"} }\n",
		"s:3: traffic \"t\": changes: \"day 2\" is no change" },
	{ HEAD SIZES("\"40KiB\", \"20%: 150KiB\", \"2%:3MiB\""), "" },
	{ HEAD SIZES("\"98%: 40KiB\", \"2%: 3MiB\""), "" },
	{ HEAD SIZES("\"big\""), "s:4: traffic \"t\": sizes: \"big\" is not a size" },
	{ HEAD SIZES("\"40KiB\", \"0.2: 3MiB\""),
		"s:4: traffic \"t\": sizes: \"0.2\" is not a percentage" },
	{ HEAD SIZES("\"40KiB\", \"2%: 3GiB\""),
		"s:4: traffic \"t\": sizes: \"3GiB\" is out of bounds: it must be from 1 to 1GiB" },
	{ HEAD SIZES("\"40KiB\", \"3MiB\""), "s:4: traffic \"t\": sizes: \"40KiB\" and \"3MiB\" "
					     "are without a share: one may be" },
	{ HEAD SIZES("\"90%: 40KiB\", \"2%: 3MiB\""),
		"s:4: traffic \"t\": sizes: the shares make 92 %: write 100, or leave one out" },
	{ HEAD SIZES("\"40KiB\", \"90%: 60KiB\", \"20%: 3MiB\""),
		"s:4: traffic \"t\": sizes: the shares make 110 %" },
	{ HEAD SIZES(""), "s:4: traffic \"t\": sizes: how large are its messages?" },
	{ HEAD "traffic \"t\" { pool = \"main\" daily = 10 }\ncluster \"EUR01\" {\n bandwidth = "
	       "\"10\" }\n",
		"s:4: cluster \"EUR01\": bandwidth: \"10\" is out of bounds" },
	{ HEAD REST "cluster \"EUR02\" { noise = 0.002 }\n",
		"s:4: cluster \"EUR02\": noise: \"0.002\" is not a percentage" },
	{ HEAD REST "incident \"i\" { share = \"101%\" from = \"day 1\" until = \"day 2\" }\n",
		"s:4: incident \"i\": share: \"101%\" is out of bounds: it must be from" },
	{ HEAD REST "incident \"i\" { from = \"day 0\" until = \"day 2\" }\n",
		"s:4: incident \"i\": from: \"day 0\" is no time" },
	{ HEAD REST "incident \"i\" { from = \"day 1 12:00\"\n until = \"day 1 10:00\" }\n",
		"s:5: incident \"i\": until: \"day 1 10:00\" is not after from" },
	{ HEAD REST "incident \"i\" { from = \"day 1 25:00\" until = \"day 2\" }\n",
		"s:4: incident \"i\": from: \"day 1 25:00\" is no time" },
	{ HEAD REST "incident \"i\" { from = \"day 1 10:00:60\" until = \"day 2\" }\n",
		"s:4: incident \"i\": from: \"day 1 10:00:60\" is no time" },
	{ HEAD REST "incident \"i\" { from = \"day 1 24:00:01\" until = \"day 2\" }\n",
		"s:4: incident \"i\": from: \"day 1 24:00:01\" is no time" },
	{ HEAD REST "incident \"i\" { from = \"day 1 10:00:30\" until = \"day 1 10:00:29\" }\n",
		"s:4: incident \"i\": until: \"day 1 10:00:29\" is not after from" },
	{ HEAD REST "duration = \"0s\"\n", "s:4: duration: \"0s\" is out of bounds" },
	{ HEAD REST "duration = \"90s\"\n", "" },
	{ HEAD REST "incident \"i\" { cluster = \"NAM01\" from = \"day 1\" until = \"day 2\" }\n",
		"s:4: incident \"i\": cluster: there is no cluster \"NAM01\" in the scenario" },
	{ HEAD REST "incident \"i\" { source = \"b9\" from = \"day 1\" until = \"day 2\" }\n",
		"s:4: incident \"i\": source: there is no source \"b9\" in the configuration" },
	{ HEAD REST "incident \"i\" { subnet = \"203.0.113.0/24\" from = \"day 1\" until = \"day "
		    "2\" }\n",
		"s:4: incident \"i\": subnet: no source of the configuration lies in it" },
	{ HEAD REST "incident \"i\" { reply = \"busy\" from = \"day 1\" until = \"day 2\" }\n",
		"s:4: incident \"i\": reply: \"busy\" is no refusal" },
	{ HEAD REST "incident \"i\" { from = \"day 5\" until = \"day 6\" }\n",
		"s:4: warning: incident \"i\": it lies outside the time that is rehearsed" },
	{ HEAD REST "reputation \"gmail\" { }\n",
		"s:4: reputation \"gmail\": there is no provider of this name" },
	{ HEAD REST "history \"z\" { daily = 5 }\n",
		"s:4: history \"z\": there is no source of this name" },
	{ HEAD REST "reputation \"outlook\" { growth = 0.5 }\n",
		"s:4: reputation \"outlook\": growth: \"0.5\" is out of bounds" },
	{ HEAD REST "source \"a\" { }\n",
		"s:4: unknown option \"source\" in the file: it belongs into incident" },
	{ HEAD "traffic \"t\" {",
		"s:2: syntax: the section that begins here has no closing brace" },
};

static void errors_and_lines(void **state)
{
	struct config *c = NULL;
	struct buf errors;

	buf_init(&errors, 0);
	assert_int_equal(config_parse(&c, "c", slice_of(config), &errors), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool bad = rows[i].error[0] && !strstr(rows[i].error, "warning");
		struct scenario *s = NULL;
		int r;

		buf_reset(&errors);
		r = scenario_parse(&s, "s", slice_of(rows[i].text), c, &errors);
		buf_add(&errors, "", 1);
		if (!strstr(buf_slice(&errors).p, rows[i].error) || r != (bad ? -EINVAL : 0))
			fail_msg("row %zu: %d, %s; wanted %s", i, r, buf_slice(&errors).p,
				rows[i].error);
		assert_int_equal(!s, bad);
		scenario_free(s);
	}
	buf_deinit(&errors);
	config_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(errors_and_lines) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
