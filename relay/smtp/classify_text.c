/* What a reply says, free of how it was written: odd separators, case, accents, addresses, tails.
 * Called by classify.c with each reply, and by the reader of rules with their words, so that both
 * are normal in the same way. Pure; the reply is hostile, and bounded before it comes here. */
#include <stdio.h>

#include "classify_rule.h"
#include "postern/text.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_alnum(char c)
{
	return is_digit(c) || is_upper(c) || is_lower(c);
}

static char lower(char c)
{
	return is_upper(c) ? (char)(c | 0x20) : c;
}

static char upper(char c)
{
	return is_lower(c) ? (char)(c & ~0x20) : c;
}

/* ---- writing the normalized text ---- */

struct writer {
	char *p;
	size_t n, max;
};

static void put(struct writer *w, char c)
{
	if (w->n >= w->max || (c == ' ' && w->n > 0 && w->p[w->n - 1] == ' '))
		return;
	w->p[w->n++] = c;
}

static void put_word(struct writer *w, const char *s)
{
	put(w, ' ');
	while (*s)
		put(w, *s++);
	put(w, ' ');
}

/* Base letters of U+00C0..U+00FF; a blank: keep the character as it is. */
static const char latin1[] = "aaaaaaaceeeeiiii"
			     "dnooooo ouuuuy s"
			     "aaaaaaaceeeeiiii"
			     "dnooooo ouuuuy y";

static void put_folded(struct writer *w, struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == 0xc3 && i + 1 < s.n && ((unsigned char)s.p[i + 1] & 0xc0) == 0x80 &&
			latin1[(unsigned char)s.p[i + 1] & 0x3f] != ' ') {
			put(w, latin1[(unsigned char)s.p[++i] & 0x3f]);
		} else if (c >= 0x80 || is_alnum(s.p[i])) {
			put(w, lower(s.p[i]));
		} else if (c != '\'') { /* "doesn't" is one word */
			put(w, ' ');
		}
	}
}

/* "192.0.2.10", and the ways of hiding it: "192.0.2.x", "x.xx.xx.xx", "n.n.n.n", "*.*.*.*" */
static bool looks_like_v4(struct slice s)
{
	unsigned dots = 0, run = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '.') {
			if (run == 0)
				return false;
			dots++;
			run = 0;
		} else if (is_digit(s.p[i]) || strchr("xXnN*#", s.p[i])) {
			if (++run > 3)
				return false;
		} else {
			return false;
		}
	}
	return dots == 3 && run > 0;
}

static bool looks_like_v6(struct slice s)
{
	unsigned colons = 0;

	for (size_t i = 0; i < s.n; i++) {
		char c = lower(s.p[i]);

		if (c == ':')
			colons++;
		else if (!is_digit(c) && !(c >= 'a' && c <= 'f') && c != '.' && c != 'x')
			return false;
	}
	return colons >= 2;
}

/* Mailboxes that a receiver names for complaints are part of what it says. */
static bool is_contact(struct slice s)
{
	static const char *const locals[] = { "delist", "postmaster", "abuse", "tosa", "unblock" };

	for (size_t i = 0; i < sizeof(locals) / sizeof(locals[0]); i++) {
		if (slice_case_prefix(s, slice_of(locals[i])))
			return true;
	}
	return false;
}

static struct slice trim_punctuation(struct slice s)
{
	while (s.n > 0 && strchr(".:,;!'", s.p[0]) && !(s.n > 1 && s.p[0] == ':' && s.p[1] == ':'))
		s = slice_from(s, 1);
	while (s.n > 0 && strchr(".,;!'", s.p[s.n - 1]))
		s.n--;
	return s;
}

/* A run without blanks or brackets. */
static void put_chunk(struct writer *w, struct slice s)
{
	struct slice t = trim_punctuation(s);

	if (t.n > 0 && t.p[t.n - 1] == ':' && !looks_like_v6(t))
		t.n--;
	if (looks_like_v4(t) || looks_like_v6(t))
		put_word(w, "ipaddr");
	else if (memchr(t.p, '@', t.n) && !is_contact(t))
		put_word(w, "mailaddr");
	else
		put_folded(w, s);
}

static bool is_separator(char c)
{
	return c == '\0' || strchr(" \t\r\n<>()[]{},;\"=&?/|", c) != NULL;
}

/* A server's name behind the bracket at s: HOST.CLUSTER.prod and more, up to a blank or bracket. A
 * group of a success, "[InternalId=…, Hostname=…]", names a mailbox server. */
