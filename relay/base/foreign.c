/* Text of others, made fit for a terminal, for JSON or for a bounded place. Called by the log (JSON
 * lines), the control socket (answers) and the command line (what people see); any thread, no
 * state. */
#include "postern/foreign.h"

#include <errno.h>

#include "utf8.h"

#define REPLACEMENT "\xef\xbf\xbd"

static const struct {
	uint32_t from, to;
} unsafe[] = {
	{ 0x00, 0x1f }, { 0x7f, 0x9f }, /* DEL, C1 */
	{ 0x61c, 0x61c },		/* Arabic letter mark */
	{ 0x180e, 0x180e },		/* Mongolian vowel separator */
	{ 0x200b, 0x200b },		/* zero width space; joiners are letters of some scripts */
	{ 0x200e, 0x200f },		/* marks of direction */
	{ 0x2028, 0x202e },		/* separators, embeddings, overrides */
	{ 0x2060, 0x206f },		/* invisible operators, isolates, deprecated formats */
	{ 0xfeff, 0xfeff },		/* byte order mark */
	{ 0xfff9, 0xfffb },		/* interlinear annotation */
	{ 0xe0000, 0xe007f },		/* tags */
};

bool foreign_unsafe(uint32_t character)
{
	for (size_t i = 0; i < sizeof(unsafe) / sizeof(*unsafe); i++) {
		if (character >= unsafe[i].from && character <= unsafe[i].to)
			return true;
	}
	return false;
}

struct slice foreign_cut(struct slice s, size_t max)
{
	size_t n = max;

	if (s.n <= max)
		return s;
	/* what follows is not the start of a character: go back to the start of that one */
	while (n > 0 && max - n < 3 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
		n--;
	if (((unsigned char)s.p[n] & 0xc0) == 0x80)
		n = max; /* no UTF-8 at all */
	return (struct slice){ s.p, n };
}

void foreign_end(char *text)
{
	size_t n = strlen(text), from = n;

	while (from > 0 && n - from < 3 && ((unsigned char)text[from - 1] & 0xc0) == 0x80)
		from--;
	if (from == 0 || (unsigned char)text[from - 1] < 0xc0)
		return;
	from--;
	if (!utf8_sequence((const unsigned char *)text + from, n - from))
		text[from] = '\0';
}

int foreign_utf8(struct buf *out, struct slice s)
{
	const unsigned char *u = (const unsigned char *)s.p;
	size_t from = 0, at = 0;
	int r = 0;

	while (at < s.n && !r) {
		size_t n = u[at] ? utf8_sequence(u + at, s.n - at) : 0;

		at += n;
		if (n)
			continue;
		r = buf_add(out, s.p + from, at - from);
		if (!r)
			r = buf_add(out, REPLACEMENT, 3);
		from = ++at;
	}
	/* an empty text may be NULL */
	return r || at == from ? r : buf_add(out, s.p + from, at - from);
}

/* Of a sequence that utf8_sequence found. */
static uint32_t character_of(const unsigned char *p, size_t n)
{
	static const unsigned char lead[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	uint32_t c = p[0] & lead[n];

	for (size_t i = 1; i < n; i++)
		c = c << 6 | (p[i] & 0x3f);
	return c;
}

static int show_bad_byte(struct buf *out, unsigned char byte, enum foreign_form form)
{
	return form == FOREIGN_JSON ? buf_add(out, REPLACEMENT, 3)
				    : buf_printf(out, "\\x%02x", byte);
}

static int show_character(struct buf *out, uint32_t c, enum foreign_form form)
{
	if (form != FOREIGN_JSON)
		return buf_printf(out, c < 0x80 ? "\\x%02x" : "\\u{%x}", c);
	if (c < 0x10000)
		return buf_printf(out, "\\u%04x", c);
	c -= 0x10000;
	return buf_printf(out, "\\u%04x\\u%04x", 0xd800 | c >> 10, 0xdc00 | (c & 0x3ff));
}

int foreign_show(struct buf *out, struct slice s, enum foreign_form form)
{
	const unsigned char *u = (const unsigned char *)s.p;
	size_t from = 0, at = 0;
	int r = 0;

	while (at < s.n && !r) {
		size_t n = utf8_sequence(u + at, s.n - at);
		uint32_t c = n ? character_of(u + at, n) : 0;
		bool stays = form == FOREIGN_LINES && (c == '\n' || c == '\t');

		if (n && (stays || !foreign_unsafe(c))) {
			at += n;
			continue;
		}
		r = buf_add(out, s.p + from, at - from);
		if (!r)
			r = n ? show_character(out, c, form) : show_bad_byte(out, u[at], form);
		at += n ? n : 1;
		from = at;
	}
	/* an empty text may be NULL */
	return r || at == from ? r : buf_add(out, s.p + from, at - from);
}
