/* Texts as they are written, and files that include others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../temporary.h"
#include "postern/config.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char rest[] =
	"\nhostname = \"out.example.net\"\n"
	"listener \"in\" { address = {\"127.0.0.1:2525\"} allow = {\"127.0.0.0/8\"} }\n"
	"source \"a\" { address = \"192.0.2.1\" }\n"
	"pool \"main\" { sources = {\"a\"} }\n";

/* ---- texts ---- */

struct text_row {
	const char *written;
	const char *means; /* NULL: refused */
	const char *said;  /* part of what is said; NULL: nothing */
};

static void check_text(const struct text_row *row)
{
	struct config *c = NULL;
	struct buf all, errors;
	int r;

	buf_init(&all, 0);
	buf_init(&errors, 0);
	assert_int_equal(buf_printf(&all, "pid_file = %s%s", row->written, rest), 0);
	r = config_parse(&c, "x.conf", buf_slice(&all), &errors);
	assert_int_equal(buf_add(&errors, "", 1), 0);
	if ((r == 0) != (row->means != NULL) ||
		(row->said ? !strstr(errors.p, row->said) : errors.p[0] != '\0'))
		fail_msg("%s: %d: %s", row->written, r, errors.p);
	if (c)
		assert_string_equal(c->pid_file ? c->pid_file : "", row->means);
	config_free(c);
	buf_deinit(&all);
	buf_deinit(&errors);
}

static void test_texts(void **state)
{
	static const struct text_row rows[] = {
		{ "\"/a b\"", "/a b", NULL },
		{ "/plain/word", "/plain/word", NULL },
		{ "''", "", NULL },
		{ "\"\\x41\\102\\x7\\x7e\"", "AB\x07~", NULL },
		{ "\"\\a\\b\\e\\f\\t\\v\\\"\\\\\\q\"", "\a\b\033\f\t\v\"\\q", NULL },
		{ "\"one\\\n two\"", "one two", NULL },
		{ "'it\\'s \\\\ \\n \"${HOME}\"'", "it's \\ \\n \"${HOME}\"", NULL },
		{ "\"${CONF_TEST}/x\"", "value/x", NULL },
		{ "${CONF_TEST}", "value", NULL },
		{ "\"${CONF_TEST:-other}\"", "value", NULL },
		{ "\"${CONF_NONE:-a b:-c}\"", "a b:-c", NULL },
		{ "\"<${CONF_NONE:-}>\"", "<>", NULL },
		{ "\"<${CONF_NONE}>\"", "<>", "x.conf:1: warning: ${CONF_NONE}: the environment" },
		{ "\"$CONF_TEST ${\"", "$CONF_TEST ${", NULL },
		{ "\"a\\0b\"", NULL, "x.conf:1: syntax: a NUL byte cannot" },
		{ "\"a\\x00b\"", NULL, "x.conf:1: syntax: a NUL byte cannot" },
		{ "\"\\400\"", NULL, "x.conf:1: syntax: an octal escape is \\377 at most" },
		{ "\"\\8\"", NULL, "x.conf:1: syntax: \\8 and \\9 begin no escape" },
		{ "\"${}\"", NULL, "x.conf:1: syntax: \"${\" begins a variable" },
		{ "\"${A B}\"", NULL, "x.conf:1: syntax: \"${\" begins a variable" },
		{ "\"${:-x}\"", NULL, "x.conf:1: syntax: \"${\" begins a variable" },
	};

	setenv("CONF_TEST", "value", 1);
	unsetenv("CONF_NONE");
	for (size_t i = 0; i < COUNT(rows); i++)
		check_text(&rows[i]);
}

/* ---- files ---- */

struct directory {
	char path[128];
};