static bool server_name(struct slice s, struct slice *host, struct slice *cluster)
{
	size_t n = 1, dot = 0, label;

	while (n < s.n && s.p[n] != ']' && s.p[n] != ' ' && s.p[n] != '[' && s.p[n] != '=')
		n++;
	if (n < s.n && s.p[n] == '=')
		return false;
	while (++dot < n && (is_alnum(s.p[dot]) || s.p[dot] == '-'))
		;
	label = dot;
	while (++label < n && (is_alnum(s.p[label]) || s.p[label] == '-'))
		;
	if (dot == 1 || dot >= n || s.p[dot] != '.' || label == dot + 1 || label >= n ||
		!slice_case_prefix((struct slice){ s.p + label, n - label }, SLICE_LIT(".prod.")))
		return false;
	*host = (struct slice){ s.p + 1, dot - 1 };
	*cluster = (struct slice){ s.p + dot + 1, label - dot - 1 };
	return true;
}

static void server_keep(struct classification *ret, struct slice host, struct slice cluster)
{
	bool fits = host.n < sizeof(ret->server) && cluster.n < sizeof(ret->server_cluster);

	snprintf(ret->server, sizeof(ret->server), "%.*s", fits ? (int)host.n : 0, host.p);
	snprintf(ret->server_cluster, sizeof(ret->server_cluster), "%.*s",
		fits ? (int)cluster.n : 0, cluster.p);
}

void classify_facts(const struct reply *r, struct classification *ret)
{
	struct slice s = { r->text, r->n }, host, cluster;

	ret->code = r->code;
	memcpy(ret->enhanced, r->enhanced, sizeof(ret->enhanced));
	ret->detail = r->detail;
	if (!r->has_enhanced) {
		memset(ret->enhanced, 0, sizeof(ret->enhanced));
		ret->detail = 0;
	}
	ret->names_ipv6 = glob_match(SLICE_LIT("*ipv6*"), s);
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '[' && server_name(slice_from(s, i), &host, &cluster))
			server_keep(ret, host, cluster);
}

/* The length of a bracketed group at s that names servers, 0 for none. */
static size_t tail_group(struct slice s)
{
	static const char *const marks[] = { ".prod.", "mxid=", "agt=", "name=protocol", ".eop-",
		"hostname=" };
	const char *end = memchr(s.p, ']', s.n);
	size_t n = end ? (size_t)(end - s.p) + 1 : s.n;

	if (!end && n > 200) /* not a tail that was cut off */
		return 0;
	for (size_t i = 0; i < n; i++) {
		struct slice at = { s.p + i, n - i };

		for (size_t k = 0; k < sizeof(marks) / sizeof(marks[0]); k++) {
			if (lower(at.p[0]) == marks[k][0] &&
				slice_case_prefix(at, slice_of(marks[k])))
				return n;
		}
	}
	return 0;
}

/* Writes all of s but the tail groups, which are blanked in s's copy by the caller. */
static void put_text(struct writer *w, struct slice s)
{
	size_t i = 0;

	while (i < s.n) {
		size_t n = 0;

		while (i + n < s.n && !is_separator(s.p[i + n]))
			n++;
		if (n > 0)
			put_chunk(w, (struct slice){ s.p + i, n });
		put(w, ' ');
		i += n + 1;
	}
}

size_t words_normalize(char *out, size_t max, struct slice s)
{
	struct writer w = { out, 0, max };
	size_t skip = 0;

	put_folded(&w, s);
	while (w.n > 0 && out[w.n - 1] == ' ')
		w.n--;
	while (skip < w.n && out[skip] == ' ')
		skip++;
	memmove(out, out + skip, w.n - skip);
	return w.n - skip;
}

/* ---- tokens ---- */

/* Families of the marks that receivers put into replies. any_case: also in small letters, and right
 * behind a word ("laterS77719"): long enough to be told from a word. */
static const struct family {
	const char *prefix;
	uint8_t digits_min;
	bool any_case;
} families[] = {
	{ "CPRX", 1, true },
	{ "PRX", 1, true },
	{ "ATTR", 1, true },
	{ "AS", 3, true },
	{ "S", 3, true },
	{ "OFR", 0, true },
	{ "RP-", 3, true },
	{ "SC-", 3, true },
	{ "OU-", 3, true },
	{ "DY-", 3, true },
	{ "OR-", 3, true },
	{ "MRH", 1, true },
	{ "SF", 1, false },
	{ "EV", 1, false },
	{ "PFA", 1, false },
	{ "TSS", 2, false },
	{ "TS", 2, false },
	{ "IPTS", 2, false },
	{ "PH", 2, false },
	{ "GL", 2, false },
	{ "BL", 2, false },
	{ "RL", 4, false },
	{ "CS", 2, false },
	{ "HM", 2, false },
	{ "SC", 3, false },
	{ "G", 2, false },
	{ "IB", 2, false },
	{ "CXBL", 0, false },
	{ "TSTE", 0, false },
	{ "DYN", 0, false },
	{ "NOWL", 0, false },
	{ "DT:", 0, false },
	{ "MI:", 0, false },
	{ "RP:", 0, false },
	{ "AUP#", 0, false },
	{ "CON:B", 1, false },
	{ "DYN:T", 1, false },
	{ "RLY:B", 1, false },
	{ "HVU:B", 1, false },
	{ "RTR:B", 1, false },
};

