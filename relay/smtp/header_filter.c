#include <errno.h>

#include "postern/smtp_data.h"

enum filter_state { AT_LINE /* name or blank line under decision */, IN_VALUE };
enum field { FIELD_NONE, FIELD_OTHER, FIELD_DATE, FIELD_RECEIVED, FIELD_MESSAGE_ID, FIELD_POOL };
enum verdict { UNDECIDED, IS_FIELD, IS_BLANK, NOT_A_FIELD };

struct scan {
	const char *start, *p, *end;
	const char *run;  /* what is to be passed on begins here; NULL: nothing is */
	const char *line; /* start of the line under decision; NULL: it began in an earlier call */
	uint16_t held;	  /* then so many bytes of it are in name[] */
};

void header_filter_init(
	struct header_filter *f, struct body *body, const struct header_filter_params *p)
{
	/* field by field: the arrays need no zeroes, and this is done for each message */
	f->body = body;
	f->p = *p;
	f->name_n = f->pool_n = f->message_id_n = 0;
	f->state = AT_LINE;
	f->field = FIELD_NONE;
	f->last_cr = f->seen_date = f->seen_id = f->over = f->bare = f->nul = f->pool_bad = false;
	f->in_header = true;
	f->pool[0] = f->message_id[0] = '\0';
	f->received = f->bytes = 0;
}

static int pass(struct header_filter *f, const char *p, size_t n)
{
	return n ? body_append(f->body, (struct slice){ p, n }) : 0;
}

static int flush(struct header_filter *f, struct scan *c, const char *upto)
{
	const char *run = c->run;

	c->run = NULL;
	return run ? pass(f, run, (size_t)(upto - run)) : 0;
}

static int add_field(struct header_filter *f, struct slice name, struct slice value)
{
	int r = pass(f, name.p, name.n);

	if (!r)
		r = pass(f, value.p, value.n);
	return r ? r : pass(f, "\r\n", 2);
}

static int add_missing(struct header_filter *f)
{
	int r = 0;

	if (!f->seen_date && f->p.missing_date.n)
		r = add_field(f, SLICE_LIT("Date: "), f->p.missing_date);
	if (!r && !f->seen_id && f->p.missing_id.n) {
		f->message_id_n = (uint16_t)(f->p.missing_id.n < sizeof(f->message_id)
						     ? f->p.missing_id.n
						     : sizeof(f->message_id) - 1);
		memcpy(f->message_id, f->p.missing_id.p, f->message_id_n);
		f->message_id[f->message_id_n] = '\0';
		r = add_field(f, SLICE_LIT("Message-ID: "), f->p.missing_id);
	}
	return r;
}

/* Takes value bytes into a bounded text; false when it did not fit. Line ends are left out: what is
 * folded is unfolded. */
static bool capture(char *text, uint16_t *n, size_t max, struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\r' || s.p[i] == '\n' ||
			(*n == 0 && (s.p[i] == ' ' || s.p[i] == '\t')))
			continue;
		if (*n + 1u >= max)
			return false;
		text[(*n)++] = s.p[i];
		text[*n] = '\0';
	}
	return true;
}

static void trim_end(char *text, uint16_t *n)
{
	while (*n > 0 && (text[*n - 1] == ' ' || text[*n - 1] == '\t'))
		text[--*n] = '\0';
}

static enum field field_of(const struct header_filter *f, struct slice name)
{
	if (slice_case_eq(name, SLICE_LIT("Received")))
		return FIELD_RECEIVED;
	if (slice_case_eq(name, SLICE_LIT("Date")))
		return FIELD_DATE;
	if (slice_case_eq(name, SLICE_LIT("Message-ID")))
		return FIELD_MESSAGE_ID;
	if (f->p.pool_header.n && slice_case_eq(name, f->p.pool_header))
		return FIELD_POOL;
	return FIELD_OTHER;
}

/* What the line is, as soon as its last byte so far tells. */
static enum verdict judge(const struct header_filter *f)
{
	unsigned char c = (unsigned char)f->name[f->name_n - 1];
	char before = f->name_n > 1 ? f->name[f->name_n - 2] : '\0';
	bool was_blank = before == ' ' || before == '\t';

	if (before == '\r')
		return c == '\n' ? IS_BLANK : NOT_A_FIELD;
	if (f->name_n == 1 && c == '\r')
		return UNDECIDED;
	if (f->name_n == HEADER_NAME_MAX || (f->name_n == 1 && (c == ':' || c == ' ' || c == '\t')))
		return NOT_A_FIELD;
	if (c == ':')
		return IS_FIELD;
	if (c == ' ' || c == '\t') /* RFC 5322 section 4.5.8: may stand before the colon */
		return UNDECIDED;
	return c > 0x20 && c < 0x7f && !was_blank ? UNDECIDED : NOT_A_FIELD;
}

/* Passes on what is under decision, from its first byte. */
static int keep_line(struct header_filter *f, struct scan *c)
{
	if (c->line) {
		if (!c->run)
			c->run = c->line;
		return 0;
	}
	c->run = c->start;
	return pass(f, f->name, c->held);
}

