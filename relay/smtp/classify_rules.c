/* Reads the rule file; its syntax is explained at the top of conf/replies.rules. */
#include <errno.h>
#include <stdlib.h>

#include "classify_rule.h"
#include "postern/smtp_client.h"
#include "postern/text.h"

#define WORDING_MAX 512

struct reader {
	struct classifier *c;
	const char *name;
	struct buf *errors;
	uint32_t line;
	bool failed;
};

/* Notes an error and goes on: all of them are wanted. Returns -EINVAL, or -ENOMEM for that alone.
 */
static int complain(struct reader *rd, const char *what, struct slice s)
{
	rd->failed = true;
	return buf_printf(rd->errors, "%s:%u: %s%s%.*s\n", rd->name, rd->line, what,
		       s.n ? ": " : "", (int)(s.n < 80 ? s.n : 80), s.n ? s.p : "")
		       ? -ENOMEM
		       : -EINVAL;
}

/* Room for one more element of an array that only grows. */
static int reserve(void *array, size_t n, size_t *cap, size_t size)
{
	void *p = NULL;

	if (n < *cap)
		return 0;
	memcpy(&p, array, sizeof(p));
	p = realloc(p, (*cap ? *cap * 2 : 64) * size);
	if (!p)
		return -ENOMEM;
	memcpy(array, &p, sizeof(p));
	*cap = *cap ? *cap * 2 : 64;
	return 0;
}

/* The next field of the line: up to a blank that is not within quotes. */
static struct slice field_take(struct slice *rest)
{
	struct slice s = slice_trim(*rest);
	bool quoted = false;
	size_t n = 0;

	while (n < s.n && (quoted || (s.p[n] != ' ' && s.p[n] != '\t'))) {
		quoted ^= s.p[n] == '"';
		n++;
	}
	*rest = slice_from(s, n);
	return (struct slice){ s.p, n };
}

/* The next part of a list with commas. */
static struct slice part_take(struct slice *rest)
{
	const char *comma = memchr(rest->p, ',', rest->n);
	struct slice part = { rest->p, comma ? (size_t)(comma - rest->p) : rest->n };

	*rest = slice_from(*rest, part.n + 1);
	return part;
}

static bool is_any(struct slice s)
{
	return s.n == 1 && s.p[0] == '*';
}

static bool is_none(struct slice s)
{
	return s.n == 1 && s.p[0] == '-';
}

static int provider_bit(struct reader *rd, struct slice name)
{
	struct classifier *c = rd->c;

	for (unsigned i = 0; i < c->nproviders; i++) {
		if (slice_eq(slice_of(c->provider[i]), name))
			return (int)i;
	}
	if (c->nproviders == PROVIDERS_MAX)
		return complain(rd, "too many providers", name);
	c->provider[c->nproviders] = slice_dup(name);
	if (!c->provider[c->nproviders])
		return -ENOMEM;
	return (int)c->nproviders++;
}

static int providers_parse(struct reader *rd, struct rule *r, struct slice s)
{
	if (is_any(s)) {
		r->providers = ~0u;
		return 0;
	}
	while (s.n > 0) {
		int bit = provider_bit(rd, part_take(&s));

		if (bit < 0)
			return bit;
		r->providers |= 1u << bit;
	}
	return 0;
}

unsigned phase_bit(struct slice name)
{
	for (unsigned p = 0; p <= PHASE_QUIT; p++) {
		if (slice_eq(name, slice_of(client_phase_name((enum client_phase)p))))
			return p;
	}
	return PHASE_BIT_UNKNOWN;
}

static int phases_parse(struct reader *rd, struct rule *r, struct slice s)
{
	if (is_any(s)) {
		r->phases = ~0u;
		return 0;
	}
	while (s.n > 0) {
		struct slice part = part_take(&s);
		unsigned bit = phase_bit(part);

		if (bit == PHASE_BIT_UNKNOWN && !slice_eq(part, SLICE_LIT("unknown")))
			return complain(rd, "no such phase", part);
		r->phases |= 1u << bit;
	}
	return 0;
}

