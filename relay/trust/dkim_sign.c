/* One message being signed. Called by the inbound session: fed and ended on the worker's thread,
 * dkim_sign_fields on libuv's pool.
 *
 * States: HEADER (the section is kept, it is small) → BODY (hashed as it comes, once for each form
 * that a rule wants) → ENDED. With the blank line it is known who signs; if nobody does, nothing is
 * hashed or kept from there on.
 *
 * Which fields are signed follows RFC 6376 section 5.4.1: what a reader sees and what says how to
 * read it, each as often as it is there, from the last to the first. From, Subject, Date and To are
 * listed once more than they are there: so nobody on the way can add another one above it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "dkim_private.h"
#include "postern/message.h"
#include "postern/must.h"
#include "postern/text.h"

#define HEADER_KEPT_MAX (64u << 20) /* far over what a listener takes */
#define LINE_WIDTH	76u	    /* of our own field; the least that is convenient to read */
#define LISTED_MAX	400u	    /* fields in h= */

enum signer_state { IN_HEADER, IN_BODY, ENDED };

struct signed_name {
	const char *name;
	bool over; /* once more than it is there */
};
static const struct signed_name names[] = {
	{ "From", true },
	{ "Sender", false },
	{ "Reply-To", false },
	{ "Subject", true },
	{ "Date", true },
	{ "Message-ID", false },
	{ "To", true },
	{ "Cc", false },
	{ "MIME-Version", false },
	{ "Content-Type", false },
	{ "Content-Transfer-Encoding", false },
	{ "In-Reply-To", false },
	{ "References", false },
	{ "Resent-Date", false },
	{ "Resent-From", false },
	{ "Resent-To", false },
	{ "Resent-Cc", false },
	{ "List-Id", false },
	{ "List-Help", false },
	{ "List-Unsubscribe", false },
	{ "List-Unsubscribe-Post", false }, /* RFC 8058 section 4 wants it */
	{ "List-Subscribe", false },
	{ "List-Post", false },
	{ "List-Owner", false },
	{ "List-Archive", false },
	{ "Feedback-ID", false },
};
#define NAMES (sizeof(names) / sizeof(names[0]))

struct field {
	uint32_t at, n; /* in the header section, with its CRLF */
	int name;	/* in names; -1: not signed */
};

struct dkim_signer {
	struct dkim_set *set;
	enum signer_state state;
	ms_t wall;
	struct buf header; /* the section, without its blank line */
	size_t charged;	   /* bytes of it that body_memory counts */
	size_t line;	   /* where the last, unfinished line of it begins */
	bool too_long;	   /* the section, to be kept */
	unsigned nrules;
	const struct dkim_signs *rules[DKIM_SIGNATURES_MAX];
	struct {
		struct dkim_body canon;
		EVP_MD_CTX *md; /* NULL: no rule wants this form */
		uint8_t hash[DKIM_HASH];
	} body[2]; /* by enum dkim_form */
};

int dkim_signer_new(struct dkim_signer **ret, struct dkim_set *set, ms_t wall)
{
	struct dkim_signer *s = malloc(sizeof(*s));

	if (!s)
		return -ENOMEM;
	/* field by field: the buffers of the hashes need no zeroes */
	s->set = dkim_set_ref(set);
	s->state = IN_HEADER;
	s->wall = wall;
	s->line = s->charged = 0;
	s->too_long = false;
	s->nrules = 0;
	s->body[DKIM_RELAXED].md = s->body[DKIM_SIMPLE].md = NULL;
	buf_init(&s->header, HEADER_KEPT_MAX);
	*ret = s;
	return 0;
}

/* The section is a part of the content in memory, and counts as such. */
static void charge(struct dkim_signer *s)
{
	size_t now = s->header.cap;

	body_memory_add((int64_t)now - (int64_t)s->charged);
	s->charged = now;
}

size_t dkim_signer_held(const struct dkim_signer *s)
{
	return s->charged;
}

struct dkim_signer *dkim_signer_free(struct dkim_signer *s)
{
	if (!s)
		return NULL;
	EVP_MD_CTX_free(s->body[DKIM_RELAXED].md);
	EVP_MD_CTX_free(s->body[DKIM_SIMPLE].md);
	buf_deinit(&s->header);
	charge(s);
	dkim_set_unref(s->set);
	free(s);
	return NULL;
}

