/* The header section of a message on its way into the body. The inbound state machine feeds content
 * through it, in pieces of any size; pure.
 *
 * States: AT_LINE ⇄ IN_VALUE, line by line, until a blank line. At the head lines that an mbox file
 * puts between messages are dropped (DROPPED). A line that is no field is either a broken field or
 * the body of a message whose blank line is missing, and only what follows tells: it is held back
 * (HELD) with what comes behind it until a line is a field that everybody knows. Then the section
 * goes on, and the broken lines become fields of ours. If a blank line, the boundary of a part, the
 * end, or HOLD_MAX comes first, the body began with the first of them, as Postfix, Exim and
 * sendmail take it at once. */
#include <errno.h>

#include "header_keep.h"
#include "postern/smtp_data.h"
#include "postern/text.h"

enum filter_state { AT_LINE /* name or blank line under decision */, IN_VALUE, DROPPED, HELD };
enum field {
	FIELD_NONE,
	FIELD_OTHER,
	FIELD_DATE,
	FIELD_RECEIVED,
	FIELD_MESSAGE_ID,
	FIELD_FROM,
	FIELD_POOL,
	FIELD_CLASS,
	FIELD_TAG
};
enum verdict { UNDECIDED, IS_FIELD, IS_BLANK, NOT_A_FIELD };

#define HOLD_MAX  2048u
#define MALFORMED "X-Postern-Malformed:"
#define LONGEST	  998u /* RFC 5322 section 2.1.1 */

/* Fields whose name is enough to tell a header section from a text. Beginnings end with '-'. */
static const char *const known_names[] = { "X-", "Content-", "List-", "Resent-", "ARC-", "DKIM-",
	"Authentication-", "Auto-", "Return-", "Disposition-", "Thread-", "From", "To", "Cc", "Bcc",
	"Subject", "Date", "Sender", "Reply-To", "Message-ID", "In-Reply-To", "References",
	"MIME-Version", "Received", "Received-SPF", "Precedence", "Priority", "Importance",
	"Sensitivity", "Organization", "User-Agent", "Comments", "Keywords", "Errors-To",
	"Feedback-ID" };

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
	f->name_n = f->pool_n = f->class_n = f->message_id_n = f->tag_n = f->from_n = 0;
	f->seen_tag = f->seen_from = false;
	f->state = AT_LINE;
	f->field = FIELD_NONE;
	f->last_cr = f->seen_date = f->seen_id = f->over = f->bare = f->nul = false;
	f->pool_bad = f->class_bad = false;
	f->in_header = true;
	f->pool[0] = f->class[0] = f->message_id[0] = f->tag[0] = f->from[0] = '\0';
	f->received = f->bytes = 0;
	f->malformed = 0;
	f->cut = false;
	keep_init(&f->p.keep);
	if (p->hold)
		buf_reset(p->hold);
}

static bool holds(const struct header_filter *f)
{
	return f->p.hold && buf_size(f->p.hold) > 0;
}

