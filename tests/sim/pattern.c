/* Names and addresses in the simulator's scenario, written as patterns with a star and ranges:
 * what fits, and what they expand to. */
#include "pattern.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../peers/util.h"

bool range_find(
	const char *s, uint32_t *lo, uint32_t *hi, int *width, const char **begin, const char **end)
{
	const char *open = strchr(s, '{'), *dots;
	char *stop;

	if (!open || !isdigit((unsigned char)open[1]))
		return false;
	*lo = (uint32_t)strtoul(open + 1, &stop, 10);
	dots = stop;
	if (strncmp(dots, "..", 2) != 0 || !isdigit((unsigned char)dots[2]))
		return false;
	*width = open[1] == '0' && dots - open > 2 ? (int)(dots - open - 1) : 0;
	*hi = (uint32_t)strtoul(dots + 2, &stop, 10);
	if (*stop != '}')
		return false;
	*begin = open;
	*end = stop + 1;
	return *lo <= *hi;
}

static char *lower_dup(const char *s, size_t n, bool dashed)
{
	char *d = xstrndup(s, n);

	for (char *p = d; *p; p++) {
		*p = (char)tolower((unsigned char)*p);
		if (dashed && *p == '.')
			*p = '-';
	}
	return d;
}

int pattern_parse(struct pattern *ret, const char *s, const char **why)
{
	struct pattern p = { 0 };
	const char *begin = s + strlen(s), *end = begin;

	if (!*s || strlen(s) > 200) {
		*why = "a domain pattern has 1 to 200 characters";
		return -1;
	}
	if (strchr(s, '{')) {
		if (!range_find(s, &p.lo, &p.hi, &p.width, &begin, &end)) {
			*why = "a range in a domain pattern is written {first..last}";
			return -1;
		}
		p.kind = PATTERN_RANGE;
	} else if (strchr(s, '*')) {
		begin = strchr(s, '*');
		end = begin + 1;
		p.kind = PATTERN_STAR;
	}
	if (strpbrk(end, "{*")) {
		*why = "a domain pattern has at most one range or asterisk";
		return -1;
	}
	p.prefix = lower_dup(s, (size_t)(begin - s), false);
	p.suffix = lower_dup(end, strlen(end), false);
	p.dprefix = lower_dup(s, (size_t)(begin - s), true);
	p.dsuffix = lower_dup(end, strlen(end), true);
	*ret = p;
	return 0;
}

void pattern_deinit(struct pattern *p)
{
	free(p->prefix);
	free(p->suffix);
	free(p->dprefix);
	free(p->dsuffix);
	memset(p, 0, sizeof(*p));
}

static bool range_value(const struct pattern *p, const char *s, size_t n, uint32_t *index)
{
	uint64_t v = 0;

	if (!n || n > 9)
		return false;
	if (p->width ? n < (size_t)p->width || (n > (size_t)p->width && s[0] == '0')
		     : n > 1 && s[0] == '0')
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!isdigit((unsigned char)s[i]))
			return false;
		v = v * 10 + (uint64_t)(s[i] - '0');
	}
	if (v < p->lo || v > p->hi)
		return false;
	*index = (uint32_t)v;
	return true;
}

bool pattern_match(
	const struct pattern *p, const char *name, size_t n, bool dashed, uint32_t *index)
{
	const char *pre = dashed ? p->dprefix : p->prefix, *suf = dashed ? p->dsuffix : p->suffix;
	size_t np = strlen(pre), ns = strlen(suf);

	*index = 0;
	if (p->kind == PATTERN_EXACT)
		return n == np && memcmp(name, pre, n) == 0;
	if (n <= np + ns || memcmp(name, pre, np) != 0 || memcmp(name + n - ns, suf, ns) != 0)
		return false;
	if (p->kind == PATTERN_RANGE)
		return range_value(p, name + np, n - np - ns, index);
	/* one label: the MX form cannot tell dots from dashes */
	if (memchr(name + np, '.', n - np - ns))
		return false;
	*index = (uint32_t)hash_bytes(name + np, n - np - ns, 0);
	return true;
}

void pattern_domain(const struct pattern *p, uint32_t index, const char *star, size_t star_n,
	char out[NAME_MAX_TEXT])
{
	if (p->kind == PATTERN_RANGE)
		snprintf(out, NAME_MAX_TEXT, "%s%0*u%s", p->prefix, p->width, index, p->suffix);
	else
		snprintf(out, NAME_MAX_TEXT, "%s%.*s%s", p->prefix,
			p->kind == PATTERN_STAR ? (int)star_n : 0, star, p->suffix);
}

char *number_expand(const char *s, uint32_t number)
{
	struct buf b;
	const char *begin, *end, *n;
	uint32_t lo, hi;
	int width;

	buf_init(&b, 0);
	if (range_find(s, &lo, &hi, &width, &begin, &end)) {
		put(&b, s, (size_t)(begin - s));
		put_fmt(&b, "%0*u%s", width, number, end);
	} else if ((n = strstr(s, "{n}")) != NULL) {
		put(&b, s, (size_t)(n - s));
		put_fmt(&b, "%u%s", number, n + 3);
	} else {
		put_str(&b, s);
	}
	put(&b, "", 1);
	return b.p;
}

int addresses_expand(uint32_t **v, size_t *n, const char *s, uint32_t number)
{
	char *text = number_expand(s, number), *dash = strchr(text, '-');
	uint32_t first, last;
	int r = -1;

	if (dash)
		*dash = '\0';
	if (ip_parse(&first, text))
		goto out;
	last = first;
	if (dash) {
		unsigned long octet = strtoul(dash + 1, &dash, 10);

		if (*dash || octet > 255 || octet < (first & 255))
			goto out;
		last = (first & ~255U) | (uint32_t)octet;
	}
	if (first >> 24 != 127)
		goto out;
	*v = xrealloc(*v, (*n + last - first + 1) * sizeof(**v));
	for (uint32_t a = first; a <= last; a++)
		(*v)[(*n)++] = a;
	r = 0;
out:
	free(text);
	return r;
}
