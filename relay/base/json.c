/* Building one line of a log: straight into the buffer, no printf, one pass over each value.
 * Called by whoever logs, on its own thread; text of others is made fit on the way (foreign.c). */
#include <errno.h>

#include "postern/foreign.h"
#include "postern/log.h"
#include "utf8.h"

#define VALUE_MAX 2048u
/* Six bytes for each of the worst kind, in a few dozen fields. */
#define LINE_MAX_BYTES (512u * 1024u)
#define REPLACEMENT    "\xef\xbf\xbd"

/* What a byte is inside a JSON string: 0 as it is, 'u' by number, 'x' part of a UTF-8 sequence,
 * else the letter after the backslash. */
static const char kind[256] = {
	[0x00 ... 0x07] = 'u',
	['\b'] = 'b',
	['\t'] = 't',
	['\n'] = 'n',
	[0x0b] = 'u',
	['\f'] = 'f',
	['\r'] = 'r',
	[0x0e ... 0x1f] = 'u',
	['"'] = '"',
	['\\'] = '\\',
	[0x7f] = 'u',
	[0x80 ... 0xff] = 'x',
};

static char *put(char *p, const char *s, size_t n)
{
	memcpy(p, s, n);
	return p + n;
}

static char *put_number(char *p, unsigned c)
{
	static const char hex[] = "0123456789abcdef";

	p = put(p, "\\u", 2);
	*p++ = hex[c >> 12 & 15];
	*p++ = hex[c >> 8 & 15];
	*p++ = hex[c >> 4 & 15];
	*p++ = hex[c & 15];
	return p;
}

/* A character of more than a byte. A log is read on terminals, too: what they would obey goes by
 * number. */
static char *put_character(char *p, const unsigned char *s, size_t len)
{
	uint32_t c = len == 2 ? s[0] & 0x1fu : len == 3 ? s[0] & 0x0fu : s[0] & 0x07u;

	for (size_t i = 1; i < len; i++)
		c = c << 6 | (s[i] & 0x3fu);
	if (!foreign_unsafe(c))
		return put(p, (const char *)s, len);
	if (c < 0x10000)
		return put_number(p, c);
	c -= 0x10000;
	return put_number(put_number(p, 0xd800 | c >> 10), 0xdc00 | (c & 0x3ff));
}

/* One byte, or sequence, that is not plain; *at moves behind it. At most six bytes a byte. */
static char *put_special(char *p, const unsigned char *s, size_t n, size_t *at)
{
	unsigned char c = s[*at];
	size_t len;

	if (kind[c] == 'x') {
		len = utf8_sequence(s + *at, n - *at);
		p = len ? put_character(p, s + *at, len) : put(p, REPLACEMENT, 3);
		*at += len ? len : 1;
		return p;
	}
	(*at)++;
	if (kind[c] == 'u')
		return put_number(p, c);
	*p++ = '\\';
	*p++ = kind[c];
	return p;
}

int json_quote(struct buf *b, struct slice s)
{
	const unsigned char *u = (const unsigned char *)s.p;
	size_t at = 0;
	char *p;
	int r;

	if (s.n > (SIZE_MAX - 2) / 6)
		return -ENOMEM;
	r = buf_reserve(b, 6 * s.n + 2);
	if (r)
		return r;
	p = b->p + b->len;
	*p++ = '"';
	while (at < s.n) {
		size_t from = at;

		while (at < s.n && !kind[u[at]])
			at++;
		p = put(p, s.p + from, at - from);
		if (at < s.n)
			p = put_special(p, u, s.n, &at);
	}
	*p++ = '"';
	b->len = (size_t)(p - b->p);
	return 0;
}

/* Keeps the first error: a line that lost a part is not handed over as if it were whole. */
static void check(struct log_line *ln, int r)
{
	if (r)
		ln->failed = true;
}

void log_line_init(struct log_line *ln)
{
	*ln = (struct log_line){ 0 };
	buf_init(&ln->b, LINE_MAX_BYTES);
}

void log_line_deinit(struct log_line *ln)
{
	buf_deinit(&ln->b);
}

/* ,"key": */
static void add_key(struct log_line *ln, const char *key)
{
	size_t n = strlen(key);
	char *p;
	int r = buf_reserve(&ln->b, n + 4);

	check(ln, r);
	if (r)
		return;
	p = ln->b.p + ln->b.len;
	*p++ = ',';
	*p++ = '"';
	p = put(p, key, n);
	*p++ = '"';
	*p++ = ':';
	ln->b.len += n + 4;
}

static void add_time(struct log_line *ln, ms_t wall)
{
	char *p;
	int r = buf_reserve(&ln->b, CLOCK_RFC3339_MAX + 2);

	check(ln, r);
	if (r)
		return;
	p = ln->b.p + ln->b.len;
	*p = '"';
	p += 1 + clock_rfc3339(p + 1, wall);
	*p++ = '"';
	ln->b.len = (size_t)(p - ln->b.p);
}

void log_line_begin(struct log_line *ln, ms_t wall, const char *event)
{
	buf_reset(&ln->b);
	ln->failed = false;
	ln->level = LOG_INFO;
	check(ln, buf_add_slice(&ln->b, SLICE_LIT("{\"time\":")));
	add_time(ln, wall);
	log_line_cstr(ln, "event", event);
}

void log_line_str(struct log_line *ln, const char *key, struct slice v)
{
	if (!v.p)
		return;
	add_key(ln, key);
	check(ln, json_quote(&ln->b, foreign_cut(v, VALUE_MAX)));
}

void log_line_cstr(struct log_line *ln, const char *key, const char *v)
{
	log_line_str(ln, key, slice_of(v));
}

void log_line_int(struct log_line *ln, const char *key, int64_t v)
{
	char digits[20];
	uint64_t left = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
	size_t n = sizeof(digits);

	do {
		digits[--n] = (char)('0' + left % 10);
		left /= 10;
	} while (left);
	if (v < 0)
		digits[--n] = '-';
	log_line_raw(ln, key, (struct slice){ digits + n, sizeof(digits) - n });
}

void log_line_bool(struct log_line *ln, const char *key, bool v)
{
	log_line_raw(ln, key, v ? SLICE_LIT("true") : SLICE_LIT("false"));
}

void log_line_time(struct log_line *ln, const char *key, ms_t wall)
{
	add_key(ln, key);
	add_time(ln, wall);
}

void log_line_fields(struct log_line *ln, const char *key, struct slice lines)
{
	bool first = true;

	add_key(ln, key);
	check(ln, buf_add(&ln->b, "{", 1));
	while (lines.n > 0) {
		const char *end = memchr(lines.p, '\n', lines.n);
		size_t n = end ? (size_t)(end - lines.p) : lines.n;
		const char *colon = memchr(lines.p, ':', n);
		size_t name = colon ? (size_t)(colon - lines.p) : n;
		struct slice text = slice_from((struct slice){ lines.p, n }, name + 1);

		if (!first)
			check(ln, buf_add(&ln->b, ",", 1));
		check(ln, json_quote(&ln->b, (struct slice){ lines.p, name }));
		check(ln, buf_add(&ln->b, ":", 1));
		check(ln, json_quote(&ln->b, foreign_cut(slice_trim(text), VALUE_MAX)));
		lines = slice_from(lines, end ? n + 1 : n);
		first = false;
	}
	check(ln, buf_add(&ln->b, "}", 1));
}

void log_line_raw(struct log_line *ln, const char *key, struct slice json)
{
	add_key(ln, key);
	check(ln, buf_add_slice(&ln->b, json));
}