/* Fields for this relay alone, which nobody else is to see. */
static bool is_taken_out(const struct header_filter *f)
{
	return f->field == FIELD_POOL || f->field == FIELD_CLASS || f->field == FIELD_TAG;
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
	if (f->p.class_header.n && slice_case_eq(name, f->p.class_header))
		return FIELD_CLASS;
	if (f->p.tag_header.n && slice_case_eq(name, f->p.tag_header))
		return FIELD_TAG;
	if (slice_case_eq(name, SLICE_LIT("From")))
		return FIELD_FROM;
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

/* Of fields that are kept the first counts; of a second one the text is not looked at. */
static void first_counts(struct header_filter *f, bool *seen, enum field otherwise)
{
	if (*seen)
		f->field = (uint8_t)otherwise;
	*seen = true;
}

static int begin_field(struct header_filter *f, struct scan *c)
{
	struct slice name = { f->name, f->name_n - 1u };
	int r = keep_begin(&f->p.keep, slice_trim(name));

	if (r)
		return r;
	f->field = (uint8_t)field_of(f, slice_trim(name));
	f->state = IN_VALUE;
	f->last_cr = false;
	if (f->field == FIELD_RECEIVED)
		f->received++;
	if (f->field == FIELD_DATE)
		f->seen_date = true;
	if (f->field == FIELD_MESSAGE_ID)
		first_counts(f, &f->seen_id, FIELD_OTHER);
	if (f->field == FIELD_FROM)
		first_counts(f, &f->seen_from, FIELD_OTHER);
	if (!is_taken_out(f))
		return keep_line(f, c);
	if (c->line)
		r = flush(f, c, c->line);
	c->run = NULL;
	if (f->field == FIELD_POOL && (f->pool_n || f->pool_bad))
		f->p.pool_allowed = false;
	if (f->field == FIELD_CLASS && (f->class_n || f->class_bad))
		f->p.class_allowed = false;
	if (f->field == FIELD_TAG && f->tag_n)
		f->seen_tag = true;
	return r;
}

/* What was held is the beginning of the body. */
static int pass_held(struct header_filter *f)
{
	struct slice held = f->p.hold ? buf_slice(f->p.hold) : (struct slice){ NULL, 0 };
	int r = pass(f, held.p, held.n);

	if (f->p.hold)
		buf_reset(f->p.hold);
	return r;
}

static int end_section(struct header_filter *f, struct scan *c, bool blank_line)
{
	int r = c->line ? flush(f, c, c->line) : 0;

	f->in_header = false;
	if (!r)
		r = add_missing(f);
	if (blank_line || holds(f)) {
		f->cut = true;
		if (!r)
			r = pass(f, "\r\n", 2);
	}
	if (!r)
		r = pass_held(f);
	return r ? r : keep_line(f, c);
}

/* ---- lines that are no fields ---- */

static bool is_known_name(struct slice name)
{
	for (size_t i = 0; i < sizeof(known_names) / sizeof(known_names[0]); i++) {
		struct slice known = slice_of(known_names[i]);

		if (known.p[known.n - 1] == '-' ? slice_case_prefix(name, known)
						: slice_case_eq(name, known))
			return true;
	}
	return false;
}

/* "From sender date" or ">From …", which mbox files put before each message. "From : a@b" is a
 * field of the obsolete syntax, and was judged one. */
static bool is_mbox_line(const struct header_filter *f)
{
	struct slice s = { f->name, f->name_n };

	if (f->field != FIELD_NONE || holds(f))
		return false;
	while (s.n > 0 && s.p[0] == '>')
		s = slice_from(s, 1);
	return s.n > 5 && !memcmp(s.p, "From", 4) && (s.p[4] == ' ' || s.p[4] == '\t');
}

/* Behind the boundary of a part come fields that look like ours, and are not. */
static bool is_boundary(const struct header_filter *f)
{
	return f->name_n > 2 && f->name[0] == '-' && f->name[1] == '-';
}

static bool is_field_line(struct slice line)
{
	size_t i = 0;

	while (i < line.n && line.p[i] > 0x20 && line.p[i] < 0x7f && line.p[i] != ':')
		i++;
	return i > 0 && i < line.n && line.p[i] == ':';
}

static struct slice take_held_line(struct slice *rest)
{
	struct slice line = { rest->p, rest->n };

	for (size_t i = 1; i < rest->n; i++) {
		if (rest->p[i] == '\n' && rest->p[i - 1] == '\r') {
			line.n = i + 1;
			break;
		}
	}
	*rest = slice_from(*rest, line.n);
	return line;
}

/* What was held is part of the section: broken lines become fields, others stay as they are. */
static int keep_held(struct header_filter *f)
{
	struct slice held = buf_slice(f->p.hold);
	bool first = true;
	int r = 0;

	while (!r && held.n > 0) {
		struct slice line = take_held_line(&held);
		const char *cr = memchr(line.p, '\r', line.n);
		const char *lf = memchr(line.p, '\n', line.n);

		f->nul |= memchr(line.p, '\0', line.n) != NULL;
		f->bare |= cr != line.p + line.n - 2 || lf != cr + 1;
		if (first || (line.p[0] != ' ' && line.p[0] != '\t' && !is_field_line(line))) {
			f->malformed++;
			r = pass(f, MALFORMED, sizeof(MALFORMED) - 1);
			if (!r && line.n + sizeof(MALFORMED) > LONGEST)
				r = pass(f, "\r\n", 2);
			if (!r)
				r = pass(f, " ", 1);
		}
		if (!r)
			r = pass(f, line.p, line.n);
		first = false;
	}
	buf_reset(f->p.hold);
	return r;
}

/* The line under decision is no field, or none that tells anything: it waits for what follows. */
static int hold_line(struct header_filter *f, struct scan *c)
{
	int r = c->line ? flush(f, c, c->line) : 0;

	c->run = NULL;
	f->state = HELD;
	f->last_cr = f->name_n > 0 && f->name[f->name_n - 1] == '\r';
	if (!r)
		r = buf_add(f->p.hold, f->name, f->name_n);
	f->name_n = 0;
	return r;
}

static int drop_line(struct header_filter *f, struct scan *c)
{
	int r = c->line ? flush(f, c, c->line) : 0;

	c->run = NULL;
	f->state = DROPPED;
	f->last_cr = f->name[f->name_n - 1] == '\r';
	f->name_n = 0;
	return r;
}

static int not_a_field(struct header_filter *f, struct scan *c)
{
	if (is_mbox_line(f))
		return drop_line(f, c);
	return f->p.hold && !is_boundary(f) ? hold_line(f, c) : end_section(f, c, true);
}

static int judged_field(struct header_filter *f, struct scan *c)
{
	struct slice name = { f->name, f->name_n - 1u };
	int r;

	if (!holds(f))
		return begin_field(f, c);
	if (is_boundary(f))
		return end_section(f, c, true);
	if (!is_known_name(slice_trim(name)))
		return hold_line(f, c);
	r = keep_held(f);
	return r ? r : begin_field(f, c);
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
		if (holds(f) && (*c->p == ' ' || *c->p == '\t'))
			return hold_line(f, c); /* folded: the held line goes on */
		if (f->field != FIELD_NONE && (*c->p == ' ' || *c->p == '\t')) {
			f->state = IN_VALUE; /* folded: the field goes on */
			f->last_cr = false;
			if (is_taken_out(f))
				c->run = NULL;
			else if (!c->run)
				c->run = c->p;
			return 0;
		}
	}
	if (*c->p == '\0')
		f->nul = true;
	f->name[f->name_n++] = *c->p++;
	if (count(f, 1)) {
		int r = pass_held(f);

		return r ? r : keep_line(f, c);
	}
	switch (judge(f)) {
	case UNDECIDED:
		return 0;
	case IS_FIELD:
		return judged_field(f, c);
	case IS_BLANK:
		return end_section(f, c, false);
	case NOT_A_FIELD:
		break;
	}
	return not_a_field(f, c);
}

