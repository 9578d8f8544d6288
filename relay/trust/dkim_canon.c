/* The canonical forms of RFC 6376 section 3.4: what two ends of a way hash, though relays between
 * them may have changed white space. Called by dkim_sign.c, on the thread that content comes in on.
 *
 * The body is hashed as it comes. What stands at the end of a body, or of a line, is held back as a
 * count until the byte behind it tells whether it matters: line ends (any number of them cost
 * nothing while they wait), white space (relaxed only), a CR that may be half a line end. A CR or LF
 * alone is a byte like others: only binary content can have one. */
#include <errno.h>

#include "dkim_private.h"

void dkim_sink_flush(struct dkim_sink *k)
{
	if (k->n > 0 && EVP_DigestUpdate(k->md, k->bytes, k->n) != 1)
		k->r = -EIO;
	k->n = 0;
}

void dkim_sink_add(struct dkim_sink *k, const char *p, size_t n)
{
	if (n > sizeof(k->bytes) - k->n)
		dkim_sink_flush(k);
	if (n > sizeof(k->bytes)) {
		if (EVP_DigestUpdate(k->md, p, n) != 1)
			k->r = -EIO;
		return;
	}
	memcpy(k->bytes + k->n, p, n);
	k->n += n;
}

void dkim_body_init(struct dkim_body *b, enum dkim_form form, EVP_MD_CTX *md)
{
	b->sink.md = md;
	b->sink.r = 0;
	b->sink.n = 0;
	b->form = form;
	b->cr = b->blank = b->any = false;
	b->ends = 0;
}

/* Bytes that are there to stay: what was held back before them stays, too. */
static void content(struct dkim_body *b, const char *p, size_t n)
{
	for (; b->ends > 0; b->ends--)
		dkim_sink_add(&b->sink, "\r\n", 2);
	if (b->blank)
		dkim_sink_add(&b->sink, " ", 1);
	b->blank = false;
	b->any = true;
	dkim_sink_add(&b->sink, p, n);
}

static void bare_cr(struct dkim_body *b)
{
	if (b->cr)
		content(b, "\r", 1);
	b->cr = false;
}

static void line_end(struct dkim_body *b)
{
	b->cr = b->blank = false;
	b->ends++;
}

static bool is_special(const struct dkim_body *b, char c)
{
	if (c == '\r' || c == '\n')
		return true;
	return b->form == DKIM_RELAXED && (c == ' ' || c == '\t');
}

/* How many bytes from p on are none that have a meaning. */
static size_t plain(const struct dkim_body *b, const char *p, const char *end)
{
	const char *from = p;

	if (b->form == DKIM_RELAXED) {
		while (p < end && ((unsigned char)*p > ' ' || !is_special(b, *p)))
			p++;
	} else {
		while (p < end && ((unsigned char)*p > '\r' || !is_special(b, *p)))
			p++;
	}
	return (size_t)(p - from);
}

void dkim_body_feed(struct dkim_body *b, struct slice in)
{
	const char *p = in.p, *end = in.p + in.n;

	while (p < end) {
		size_t n = plain(b, p, end);

		if (n > 0) {
			bare_cr(b);
			content(b, p, n);
			p += n;
			continue;
		}
		if (*p == '\n' && b->cr) {
			line_end(b);
		} else {
			bare_cr(b);
			if (*p == '\r')
				b->cr = true;
			else if (*p == '\n')
				content(b, p, 1);
			else
				b->blank = true;
		}
		p++;
	}
}

void dkim_body_end(struct dkim_body *b)
{
	bare_cr(b);
	/* one line end, whether it had none or many; relaxed: an empty body stays empty */
	if (b->any || b->form == DKIM_SIMPLE)
		dkim_sink_add(&b->sink, "\r\n", 2);
	dkim_sink_flush(&b->sink);
}

/* ---- fields ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* White space becomes one space, and none at the end; CR and LF of folds are nothing. */
static void relaxed_value(struct dkim_sink *k, struct slice v)
{
	bool blank = false, any = false;

	for (size_t i = 0; i < v.n;) {
		size_t from = i;

		while (i < v.n && !is_blank(v.p[i]) && v.p[i] != '\r' && v.p[i] != '\n')
			i++;
		if (i > from) {
			if (blank && any)
				dkim_sink_add(k, " ", 1);
			dkim_sink_add(k, v.p + from, i - from);
			any = true;
			blank = false;
			continue;
		}
		blank |= is_blank(v.p[i]);
		i++;
	}
}

static void relaxed_name(struct dkim_sink *k, struct slice name)
{
	while (name.n > 0 && is_blank(name.p[name.n - 1]))
		name.n--;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c | 0x20);
		dkim_sink_add(k, &c, 1);
	}
}

void dkim_field(struct dkim_sink *k, enum dkim_form form, struct slice field)
{
	const char *colon = memchr(field.p, ':', field.n);

	if (form == DKIM_SIMPLE || !colon) {
		dkim_sink_add(k, field.p, field.n);
		return;
	}
	relaxed_name(k, (struct slice){ field.p, (size_t)(colon - field.p) });
	dkim_sink_add(k, ":", 1);
	relaxed_value(k, slice_from(field, (size_t)(colon + 1 - field.p)));
	dkim_sink_add(k, "\r\n", 2);
}
