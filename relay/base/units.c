/* Durations, sizes and rates as people write them, to values; durations also back. Pure; called by
 * the reader of configurations and by the commands. */
#include <errno.h>

#include "postern/text.h"

struct unit {
	const char *name;
	uint64_t scale;
};

/* largest first */
static const struct unit time_units[] = {
	{ "d", 86400000 },
	{ "h", 3600000 },
	{ "m", 60000 },
	{ "s", 1000 },
	{ "ms", 1 },
};

static const struct unit size_units[] = {
	{ "TiB", 1ull << 40 },
	{ "GiB", 1ull << 30 },
	{ "MiB", 1ull << 20 },
	{ "KiB", 1ull << 10 },
	{ "B", 1 },
	{ "", 1 },
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const struct unit *unit_find(const struct unit *units, size_t n, struct slice name)
{
	for (size_t i = 0; i < n; i++) {
		if (slice_case_eq(slice_of(units[i].name), name))
			return &units[i];
	}
	return NULL;
}

/* A number and the letters that follow it; *at moves behind both. */
static int number_and_unit(struct slice s, size_t *at, const struct unit *units, size_t n,
	const struct unit **unit, uint64_t *ret)
{
	size_t digits = *at, letters;
	uint64_t v;
	int r;

	while (digits < s.n && is_digit(s.p[digits]))
		digits++;
	r = slice_u64((struct slice){ s.p + *at, digits - *at }, &v);
	if (r)
		return r;
	letters = digits;
	while (letters < s.n && !is_digit(s.p[letters]))
		letters++;
	*unit = unit_find(units, n, (struct slice){ s.p + digits, letters - digits });
	if (!*unit)
		return -EINVAL;
	if (__builtin_mul_overflow(v, (*unit)->scale, ret))
		return -ERANGE;
	*at = letters;
	return 0;
}

int duration_parse(ms_t *ret, struct slice s)
{
	const struct unit *unit, *before = NULL;
	uint64_t total = 0, part;
	size_t at = 0;
	int r;

	if (slice_eq(s, SLICE_LIT("0"))) {
		*ret = 0;
		return 0;
	}
	if (s.n == 0)
		return -EINVAL;
	while (at < s.n) {
		r = number_and_unit(s, &at, time_units, COUNT(time_units), &unit, &part);
		if (r)
			return r;
		/* "1h30m", but not "30m1h" and not "1m1m", which are slips rather than durations */
		if (before && unit <= before)
			return -EINVAL;
		before = unit;
		if (__builtin_add_overflow(total, part, &total) || total > INT64_MAX)
			return -ERANGE;
	}
	*ret = (ms_t)total;
	return 0;
}

static char *put_u64(char *p, uint64_t v)
{
	char digits[20];
	size_t n = sizeof(digits);

	do {
		digits[--n] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	memcpy(p, digits + n, sizeof(digits) - n);
	return p + sizeof(digits) - n;
}

size_t duration_format(char out[32], ms_t d)
{
	uint64_t left = d < 0 ? 0 - (uint64_t)d : (uint64_t)d;
	char *p = out;
	int parts = 0;

	if (d < 0)
		*p++ = '-';
	/* two units are enough for people: seconds do not matter beside days. What was given in
	 * round figures comes back as it was given */
	for (size_t i = 0; i < COUNT(time_units) && parts < 2; i++) {
		uint64_t n = left / time_units[i].scale;

		if (n == 0) {
			if (parts > 0)
				parts++;
			continue;
		}
		p = put_u64(p, n);
		for (const char *u = time_units[i].name; *u; u++)
			*p++ = *u;
		left %= time_units[i].scale;
		parts++;
	}
	if (p == out) {
		*p++ = '0';
		*p++ = 's';
	}
	*p = '\0';
	return (size_t)(p - out);
}

int size_parse(uint64_t *ret, struct slice s)
{
	const struct unit *unit;
	uint64_t v;
	size_t at = 0;
	int r = number_and_unit(s, &at, size_units, COUNT(size_units), &unit, &v);

	if (r)
		return r;
	if (at != s.n)
		return -EINVAL;
	*ret = v;
	return 0;
}

int rate_parse(struct rate *ret, struct slice s)
{
	const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
	uint64_t count;
	ms_t per;
	int r;

	if (!slash)
		return -EINVAL;
	r = slice_u64((struct slice){ s.p, (size_t)(slash - s.p) }, &count);
	if (r)
		return r;
	r = duration_parse(&per, slice_from(s, (size_t)(slash - s.p) + 1));
	if (r)
		return r;
	/* nothing per minute is not a rate but a full stop, which has options of its own */
	if (count == 0 || per == 0)
		return -EINVAL;
	if (count > UINT32_MAX)
		return -ERANGE;
	*ret = (struct rate){ .count = (uint32_t)count, .per = per };
	return 0;
}
