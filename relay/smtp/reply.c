/* Replies of receivers, byte by byte; see smtp_reply.h. Pure; called by client.c, and by classify
 * for replies out of logs.
 *
 * Bytes → line → reply. More is read than is kept: a reply that is too long is understood by its
 * code and its beginning, and its end is still found. */
#include "postern/smtp_reply.h"

#include <errno.h>
#include <stdio.h>

#include "postern/foreign.h"

void reply_parser_init(struct reply_parser *p)
{
	/* the text's room stays as it is: nothing reads past n */
	p->reply.code = 0;
	p->reply.n = 0;
	p->reply.text[0] = '\0';
	p->ehlo = NULL;
	p->line_n = 0;
	p->bytes = 0;
	p->any = false;
}

static void reply_clear(struct reply *r)
{
	memset(r->enhanced, 0, sizeof(r->enhanced));
	r->detail = 0;
	r->has_enhanced = false;
	r->truncated = false;
	r->lines = 0;
	r->n = 0;
	r->code = 0;
	r->text[0] = '\0';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A number of one to three digits at *at, which moves past it; -1 when there is none. */
static int small_number(struct slice s, size_t *at)
{
	size_t first = *at;
	int v = 0;

	while (*at < s.n && is_digit(s.p[*at]) && *at - first < 3)
		v = v * 10 + (s.p[(*at)++] - '0');
	if (*at == first || (*at < s.n && is_digit(s.p[*at])))
		return -1;
	return v;
}

/* Notes the enhanced code at the start of a reply's first line. "#5.1.0" and "[4.7.1]" occur. */
static void enhanced_parse(struct reply *r, struct slice s)
{
	int part[3];
	size_t at = 0;

	while (at < s.n && at < 4 && !is_alnum(s.p[at]))
		at++;
	for (unsigned i = 0; i < 3; i++) {
		if (i > 0 && (at >= s.n || s.p[at++] != '.'))
			return;
		part[i] = small_number(s, &at);
		if (part[i] < 0)
			return;
	}
	if (part[0] != 2 && part[0] != 4 && part[0] != 5)
		return;
	/* four numbers are an address, and "5.7.1abc" is something else */
	if (at < s.n &&
		(is_alnum(s.p[at]) || (s.p[at] == '.' && at + 1 < s.n && is_digit(s.p[at + 1]))))
		return;
	r->has_enhanced = true;
	r->enhanced[0] = (uint8_t)part[0];
	r->enhanced[1] = (uint8_t)(part[1] > 255 ? 255 : part[1]);
	r->enhanced[2] = (uint8_t)(part[2] > 255 ? 255 : part[2]);
	r->detail = (uint16_t)part[2];
}

static struct slice trim_end(struct slice s)
{
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' || s.p[s.n - 1] == '\r'))
		s.n--;
	return s;
}

/* The longest beginning of s, of at most max bytes, that does not end within a character. */
static struct slice cut(struct slice s, size_t max)
{
	size_t n = s.n < max ? s.n : max, back = 0;

	if (n == s.n)
		return s;
	while (back < n && back < 3 && ((unsigned char)s.p[n - 1 - back] & 0xc0u) == 0x80)
		back++;
	if (back < n) {
		unsigned char lead = (unsigned char)s.p[n - 1 - back];
		size_t len = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;

		if (len > back + 1)
			n -= back + 1;
	}
	return (struct slice){ s.p, n };
}

static void text_add(struct reply *r, struct slice s)
{
	size_t room = REPLY_TEXT_MAX - 1 - r->n;
	char *to = r->text + r->n;

	if (r->truncated)
		return;
	if (r->lines > 0) {
		if (room == 0) {
			r->truncated = true;
			return;
		}
		*to++ = '\n';
		room--;
		r->n++;
	}
	if (s.n > room) {
		s = cut(s, room);
		r->truncated = true;
	}
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		*to++ = c == '\t' ? ' ' : ((c < 0x20 && c != '\n') || c == 0x7f) ? '?' : s.p[i];
	}
	*to = '\0';
	r->n += (uint32_t)s.n;
}

/* The code at the start of a line, 0 when it has none. */
static uint16_t line_code(struct slice s)
{
	if (s.n < 3 || s.p[0] < '2' || s.p[0] > '5' || !is_digit(s.p[1]) || !is_digit(s.p[2]))
		return 0;
	if (s.n > 3 && is_alnum(s.p[3]))
		return 0;
	return (uint16_t)((s.p[0] - '0') * 100 + (s.p[1] - '0') * 10 + (s.p[2] - '0'));
}

/* s: a line without its end, or as much of it as is read. */
static enum reply_status line_take(struct reply_parser *p, struct slice s)
{
	struct reply *r = &p->reply;
	uint16_t code;
	bool last;