/* What follows of a line that is dropped or held, up to its CR LF. */
static int step_rest(struct header_filter *f, struct scan *c)
{
	const char *from = c->p;
	bool ended = false, held = f->state == HELD;
	int r = 0;

	while (c->p < c->end && !ended) {
		ended = *c->p == '\n' && f->last_cr;
		f->last_cr = *c->p++ == '\r';
	}
	if (ended) {
		f->state = AT_LINE;
		f->name_n = 0;
	}
	if (held && buf_size(f->p.hold) + (size_t)(c->p - from) <= HOLD_MAX)
		r = buf_add(f->p.hold, from, (size_t)(c->p - from));
	else if (held)
		goto body;
	if (!r && count(f, (size_t)(c->p - from)))
		r = pass_held(f);
	return r;
body:
	c->line = from;
	f->name_n = 0;
	return end_section(f, c, true);
}

static int take_value(struct header_filter *f, struct slice s)
{
	if (f->field == FIELD_MESSAGE_ID)
		capture(f->message_id, &f->message_id_n, sizeof(f->message_id), s);
	else if (f->field == FIELD_FROM)
		capture(f->from, &f->from_n, sizeof(f->from), s);
	else if (f->field == FIELD_TAG && !f->seen_tag)
		capture(f->tag, &f->tag_n, sizeof(f->tag), s);
	else if (f->field == FIELD_POOL && f->p.pool_allowed &&
		 !capture(f->pool, &f->pool_n, sizeof(f->pool), s))
		f->pool_bad = true;
	else if (f->field == FIELD_CLASS && f->p.class_allowed &&
		 !capture(f->class, &f->class_n, sizeof(f->class), s))
		f->class_bad = true;
	return keep_text(&f->p.keep, s);
}

static int step_value(struct header_filter *f, struct scan *c)
{
	const char *lf = memchr(c->p, '\n', (size_t)(c->end - c->p));
	const char *stop = lf ? lf + 1 : c->end;
	struct slice s = { c->p, (size_t)(stop - c->p) };
	bool cr = f->last_cr;
	const char *first_cr = memchr(s.p, '\r', s.n);
	int r;

	c->p = stop;
	if (count(f, s.n)) {
		if (!c->run)
			c->run = s.p;
		return 0;
	}
	if (memchr(s.p, '\0', s.n))
		f->nul = true;
	r = take_value(f, s);
	if (r)
		return r;
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
	 * or what is taken out or held back goes on */
	if ((f->state == AT_LINE && f->name_n > 0) || holds(f) || f->state == DROPPED ||
		(f->state == IN_VALUE && is_taken_out(f)))
		c.run = NULL;
	while (!r && f->in_header && c.p < c.end)
		r = f->state == AT_LINE	   ? step_line(f, &c)
		    : f->state == IN_VALUE ? step_value(f, &c)
					   : step_rest(f, &c);
	if (r)
		return r;
	if (f->in_header && f->state == AT_LINE && f->name_n > 0)
		return c.line ? flush(f, &c, c.line) : 0;
	return flush(f, &c, c.end);
}

int header_filter_end(struct header_filter *f)
{
	struct scan c = { .held = f->name_n };
	int r = keep_end(&f->p.keep);

	if (r)
		return r;
	trim_end(f->message_id, &f->message_id_n);
	trim_end(f->pool, &f->pool_n);
	trim_end(f->class, &f->class_n);
	trim_end(f->tag, &f->tag_n);
	if (!f->in_header)
		return 0;
	if (holds(f) || (f->state == AT_LINE && f->name_n > 0))
		return end_section(f, &c, true);
	f->in_header = false;
	/* content that is all header section: no blank line is needed, but the last field must end
	 */
	if (f->state == IN_VALUE && !is_taken_out(f) && (!f->seen_date || !f->seen_id))
		r = pass(f, "\r\n", 2);
	return r ? r : add_missing(f);
}