static int codes_parse(struct reader *rd, struct rule *r, struct slice s)
{
	while (s.n > 0 && !is_any(s)) {
		struct slice part = part_take(&s);
		struct code_pattern *p = &r->code[r->ncodes];

		if (part.n != 3 || part.p[0] < '4' || part.p[0] > '5')
			return complain(rd, "reply codes are like 451 or 5xx", part);
		if (r->ncodes == RULE_PATTERNS_MAX)
			return complain(rd, "too many reply codes", part);
		*p = (struct code_pattern){ 0, 0 };
		for (size_t i = 0; i < 3; i++) {
			if (part.p[i] != 'x' && (part.p[i] < '0' || part.p[i] > '9'))
				return complain(rd, "reply codes are like 451 or 5xx", part);
			p->low = (uint16_t)(p->low * 10 + (part.p[i] == 'x' ? 0 : part.p[i] - '0'));
			p->high =
				(uint16_t)(p->high * 10 + (part.p[i] == 'x' ? 9 : part.p[i] - '0'));
		}
		r->ncodes++;
	}
	return 0;
}

/* A number or 'x' for any, up to end; false when it is neither. */
static bool range_parse(struct slice s, uint16_t *low, uint16_t *high)
{
	const char *dash = memchr(s.p, '-', s.n);
	struct slice first = { s.p, dash ? (size_t)(dash - s.p) : s.n };
	uint64_t a, b;

	if (s.n == 1 && s.p[0] == 'x') {
		*low = 0;
		*high = UINT16_MAX;
		return true;
	}
	if (slice_u64(first, &a) || a > 999)
		return false;
	b = a;
	if (dash && (slice_u64(slice_from(s, first.n + 1), &b) || b > 999 || b < a))
		return false;
	*low = (uint16_t)a;
	*high = (uint16_t)b;
	return true;
}

static bool enhanced_parse(struct slice s, struct enhanced_pattern *p)
{
	const char *dot;
	struct slice subject;
	uint16_t high;

	if (s.n < 5 || s.p[1] != '.' || !strchr("45x", s.p[0]))
		return false;
	p->class = s.p[0] == 'x' ? 0 : (uint8_t)(s.p[0] - '0');
	s = slice_from(s, 2);
	dot = memchr(s.p, '.', s.n);
	if (!dot)
		return false;
	subject = (struct slice){ s.p, (size_t)(dot - s.p) };
	if (!range_parse(subject, &p->subject, &high) || memchr(subject.p, '-', subject.n))
		return false;
	p->any_subject = high == UINT16_MAX;
	return range_parse(slice_from(s, subject.n + 1), &p->low, &p->high);
}

static int enhanced_list_parse(struct reader *rd, struct rule *r, struct slice s)
{
	r->no_enhanced = is_none(s);
	while (s.n > 0 && !is_any(s) && !r->no_enhanced) {
		struct slice part = part_take(&s);

		if (r->nenhanced == RULE_PATTERNS_MAX)
			return complain(rd, "too many enhanced codes", part);
		if (!enhanced_parse(part, &r->enhanced[r->nenhanced]))
			return complain(
				rd, "enhanced codes are like 5.7.1, x.7.500-699 or 4.x.x", part);
		r->nenhanced++;
	}
	return 0;
}

static int tokens_parse(struct reader *rd, struct rule *r, struct slice s)
{
	r->no_token = is_none(s);
	while (s.n > 0 && !is_any(s) && !r->no_token) {
		struct slice part = part_take(&s);

		if (r->ntokens == RULE_PATTERNS_MAX)
			return complain(rd, "too many tokens", part);
		if (part.n == 0 || part.n >= TOKEN_MAX)
			return complain(rd, "a token has 1 to 31 characters", part);
		for (size_t i = 0; i < part.n; i++) {
			char c = part.p[i];

			r->token[r->ntokens][i] = c >= 'a' && c <= 'z' ? (char)(c & ~0x20) : c;
		}
		r->token[r->ntokens][part.n] = '\0';
		r->ntokens++;
	}
	return 0;
}