	s = trim_end(s);
	code = line_code(s);
	if (code == 0 || (r->lines > 0 && code != r->code))
		return REPLY_BAD;
	r->code = code;
	last = s.n <= 3 || s.p[3] != '-';
	s = slice_from(s, s.n > 3 && (s.p[3] == ' ' || s.p[3] == '-' || s.p[3] == '\t') ? 4 : 3);
	if (r->lines == 0)
		enhanced_parse(r, s);
	if (p->ehlo && code / 100 == 2)
		ehlo_line(p->ehlo, s, r->lines == 0);
	text_add(r, s);
	r->lines++;
	if (last)
		return REPLY_DONE;
	return r->lines < REPLY_LINES_MAX ? REPLY_MORE : REPLY_CUT;
}

/* Adds a piece to the unfinished line, as far as lines are kept. */
static void line_add(struct reply_parser *p, struct slice piece)
{
	size_t room = REPLY_LINE_MAX - p->line_n;
	size_t n = piece.n < room ? piece.n : room;

	memcpy(p->line + p->line_n, piece.p, n);
	p->line_n += (uint32_t)n;
}

/* The reply has come to the end of what is read of one. What is there of its last line counts only
 * when it says the same, or is too short to say anything. */
static enum reply_status over(struct reply_parser *p, struct slice line)
{
	if (line.n < 4)
		return p->reply.lines > 0 ? REPLY_CUT : REPLY_BAD;
	return line_take(p, cut(line, REPLY_LINE_MAX)) == REPLY_BAD ? REPLY_BAD : REPLY_CUT;
}

/* One piece of input; whole: a line ends with it. */
static enum reply_status piece_take(struct reply_parser *p, struct slice piece, bool whole)
{
	size_t room = REPLY_BYTES_MAX - p->bytes;
	bool too_much = piece.n > room;

	if (too_much)
		piece.n = room;
	p->bytes += (uint32_t)piece.n;
	/* a line in pieces is gathered; whole ones are read where they lie */
	if (p->line_n > 0 || (!whole && !too_much)) {
		line_add(p, piece);
		piece = (struct slice){ p->line, p->line_n };
	}
	if (too_much)
		return over(p, piece);
	if (!whole)
		return REPLY_MORE;
	p->line_n = 0;
	return line_take(p, cut(piece, REPLY_LINE_MAX));
}

enum reply_status reply_feed(struct reply_parser *p, struct slice in, size_t *used)
{
	enum reply_status status = REPLY_MORE;
	size_t at = 0;

	*used = 0;
	if (in.n == 0)
		return REPLY_MORE;
	if (!p->any && p->line_n == 0) {
		reply_clear(&p->reply);
		p->bytes = 0;
	}
	while (at < in.n && status == REPLY_MORE) {
		const char *lf = memchr(in.p + at, '\n', in.n - at);
		struct slice piece = { in.p + at, lf ? (size_t)(lf - in.p) - at : in.n - at };

		at += piece.n + (lf != NULL);
		status = piece_take(p, piece, lf != NULL);
		if (lf)
			p->any = status == REPLY_MORE;
	}
	*used = at;
	return status;
}

void reply_copy(struct reply *dst, const struct reply *src)
{
	size_t n = offsetof(struct reply, text) + src->n + 1;

	if (dst != src)
		memcpy(dst, src, n);
}

void reply_make(struct reply *r, uint16_t code, const char *text)
{
	reply_clear(r);
	r->code = code;
	enhanced_parse(r, slice_of(text));
	text_add(r, slice_of(text));
	r->lines = 1;
}

/* Without the code that starts the line, whatever stands between it and the text. */
static struct slice without_code(struct slice s)
{
	size_t at = 3;

	while (at < s.n && s.p[at] && strchr(" \t-;:,", s.p[at]))
		at++;
	return slice_from(s, at);
}

int reply_from_text(struct reply *r, struct slice s)
{
	s = slice_trim(s);
	reply_clear(r);
	r->code = line_code(s);
	if (r->code == 0)
		return -EINVAL;
	while (s.n > 0 && r->lines < REPLY_LINES_MAX) {
		const char *lf = memchr(s.p, '\n', s.n);
		struct slice line =
			slice_trim((struct slice){ s.p, lf ? (size_t)(lf - s.p) : s.n });

		s = lf ? slice_from(s, (size_t)(lf - s.p) + 1) : (struct slice){ s.p + s.n, 0 };
		line = trim_end(line);
		if (line_code(line) == r->code)
			line = without_code(line);
		if (r->lines == 0)
			enhanced_parse(r, line);
		text_add(r, line);
		r->lines++;
	}
	return 0;
}

void reply_enhanced_format(char out[16], const struct reply *r)
{
	if (r->has_enhanced)
		snprintf(out, 16, "%u.%u.%u", r->enhanced[0], r->enhanced[1], r->detail);
	else
		out[0] = '\0';
}

size_t reply_format(char *out, size_t max, const struct reply *r)
{
	size_t n = 0;
	uint32_t i;

	if (max == 0)
		return 0;
	if (r->code && max > 4) {
		n = (size_t)snprintf(out, max, "%03u", r->code);
		if (r->n > 0)
			out[n++] = ' ';
	}
	for (i = 0; i < r->n && n < max - 1; i++)
		out[n++] = r->text[i] == '\n' ? ' ' : r->text[i];
	out[n] = '\0';
	if (i < r->n) {
		foreign_end(out);
		n = strlen(out);
	}
	return n;
}
