/* The text of header fields that the log shows. Called by the header filter as it meets fields;
 * pure. The text is the client's: it is unfolded, cut at whole characters, and holds nothing that
 * would end its line. */
#include <errno.h>

#include "header_keep.h"
#include "postern/foreign.h"

_Static_assert(HEADER_KEPT_MAX <= 8, "a bit of seen for each");

void keep_init(struct header_keep *k)
{
	k->seen = 0;
	k->on = false;
	if (k->out)
		buf_reset(k->out);
}

int keep_end(struct header_keep *k)
{
	struct slice text;
	char *c;

	if (!k->on)
		return 0;
	k->on = false;
	text = foreign_cut(slice_from(buf_slice(k->out), k->at), HEADER_TEXT_MAX);
	text = slice_trim(text);
	k->out->len -= buf_size(k->out) - k->at - text.n;
	c = k->out->p + (k->out->len - text.n);
	for (size_t i = 0; i < text.n; i++)
		if ((unsigned char)c[i] < ' ' || c[i] == 0x7f)
			c[i] = '_';
	return buf_add(k->out, "\n", 1);
}

/* The name is written as the configuration has it; of a second field of a name the text is not
 * looked at. */
int keep_begin(struct header_keep *k, struct slice name)
{
	int r = keep_end(k);

	for (unsigned i = 0; i < k->n && !r; i++) {
		const uint8_t bit = (uint8_t)(1u << i);

		if ((k->seen & bit) || !slice_case_eq(name, slice_of(k->names[i])))
			continue;
		r = buf_add_str(k->out, k->names[i]);
		r = r ? r : buf_add(k->out, ": ", 2);
		k->seen |= bit;
		k->on = true;
		k->at = (uint32_t)buf_size(k->out);
	}
	return r;
}

int keep_text(struct header_keep *k, struct slice s)
{
	int r = 0;

	for (size_t i = 0; k->on && i < s.n && !r; i++) {
		size_t n = buf_size(k->out) - k->at;

		if (s.p[i] == '\r' || s.p[i] == '\n' ||
			(n == 0 && (s.p[i] == ' ' || s.p[i] == '\t')))
			continue;
		/* with what tells whether the cut is inside of a character */
		if (n == HEADER_TEXT_MAX + 4)
			return 0;
		r = buf_add(k->out, s.p + i, 1);
	}
	return r;
}