/* A set of words in quotes, at the start of *rest. */
static int set_parse(struct reader *rd, struct slice *rest)
{
	struct classifier *c = rd->c;
	char words[WORDING_MAX];
	const char *end = rest->n > 1 ? memchr(rest->p + 1, '"', rest->n - 1) : NULL;
	struct slice s;

	if (rest->n < 2 || rest->p[0] != '"' || !end)
		return complain(rd, "wording stands in double quotes", *rest);
	s = (struct slice){ rest->p + 1, (size_t)(end - rest->p) - 1 };
	*rest = slice_from(*rest, s.n + 2);
	if (s.n > sizeof(words))
		return complain(rd, "wording is too long", s);
	s = (struct slice){ words, words_normalize(words, sizeof(words), s) };
	if (s.n == 0)
		return complain(rd, "wording has no word", (struct slice){ 0 });
	if (reserve(&c->sets, c->nsets, &c->cap_sets, sizeof(*c->sets)))
		return -ENOMEM;
	c->sets[c->nsets] = (struct set){ .first_word = (uint32_t)c->nset_words };
	while (s.n > 0) {
		const char *blank = memchr(s.p, ' ', s.n);
		struct slice word = { s.p, blank ? (size_t)(blank - s.p) : s.n };
		int id = vocabulary_add(&c->words, word);

		if (id == -ENOSPC)
			return complain(rd, "too many words", word);
		if (id < 0 || reserve(&c->set_words, c->nset_words, &c->cap_set_words,
				      sizeof(*c->set_words)))
			return -ENOMEM;
		c->set_words[c->nset_words++] = (uint16_t)id;
		c->sets[c->nsets].nwords++;
		s = slice_from(s, word.n + 1);
	}
	c->nsets++;
	return 0;
}

/* !"a b"|"c": one field. */
static int term_parse(struct reader *rd, struct rule *r, struct slice s)
{
	struct classifier *c = rd->c;
	struct term t = { .first_set = (uint16_t)c->nsets };

	t.negated = s.p[0] == '!';
	s = slice_from(s, t.negated);
	for (;;) {
		int err = set_parse(rd, &s);

		if (err)
			return err;
		t.nsets++;
		if (s.n == 0)
			break;
		if (s.p[0] != '|')
			return complain(rd, "alternatives are joined by |", s);
		s = slice_from(s, 1);
	}
	if (c->nsets > UINT16_MAX - 64u)
		return complain(rd, "too much wording", (struct slice){ 0 });
	if (reserve(&c->terms, c->nterms, &c->cap_terms, sizeof(*c->terms)))
		return -ENOMEM;
	c->terms[c->nterms++] = t;
	r->nterms++;
	return 0;
}

static int wording_parse(struct reader *rd, struct rule *r, struct slice *rest)
{
	r->first_term = (uint16_t)rd->c->nterms;
	for (unsigned n = 0;; n++) {
		struct slice s = field_take(rest);
		int err;

		if (s.n == 0)
			return complain(rd, "no -> and verdict", s);
		if (slice_eq(s, SLICE_LIT("->")))
			return n > 0 ? 0
				     : complain(rd, "no wording; * is any", (struct slice){ 0 });
		if (is_any(s))
			continue;
		err = term_parse(rd, r, s);
		if (err)
			return err;
	}
}

static bool scope_parse(struct slice s, enum verdict_scope *ret)
{
	static const char *const names[] = { "default", "message", "recipient", "domain", "source",
		"subnet", "cluster", "provider", "sender" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (slice_eq(s, slice_of(names[i]))) {
			*ret = (enum verdict_scope)i;
			return true;
		}
	}
	return false;
}

static bool voice_parse(struct slice s, enum voice *ret)
{
	static const char *const names[] = { "voice=receiver", "voice=provider", "voice=tenant" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (slice_eq(s, slice_of(names[i]))) {
			*ret = (enum voice)i;
			return true;
		}
	}
	return false;
}