/* The length of prefix at s, 0 when it is not there. */
static size_t prefix_length(struct slice s, const struct family *f)
{
	size_t n = 0;

	for (; f->prefix[n]; n++) {
		char c = n < s.n ? s.p[n] : '\0';

		if ((f->any_case ? upper(c) : c) != f->prefix[n])
			return 0;
	}
	return n;
}

/* What follows the prefix: digits, perhaps in round brackets; for families without digits any run
 * of letters, digits, '_' and '-'. Returns the length taken; the token is written to out. */
static size_t token_rest(struct slice s, const struct family *f, char *out, size_t max)
{
	size_t i = 0, n = 0, digits = 0;
	bool bracket = false;

	if (!strcmp(f->prefix, "AS")) {
		while (i < s.n && (s.p[i] == ' ' || s.p[i] == '('))
			bracket |= s.p[i++] == '(';
		if (!bracket && i > 0)
			return 0;
	}
	while (i < s.n &&
		(is_digit(s.p[i]) || (f->digits_min == 0 && (is_alnum(s.p[i]) || s.p[i] == '_' ||
								    s.p[i] == '-')))) {
		digits += is_digit(s.p[i]);
		if (n < max)
			out[n++] = upper(s.p[i]);
		i++;
	}
	if (digits < f->digits_min || (i < s.n && is_alnum(s.p[i])))
		return 0;
	out[n] = '\0';
	return i + 1; /* at least one: an empty rest is a match too */
}

static void token_add(struct reply_view *v, const char *token)
{
	for (unsigned i = 0; i < v->ntokens; i++) {
		if (!strcmp(v->token[i], token))
			return;
	}
	if (v->ntokens < TOKENS_MAX) {
		memcpy(v->token[v->ntokens], token, strlen(token) + 1);
		v->ntokens++;
	}
}

/* Returns how far the token reaches, 0 when there is none at i. */
static size_t token_at(struct reply_view *v, struct slice s, size_t i)
{
	char before = i > 0 ? s.p[i - 1] : ' ', token[TOKEN_MAX];
	bool inside = is_alnum(before); /* of a word: most places are */

	if (inside && !(is_lower(before) && is_upper(s.p[i])))
		return 0;

	for (size_t k = 0; k < sizeof(families) / sizeof(families[0]); k++) {
		const struct family *f = &families[k];
		size_t n, rest;

		if (upper(s.p[i]) != f->prefix[0] || (inside && !f->any_case))
			continue;
		n = prefix_length(slice_from(s, i), f);
		if (n == 0)
			continue;
		memcpy(token, f->prefix, n);
		rest = token_rest(slice_from(s, i + n), f, token + n, sizeof(token) - n - 1);
		if (rest == 0)
			continue;
		token_add(v, token);
		return n + rest - 1;
	}
	return 0;
}

/* Gmail names its reasons in a link: "?p=UnsolicitedRateLimitError" */
static void link_reason(struct reply_view *v, struct slice s, size_t i)
{
	char token[TOKEN_MAX];
	size_t n = 0;

	if (i + 3 >= s.n || lower(s.p[i + 1]) != 'p' || s.p[i + 2] != '=')
		return;
	for (i += 3; i < s.n && is_alnum(s.p[i]) && n < sizeof(token) - 1; i++)
		token[n++] = upper(s.p[i]);
	token[n] = '\0';
	if (n > 3)
		token_add(v, token);
}

static void tokens_find(struct reply_view *v, struct slice s)
{
	size_t i = 0;

	while (i < s.n) {
		size_t n = 0;

		if (s.p[i] == '?')
			link_reason(v, s, i);
		else if (is_alnum(s.p[i]))
			n = token_at(v, s, i);
		i += n ? n : 1;
	}
}

/* ---- the enhanced code ---- */

static bool number(struct slice s, size_t *at, uint16_t *ret)
{
	size_t first = *at;
	unsigned v = 0;

	while (*at < s.n && is_digit(s.p[*at]) && *at - first < 3)
		v = v * 10 + (unsigned)(s.p[(*at)++] - '0');
	*ret = (uint16_t)v;
	return *at > first && !(*at < s.n && is_digit(s.p[*at]));
}