/* ---- the header section ---- */

/* The next field from *at on: a line, and those that begin with white space. False: there is none. */
static bool next_field(struct slice header, size_t *at, struct slice *ret)
{
	size_t end = *at;

	if (end >= header.n)
		return false;
	do {
		const char *lf = memchr(header.p + end, '\n', header.n - end);

		end = lf ? (size_t)(lf + 1 - header.p) : header.n;
	} while (end < header.n && (header.p[end] == ' ' || header.p[end] == '\t'));
	*ret = (struct slice){ header.p + *at, end - *at };
	*at = end;
	return true;
}

static struct slice name_of(struct slice field)
{
	const char *colon = memchr(field.p, ':', field.n);

	return slice_trim((struct slice){ field.p, colon ? (size_t)(colon - field.p) : 0 });
}

static int signed_name(struct slice name)
{
	for (size_t i = 0; i < NAMES; i++)
		if (slice_case_eq(name, slice_of(names[i].name)))
			return (int)i;
	return -1;
}

static void choose_rules(struct dkim_signer *s)
{
	struct authors authors = { 0 };
	struct slice header = buf_slice(&s->header), field;

	for (size_t at = 0; next_field(header, &at, &field);) {
		struct slice name = name_of(field);

		if (slice_case_eq(name, SLICE_LIT("From")))
			authors_add(&authors,
				slice_from(field,
					(size_t)((const char *)memchr(field.p, ':', field.n) + 1 -
						 field.p)),
				s->set->to_ascii);
	}
	s->nrules = dkim_set_choose(s->set, &authors, s->rules, DKIM_SIGNATURES_MAX);
}

static int begin_body(struct dkim_signer *s)
{
	s->state = IN_BODY;
	choose_rules(s);
	if (s->nrules == 0)
		buf_deinit(&s->header);
	for (unsigned i = 0; i < s->nrules; i++) {
		enum dkim_form form = s->rules[i]->body;
		EVP_MD_CTX *md;

		if (s->body[form].md)
			continue;
		md = EVP_MD_CTX_new();
		if (!md)
			return -ENOMEM;
		s->body[form].md = md;
		if (EVP_DigestInit_ex2(md, s->set->sha256, NULL) != 1)
			return -EIO;
		dkim_body_init(&s->body[form].canon, form, md);
	}
	return 0;
}

static int feed_body(struct dkim_signer *s, struct slice in)
{
	int r = 0;

	for (unsigned f = 0; f < 2; f++) {
		if (!s->body[f].md)
			continue;
		dkim_body_feed(&s->body[f].canon, in);
		r = r ? r : s->body[f].canon.sink.r;
	}
	return r;
}

/* Takes up to the blank line; how much of in that was. */
static int feed_header(struct dkim_signer *s, struct slice in, size_t *used)
{
	*used = 0;
	while (*used < in.n && s->state == IN_HEADER) {
		const char *p = in.p + *used;
		const char *lf = memchr(p, '\n', in.n - *used);
		size_t n = lf ? (size_t)(lf + 1 - p) : in.n - *used, line;

		if (buf_size(&s->header) + n > HEADER_KEPT_MAX) {
			s->too_long = true;
			s->state = IN_BODY;
			return 0;
		}
		if (buf_add(&s->header, p, n))
			return -ENOMEM;
		*used += n;
		if (!lf)
			return 0;
		line = buf_size(&s->header) - s->line;
		if (line == 2 && buf_slice(&s->header).p[s->line] == '\r') {
			s->header.len -= 2;
			return begin_body(s);
		}
		s->line = buf_size(&s->header);
	}
	return 0;
}

int dkim_signer_feed(struct dkim_signer *s, struct slice in)
{
	size_t used = 0;
	int r = 0;

	must(s->state != ENDED);
	if (s->state == IN_HEADER) {
		r = feed_header(s, in, &used);
		charge(s);
	}
	in = slice_from(in, used);
	return r || in.n == 0 || s->nrules == 0 ? r : feed_body(s, in);
}