static int outcome_parse(struct reader *rd, struct rule *r, struct slice rest)
{
	struct slice s = field_take(&rest);

	if (verdict_parse(&r->verdict, s))
		return complain(rd, "no such verdict", s);
	if (r->verdict == VERDICT_DELIVERED)
		return complain(rd, "no 4xx or 5xx reply means delivered", (struct slice){ 0 });
	s = field_take(&rest);
	if (s.n > 0 && scope_parse(s, &r->scope))
		s = field_take(&rest);
	if (s.n > 0 && voice_parse(s, &r->voice))
		s = field_take(&rest);
	if (s.n > 0 && (duration_parse(&r->cooldown, s) || r->cooldown < 0))
		return complain(rd, "neither a scope, a voice nor a duration", s);
	s = slice_trim(rest);
	return s.n > 0 ? complain(rd, "more than a verdict, scope, voice and duration", s) : 0;
}

static int rule_parse(struct reader *rd, struct slice line)
{
	static int (*const parts[])(struct reader *, struct rule *, struct slice) = {
		providers_parse, phases_parse, codes_parse, enhanced_list_parse, tokens_parse
	};
	struct rule r = { .line = rd->line };
	int err;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		struct slice s = field_take(&line);

		if (s.n == 0)
			return complain(rd, "a rule has six columns, then -> and a verdict", s);
		err = parts[i](rd, &r, s);
		if (err)
			return err;
	}
	err = wording_parse(rd, &r, &line);
	if (!err)
		err = outcome_parse(rd, &r, line);
	if (err)
		return err;
	if (reserve(&rd->c->rules, rd->c->nrules, &rd->c->cap_rules, sizeof(r)))
		return -ENOMEM;
	rd->c->rules[rd->c->nrules++] = r;
	return 0;
}

/* Without a comment: '#' at the start or after a blank, outside of quotes ("S#" is a token). */
static struct slice uncomment(struct slice s)
{
	bool quoted = false;

	for (size_t i = 0; i < s.n; i++) {
		quoted ^= s.p[i] == '"';
		if (s.p[i] == '#' && !quoted && (i == 0 || s.p[i - 1] == ' ' || s.p[i - 1] == '\t'))
			return (struct slice){ s.p, i };
	}
	return s;
}

static int file_parse(struct reader *rd, struct slice text)
{
	while (text.n > 0) {
		const char *lf = memchr(text.p, '\n', text.n);
		struct slice line = { text.p, lf ? (size_t)(lf - text.p) : text.n };
		int r = 0;

		text = slice_from(text, line.n + 1);
		rd->line++;
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		line = slice_trim(uncomment(line));
		if (line.n > 0)
			r = rule_parse(rd, line);
		if (r == -ENOMEM)
			return r;
	}
	return rd->failed ? -EINVAL : 0;
}

int classifier_new(struct classifier **ret, struct slice text, const char *name, struct buf *errors)
{
	struct reader rd = { .name = name, .errors = errors };
	struct classifier *c = calloc(1, sizeof(*c));
	int r = -ENOMEM;

	if (!c)
		goto out;
	rd.c = c;
	r = provider_bit(&rd, SLICE_LIT("default"));
	if (r < 0)
		goto out;
	r = file_parse(&rd, text);
	if (r)
		goto out;
	r = vocabulary_build(&c->words);
	if (r == -ENOSPC)
		r = complain(&rd, "too many words in all", (struct slice){ 0 });
	if (r)
		goto out;
	*ret = c;
	c = NULL;
out:
	classifier_free(c);
	return r;
}

struct classifier *classifier_free(struct classifier *c)
{
	if (!c)
		return NULL;
	for (unsigned i = 0; i < c->nproviders; i++)
		free(c->provider[i]);
	free(c->rules);
	free(c->terms);
	free(c->sets);
	free(c->set_words);
	vocabulary_deinit(&c->words);
	free(c);
	return NULL;
}
