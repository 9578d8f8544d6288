/* Content as it goes out by DATA: dots at the start of a line doubled, the end added. Pure; copies
 * nothing. Called by outbound_txn.c, where the receiver has no CHUNKING. */
#include "postern/smtp_data.h"

void dot_stuffer_init(struct dot_stuffer *d)
{
	*d = (struct dot_stuffer){ .line_start = true };
}

/* Where the next line starts after from, or in.n. */
static size_t next_line(const struct dot_stuffer *d, struct slice in, size_t from)
{
	while (from < in.n) {
		const char *lf = memchr(in.p + from, '\n', in.n - from);
		size_t i;

		if (!lf)
			break;
		i = (size_t)(lf - in.p);
		if (i > 0 ? lf[-1] == '\r' : d->last_cr)
			return i + 1;
		from = i + 1;
	}
	return in.n;
}

static bool ends_with_crlf(const struct dot_stuffer *d, struct slice in)
{
	if (in.p[in.n - 1] != '\n')
		return false;
	return in.n > 1 ? in.p[in.n - 2] == '\r' : d->last_cr;
}

/* A doubled dot needs no byte of ours: one slice ends with the dot and the next begins with the
 * same one. */
unsigned dot_stuff(
	struct dot_stuffer *d, struct slice in, struct slice *out, unsigned max, size_t *used)
{
	size_t from = 0, at = d->line_start ? 0 : next_line(d, in, 0);
	unsigned n = 0;

	*used = in.n;
	if (in.n == 0)
		return 0;
	for (; at < in.n; at = next_line(d, in, at)) {
		if (in.p[at] != '.')
			continue;
		out[n++] = (struct slice){ in.p + from, at + 1 - from };
		from = at;
		if (n == max) {
			/* the next call begins with the dot that is doubled already */
			*used = from;
			d->line_start = d->last_cr = false;
			return n;
		}
	}
	out[n++] = slice_from(in, from);
	d->line_start = ends_with_crlf(d, in);
	d->last_cr = in.p[in.n - 1] == '\r';
	return n;
}

struct slice dot_stuff_end(const struct dot_stuffer *d)
{
	return d->line_start ? SLICE_LIT(".\r\n") : SLICE_LIT("\r\n.\r\n");
}
