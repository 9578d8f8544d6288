/* Selectors: see the header. Called by the tools' requests, by the dispatcher's walks over the
 * queue, and for each new message while there are standing orders.
 *
 * Terms lie in one array, sorted by word and text when they are added: a word's alternatives are
 * neighbours, and the text of a selector is its terms in that order. Ids are apart, since there may
 * be thousands. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postern/addr.h"
#include "postern/arena.h"
#include "postern/selector.h"
#include "postern/text.h"

#define DOMAIN_TEXT_MAX 256u

struct term {
	enum selector_word word;
	struct slice text;   /* as given; without < > */
	struct slice domain; /* FROM, TO: A-labels; p NULL: none */
	struct slice local;  /* FROM, TO: p NULL: any */
	bool pattern;
	struct net net;	 /* CLIENT */
	uint64_t number; /* ATTEMPTS; OLDER: ms */
};

struct selector {
	authors_to_ascii_fn to_ascii;
	struct arena arena;
	struct term *terms;
	unsigned n, cap;
	uint32_t words;
	uint64_t *ids;
	size_t nids, ids_cap;
	bool ids_sorted;
};

static const char *const names[SELECT_COUNT] = {
#define X(name, text, value, help) [SELECT_##name] = text,
	SELECTOR_WORDS(X)
#undef X
};

/* What happened since a message came. */
#define AFTERWARDS                                                                                 \
	(1u << SELECT_ID | 1u << SELECT_OLDER | 1u << SELECT_SOURCE | 1u << SELECT_ATTEMPTS |      \
		1u << SELECT_CLUSTER | 1u << SELECT_REASON)

const char *selector_word_name(enum selector_word w)
{
	return names[w];
}

int selector_new(struct selector **ret, authors_to_ascii_fn to_ascii)
{
	struct selector *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->to_ascii = to_ascii;
	s->ids_sorted = true;
	arena_init(&s->arena, 0);
	*ret = s;
	return 0;
}

struct selector *selector_free(struct selector *s)
{
	if (!s)
		return NULL;
	arena_deinit(&s->arena);
	free(s->terms);
	free(s->ids);
	free(s);
	return NULL;
}

/* ---- adding ---- */

static int refuse(char *why, size_t max, const char *text, enum selector_word w, const char *what)
{
	snprintf(why, max, "--%s '%s': %s", names[w], text, what);
	return -EINVAL;
}

static int find_word(struct slice word, char *why, size_t max)
{
	size_t n;

	for (unsigned w = 0; w < SELECT_COUNT; w++)
		if (slice_eq(word, slice_of(names[w])))
			return (int)w;
	n = (size_t)snprintf(why, max, "there is no selector '%.*s': they are",
		(int)(word.n < 64 ? word.n : 64), word.p ? word.p : "");
	for (unsigned w = 0; w < SELECT_COUNT && n < max; w++)
		n += (size_t)snprintf(why + n, max - n, " --%s", names[w]);
	return -EINVAL;
}

static int add_id(struct selector *s, struct slice value, const char *text, char *why, size_t max)
{
	uint64_t id;

	if (queue_id_parse(&id, value))
		return refuse(why, max, text, SELECT_ID, "is not a queue id");
	if (s->nids == SELECTOR_IDS_MAX) {
		snprintf(why, max, "more than %u ids at once", SELECTOR_IDS_MAX);
		return -E2BIG;
	}
	if (s->nids == s->ids_cap) {
		size_t cap = s->ids_cap ? 2 * s->ids_cap : 16;
		uint64_t *ids = realloc(s->ids, cap * sizeof(*ids));

		if (!ids)
			return -ENOMEM;
		s->ids = ids;
		s->ids_cap = cap;
	}
	s->ids_sorted = s->ids_sorted && (s->nids == 0 || s->ids[s->nids - 1] < id);
	s->ids[s->nids++] = id;
	s->words |= 1u << SELECT_ID;
	return 0;
}

/* Whether a domain name, an address literal, a local part without quotes or a pattern may have the
 * byte. Other bytes mean something else, such as two addresses; and a selector of "<<a@b>>" would
 * mean something else each time that its text is read again. */
static bool plain_byte(char c)
{
	return c != ' ' && !strchr("<>()\",;@\\", c);
}

static bool plain(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!plain_byte(s.p[i]))
			return false;
	return true;
}

