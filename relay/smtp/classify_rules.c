/* Reads one rule, for classify_file.c; the syntax is explained at the top of conf/replies.rules. */
#include <errno.h>
#include <stdlib.h>

#include "classify_rule.h"
#include "postern/smtp_client.h"
#include "postern/text.h"

#define WORDING_MAX 512
#define PHASES                                                                                     \
	"phases are connect banner ehlo starttls tls mail rcpt data eod rset quit unknown, or *"
#define VERDICT_WORDS                                                                              \
	"verdicts are source-throttle source-block destination-busy destination-config "           \
	"split-recipients recipient-invalid message-rejected transient-other"
#define SCOPES                                                                                     \
	"scopes are message recipient domain source subnet cluster provider sender, voices "       \
	"voice=receiver voice=provider voice=tenant, durations like 90s 10m 4h"

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

struct slice rule_field(struct slice *rest)
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

int rule_provider(struct reader *rd, struct slice name)
{
	struct classifier *c = rd->c;

	for (unsigned i = 0; i < c->nproviders; i++) {
		if (slice_eq(slice_of(c->provider[i]), name))
			return (int)i;
	}
	if (c->nproviders == PROVIDERS_MAX)
		return reader_complain(
			rd, "too many providers", name, "rules may name 30; use * for any");
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
		int bit = rule_provider(rd, part_take(&s));

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
			return reader_complain(rd, "no such phase", part, PHASES);
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
			return reader_complain(rd, "reply codes are like 451 or 5xx", part, NULL);
		if (r->ncodes == RULE_PATTERNS_MAX)
			return reader_complain(rd, "too many reply codes", part,
				"12 at most; use patterns such as 45x, or a second rule");
		*p = (struct code_pattern){ 0, 0 };
		for (size_t i = 0; i < 3; i++) {
			if (part.p[i] != 'x' && (part.p[i] < '0' || part.p[i] > '9'))
				return reader_complain(
					rd, "reply codes are like 451 or 5xx", part, NULL);
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
			return reader_complain(rd, "too many enhanced codes", part,
				"12 at most; use ranges such as 5.7.500-699, or a second rule");
		if (!enhanced_parse(part, &r->enhanced[r->nenhanced]))
			return reader_complain(rd,
				"enhanced codes are like 5.7.1, x.7.500-699 or 4.x.x", part, NULL);
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
			return reader_complain(rd, "too many tokens", part,
				"12 at most; use # and *, or a second rule");
		if (part.n == 0 || part.n >= TOKEN_MAX)
			return reader_complain(rd, "a token has 1 to 31 characters", part, NULL);
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
		return reader_complain(rd, "wording stands in double quotes", *rest, NULL);
	s = (struct slice){ rest->p + 1, (size_t)(end - rest->p) - 1 };
	*rest = slice_from(*rest, s.n + 2);
	if (s.n > sizeof(words))
		return reader_complain(rd, "wording is too long", s, "512 characters at most");
	s = (struct slice){ words, words_normalize(words, sizeof(words), s) };
	if (s.n == 0)
		return reader_complain(
			rd, "wording has no word", (struct slice){ 0 }, "give words, or * for any");
	if (reserve(&c->sets, c->nsets, &c->cap_sets, sizeof(*c->sets)))
		return -ENOMEM;
	c->sets[c->nsets] = (struct set){ .first_word = (uint32_t)c->nset_words };
	while (s.n > 0) {
		const char *blank = memchr(s.p, ' ', s.n);
		struct slice word = { s.p, blank ? (size_t)(blank - s.p) : s.n };
		int id = vocabulary_add(&c->words, word);

		if (id == -ENOSPC)
			return reader_complain(
				rd, "too many words", word, "take out rules, or say builtin off");
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
			return reader_complain(rd, "alternatives are joined by |", s, NULL);
		s = slice_from(s, 1);
	}
	if (c->nsets > UINT16_MAX - 64u)
		return reader_complain(rd, "too much wording", (struct slice){ 0 },
			"take out rules, or say builtin off");
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
		struct slice s = rule_field(rest);
		int err;

		if (s.n == 0)
			return reader_complain(
				rd, "no -> and verdict", s, "a rule ends like: -> transient-other");
		if (slice_eq(s, SLICE_LIT("->")))
			return n > 0 ? 0
				     : reader_complain(rd, "no wording; * is any",
					       (struct slice){ 0 }, NULL);
		if (is_any(s))
			continue;
		err = term_parse(rd, r, s);
		if (err)
			return err;
	}
}

static const char *const scope_names[] = { "default", "message", "recipient", "domain", "source",
	"subnet", "cluster", "provider", "sender" };
static const char *const voice_words[] = { "voice=receiver", "voice=provider", "voice=tenant" };

const char *verdict_scope_name(enum verdict_scope s)
{
	return s <= SCOPE_SENDER ? scope_names[s] : "unknown";
}

const char *voice_name(enum voice v)
{
	return v <= VOICE_TENANT ? voice_words[v] + strlen("voice=") : "unknown";
}

/* Which of n names s is, -1 for none. */
static int name_find(struct slice s, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (slice_eq(s, slice_of(names[i])))
			return (int)i;
	}
	return -1;
}

static bool scope_parse(struct slice s, enum verdict_scope *ret)
{
	int i = name_find(s, scope_names, sizeof(scope_names) / sizeof(scope_names[0]));

	if (i >= 0)
		*ret = (enum verdict_scope)i;
	return i >= 0;
}

static bool voice_parse(struct slice s, enum voice *ret)
{
	int i = name_find(s, voice_words, sizeof(voice_words) / sizeof(voice_words[0]));

	if (i >= 0)
		*ret = (enum voice)i;
	return i >= 0;
}

static int outcome_parse(struct reader *rd, struct rule *r, struct slice rest)
{
	struct slice s = rule_field(&rest);

	if (verdict_parse(&r->verdict, s))
		return reader_complain(rd, "no such verdict", s, VERDICT_WORDS);
	if (r->verdict == VERDICT_DELIVERED)
		return reader_complain(rd, "no 4xx or 5xx reply means delivered",
			(struct slice){ 0 }, VERDICT_WORDS);
	s = rule_field(&rest);
	if (s.n > 0 && scope_parse(s, &r->scope))
		s = rule_field(&rest);
	if (s.n > 0 && voice_parse(s, &r->voice))
		s = rule_field(&rest);
	if (s.n > 0 && (duration_parse(&r->cooldown, s) || r->cooldown < 0))
		return reader_complain(rd, "neither a scope, a voice nor a duration", s, SCOPES);
	s = slice_trim(rest);
	return s.n > 0 ? reader_complain(rd, "more than a verdict, scope, voice and duration", s,
				 "in this order, each at most once")
		       : 0;
}

int rule_parse(struct reader *rd, struct slice line)
{
	static int (*const parts[])(struct reader *, struct rule *, struct slice) = {
		providers_parse, phases_parse, codes_parse, enhanced_list_parse, tokens_parse
	};
	struct rule r = { .line = rd->line, .text = (uint8_t)(rd->c->ntexts - 1) };
	int err;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		struct slice s = rule_field(&line);

		if (s.n == 0)
			return reader_complain(rd, "a rule has six columns, then -> and a verdict",
				s, "provider phase code enhanced token wording, * for any");
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
	rd->c->text[r.text].nrules++;
	return 0;
}
