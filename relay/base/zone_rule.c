/* The rule of a TZif file's footer: a POSIX TZ text, such as "CET-1CEST,M3.5.0,M10.5.0/3". Called
 * by zone_parse.c; pure. */
#include <errno.h>
#include <string.h>

#include "zone_private.h"

struct text {
	const char *p, *end;
};

static bool next_is(struct text *t, char c)
{
	if (t->p == t->end || *t->p != c)
		return false;
	t->p++;
	return true;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "CET" or "<+1030>" */
static bool skip_name(struct text *t)
{
	const char *from;

	if (next_is(t, '<')) {
		from = t->p;
		while (t->p < t->end &&
			(is_letter(*t->p) || is_digit(*t->p) || *t->p == '+' || *t->p == '-'))
			t->p++;
		return t->p - from >= 3 && next_is(t, '>');
	}
	from = t->p;
	while (t->p < t->end && is_letter(*t->p))
		t->p++;
	return t->p - from >= 3;
}

/* Digits, at most three, up to max. */
static bool get_number(struct text *t, int min, int max, int *ret)
{
	const char *from = t->p;
	int v = 0;

	while (t->p < t->end && is_digit(*t->p) && t->p - from < 3)
		v = v * 10 + (*t->p++ - '0');
	if (t->p == from || v < min || v > max)
		return false;
	*ret = v;
	return true;
}

/* "[+-]hh[:mm[:ss]]" */
static bool get_time(struct text *t, int hours_max, int32_t *ret)
{
	bool negative = next_is(t, '-');
	int h, m = 0, s = 0;

	if (!negative)
		next_is(t, '+');
	if (!get_number(t, 0, hours_max, &h))
		return false;
	if (next_is(t, ':')) {
		if (!get_number(t, 0, 59, &m))
			return false;
		if (next_is(t, ':') && !get_number(t, 0, 59, &s))
			return false;
	}
	*ret = (h * 3600 + m * 60 + s) * (negative ? -1 : 1);
	return true;
}

static bool get_change(struct text *t, struct zone_change *c)
{
	c->time = 2 * 3600;
	if (next_is(t, 'M')) {
		c->form = CHANGE_WEEKDAY;
		if (!get_number(t, 1, 12, &c->month) || !next_is(t, '.') ||
			!get_number(t, 1, 5, &c->week) || !next_is(t, '.') ||
			!get_number(t, 0, 6, &c->weekday))
			return false;
	} else {
		c->form = next_is(t, 'J') ? CHANGE_JULIAN : CHANGE_DAY;
		if (!get_number(t, c->form == CHANGE_JULIAN ? 1 : 0, 365, &c->day))
			return false;
	}
	return !next_is(t, '/') || get_time(t, 167, &c->time);
}

int zone_rule_parse(struct zone_rule *ret, struct slice text)
{
	struct text t = { text.p, text.p + text.n };
	struct zone_rule r = { 0 };

	/* the text says how much is to be added to get UTC: west is positive */
	if (!skip_name(&t) || !get_time(&t, 24, &r.standard))
		return -EINVAL;
	r.standard = -r.standard;
	if (t.p < t.end) {
		r.changes = true;
		r.summer = r.standard + 3600;
		if (!skip_name(&t))
			return -EINVAL;
		if (t.p < t.end && *t.p != ',') {
			if (!get_time(&t, 24, &r.summer))
				return -EINVAL;
			r.summer = -r.summer;
		}
		if (!next_is(&t, ',') || !get_change(&t, &r.start) || !next_is(&t, ',') ||
			!get_change(&t, &r.end))
			return -EINVAL;
	}
	if (t.p != t.end || r.standard < ZONE_OFFSET_MIN || r.summer < ZONE_OFFSET_MIN ||
		r.standard > ZONE_OFFSET_MAX || r.summer > ZONE_OFFSET_MAX)
		return -EINVAL;
	*ret = r;
	return 0;
}