/* A domain's A-labels in lower case, in the arena. 0, -EINVAL, -ENOMEM. */
static int keep_domain(struct selector *s, struct slice in, struct slice *ret)
{
	char name[DOMAIN_TEXT_MAX];
	bool ascii = true;
	const char *copy;

	if (in.n > 0 && in.p[in.n - 1] == '.')
		in.n--;
	if (in.n == 0 || in.n >= sizeof(name) || !plain(in))
		return -EINVAL;
	for (size_t i = 0; i < in.n; i++) {
		ascii = ascii && (unsigned char)in.p[i] < 0x80;
		name[i] = in.p[i] >= 'A' && in.p[i] <= 'Z' ? (char)(in.p[i] | 0x20) : in.p[i];
	}
	name[in.n] = '\0';
	if (!ascii && s->to_ascii && s->to_ascii(in, name, sizeof(name)))
		return -EINVAL;
	copy = arena_strdup(&s->arena, slice_of(name));
	if (!copy)
		return -ENOMEM;
	*ret = slice_of(copy);
	return 0;
}

static int address(struct selector *s, struct term *t, char *why, size_t max)
{
	struct slice v = t->text;
	const char *at;
	int r;

	if (v.n >= 2 && v.p[0] == '<' && v.p[v.n - 1] == '>')
		t->text = v = (struct slice){ v.p + 1, v.n - 2 };
	if (v.n == 0 && t->word == SELECT_FROM) {
		t->text = SLICE_LIT("<>");
		return 0;
	}
	at = v.n ? memrchr(v.p, '@', v.n) : NULL;
	if (!at)
		return refuse(
			why, max, v.n ? v.p : "<>", t->word, "is neither an address nor @DOMAIN");
	r = keep_domain(s, slice_from(v, (size_t)(at + 1 - v.p)), &t->domain);
	if (r == -EINVAL)
		return refuse(why, max, v.p, t->word, "has no domain name behind its @");
	if (at > v.p)
		t->local = (struct slice){ v.p, (size_t)(at - v.p) };
	if (!r && t->local.n && t->local.p[0] != '"' && !plain(t->local))
		return refuse(why, max, v.p, t->word, "is not one address");
	return r;
}

static int parse_value(struct selector *s, struct term *t, char *why, size_t max)
{
	ms_t duration;
	char *end;

	switch ((int)t->word) { /* most words are plain names */
	case SELECT_FROM:
	case SELECT_TO:
		return address(s, t, why, max);
	case SELECT_CLIENT:
		if (!net_parse(&t->net, t->text))
			return 0;
		return refuse(why, max, t->text.p, t->word,
			"is neither an address nor a network such as 192.0.2.0/24");
	case SELECT_OLDER:
		if (duration_parse(&duration, t->text) || duration < 0)
			return refuse(why, max, t->text.p, t->word,
				"is not a duration such as 90s, 5m, 4h or 2d");
		t->number = (uint64_t)duration;
		return 0;
	case SELECT_ATTEMPTS:
		errno = 0;
		t->number = strtoul(t->text.p, &end, 10);
		if (t->text.p[0] < '0' || t->text.p[0] > '9' || *end || errno ||
			t->number > UINT16_MAX)
			return refuse(why, max, t->text.p, t->word, "is not a number of attempts");
		return 0;
	default:
		return 0;
	}
}

static int term_order(const struct term *a, const struct term *b)
{
	size_t n = a->text.n < b->text.n ? a->text.n : b->text.n;
	int order;

	if (a->word != b->word)
		return a->word < b->word ? -1 : 1;
	order = n ? memcmp(a->text.p, b->text.p, n) : 0;
	return order ? order : a->text.n < b->text.n ? -1 : a->text.n > b->text.n;
}

static int keep_term(struct selector *s, const struct term *t)
{
	unsigned at = s->n;

	if (s->n == s->cap) {
		unsigned cap = s->cap ? 2 * s->cap : 4;
		struct term *terms = realloc(s->terms, cap * sizeof(*terms));

		if (!terms)
			return -ENOMEM;
		s->terms = terms;
		s->cap = cap;
	}
	while (at > 0 && term_order(t, &s->terms[at - 1]) < 0)
		at--;
	if (at > 0 && term_order(t, &s->terms[at - 1]) == 0)
		return 0; /* said twice */
	memmove(&s->terms[at + 1], &s->terms[at], (s->n - at) * sizeof(*t));
	s->terms[at] = *t;
	s->n++;
	s->words |= 1u << t->word;
	return 0;
}

int selector_add(
	struct selector *s, struct slice word, struct slice value, char *why, size_t why_max)
{
	int w = find_word(word, why, why_max), r;
	struct term t = { .word = w < 0 ? SELECT_ID : (enum selector_word)w };
	const char *text;

