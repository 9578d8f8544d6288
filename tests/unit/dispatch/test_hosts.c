/* Several hosts, and hosts with limits and memories of their own. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what the log says ---- */

/* The value of a text field of the line's. */
static void field(char out[64], const char *line, const char *end, const char *name)
{
	char key[40];
	const char *p;
	int n = snprintf(key, sizeof(key), "\"%s\":\"", name);

	p = memmem(line, (size_t)(end - line), key, (size_t)n);
	out[0] = '\0';
	if (p)
		snprintf(out, 64, "%.*s", (int)strcspn(p + n, "\""), p + n);
}

/* Events of the kind about the recipient, how many had another value in the field than the first
 * of any kind. */
static unsigned others(const char *log, const char *to, const char *name, unsigned *events)
{
	char first[64] = "";
	unsigned n = 0;

	*events = 0;
	for (const char *l = log, *end; (end = strchr(l, '\n')); l = end + 1) {
		char who[64], what[64];

		field(who, l, end, "to");
		field(what, l, end, name);
		if (strcmp(who, to) || !what[0])
			continue;
		if (!first[0])
			memcpy(first, what, sizeof(first));
		n += strcmp(first, what) != 0;
		++*events;
	}
	return n;
}

/* ---- greylisting ---- */

#define GREY 16u

/* Each message comes back from the address that the receiver saw first, also after a restart in
 * between. */
static void greylisted(bool restart)
{
	static struct mx_rule rules[GREY];
	static char match[GREY][16];
	char to[GREY][20];
	struct rig r;
	char *log;

	for (unsigned i = 0; i < GREY; i++) {
		snprintf(match[i], sizeof(match[i]), "<u%u@", i);
		rules[i] = (struct mx_rule){ .when = MX_RCPT,
			.match = match[i],
			.reply = "450 4.2.0 Greylisted, see you",
			.times = 2 };
		snprintf(to[i], sizeof(to[i]), "u%u@a.test", i);
	}
	rig_init(&r, rules, GREY);
	if (restart)
		r.schedule[0] = 1500;
	rig_start(&r);
	for (unsigned i = 0; i < GREY; i++)
		rig_send_to(&r, to[i]);
	if (restart) {
		WAIT_UNTIL(rig_stats(&r).deferred >= GREY && rig_stats(&r).work == 0);
		rig_stop_dispatch(&r);
		rig_start(&r);
	}
	WAIT_UNTIL(rig_waiting(&r) == 0);
	rig_stop_dispatch(&r);
	log = rig_log(&r);
	for (unsigned i = 0; i < GREY; i++) {
		unsigned n;

		assert_int_equal(others(log, to[i], "source", &n), 0);
		assert_int_equal(n, 3);
	}
	free(log);
	rig_stop(&r);
}

static void test_greylisted(void **state)
{
	greylisted(false);
}

static void test_greylisted_restart(void **state)
{
	greylisted(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_greylisted),
		cmocka_unit_test(test_greylisted_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
