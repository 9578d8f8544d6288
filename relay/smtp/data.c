/* Content as it comes in, of DATA and of BDAT: dots taken off, line ends looked at, the end found.
 * Pure; called by server_content.c, and by the simulator.
 *
 * States: LINE_START → IN_LINE → SEEN_CR → LINE_START; a dot at the start of a line → SEEN_DOT →
 * SEEN_DOT_CR → the end. Only CR LF . CR LF ends a message. */
#include <errno.h>

#include "postern/smtp_data.h"

/* CR and dots are held back until the byte after them says what they are; the states in which that
 * is so are the ones in which content may stop between two calls. */
enum decoder_state { LINE_START, IN_LINE, SEEN_CR, SEEN_DOT, SEEN_DOT_CR };

struct cursor {
	const char *p, *end;
	const char *run; /* content not yet passed on begins here */
	const char *lf;	 /* the first LF at or after p, end when there is none; older than p: not
			    known */
	bool dots;
	struct header_filter *out;
};

void data_decoder_init(struct data_decoder *d, enum bare_newline mode, uint32_t line_max)
{
	*d = (struct data_decoder){ .state = LINE_START, .mode = mode, .line_max = line_max };
}

/* Notes NUL and bytes over 127, eight bytes a step. */
static void note_bytes(struct data_decoder *d, const char *p, size_t n)
{
	const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
	uint64_t all = 0, zero = 0, word;
	size_t i = 0;

	for (; i + sizeof(word) <= n; i += sizeof(word)) {
		memcpy(&word, p + i, sizeof(word));
		all |= word;
		zero |= (word - ones) & ~word;
	}
	for (; i < n; i++) {
		all |= (unsigned char)p[i];
		if (p[i] == '\0')
			d->nul = true;
	}
	if (all & highs)
		d->eight_bit = true;
	if (zero & highs)
		d->nul = true;
}

static int emit(struct data_decoder *d, struct header_filter *out, const char *p, size_t n)
{
	if (n == 0 || (d->bare && d->mode == BARE_REJECT))
		return 0;
	d->content += n;
	if (!out)
		return 0;
	note_bytes(d, p, n);
	return header_filter_feed(out, (struct slice){ p, n });
}

static int flush(struct data_decoder *d, struct cursor *c, const char *upto)
{
	const char *run = c->run;

	c->run = upto;
	return emit(d, c->out, run, (size_t)(upto - run));
}

static void line_add(struct data_decoder *d, size_t n)
{
	d->line = n < UINT32_MAX - d->line ? d->line + (uint32_t)n : UINT32_MAX;
	if (d->line_max && d->line > d->line_max)
		d->long_line = true;
}

/* A bare CR or LF stood before where content goes on. What follows it is no line start as far as
 * dots are concerned: or else it could end the message after all. */
static int bare_newline(struct data_decoder *d, struct header_filter *out)
{
	d->bare = true;
	d->line = 0;
	d->state = IN_LINE;
	return d->mode == BARE_FIX ? emit(d, out, "\r\n", 2) : 0;
}

static void line_end(struct data_decoder *d, const struct cursor *c)
{
	d->line = 0;
	d->state = c->dots ? LINE_START : IN_LINE;
}

static int step_in_line(struct data_decoder *d, struct cursor *c)
{
	const char *cr, *stop;
	int r;

	/* looked for once, not once per CR: else a run of CRs would cost its square */
	if (!c->lf || c->lf < c->p) {
		c->lf = memchr(c->p, '\n', (size_t)(c->end - c->p));
		if (!c->lf)
			c->lf = c->end;
	}
	cr = memchr(c->p, '\r', (size_t)(c->lf - c->p));
	stop = cr ? cr : c->lf;
	line_add(d, (size_t)(stop - c->p));
	c->p = stop;
	if (stop == c->end)
		return 0;
	if (cr && cr + 1 == c->end) {
		r = flush(d, c, cr);
		c->p = c->run = c->end;
		d->state = SEEN_CR;
		return r;
	}
	if (cr && cr + 1 == c->lf) {
		c->p = c->lf + 1;
		line_end(d, c);
		return 0;
	}
	r = flush(d, c, stop);
	c->p = c->run = stop + 1;
	return r ? r : bare_newline(d, c->out);
}

static int step_line_start(struct data_decoder *d, struct cursor *c)
{
	int r = 0;

	d->state = IN_LINE;
	if (*c->p == '.') {
		r = flush(d, c, c->p);
		c->run = ++c->p;
		d->state = SEEN_DOT;
	}
	return r;
}

static int step_seen_cr(struct data_decoder *d, struct cursor *c)
{
	if (*c->p != '\n')
		return bare_newline(d, c->out);
	c->run = ++c->p;
	line_end(d, c);
	return emit(d, c->out, "\r\n", 2);
}

/* One step from each state; each but IN_LINE looks at one byte. */
static int step(struct data_decoder *d, struct cursor *c, enum data_status *status)
{
	switch ((enum decoder_state)d->state) {
	case LINE_START:
		return step_line_start(d, c);
	case IN_LINE:
		return step_in_line(d, c);
	case SEEN_CR:
		return step_seen_cr(d, c);
	case SEEN_DOT:
		d->state = IN_LINE; /* the dot is dropped, the byte after it is content */
		if (*c->p == '\r') {
			c->run = ++c->p;
			d->state = SEEN_DOT_CR;
		}
		return 0;
	case SEEN_DOT_CR:
		if (*c->p != '\n')
			return bare_newline(d, c->out);
		c->run = ++c->p;
		*status = DATA_END;
		return 0;
	}
	return 0;
}

static int decode(struct data_decoder *d, struct cursor *c, enum data_status *status)
{
	int r = 0;

	*status = DATA_MORE;
	while (!r && *status == DATA_MORE && c->p < c->end)
		r = step(d, c, status);
	return r ? r : flush(d, c, c->p);
}

int data_feed(struct data_decoder *d, struct slice in, size_t *used, struct header_filter *out,
	enum data_status *status)
{
	struct cursor c = { .p = in.p, .end = in.p + in.n, .run = in.p, .dots = true, .out = out };
	int r;

	*used = 0;
	*status = DATA_MORE;
	if (in.n == 0)
		return 0;
	r = decode(d, &c, status);
	*used = (size_t)(c.p - in.p);
	return r;
}

int data_chunk(struct data_decoder *d, struct slice in, bool binary, struct header_filter *out)
{
	struct cursor c = { .p = in.p, .end = in.p + in.n, .run = in.p, .out = out };
	enum data_status status;
	bool nul = d->nul;
	int r;

	if (in.n == 0)
		return 0;
	if (binary) {
		r = emit(d, out, in.p, in.n);
		d->nul = nul; /* BINARYMIME is for these */
		return r;
	}
	if (d->state == LINE_START)
		d->state = IN_LINE; /* dots mean nothing here */
	return decode(d, &c, &status);
}

int data_chunk_end(struct data_decoder *d, struct header_filter *out)
{
	return d->state == SEEN_CR ? bare_newline(d, out) : 0;
}