static int begin_field(struct header_filter *f, struct scan *c)
{
	struct slice name = { f->name, f->name_n - 1u };
	int r = 0;

	f->field = (uint8_t)field_of(f, slice_trim(name));
	f->state = IN_VALUE;
	f->last_cr = false;
	if (f->field == FIELD_RECEIVED)
		f->received++;
	if (f->field == FIELD_DATE)
		f->seen_date = true;
	if (f->field == FIELD_MESSAGE_ID) {
		/* only the first is captured; a second one finds its text there already */
		if (f->seen_id)
			f->field = FIELD_OTHER;
		f->seen_id = true;
	}
	if (f->field != FIELD_POOL)
		return keep_line(f, c);
	if (c->line)
		r = flush(f, c, c->line);
	c->run = NULL;
	if (f->pool_n || f->pool_bad) /* so with the pool: the first counts */
		f->p.pool_allowed = false;
	return r;
}

static int end_section(struct header_filter *f, struct scan *c, bool blank_line)
{
	int r = c->line ? flush(f, c, c->line) : 0;

	f->in_header = false;
	if (!r)
		r = add_missing(f);
	if (!r && blank_line)
		r = pass(f, "\r\n", 2);
	return r ? r : keep_line(f, c);
}

/* True when the section has become too long: nothing is looked at from here on. */
static bool count(struct header_filter *f, size_t n)
{
	f->bytes = n < UINT32_MAX - f->bytes ? f->bytes + (uint32_t)n : UINT32_MAX;
	if (f->p.header_max && f->bytes > f->p.header_max) {
		f->over = true;
		f->in_header = false;
	}
	return f->over;
}

static int step_line(struct header_filter *f, struct scan *c)
{
	if (f->name_n == 0) {
		c->line = c->p;
		if (f->field != FIELD_NONE && (*c->p == ' ' || *c->p == '\t')) {
			f->state = IN_VALUE; /* folded: the field goes on */
			f->last_cr = false;
			if (f->field == FIELD_POOL)
				c->run = NULL;
			else if (!c->run)
				c->run = c->p;
			return 0;
		}
	}
	if (*c->p == '\0')
		f->nul = true;
	f->name[f->name_n++] = *c->p++;
	if (count(f, 1))
		return keep_line(f, c);
	switch (judge(f)) {
	case UNDECIDED:
		return 0;
	case IS_FIELD:
		return begin_field(f, c);
	case IS_BLANK:
		return end_section(f, c, false);
	case NOT_A_FIELD:
		break;
	}
	return end_section(f, c, true);
}

static void take_value(struct header_filter *f, struct slice s)
{
	if (f->field == FIELD_MESSAGE_ID)
		capture(f->message_id, &f->message_id_n, sizeof(f->message_id), s);
	else if (f->field == FIELD_POOL && f->p.pool_allowed &&
		 !capture(f->pool, &f->pool_n, sizeof(f->pool), s))
		f->pool_bad = true;
}

static int step_value(struct header_filter *f, struct scan *c)
{
	const char *lf = memchr(c->p, '\n', (size_t)(c->end - c->p));
	const char *stop = lf ? lf + 1 : c->end;
	struct slice s = { c->p, (size_t)(stop - c->p) };
	bool cr = f->last_cr;
	const char *first_cr = memchr(s.p, '\r', s.n);

	c->p = stop;
	if (count(f, s.n)) {
		if (!c->run)
			c->run = s.p;
		return 0;
	}
	if (memchr(s.p, '\0', s.n))
		f->nul = true;
	take_value(f, s);
	/* a CR that is not the last byte, or not the last before LF, is bare; so is a LF without
	 * one */
	if ((cr && s.p[0] != '\n') || (first_cr && first_cr + (lf ? 2 : 1) < stop))
		f->bare = true;
	f->last_cr = !lf && s.p[s.n - 1] == '\r';
	if (!lf)
		return 0;
	if (s.n > 1 ? s.p[s.n - 2] != '\r' : !cr) {
		f->bare = true; /* ends no line */
		return 0;
	}
	f->state = AT_LINE;
	f->name_n = 0;
	return 0;
}

int header_filter_feed(struct header_filter *f, struct slice in)
{
	struct scan c = {
		.start = in.p, .p = in.p, .end = in.p + in.n, .run = in.p, .held = f->name_n
	};
	int r = 0;

	if (!f->in_header)
		return body_append(f->body, in);
	if (in.n == 0)
		return 0;
	/* what is passed on begins with this call, unless the line under decision began before it,
	 * or the value of a field that is taken out goes on */
	if ((f->state == AT_LINE && f->name_n > 0) ||
		(f->state == IN_VALUE && f->field == FIELD_POOL))
		c.run = NULL;
	while (!r && f->in_header && c.p < c.end)
		r = f->state == AT_LINE ? step_line(f, &c) : step_value(f, &c);
	if (r)
		return r;
	if (f->in_header && f->state == AT_LINE && f->name_n > 0)
		return c.line ? flush(f, &c, c.line) : 0;
	return flush(f, &c, c.end);
}

int header_filter_end(struct header_filter *f)
{
	struct scan c = { .held = f->name_n };
	int r = 0;

	trim_end(f->message_id, &f->message_id_n);
	trim_end(f->pool, &f->pool_n);
	if (!f->in_header)
		return 0;
	if (f->state == AT_LINE && f->name_n > 0)
		return end_section(f, &c, true);
	f->in_header = false;
	/* content that is all header section: no blank line is needed, but the last field must end
	 */
	if (f->state == IN_VALUE && f->field != FIELD_POOL && (!f->seen_date || !f->seen_id))
		r = pass(f, "\r\n", 2);
	return r ? r : add_missing(f);
}