static void put(const struct directory *d, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", d->path, name);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

static int set_up(void **state)
{
	struct directory *d = calloc(1, sizeof(*d));
	char sub[160];

	temporary_name(d->path, sizeof(d->path), "include");
	assert_non_null(mkdtemp(d->path));
	snprintf(sub, sizeof(sub), "%s/conf.d", d->path);
	assert_int_equal(mkdir(sub, 0700), 0);
	*state = d;
	return 0;
}

static int tear_down(void **state)
{
	struct directory *d = *state;
	char command[192];

	snprintf(command, sizeof(command), "rm -r '%s'", d->path);
	assert_int_equal(system(command), 0);
	free(d);
	return 0;
}

/* Loads main.conf. What is said goes into said, with the directory and warnings taken out: these tell of
 * the machine. */
static struct config *load(const struct directory *d, char *said, size_t max)
{
	struct config *c = NULL;
	char path[256], *at, *line, *rest_of;
	size_t n = strlen(d->path) + 1;
	struct buf errors;
	int r;

	buf_init(&errors, 0);
	snprintf(path, sizeof(path), "%s/main.conf", d->path);
	r = config_load(&c, path, &errors);
	assert_int_equal(buf_add(&errors, "", 1), 0);
	rest_of = errors.p;
	*said = '\0';
	while ((line = strsep(&rest_of, "\n"))) {
		if (*line && !strstr(line, ": warning: "))
			snprintf(said + strlen(said), max - strlen(said), "%s\n", line);
	}
	while ((at = strstr(said, d->path)))
		memmove(at, at + n, strlen(at + n) + 1);
	assert_int_equal(r == 0, c != NULL);
	buf_deinit(&errors);
	return c;
}

static void loads(const struct directory *d)
{
	char said[4096];
	struct config *c = load(d, said, sizeof(said));

	if (!c || *said)
		fail_msg("%s", said);
	config_free(c);
}

static void says(const struct directory *d, const char *text)
{
	char said[4096];
	struct config *c = load(d, said, sizeof(said));

	if (c || strcmp(said, text) != 0)
		fail_msg("wanted: %s\ngot:    %s", text, said);
}

static void test_parts(void **state)
{
	const struct directory *d = *state;
	char said[1024];
	struct config *c;

	put(d, "main.conf",
		"workers = 3\ninclude \"conf.d/*.conf\"\nlog { level = \"warning\" }\n");
	put(d, "conf.d/20-pools.conf", "pool \"main\" { sources = {\"b\", \"a\"} }");
	put(d, "conf.d/10-sources.conf",
		"source \"b\" { address = \"192.0.2.2\" }\nsource \"a\" { address = \"192.0.2.1\" }");
	put(d, "conf.d/30-more.conf", "include \"deeper.inc\" hostname = \"out.example.net\"");
	put(d, "conf.d/deeper.inc",
		"listener \"in\" { address = {\"127.0.0.1:2525\"} allow = "
		"{\"127.0.0.0/8\"} }");
	put(d, "conf.d/ignored.conf~", "}}}");
	c = load(d, said, sizeof(said));
	if (!c || *said)
		fail_msg("%s", said);
	assert_int_equal(c->workers, 3);
	assert_int_equal(c->policy.nsources, 2);
	assert_string_equal(c->policy.sources[0].name, "b");
	assert_string_equal(c->hostname, "out.example.net");
	assert_int_equal(c->nlisteners, 1);
	config_free(c);
}

static void test_nothing_there(void **state)
{
	const struct directory *d = *state;
	char text[1024];

	snprintf(text, sizeof(text), "include \"conf.d/*.conf\"\ninclude \"no.d/*\"%s", rest);
	put(d, "main.conf", text);
	loads(d);
	snprintf(text, sizeof(text), "\ninclude \"conf.d/x.conf\"%s", rest);
	put(d, "main.conf", text);
	says(d, "main.conf:2: include: conf.d/x.conf cannot be read: No such file or directory\n");
}

/* Each error has its file and its line there; what is given twice, both. */
static void test_places(void **state)
{
	const struct directory *d = *state;
	char text[1024];

	snprintf(text, sizeof(text), "workers = 2\ninclude \"conf.d/*.conf\"\nfoo = 1%s", rest);
	put(d, "main.conf", text);
	put(d, "conf.d/a.conf", "\nworkers = 3\nqueue { expire = \"1x\" }\n");
	put(d, "conf.d/b.conf",
		"queue { }\npool \"main\" { sources = {\"a\"} }\nsource \"a\" { address = \"1\" }");
	says(d, "main.conf:3: unknown option \"foo\" in the file: remove it, or look for its name in "
		"`postern check --defaults`\n"
		"main.conf:6: source \"a\" is given again; it was given in line 3 of conf.d/b.conf: "
		"join the two, or give one another name\n"
		"main.conf:7: pool \"main\" is given again; it was given in line 2 of conf.d/b.conf: "
		"join the two, or give one another name\n"
		"conf.d/a.conf:2: workers is given again; it was given in line 1 of main.conf: remove "
		"one\n"
		"conf.d/a.conf:3: queue: expire: \"1x\" is not a duration: write it like \"90s\", "
		"\"5m\", \"4h\" or \"2d\"\n"
		"conf.d/b.conf:1: queue is given again; it was given in line 3 of conf.d/a.conf: join "
		"the two\n"
		"conf.d/b.conf:3: source \"a\": address: \"1\" is not an IP address\n");
}

static void test_broken(void **state)
{
	const struct directory *d = *state;
	char text[1024];

	snprintf(text, sizeof(text), "include \"conf.d/*.conf\"\nfoo = 1%s", rest);
	put(d, "main.conf", text);
	put(d, "conf.d/a.conf", "\nworkers = = 3\nhostname = \"-\"\n");
	put(d, "conf.d/b.conf", "\n\n}\n");
	says(d, "main.conf:2: unknown option \"foo\" in the file: remove it, or look for its name in "
		"`postern check --defaults`\n"
		"conf.d/a.conf:2: syntax: a value is missing after \"=\"\n"
		"conf.d/b.conf:3: syntax: a closing brace too many\n");
}

static void test_circles(void **state)
{
	const struct directory *d = *state;
	char text[1024];

	snprintf(text, sizeof(text), "include \"main.conf\"%s", rest);
	put(d, "main.conf", text);
	says(d, "main.conf:1: include: main.conf is being read already, and led here: a circle\n");
	snprintf(text, sizeof(text), "include \"conf.d/*\"%s", rest);
	put(d, "main.conf", text);
	put(d, "conf.d/a", "include \"../conf.d/b\"");
	put(d, "conf.d/b", "\ninclude \"a\"");
	says(d, "conf.d/../conf.d/b:2: include: conf.d/../conf.d/a is being read already, and led here: "
		"a circle\n"
		"conf.d/a:1: include: conf.d/../conf.d/b is being read already, and led here: a "
		"circle\n");
}

static void test_bounds(void **state)
{
	const struct directory *d = *state;
	char name[32], text[1024];

	snprintf(text, sizeof(text), "include \"conf.d/1\"%s", rest);
	put(d, "main.conf", text);
	for (int i = 1; i <= 9; i++) {
		snprintf(name, sizeof(name), "conf.d/%d", i);
		snprintf(text, sizeof(text), "include \"%d\"", i + 1);
		put(d, name, i == 8 ? "" : text);
	}
	loads(d);
	put(d, "conf.d/8", "include \"9\"");
	says(d, "conf.d/8:1: include: files include one another more than 8 deep\n");

	snprintf(text, sizeof(text), "include \"conf.d/*.many\"%s", rest);
	put(d, "main.conf", text);
	for (int i = 0; i < 1001; i++) {
		snprintf(name, sizeof(name), "conf.d/%04d.many", i);
		put(d, name, "");
	}
	says(d, "main.conf:1: include: more than 1000 files in all\n");
}

static void test_what_is_read(void **state)
{
	const struct directory *d = *state;
	char path[256], text[1024];

	snprintf(text, sizeof(text), "include \"conf.d/*\"%s", rest);
	put(d, "main.conf", text);
	snprintf(path, sizeof(path), "%s/conf.d/pipe", d->path);
	assert_int_equal(mkfifo(path, 0600), 0);
	says(d, "main.conf:1: include: conf.d/pipe cannot be read: it is not a regular file\n");
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	says(d, "main.conf:1: include: conf.d/pipe cannot be read: Is a directory\n");
	rmdir(path);
	snprintf(text, sizeof(text), "queue { include \"conf.d/*\" }%s", rest);
	put(d, "main.conf", text);
	says(d, "main.conf:1: include: it stands outside all sections\n");
}

/* A command finds the relay also where the setting is in an included file, and others are broken. */
static void test_setting(void **state)
{
	const struct directory *d = *state;
	char path[256], value[64];

	snprintf(path, sizeof(path), "%s/main.conf", d->path);
	assert_int_equal(config_setting(path, "control", "socket", value, sizeof(value)), -ENOENT);
	put(d, "main.conf", "} include \"conf.d/*\" workers = = { control { socket = 'no' } }");
	put(d, "conf.d/a", "log { file = \"x\" }");
	assert_int_equal(config_setting(path, "control", "socket", value, sizeof(value)), 1);
	put(d, "conf.d/b", "control = \"x\" control { mode = 5 socket = \"/run/\\x70\" }");
	put(d, "conf.d/c", "include \"c\" control { socket = \"/second\" }");
	assert_int_equal(config_setting(path, "control", "socket", value, sizeof(value)), 0);
	assert_string_equal(value, "/run/p");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test_setup_teardown(test_parts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nothing_there, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_places, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_broken, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_circles, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_setting, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