int dkim_signer_end(struct dkim_signer *s)
{
	int r = 0;

	/* a message may be all header section */
	if (s->state == IN_HEADER)
		r = begin_body(s);
	s->state = ENDED;
	if (s->too_long)
		return -EMSGSIZE;
	for (unsigned f = 0; f < 2 && !r; f++) {
		if (!s->body[f].md)
			continue;
		dkim_body_end(&s->body[f].canon);
		r = s->body[f].canon.sink.r;
		if (!r && EVP_DigestFinal_ex(s->body[f].md, s->body[f].hash, NULL) != 1)
			r = -EIO;
	}
	return r ? r : (int)s->nrules;
}

/* ---- the fields ---- */

/* The fields that are signed, in the order of h=. */
struct listing {
	unsigned n;
	struct {
		const char *name;
		struct slice field; /* n 0: it is not there, and must not come */
	} at[LISTED_MAX];
};

static bool list_one(struct listing *l, const char *name, struct slice field)
{
	if (l->n == LISTED_MAX)
		return false;
	l->at[l->n].name = name;
	l->at[l->n++].field = field;
	return true;
}

/* From the last to the first (RFC 6376 section 5.4.2), and the one too many behind them. */
static int list_name(struct listing *l, int name, const struct field *fields, size_t nfields,
	struct slice header)
{
	for (size_t i = nfields; i > 0; i--) {
		const struct field *f = &fields[i - 1];

		if (f->name == name &&
			!list_one(l, names[name].name, (struct slice){ header.p + f->at, f->n }))
			return -EMSGSIZE;
	}
	if (names[name].over && !list_one(l, names[name].name, (struct slice){ NULL, 0 }))
		return -EMSGSIZE;
	return 0;
}

static int list_fields(const struct dkim_signer *s, struct listing *l)
{
	struct slice header = buf_slice(&s->header), field;
	struct field *fields = malloc(LISTED_MAX * sizeof(*fields));
	size_t n = 0;
	int r = fields ? 0 : -ENOMEM;

	l->n = 0;
	for (size_t at = 0; !r && next_field(header, &at, &field);) {
		int name = signed_name(name_of(field));

		if (name >= 0 && n == LISTED_MAX)
			r = -EMSGSIZE;
		else if (name >= 0)
			fields[n++] = (struct field){ (uint32_t)(field.p - header.p),
				(uint32_t)field.n, name };
	}
	for (size_t i = 0; i < NAMES && !r; i++)
		r = list_name(l, (int)i, fields, n, header);
	free(fields);
	return r;
}

/* A field under construction, folded where a line would grow long. */
struct writer {
	struct buf *out;
	size_t line; /* bytes in it */
	int r;
};

static void new_line(struct writer *w)
{
	if (!w->r)
		w->r = buf_add_str(w->out, "\r\n\t");
	w->line = 8;
}

/* A piece that must not be broken. */
static void put_piece(struct writer *w, struct slice piece, bool may_fold)
{
	if (may_fold && w->line + 1 + piece.n > LINE_WIDTH)
		new_line(w);
	if (!w->r)
		w->r = buf_add_slice(w->out, piece);
	w->line += piece.n;
}

static void put_text(struct writer *w, const char *text, bool may_fold)
{
	put_piece(w, slice_of(text), may_fold);
}

static void put_tag(struct writer *w, const char *tag, const char *value)
{
	char text[600];
	int n = snprintf(text, sizeof(text), " %s=%s;", tag, value);

	must(n > 0 && (size_t)n < sizeof(text));
	/* the space goes where it folds */
	if (w->line + (size_t)n > LINE_WIDTH)
		put_piece(w, slice_of(text + 1), true);
	else
		put_piece(w, slice_of(text), false);
}

static void put_base64(struct writer *w, struct slice text)
{
	while (text.n > 0) {
		size_t room = w->line < LINE_WIDTH ? LINE_WIDTH - w->line : 0;
		size_t n = text.n < room ? text.n : room;

		if (n == 0) {
			new_line(w);
			continue;
		}
		put_piece(w, (struct slice){ text.p, n }, false);
		text = slice_from(text, n);
	}
}

static void put_listing(struct writer *w, const struct listing *l)
{
	put_text(w, " h=", false);
	for (unsigned i = 0; i < l->n; i++) {
		put_text(w, l->at[i].name, true);
		put_text(w, i + 1 < l->n ? ":" : ";", false);
	}
}

static const char *form_name(enum dkim_form f)
{
	return f == DKIM_SIMPLE ? "simple" : "relaxed";
}

