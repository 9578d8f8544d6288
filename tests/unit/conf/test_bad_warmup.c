/* Bad plans of warm-ups, and the position and wording of each error. */
#include "bad.h"

/* A plan that is right but for what a row adds; "b" is a warm source of its pool. */
#define WARM_SOURCES                                                                               \
	"source \"b\" { address = \"192.0.2.2\" } source \"c\" { address = \"192.0.2.3\" }\n"      \
	"pool \"two\" { sources = {\"b\", \"c\"} }\n"
#define PLAN	 WARM_SOURCES "warmup \"w\" { sources = {\"b\"} start = \"2026-11-01\"\n"
#define PLAN_ALL WARM_SOURCES "warmup \"w\" { sources = {\"b\", \"c\"} start = \"2026-11-01\"\n"

static void test_warmup(void **state)
{
	static const struct row rows[] = {
		{ PLAN "}", { NULL } },
		{ PLAN "ladder = \"outlook\" }", { NULL } },
		{ PLAN "ladder = \"sparkpost\" pace = \"none\" overflow = \"wait\" }", { NULL } },
		{ PLAN "ladder = \"steep\" }",
			{ "4: warmup \"w\": ladder: there is no plan \"steep\"" } },
		{ PLAN "ladder = \"ses\" daily = {50} }",
			{ "4: warmup \"w\": give one of ladder, daily and first" } },
		{ PLAN "ladder = \"ses\" first = 50 }",
			{ "4: warmup \"w\": give one of ladder, daily and first" } },
		{ PLAN "daily = {} }", { "4: warmup \"w\": daily: at least one day is needed" } },
		{ PLAN "daily = {50, 0} }", { "4: warmup \"w\": daily: \"0\" is out of bounds" } },
		{ PLAN "daily = {50, 100, 100} }",
			{ "4: warning: warmup \"w\": daily: day 3 (100) is not more" } },
		{ PLAN "daily = {50, 126} }", { "4: warning: warmup \"w\": daily: from day 1 to 2 "
						"the step is from 50 to 126" } },
		{ PLAN "daily = {50, 125} }", { NULL } },
		{ PLAN "first = 100 growth = 3.0 ceiling = 1000 }",
			{ "4: warning: warmup \"w\": growth: from day 1 to 2" } },
		{ PLAN "first = 100 ceiling = 99 }",
			{ "4: warmup \"w\": ceiling: must not be less than first" } },
		{ PLAN "first = 1000 growth = 1.01 ceiling = 4000000000 }",
			{ "4: warmup \"w\": growth: ceiling would be reached after more than "
			  "400" } },
		{ PLAN "growth = \"1.0\" }",
			{ "4: warmup \"w\": growth: \"1.0\" is out of bounds" } },
		{ PLAN "pace = \"fast\" }", { "4: warmup \"w\": pace: \"fast\" is none of" } },
		{ PLAN "pace = \"hours\" }",
			{ "4: warmup \"w\": pace: \"hours\" needs the hours" } },
		{ PLAN "hours = \"08-18\" }",
			{ "4: warning: warmup \"w\": hours: only used with" } },
		{ PLAN "pace = \"hours\" hours = \"08:30-18\" }", { NULL } },
		{ PLAN "pace = \"hours\" hours = \"22-06\" }", { NULL } },
		{ PLAN "pace = \"hours\" hours = \"0-24\" }", { NULL } },
		{ PLAN "pace = \"hours\" hours = \"08-25\" }",
			{ "4: warmup \"w\": hours: \"08-25\"" } },
		{ PLAN "pace = \"hours\" hours = \"08-08\" }",
			{ "4: warmup \"w\": hours: \"08-08\"" } },
		{ PLAN "pace = \"hours\" hours = \"24-08\" }",
			{ "4: warmup \"w\": hours: \"24-08\"" } },
		{ PLAN "pace = \"hours\" hours = \"8:3-18\" }",
			{ "4: warmup \"w\": hours: \"8:3-18\"" } },
		{ PLAN "pace = \"hours\" hours = \"8\" }", { "4: warmup \"w\": hours: \"8\"" } },
		{ PLAN "hold_at = \"5%\" }",
			{ "3: warmup \"w\": step_back_at: must be more than hold_at" } },
		{ PLAN "pause_at = \"4.9%\" }",
			{ "4: warmup \"w\": pause_at: must be more than step_back_at" } },
		{ PLAN "hold_at = 0.005 }",
			{ "4: warmup \"w\": hold_at: \"0.005\" is not a percentage such as" } },
		{ PLAN "advance_at = \"101%\" }", { "4: warmup \"w\": advance_at: \"101%\" is out "
						    "of bounds: it must be from 0% "
						    "to 100%" } },
		{ PLAN "idle_reset = \"36h\" }",
			{ "4: warmup \"w\": idle_reset: write whole days" } },
		{ PLAN "idle_reset = 0 }", { NULL } },
		{ PLAN "provider = \"p\" }",
			{ "4: warmup \"w\": provider: there is no provider \"p\"" } },
		{ PLAN "overflow = \"pool:q\" }",
			{ "4: warmup \"w\": overflow: there is no pool \"q\"" } },
		{ PLAN "overflow = \"bounce\" }",
			{ "4: warmup \"w\": overflow: \"bounce\" is none of" } },
		{ PLAN "overflow = \"pool:main\" }", { NULL } },
		{ PLAN_ALL "overflow = \"pool:two\" }", { "4: warning: warmup \"w\": overflow: all "
							  "sources of pool \"two\" are new" } },
		{ PLAN_ALL "}",
			{ "3: warning: warmup \"w\": overflow: pool \"two\" has no other" } },
		{ PLAN_ALL "overflow = \"wait\" }", { NULL } },
		{ PLAN "}\nwarmup \"v\" { sources = {\"c\", \"b\"} start = \"2026-11-01\" overflow "
		       "= "
		       "\"wait\" }",
			{ "5: warmup \"v\": sources: warmup \"w\" in line 3 has a plan for source "
			  "\"b\" at the same provider" } },
		{ PLAN "}\nwarmup \"v\" { sources = {\"b\"} start = \"2026-11-01\" provider = "
		       "\"outlook\" }",
			{ NULL } },
		{ "warmup \"w\" { sources = {\"a\",\n\"x\", \"a\"} start = \"2026-02-29\" overflow "
		  "= "
		  "\"wait\" }",
			{ "1: warmup \"w\": sources: \"a\" is in it twice",
				"2: warmup \"w\": start: \"2026-02-29\" is not a date",
				"2: warmup \"w\": sources: there is no source \"x\"" } },
		{ "warmup \"w\" { sources = {\"a\"} overflow = \"wait\" }",
			{ "1: warmup \"w\": start is missing" } },
		{ "source \"z\" { address = \"192.0.2.9\" }\nwarmup \"w\" { sources = {\"z\"} "
		  "start = "
		  "\"2026-11-01\" }",
			{ "2: warning: warmup \"w\": sources: source \"z\" is in no pool" } },
		{ "timezone = \"Europe/Nowhere\"",
			{ "1: timezone: there is no zone \"Europe/Nowhere\"" } },
		{ "timezone = \"../etc/passwd\"", { "1: timezone: there is no zone" } },
		{ "timezone = \"Asia/Kathmandu\"", { NULL } },
	};
	static const char *const far[] = { "1: warning: warmup \"w\": start: ", NULL };

	check_rows(rows, COUNT(rows));
	check("warmup \"w\" { sources = {\"a\"} start = \"9999-01-01\" overflow = \"wait\" }", REST,
		far);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_warmup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
