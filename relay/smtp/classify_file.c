/* Reads texts of rules into a classifier: comments, the lines that are no rules (`dated DATE`,
 * `builtin off`), and rules, which classify_rules.c knows. Called at start and at reload, by the
 * thread that loads the configuration; what comes of it is immutable.
 *
 * Texts are read in the order in which they are asked: an operator's own before the built-in. */
#include <errno.h>
#include <stdlib.h>

#include "classify_rule.h"

int reader_complain(struct reader *rd, const char *what, struct slice s, const char *remedy)
{
	rd->failed = true;
	return buf_printf(rd->errors, "%s:%u: %s%s%.*s%s%s\n", rd->name, rd->line, what,
		       s.n ? ": " : "", (int)(s.n < 80 ? s.n : 80), s.n ? s.p : "",
		       remedy ? "; " : "", remedy ? remedy : "")
		       ? -ENOMEM
		       : -EINVAL;
}

/* Without a comment: '#' at the start or after a blank, outside of quotes ("S#" is a token). */
static struct slice uncomment(struct slice s)
{
	bool quoted = false;

	for (size_t i = 0; i < s.n; i++) {
		quoted ^= s.p[i] == '"';
		if (s.p[i] == '#' && !quoted && (i == 0 || s.p[i - 1] == ' ' || s.p[i - 1] == '\t'))
			return (struct slice){ s.p, i };
	}
	return s;
}

/* 2026-11-28, of a day that may be in a calendar. */
static bool is_date(struct slice s)
{
	static const char form[] = "0000-00-00";
	unsigned month, day;

	if (s.n != sizeof(form) - 1)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (form[i] == '-' ? s.p[i] != '-' : s.p[i] < '0' || s.p[i] > '9')
			return false;
	}
	month = (unsigned)(s.p[5] - '0') * 10 + (unsigned)(s.p[6] - '0');
	day = (unsigned)(s.p[8] - '0') * 10 + (unsigned)(s.p[9] - '0');
	return month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

static int dated_parse(struct reader *rd, struct slice date)
{
	struct rules_about *about = &rd->c->text[rd->c->ntexts - 1];

	if (!is_date(date))
		return reader_complain(rd, "not a date", date, "write one like: dated 2026-11-28");
	if (*about->dated)
		return reader_complain(rd, "a second date", date, "a file has one");
	memcpy(about->dated, date.p, date.n);
	return 0;
}

static int builtin_parse(struct reader *rd, struct slice value)
{
	if (!slice_eq(value, SLICE_LIT("off")))
		return reader_complain(
			rd, "builtin can only be switched off", value, "write: builtin off");
	rd->last = true;
	return 0;
}

/* A line of two words is no rule. 0, -ENOMEM, or -EINVAL: told. */
static int line_parse(struct reader *rd, struct slice line)
{
	struct slice rest = line, word = rule_field(&rest), value = rule_field(&rest);

	if (slice_trim(rest).n > 0)
		return rule_parse(rd, line);
	if (slice_eq(word, SLICE_LIT("dated")))
		return dated_parse(rd, value);
	if (slice_eq(word, SLICE_LIT("builtin")))
		return builtin_parse(rd, value);
	return rule_parse(rd, line);
}

static int text_parse(struct reader *rd, struct slice text)
{
	while (text.n > 0) {
		const char *lf = memchr(text.p, '\n', text.n);
		struct slice line = { text.p, lf ? (size_t)(lf - text.p) : text.n };
		int r = 0;

		text = slice_from(text, line.n + 1);
		rd->line++;
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		line = slice_trim(uncomment(line));
		if (line.n > 0)
			r = line_parse(rd, line);
		if (r == -ENOMEM)
			return r;
	}
	return 0;
}

static int text_begin(struct reader *rd, const char *name)
{
	struct classifier *c = rd->c;

	rd->name = name;
	rd->line = 0;
	c->text[c->ntexts].name = slice_dup(slice_of(name));
	return c->text[c->ntexts++].name ? 0 : -ENOMEM;
}

static int texts_parse(struct reader *rd, const struct rules_text *texts, size_t n)
{
	int r = rule_provider(rd, SLICE_LIT("default"));

	for (size_t i = 0; r >= 0 && i < n && i < RULES_TEXTS_MAX && !rd->last; i++) {
		r = text_begin(rd, texts[i].name);
		if (!r)
			r = text_parse(rd, texts[i].text);
	}
	if (r < 0)
		return r;
	return rd->failed ? -EINVAL : 0;
}

int classifier_new_of(
	struct classifier **ret, const struct rules_text *texts, size_t n, struct buf *errors)
{
	struct reader rd = { .name = "", .errors = errors };
	struct classifier *c = calloc(1, sizeof(*c));
	int r = -ENOMEM;

	if (!c)
		return r;
	rd.c = c;
	r = texts_parse(&rd, texts, n);
	if (!r)
		r = vocabulary_build(&c->words);
	if (r == -ENOSPC)
		r = reader_complain(&rd, "too many words in all", (struct slice){ 0 },
			"take out rules, or say builtin off");
	if (r)
		classifier_free(c);
	else
		*ret = c;
	return r;
}

int classifier_new(struct classifier **ret, struct slice text, const char *name, struct buf *errors)
{
	struct rules_text one = { text, name };

	return classifier_new_of(ret, &one, 1, errors);
}

const struct rules_about *classifier_text(const struct classifier *c, size_t i)
{
	return i < c->ntexts ? &c->text[i] : NULL;
}

int classifier_describe(const struct classifier *c, struct buf *out)
{
	int r = 0;

	for (size_t i = 0; i < c->ntexts && !r; i++) {
		const struct rules_about *t = &c->text[i];

		r = buf_printf(out, "%s%s (%zu rules, %s%s)", i ? ", then " : "", t->name,
			t->nrules, *t->dated ? "dated " : "no date", t->dated);
	}
	return r;
}

struct classifier *classifier_free(struct classifier *c)
{
	if (!c)
		return NULL;
	for (unsigned i = 0; i < c->nproviders; i++)
		free(c->provider[i]);
	for (size_t i = 0; i < c->ntexts; i++)
		free(c->text[i].name);
	free(c->rules);
	free(c->terms);
	free(c->sets);
	free(c->set_words);
	vocabulary_deinit(&c->words);
	free(c);
	return NULL;
}
