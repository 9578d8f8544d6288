/* The shipped rules against replies that an expert labelled. usage: test_classify_tables RULES
 * TABLE... */
#include <string.h>

#include "classify_rig.h"

#define COLUMNS	   5
#define TABLES_MAX 16

static const char *tables[TABLES_MAX];
static int ntables;

static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] == 'n') {
			*to++ = '\n';
			s++;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* Splits at tabs; the last column takes what is left. */
static void split(char *line, char *column[COLUMNS])
{
	for (int i = 0; i < COLUMNS; i++) {
		column[i] = line;
		line = i + 1 < COLUMNS ? strchr(line, '\t') : NULL;
		if (i + 1 < COLUMNS && !line)
			fail_msg("too few columns: %s", column[0]);
		if (line)
			*line++ = '\0';
	}
}

struct score {
	unsigned rows, wrong, harmful;
	unsigned microsoft, microsoft_wrong;
};

/* A source's fault taken for the recipient's or the message's: mail would be lost. */
static bool is_harmful(enum verdict want, enum verdict got)
{
	return (want == VERDICT_SOURCE_BLOCK || want == VERDICT_SOURCE_THROTTLE) &&
	       (got == VERDICT_RECIPIENT_INVALID || got == VERDICT_MESSAGE_REJECTED);
}

static void row_check(char *line, struct score *score)
{
	char *column[COLUMNS];
	struct classification got;
	enum verdict want;
	static struct reply r;

	split(line, column);
	assert_int_equal(verdict_parse(&want, slice_of(column[0])), 0);
	unescape(column[4]);
	assert_int_equal(reply_from_text(&r, slice_of(column[4])), 0);
	classify(shipped, slice_of(column[1]), slice_of(column[2]), &r, &got);
	score->rows++;
	score->microsoft += strcmp(column[1], "default") != 0;
	if (got.verdict == want)
		return;
	score->wrong++;
	score->microsoft_wrong += strcmp(column[1], "default") != 0;
	score->harmful += is_harmful(want, got.verdict);
	print_error("want %s, got %s by line %u (%s %s): %s\n", column[0],
		verdict_name(got.verdict), got.rule_line, column[1], column[2], column[4]);
}

static void table_check(const char *path, struct score *score)
{
	size_t n;
	char *text = file_read(path, &n), *line = text;

	while (*line) {
		char *end = strchr(line, '\n');

		if (end)
			*end = '\0';
		if (*line && *line != '#')
			row_check(line, score);
		line = end ? end + 1 : line + strlen(line);
	}
	free(text);
}

static void test_tables(void **state)
{
	for (int i = 0; i < ntables; i++) {
		struct score score = { 0 };

		table_check(tables[i], &score);
		print_message(
			"%s: %u of %u right\n", tables[i], score.rows - score.wrong, score.rows);
		assert_int_equal(score.harmful, 0);
		assert_int_equal(score.microsoft_wrong, 0);
		/* other receivers' labels in the collection are as first given */
		if (strstr(tables[i], "collected"))
			assert_true(score.wrong * 100 <= score.rows * 2);
		else
			assert_int_equal(score.wrong, 0);
		assert_true(score.rows >= 60);
	}
}

/* ---- the same replies, written in other ways ---- */

static void to_upper(char *out, const char *s)
{
	for (; *s; s++)
		*out++ = *s >= 'a' && *s <= 'z' ? (char)(*s & ~0x20) : *s;
	*out = '\0';
}

static void to_lower(char *out, const char *s)
{
	for (; *s; s++)
		*out++ = *s >= 'A' && *s <= 'Z' ? (char)(*s | 0x20) : *s;
	*out = '\0';
}

static void blanks_doubled(char *out, const char *s)
{
	for (; *s; s++) {
		*out++ = *s;
		if (*s == ' ')
			*out++ = ' ';
	}
	*out = '\0';
}

static void blanks_lost(char *out, const char *s)
{
	for (; *s; s++) {
		*out++ = *s;
		if (strchr(".,;)]", *s) && s[1] == ' ')
			s++;
	}
	*out = '\0';
}

static void blanks_broken(char *out, const char *s)
{
	for (unsigned n = 0; *s; s++)
		*out++ = *s == ' ' && ++n % 6 == 0 ? '\n' : *s;
	*out = '\0';
}

static void digits_masked(char *out, const char *s)
{
	const char *at;

	while ((at = strstr(s, "192.0.2."))) {
		memcpy(out, s, (size_t)(at - s));
		out += at - s;
		memcpy(out, "x.xx.xx.xx", 10);
		out += 10;
		s = at + 8 + strspn(at + 8, "0123456789");
	}
	memcpy(out, s, strlen(s) + 1);
}

static void tail_added(char *out, const char *s)
{
	sprintf(out,
		"%s [DB5PEPF00014B9B.eurprd02.prod.outlook.com 2025-11-25T08:06:40.951Z "
		"08DE2A19D02BF789]",
		s);
}

static void tails_removed(char *out, const char *s)
{
	const char *end;

	while (*s) {
		end = *s == '[' ? strchr(s, ']') : NULL;
		if (end && end - s > 30)
			s = end + 1;
		else
			*out++ = *s++;
	}
	*out = '\0';
}

static void code_set_off(char *out, const char *s)
{
	sprintf(out, "%.3s; %s", s, s + 4);
}

static void variation_check(char *line, void (*vary)(char *, const char *), struct score *score)
{
	static char text[8192];
	char *column[COLUMNS];
	struct classification got;
	enum verdict want;
	static struct reply r;

	split(line, column);
	if (!strcmp(column[1], "default"))
		return;
	assert_int_equal(verdict_parse(&want, slice_of(column[0])), 0);
	unescape(column[4]);
	vary(text, column[4]);
	assert_int_equal(reply_from_text(&r, slice_of(text)), 0);
	classify(shipped, slice_of(column[1]), slice_of(column[2]), &r, &got);
	score->rows++;
	if (got.verdict == want)
		return;
	score->wrong++;
	score->harmful += is_harmful(want, got.verdict);
	print_error("want %s, got %s by line %u: %s\n", column[0], verdict_name(got.verdict),
		got.rule_line, text);
}

static void test_variations(void **state)
{
	static void (*const vary[])(char *, const char *) = { to_upper, to_lower, blanks_doubled,
		blanks_lost, blanks_broken, digits_masked, tail_added, tails_removed,
		code_set_off };
	struct score score = { 0 };

	for (size_t k = 0; k < COUNT(vary); k++) {
		for (int i = 0; i < ntables; i++) {
			size_t n;
			char *text = file_read(tables[i], &n), *rest = text, *line;

			while ((line = strsep(&rest, "\n"))) {
				if (*line && *line != '#')
					variation_check(line, vary[k], &score);
			}
			free(text);
		}
	}
	print_message("%u of %u right\n", score.rows - score.wrong, score.rows);
	assert_int_equal(score.harmful, 0);
	assert_true(score.wrong * 100 <= score.rows);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_variations),
	};

	if (argc < 3 || argc - 2 > TABLES_MAX) {
		fprintf(stderr, "usage: %s RULES TABLE...\n", argv[0]);
		return 64;
	}
	rules_path = argv[1];
	for (ntables = 0; ntables < argc - 2; ntables++)
		tables[ntables] = argv[2 + ntables];
	return cmocka_run_group_tests(tests, load, unload);
}