/* Some receivers put it behind a host name or at the end: the first that fits the reply's class. */
static void enhanced_search(struct reply_view *v, const struct reply *r)
{
	struct slice s = { r->text, r->n };
	char want = (char)('0' + r->code / 100);

	for (size_t i = 0; i + 4 < s.n; i++) {
		uint16_t subject, detail;
		size_t at = i + 2;

		if (s.p[i] != want || s.p[i + 1] != '.')
			continue;
		if (i > 0 && (is_alnum(s.p[i - 1]) || s.p[i - 1] == '.'))
			continue;
		if (!number(s, &at, &subject) || at >= s.n || s.p[at++] != '.' ||
			!number(s, &at, &detail))
			continue;
		if (at < s.n && (is_alnum(s.p[at]) ||
					(s.p[at] == '.' && at + 1 < s.n && is_digit(s.p[at + 1]))))
			continue;
		v->class = (uint8_t)(want - '0');
		v->subject = subject;
		v->detail = detail;
		return;
	}
}

/* ---- quotation ---- */

/* The length of a quotation mark at s, which is not empty: ", and the pairs of other languages. 0
 * for none. */
static size_t mark_length(struct slice s)
{
	unsigned char c = (unsigned char)s.p[0], last;

	if (c < 0x80) /* nearly always */
		return c == '"';
	if (c == 0xc2 && s.n >= 2) {
		last = (unsigned char)s.p[1];
		return last == 0xab || last == 0xbb ? 2 : 0;
	}
	if (c == 0xe2 && s.n >= 3 && (unsigned char)s.p[1] == 0x80) {
		last = (unsigned char)s.p[2];
		return last >= 0x9c && last <= 0x9e ? 3 : 0;
	}
	return 0;
}

/* Two words or more, of which the first is not the code of another host's reply. */
static bool is_quotation(struct slice s)
{
	const char *blank;

	s = slice_trim(s);
	blank = s.n ? memchr(s.p, ' ', s.n) : NULL;
	return blank && !is_digit(s.p[0]);
}

/* Whether some passage stands in quotation marks: the words of somebody whom the host quotes. */
static bool has_quotation(struct slice s)
{
	size_t from = 0; /* behind the mark that opened; 0: none is open */

	for (size_t i = 0; i < s.n; i++) {
		size_t n = mark_length((struct slice){ s.p + i, s.n - i });

		if (n == 0)
			continue;
		if (from > 0 && is_quotation((struct slice){ s.p + from, i - from }))
			return true;
		from = from > 0 ? 0 : i + n;
		i += n - 1;
	}
	return false;
}

void reply_view_make(struct reply_view *v, const struct reply *r)
{
	struct writer w = { v->text, 0, VIEW_TEXT_MAX };
	struct slice s = { r->text, r->n };
	size_t from = 0;

	v->ntokens = 0;
	v->class = 0;
	v->subject = v->detail = 0;
	put(&w, ' ');
	if (has_quotation(s))
		put_word(&w, "quotedtext");
	for (size_t i = 0; i < s.n; i++) {
		size_t n = s.p[i] == '[' ? tail_group(slice_from(s, i)) : 0;

		if (n == 0)
			continue;
		put_text(&w, (struct slice){ s.p + from, i - from });
		tokens_find(v, (struct slice){ s.p + from, i - from });
		i += n - 1;
		from = i + 1;
	}
	put_text(&w, slice_from(s, from));
	tokens_find(v, slice_from(s, from));
	if (w.n == w.max)
		w.n--;
	if (w.p[w.n - 1] != ' ')
		w.p[w.n++] = ' ';
	v->n = (uint32_t)w.n;
	v->text[v->n] = '\0';
	if (r->has_enhanced) {
		v->class = r->enhanced[0];
		v->subject = r->enhanced[1];
		v->detail = r->detail;
	} else {
		enhanced_search(v, r);
	}
}

bool token_match(const char *pattern, const char *token)
{
	const char *star = NULL, *retry = NULL;

	for (;;) {
		if (*pattern == '*') {
			star = ++pattern;
			retry = token;
		} else if (*pattern == '#' && is_digit(*token)) {
			pattern++;
			while (is_digit(*token))
				token++;
		} else if (*pattern && *pattern == *token) {
			pattern++;
			token++;
		} else if (!*pattern && !*token) {
			return true;
		} else if (star && *retry) { /* let the last star have one more */
			pattern = star;
			token = ++retry;
		} else {
			return false;
		}
	}
}