	if (w < 0)
		return w;
	if (value.n == 0 || value.n > SELECTOR_VALUE_MAX) {
		snprintf(why, why_max, "--%s needs a value of 1 to %u bytes", names[w],
			SELECTOR_VALUE_MAX);
		return -EINVAL;
	}
	for (size_t i = 0; i < value.n; i++) {
		if ((unsigned char)value.p[i] < ' ' || value.p[i] == 0x7f) {
			snprintf(why, why_max, "--%s: a value has no control characters", names[w]);
			return -EINVAL;
		}
	}
	text = arena_strdup(&s->arena, value);
	if (!text)
		return -ENOMEM;
	if (w == SELECT_ID)
		return add_id(s, value, text, why, why_max);
	if (s->n == SELECTOR_TERMS_MAX) {
		snprintf(why, why_max, "more than %u values at once", SELECTOR_TERMS_MAX);
		return -E2BIG;
	}
	t.text = slice_of(text);
	t.pattern = strchr(text, '*') != NULL;
	r = parse_value(s, &t, why, why_max);
	return r ? r : keep_term(s, &t);
}

int selector_add_text(struct selector *s, struct slice text, char *why, size_t why_max)
{
	const char *is = text.n ? memchr(text.p, '=', text.n) : NULL;

	if (!is) {
		snprintf(why, why_max, "a selector has the form word=value");
		return -EINVAL;
	}
	return selector_add(s, (struct slice){ text.p, (size_t)(is - text.p) },
		slice_from(text, (size_t)(is + 1 - text.p)), why, why_max);
}

/* ---- about itself ---- */

uint32_t selector_words(const struct selector *s)
{
	return s->words;
}

bool selector_standing(const struct selector *s)
{
	return s->words && !(s->words & AFTERWARDS);
}

bool selector_asks(const struct selector *s)
{
	return s->words & (1u << SELECT_CLUSTER | 1u << SELECT_REASON);
}

int selector_text(const struct selector *s, struct buf *out)
{
	int r = 0;

	for (size_t i = 0; i < s->nids && !r; i++) {
		char id[QUEUE_ID_TEXT + 1];

		queue_id_format(id, s->ids[i]);
		r = buf_printf(out, "id=%s\n", id);
	}
	for (unsigned i = 0; i < s->n && !r; i++) {
		r = buf_printf(out, "%s=", names[s->terms[i].word]);
		if (!r)
			r = buf_add(out, s->terms[i].text.p, s->terms[i].text.n);
		if (!r)
			r = buf_add(out, "\n", 1);
	}
	return r;
}

int selector_copy(struct selector **ret, const struct selector *s)
{
	struct selector *copy = NULL;
	struct slice rest;
	struct buf text;
	char why[64];
	int r;

	buf_init(&text, 0);
	r = selector_text(s, &text);
	if (!r)
		r = selector_new(&copy, s->to_ascii);
	rest = buf_slice(&text);
	while (!r && rest.n) {
		size_t n = (size_t)((const char *)memchr(rest.p, '\n', rest.n) - rest.p);

		r = selector_add_text(copy, (struct slice){ rest.p, n }, why, sizeof(why));
		rest = slice_from(rest, n + 1);
	}
	buf_deinit(&text);
	if (r)
		selector_free(copy);
	else
		*ret = copy;
	return r;
}

bool selector_same(const struct selector *a, const struct selector *b)
{
	if (a->words != b->words || a->n != b->n || a->nids != b->nids)
		return false;
	for (unsigned i = 0; i < a->n; i++)
		if (term_order(&a->terms[i], &b->terms[i]))
			return false;
	return a->nids == 0 || !memcmp(a->ids, b->ids, a->nids * sizeof(*a->ids));
}

struct slice selector_one_domain(const struct selector *s)
{
	const struct term *t = s->terms;

	if (s->n != 1 || s->nids || t->word != SELECT_TO || t->local.p || t->pattern)
		return (struct slice){ NULL, 0 };
	return t->domain;
}