/* All of the field but what stands behind "b=". */
static int put_unsigned(const struct dkim_signer *s, const struct dkim_signs *r,
	const struct listing *l, struct buf *out)
{
	struct writer w = { .out = out };
	char text[48];
	struct buf hash;

	buf_init(&hash, 0);
	w.r = base64_encode(
		&hash, (struct slice){ (const char *)s->body[r->body].hash, DKIM_HASH });
	put_text(&w, "DKIM-Signature: v=1;", false);
	put_tag(&w, "a", r->key->algorithm == DKIM_RSA ? "rsa-sha256" : "ed25519-sha256");
	snprintf(text, sizeof(text), "%s/%s", form_name(r->header), form_name(r->body));
	put_tag(&w, "c", text);
	put_tag(&w, "d", r->sign_as);
	put_tag(&w, "s", r->selector);
	snprintf(text, sizeof(text), "%" PRId64, (int64_t)(s->wall / 1000));
	put_tag(&w, "t", text);
	put_listing(&w, l);
	if (w.line + 50 > LINE_WIDTH)
		new_line(&w);
	else
		put_text(&w, " ", false);
	put_text(&w, "bh=", false);
	put_base64(&w, buf_slice(&hash));
	put_text(&w, ";", false);
	if (!w.r)
		w.r = buf_add_str(out, "\r\n\tb=");
	buf_deinit(&hash);
	return w.r;
}

static void signed_field(struct dkim_sink *k, enum dkim_form form, struct slice field)
{
	if (field.n == 0)
		return;
	dkim_field(k, form, field);
	/* a message that is all header section and does not end: its receiver will see it end */
	if (form == DKIM_SIMPLE && field.p[field.n - 1] != '\n')
		dkim_sink_add(k, "\r\n", 2);
}

/* RFC 6376 section 3.7: the fields, then the signature's own with an empty b= and without its line
 * end. */
static int hash_header(const struct dkim_signer *s, const struct dkim_signs *r,
	const struct listing *l, struct slice own, uint8_t hash[DKIM_HASH])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	struct dkim_sink *k;
	int res = -EIO;

	if (!md)
		return -ENOMEM;
	k = malloc(sizeof(*k));
	if (!k) {
		EVP_MD_CTX_free(md);
		return -ENOMEM;
	}
	k->md = md;
	k->r = 0;
	k->n = 0;
	if (EVP_DigestInit_ex2(md, s->set->sha256, NULL) != 1)
		goto out;
	for (unsigned i = 0; i < l->n; i++)
		signed_field(k, r->header, l->at[i].field);
	dkim_field(k, r->header, own);
	if (r->header == DKIM_RELAXED) /* dkim_field gave it a line end */
		k->n -= 2;
	dkim_sink_flush(k);
	if (k->r == 0 && EVP_DigestFinal_ex(md, hash, NULL) == 1)
		res = 0;
out:
	free(k);
	EVP_MD_CTX_free(md);
	return res;
}

static int sign_one(const struct dkim_signer *s, const struct dkim_signs *r,
	const struct listing *l, struct buf *out)
{
	struct writer w = { .out = out, .line = 10 };
	uint8_t hash[DKIM_HASH];
	struct buf own, value;
	int res;

	buf_init(&own, 0);
	buf_init(&value, 0);
	res = put_unsigned(s, r, l, &own);
	if (!res)
		res = hash_header(s, r, l, buf_slice(&own), hash);
	if (!res)
		res = dkim_key_sign(r->key, s->set->sha256, hash, &value);
	if (!res)
		res = buf_add_slice(out, buf_slice(&own));
	w.r = res;
	if (!res)
		put_base64(&w, buf_slice(&value));
	if (!w.r)
		w.r = buf_add_str(out, "\r\n");
	buf_deinit(&own);
	buf_deinit(&value);
	return w.r;
}

int dkim_sign_fields(struct dkim_signer *s, struct buf *out)
{
	struct listing *l = malloc(sizeof(*l));
	int r;

	must(s->state == ENDED);
	if (!l)
		return -ENOMEM;
	r = list_fields(s, l);
	for (unsigned i = 0; i < s->nrules && !r; i++)
		r = sign_one(s, s->rules[i], l, out);
	if (!r && buf_size(out) > DKIM_FIELDS_MAX)
		r = -EMSGSIZE;
	free(l);
	return r;
}
