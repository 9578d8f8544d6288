/* Macros in SPF records (RFC 7208 section 7), and names made of them. Called by spf.c; pure. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "spf_private.h"

#define PARTS_MAX 128

static void address_text(char out[ADDR_TEXT_MAX + 64], const struct addr *a)
{
	size_t n = 0;

	if (a->family == ADDR_V4) {
		snprintf(out, ADDR_TEXT_MAX + 64, "%u.%u.%u.%u", a->ip[0], a->ip[1], a->ip[2],
			a->ip[3]);
		return;
	}
	for (unsigned i = 0; i < 16; i++)
		n += (size_t)snprintf(out + n, ADDR_TEXT_MAX + 64 - n, i ? ".%x.%x" : "%x.%x",
			(unsigned)a->ip[i] >> 4, a->ip[i] & 15u);
}

/* The value of a letter, in text. -EINVAL: there is no such macro here. */
static int value_of(
	char letter, const struct spf_question *q, const char *domain, char *text, size_t max)
{
	switch (letter | 0x20) {
	case 's':
		snprintf(text, max, "%.128s@%.255s", q->local, q->domain);
		return 0;
	case 'l':
		snprintf(text, max, "%.128s", q->local);
		return 0;
	case 'o':
		snprintf(text, max, "%.255s", q->domain);
		return 0;
	case 'd':
		snprintf(text, max, "%.255s", domain);
		return 0;
	case 'h':
		snprintf(text, max, "%.255s", q->helo);
		return 0;
	case 'p': /* not to be used, and not found out here */
		snprintf(text, max, "unknown");
		return 0;
	case 'v':
		snprintf(text, max, "%s", q->ip.family == ADDR_V6 ? "ip6" : "in-addr");
		return 0;
	case 'i': {
		char address[ADDR_TEXT_MAX + 64];

		address_text(address, &q->ip);
		snprintf(text, max, "%s", address);
		return 0;
	}
	default:
		return -EINVAL;
	}
}

static int add_escaped(struct buf *out, struct slice s, bool escape)
{
	int r = 0;

	for (size_t i = 0; i < s.n && !r; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
			     strchr("-._~", c);

		r = escape && !plain ? buf_printf(out, "%%%02X", c) : buf_add(out, s.p + i, 1);
	}
	return r;
}

/* The parts of text, split at any of delimiters, reversed if wanted, the last `keep` of them. */
static int add_parts(struct buf *out, char *text, const char *delimiters, unsigned keep,
	bool reverse, bool escape)
{
	struct slice parts[PARTS_MAX];
	unsigned n = 0;
	int r = 0;

	for (char *p = text; n < PARTS_MAX; p++) {
		size_t len = strcspn(p, delimiters);

		parts[n++] = (struct slice){ p, len };
		p += len;
		if (!*p)
			break;
	}
	if (!keep || keep > n)
		keep = n;
	for (unsigned i = n - keep; i < n && !r; i++) {
		r = i > n - keep ? buf_add(out, ".", 1) : 0;
		r = r ? r : add_escaped(out, parts[reverse ? n - 1 - i : i], escape);
	}
	return r;
}

/* "{d2r.}" behind a '%'; *at stands on the brace, and behind the other at the end. */
static int expand_macro(struct buf *out, const struct spf_question *q, const char *domain,
	struct slice in, size_t *at)
{
	const char *close = memchr(in.p + *at, '}', in.n - *at);
	const char *p = in.p + *at + 1;
	char text[400], delimiters[16];
	unsigned keep = 0, digits = 0;
	bool reverse = false;
	size_t n;
	char letter;

	if (!close || p >= close || value_of(*p, q, domain, text, sizeof(text)))
		return -EINVAL;
	letter = *p++;
	for (; p < close && *p >= '0' && *p <= '9'; p++, digits++)
		keep = keep < 1000 ? keep * 10 + (unsigned)(*p - '0') : keep;
	if (digits && !keep)
		return -EINVAL;
	if (p < close && (*p | 0x20) == 'r') {
		reverse = true;
		p++;
	}
	n = (size_t)(close - p);
	if (n >= sizeof(delimiters))
		return -EINVAL;
	memcpy(delimiters, p, n);
	delimiters[n] = '\0';
	if (strspn(delimiters, ".-+,/_=") != n)
		return -EINVAL;
	*at = (size_t)(close - in.p) + 1;
	return add_parts(
		out, text, n ? delimiters : ".", keep, reverse, letter >= 'A' && letter <= 'Z');
}

int spf_expand(struct buf *out, const struct spf_question *q, const char *domain, struct slice in)
{
	size_t at = 0;
	int r = 0;

	while (at < in.n && !r) {
		char c = in.p[at];

		if (c != '%') {
			r = c > ' ' && c < 0x7f ? buf_add(out, &c, 1) : -EINVAL;
			at++;
			continue;
		}
		at++;
		c = at < in.n ? in.p[at] : '\0';
		if (c == '{') {
			r = expand_macro(out, q, domain, in, &at);
			continue;
		}
		at++;
		r = c == '%'   ? buf_add(out, "%", 1)
		    : c == '_' ? buf_add(out, " ", 1)
		    : c == '-' ? buf_add(out, "%20", 3)
			       : -EINVAL;
	}
	return r;
}

/* A name of DNS ends in a macro, or in a label that is no number behind a dot (section 7.1). */
static bool ends_well(struct slice s)
{
	struct slice label;
	const char *dot;
	bool letter = false;

	if (s.n && s.p[s.n - 1] == '}')
		return true;
	if (s.n && s.p[s.n - 1] == '.')
		s.n--;
	dot = s.n ? memrchr(s.p, '.', s.n) : NULL;
	if (!dot)
		return false;
	label = slice_from(s, (size_t)(dot - s.p) + 1);
	for (size_t i = 0; i < label.n; i++) {
		char c = (char)(label.p[i] | 0x20);
		bool alpha = c >= 'a' && c <= 'z', digit = label.p[i] >= '0' && label.p[i] <= '9';

		if (!alpha && !digit && (label.p[i] != '-' || i == 0 || i == label.n - 1))
			return false;
		letter = letter || alpha || label.p[i] == '-';
	}
	return label.n > 0 && letter;
}

int spf_name(
	char out[SPF_NAME_MAX], const struct spf_question *q, const char *domain, struct slice in)
{
	struct buf b;
	struct slice s;
	int r = ends_well(in) ? 0 : -EINVAL;

	buf_init(&b, 8192);
	if (!r)
		r = spf_expand(&b, q, domain, in);
	s = buf_slice(&b);
	if (!r && s.n && s.p[s.n - 1] == '.')
		s.n--;
	while (!r && s.n > 253) { /* labels go from the left */
		const char *dot = memchr(s.p, '.', s.n);

		s = dot ? slice_from(s, (size_t)(dot - s.p) + 1) : (struct slice){ s.p, 0 };
	}
	if (!r && (s.n == 0 || memchr(s.p, '\0', s.n)))
		r = -EINVAL;
	if (!r) {
		memcpy(out, s.p, s.n);
		out[s.n] = '\0';
	}
	buf_deinit(&b);
	return r;
}