static int id_order(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

const uint64_t *selector_ids(struct selector *s, size_t *n)
{
	size_t kept = 0;

	if (!s->ids_sorted) {
		qsort(s->ids, s->nids, sizeof(*s->ids), id_order);
		for (size_t i = 0; i < s->nids; i++)
			if (!kept || s->ids[kept - 1] != s->ids[i])
				s->ids[kept++] = s->ids[i];
		s->nids = kept;
		s->ids_sorted = true;
	}
	*n = s->nids;
	return s->ids;
}

/* ---- matching ---- */

static bool folded(struct slice pattern, struct slice s, bool glob)
{
	return glob ? glob_match(pattern, s) : slice_case_eq(pattern, s);
}

static struct slice domain_of(struct slice a)
{
	const char *at = a.n ? memrchr(a.p, '@', a.n) : NULL;

	return at ? slice_from(a, (size_t)(at + 1 - a.p)) : (struct slice){ NULL, 0 };
}

/* t's domain as it was written, beside its A-labels: a sender is stored as it was given. */
static bool is_domain(const struct term *t, struct slice domain)
{
	return domain.n && (folded(t->domain, domain, t->pattern) ||
				   folded(domain_of(t->text), domain, t->pattern));
}

static bool is_address(const struct term *t, struct slice address, struct slice domain)
{
	struct slice local = { address.p, address.n };
	const char *at = address.n ? memrchr(address.p, '@', address.n) : NULL;

	if (!is_domain(t, domain))
		return false;
	if (!t->local.p)
		return true;
	if (at)
		local.n = (size_t)(at - address.p);
	return folded(t->local, local, t->pattern);
}

static bool is_sender(const struct term *t, const struct selector_message *m)
{
	if (!t->domain.p)
		return m->sender.n == 0;
	return is_address(t, m->sender, domain_of(m->sender)) ||
	       (!t->local.p && is_domain(t, m->from_domain));
}

static bool is_client(const struct term *t, struct slice client)
{
	struct addr a;

	return client.n && !addr_parse(&a, client) && net_contains(&t->net, &a);
}

/* Names are other names when their case is another; only a pattern is lenient. */
static bool is_name(const struct term *t, struct slice s)
{
	return s.n && (t->pattern ? glob_match(t->text, s) : slice_eq(t->text, s));
}

static bool fits_message(const struct term *t, const struct selector_message *m, ms_t wall)
{
	switch ((int)t->word) { /* most words are plain names */
	case SELECT_FROM:
		return is_sender(t, m);
	case SELECT_USER:
		return is_name(t, m->user);
	case SELECT_CLIENT:
		return is_client(t, m->client);
	case SELECT_LISTENER:
		return is_name(t, m->listener);
	case SELECT_POOL:
		return is_name(t, m->pool);
	case SELECT_CLASS:
		return is_name(t, m->class);
	case SELECT_TAG:
		return is_name(t, m->tag);
	case SELECT_OLDER:
		return m->arrived <= wall && (uint64_t)(wall - m->arrived) >= t->number;
	default:
		return true;
	}
}

static bool fits_rcpt(const struct term *t, const struct selector_rcpt *r)
{
	switch ((int)t->word) { /* most words are plain names */
	case SELECT_TO:
		return is_address(t, r->address, r->domain);
	case SELECT_SOURCE:
		return is_name(t, r->source);
	case SELECT_ATTEMPTS:
		return r->attempts >= t->number;
	default:
		return true;
	}
}

/* A word that some of its values fit needs no more of them. */
#define EACH_WORD(s, from, to, fits)                                                               \
	for (unsigned i = 0; i < (s)->n;) {                                                        \
		enum selector_word word = (s)->terms[i].word;                                      \
		bool fit = word < (from) || word > (to);                                           \
		for (; i < (s)->n && (s)->terms[i].word == word; i++) {                            \
			const struct term *t = &(s)->terms[i];                                     \
			fit = fit || (fits);                                                       \
		}                                                                                  \
		if (!fit)                                                                          \
			return false;                                                              \
	}

static bool has_id(const struct selector *s, uint64_t id)
{
	if (s->ids_sorted)
		return bsearch(&id, s->ids, s->nids, sizeof(id), id_order) != NULL;
	for (size_t i = 0; i < s->nids; i++)
		if (s->ids[i] == id)
			return true;
	return false;
}

bool selector_message(const struct selector *s, const struct selector_message *m, ms_t wall)
{
	if (s->nids && !has_id(s, m->id))
		return false;
	EACH_WORD(s, SELECT_FROM, SELECT_OLDER, fits_message(t, m, wall))
	return true;
}

bool selector_rcpt(const struct selector *s, const struct selector_rcpt *r)
{
	EACH_WORD(s, SELECT_TO, SELECT_ATTEMPTS, fits_rcpt(t, r))
	return true;
}

/* Anywhere in the text. */
static bool contains(const struct term *t, struct slice text)
{
	char pattern[SELECTOR_VALUE_MAX + 3];
	size_t n = 0;

	pattern[n++] = '*';
	memcpy(pattern + n, t->text.p, t->text.n);
	n += t->text.n;
	pattern[n++] = '*';
	return glob_match((struct slice){ pattern, n }, text);
}

bool selector_found(const struct selector *s, struct slice cluster, struct slice reason)
{
	EACH_WORD(s, SELECT_CLUSTER, SELECT_REASON,
		t->word == SELECT_CLUSTER ? cluster.n && folded(t->text, cluster, t->pattern)
					  : contains(t, reason))
	return true;
}
