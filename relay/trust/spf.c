/* check_host() of RFC 7208, section by section. Called by postern doctor; pure: who asks DNS is the
 * caller's function.
 *
 * A record is first looked at whole: a term that is not of the syntax is an error wherever it stands
 * (section 4.6). Then its terms are tried from left to right; the first that matches decides. Looked
 * up are ten terms at most, of which two may have no answer, over all records together: that also
 * bounds how deep records include one another. */
#include "postern/spf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "spf_private.h"

#define HOSTS_MAX 10 /* of an MX, names of a PTR */
#define OUR_LIMIT 60 /* with q->all */

enum mechanism { M_ALL, M_INCLUDE, M_A, M_MX, M_PTR, M_IP4, M_IP6, M_EXISTS, M_REDIRECT, M_OTHER };

struct term {
	enum mechanism is;
	char qualifier;
	struct slice text; /* all of it */
	struct slice name; /* domain-spec or address; n 0: none */
	unsigned cidr4, cidr6;
};

struct checking {
	const struct spf_question *q;
	struct spf_outcome *out;
};

const char *spf_result_name(enum spf_result r)
{
	static const char *const names[] = {
#define X(id, name) name,
		SPF_RESULTS(X)
#undef X
	};

	return names[r];
}

static enum spf_result wrong(struct checking *c, const char *what, struct slice text)
{
	snprintf(c->out->what, sizeof(c->out->what), "%s: %.*s", what,
		(int)(text.n < 200 ? text.n : 200), text.p ? text.p : "");
	return SPF_PERMERROR;
}

/* ---- syntax ---- */

/* "/24", "//64", or both, at the end; what is before them stays. */
static int take_length(struct slice *s, size_t at, unsigned most, unsigned *ret)
{
	unsigned v = 0;

	if (at >= s->n || s->n - at > 3 || (s->p[at] == '0' && s->n - at > 1))
		return -EINVAL;
	for (size_t i = at; i < s->n; i++) {
		if (s->p[i] < '0' || s->p[i] > '9')
			return -EINVAL;
		v = v * 10 + (unsigned)(s->p[i] - '0');
	}
	*ret = v;
	return v <= most ? 0 : -EINVAL;
}

/* The first '/' that is not inside of a macro. */
static size_t find_slash(struct slice s)
{
	bool macro = false;

	for (size_t i = 0; i < s.n; i++) {
		macro = s.p[i] == '{' || (macro && s.p[i] != '}');
		if (s.p[i] == '/' && !macro)
			return i;
	}
	return s.n;
}

static int take_dual(struct term *t)
{
	size_t at = find_slash(t->name);
	struct slice lengths = slice_from(t->name, at);
	const char *two = lengths.n ? memmem(lengths.p, lengths.n, "//", 2) : NULL;
	int r = 0;

	t->name.n = at;
	if (!lengths.n)
		return 0;
	if (two) {
		r = take_length(&lengths, (size_t)(two - lengths.p) + 2, 128, &t->cidr6);
		lengths.n = (size_t)(two - lengths.p);
	}
	if (!r && lengths.n)
		r = take_length(&lengths, 1, 32, &t->cidr4);
	return r;
}

static int take_address(struct term *t)
{
	bool four = t->is == M_IP4;
	const char *slash = memchr(t->name.p, '/', t->name.n);
	struct addr a;
	int r = 0;

	if (slash) {
		r = take_length(&t->name, (size_t)(slash - t->name.p) + 1, four ? 32 : 128,
			four ? &t->cidr4 : &t->cidr6);
		t->name.n = (size_t)(slash - t->name.p);
	}
	if (!r && (addr_parse(&a, t->name) || (a.family == ADDR_V4) != four))
		r = -EINVAL;
	return r;
}

static int read_mechanism(struct term *t, struct slice word, bool given)
{
	static const char *const names[] = { "all", "include", "a", "mx", "ptr", "ip4", "ip6",
		"exists" };
	unsigned i = 0;

	while (i < M_REDIRECT && !slice_case_eq(word, slice_of(names[i])))
		i++;
	t->is = (enum mechanism)i;
	switch (t->is) {
	case M_ALL:
		return given || t->name.n ? -EINVAL : 0;
	case M_INCLUDE:
	case M_EXISTS:
		return t->name.n ? 0 : -EINVAL;
	case M_IP4:
	case M_IP6:
		return t->name.n ? take_address(t) : -EINVAL;
	case M_A:
	case M_MX:
		return take_dual(t) || (given && !t->name.n) ? -EINVAL : 0;
	case M_PTR:
		return given && !t->name.n ? -EINVAL : 0;
	case M_REDIRECT:
	case M_OTHER:
	default:
		return -EINVAL;
	}
}

static bool is_modifier_name(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = (char)(s.p[i] | 0x20);

		if (!(c >= 'a' && c <= 'z') &&
			(i == 0 || (!(s.p[i] >= '0' && s.p[i] <= '9') && !strchr("-_.", s.p[i]))))
			return false;
	}
	return s.n > 0;
}

static int read_term(struct term *t, struct slice text)
{
	size_t n = 0;
	struct slice rest = text;
	bool given;

	*t = (struct term){
		.is = M_OTHER, .qualifier = '+', .text = text, .cidr4 = 32, .cidr6 = 128
	};
	while (n < text.n && !strchr(":/=", text.p[n]))
		n++;
	if (n < text.n && text.p[n] == '=') {
		if (!is_modifier_name((struct slice){ text.p, n }))
			return -EINVAL;
		t->name = slice_from(text, n + 1);
		if (slice_case_eq((struct slice){ text.p, n }, SLICE_LIT("redirect")))
			t->is = M_REDIRECT;
		return t->is == M_REDIRECT && !t->name.n ? -EINVAL : 0;
	}
	if (strchr("+-?~", *text.p)) {
		t->qualifier = *text.p;
		rest = slice_from(text, 1);
		n--;
	}
	given = n < rest.n && rest.p[n] == ':';
	t->name = slice_from(rest, given ? n + 1 : n);
	return read_mechanism(t, (struct slice){ rest.p, n }, given);
}

static bool next_term(struct slice *rest, struct slice *ret)
{
	size_t n = 0;

	while (rest->n && *rest->p == ' ')
		*rest = slice_from(*rest, 1);
	while (n < rest->n && rest->p[n] != ' ')
		n++;
	*ret = (struct slice){ rest->p, n };
	*rest = slice_from(*rest, n);
	return n > 0;
}

/* Domain-specs are expanded to see whether they can be. */
static bool term_good(struct checking *c, const char *domain, const struct term *t)
{
	char name[SPF_NAME_MAX];
	struct buf b;
	int r;

	if (t->is == M_IP4 || t->is == M_IP6 || t->is == M_ALL || (t->is != M_OTHER && !t->name.n))
		return true;
	if (t->is != M_OTHER)
		return spf_name(name, c->q, domain, t->name) == 0;
	/* what a modifier means that nobody knows is not looked at; its letters are */
	buf_init(&b, 8192);
	r = spf_expand(&b, c->q, domain, t->name);
	buf_deinit(&b);
	return r != -EINVAL;
}

/* ---- look-ups ---- */

static void records_free(struct spf_records *r)
{
	for (unsigned i = 0; i < r->n; i++)
		buf_deinit(&r->text[i]);
	r->n = 0;
}

/* SPF_PASS: answered, perhaps by nothing; else the result that ends it. */
static enum spf_result ask(
	struct checking *c, enum spf_type type, const char *name, struct spf_records *ret)
{
	int r;

	*ret = (struct spf_records){ 0 };
	r = c->q->look(c->q->arg, type, name, ret);
	if (r && r != -ENOENT) {
		snprintf(c->out->what, sizeof(c->out->what), "no answer for %.253s", name);
		records_free(ret);
		return SPF_TEMPERROR;
	}
	if (type != SPF_TXT && ret->n == 0 && ++c->out->voids > SPF_VOIDS && !c->q->all)
		return wrong(c, "more than two look-ups without an answer", slice_of(name));
	return SPF_PASS;
}

static struct slice record_text(const struct spf_records *r, unsigned i)
{
	return buf_slice(&r->text[i]);
}

static bool in_net(const struct spf_question *q, struct slice text, const struct term *t)
{
	struct net n;
	struct addr a;

	if (addr_parse(&a, text) || a.family != q->ip.family)
		return false;
	n = net_of(&a, (uint8_t)t->cidr4, (uint8_t)t->cidr6);
	return net_contains(&n, &q->ip);
}

/* SPF_PASS: *match tells. */
static enum spf_result try_addresses(
	struct checking *c, const char *name, const struct term *t, bool *match)
{
	struct spf_records found;
	enum spf_result r = ask(c, c->q->ip.family == ADDR_V6 ? SPF_AAAA : SPF_A, name, &found);

	for (unsigned i = 0; r == SPF_PASS && i < found.n && !*match; i++)
		*match = in_net(c->q, record_text(&found, i), t);
	records_free(&found);
	return r;
}

static enum spf_result try_mx(
	struct checking *c, const char *name, const struct term *t, bool *match)
{
	struct spf_records found;
	enum spf_result r = ask(c, SPF_MX, name, &found);

	if (r == SPF_PASS && found.n > HOSTS_MAX)
		r = wrong(c, "more than ten hosts", t->text);
	for (unsigned i = 0; r == SPF_PASS && i < found.n && !*match; i++) {
		char host[SPF_NAME_MAX] = "";
		unsigned preference;

		buf_add(&found.text[i], "", 1);
		if (sscanf(buf_slice(&found.text[i]).p, "%u %255s", &preference, host) == 2 &&
			strcmp(host, "."))
			r = try_addresses(c, host, t, match);
	}
	records_free(&found);
	return r;
}

/* Is name the domain, or below it? */
static bool is_below(const char *name, const char *domain)
{
	size_t n = strlen(name), d = strlen(domain);

	return n >= d && !strcasecmp(name + n - d, domain) && (n == d || name[n - d - 1] == '.');
}

static void reverse_name(char out[SPF_NAME_MAX], const struct addr *a)
{
	size_t n = 0;

	if (a->family == ADDR_V4) {
		snprintf(out, SPF_NAME_MAX, "%u.%u.%u.%u.in-addr.arpa", a->ip[3], a->ip[2],
			a->ip[1], a->ip[0]);
		return;
	}
	for (int i = 15; i >= 0; i--)
		n += (size_t)snprintf(out + n, SPF_NAME_MAX - n, "%x.%x.", a->ip[i] & 15u,
			(unsigned)a->ip[i] >> 4);
	snprintf(out + n, SPF_NAME_MAX - n, "ip6.arpa");
}

/* Section 5.5: errors mean that it does not match. */
static void try_ptr(struct checking *c, const char *name, const struct term *t, bool *match)
{
	const struct term exact = { .cidr4 = 32, .cidr6 = 128 };
	struct spf_records found;
	char reversed[SPF_NAME_MAX], host[SPF_NAME_MAX];

	reverse_name(reversed, &c->q->ip);
	if (ask(c, SPF_PTR, reversed, &found) != SPF_PASS)
		return;
	for (unsigned i = 0; i < found.n && i < HOSTS_MAX && !*match; i++) {
		struct slice s = record_text(&found, i);
		bool here = false;

		snprintf(host, sizeof(host), "%.*s", (int)(s.n < 253 ? s.n : 253), s.p);
		*match = is_below(host, name) &&
			 try_addresses(c, host, &exact, &here) == SPF_PASS && here;
	}
	(void)t;
	records_free(&found);
}

/* ---- evaluation ---- */

static enum spf_result check_host(struct checking *c, const char *domain);

static enum spf_result try_include(struct checking *c, const char *name, bool *match)
{
	enum spf_result r = check_host(c, name);

	*match = r == SPF_PASS;
	if (r == SPF_NONE)
		return wrong(c, "included, and has no SPF record", slice_of(name));
	return r == SPF_TEMPERROR || r == SPF_PERMERROR ? r : SPF_PASS;
}

static enum spf_result try_exists(struct checking *c, const char *name, bool *match)
{
	struct spf_records found;
	enum spf_result r = ask(c, SPF_A, name, &found);

	*match = r == SPF_PASS && found.n > 0;
	records_free(&found);
	return r;
}

static enum spf_result count_look_up(struct checking *c, const struct term *t)
{
	c->out->look_ups++;
	if (c->out->look_ups > (c->q->all ? OUR_LIMIT : SPF_LOOK_UPS))
		return wrong(c, "more than ten terms that have to be looked up", t->text);
	return SPF_PASS;
}

/* SPF_PASS: *match tells whether the term matches. */
static enum spf_result try_term(
	struct checking *c, const char *domain, const struct term *t, bool *match)
{
	bool asks = t->is == M_INCLUDE || t->is == M_A || t->is == M_MX || t->is == M_PTR ||
		    t->is == M_EXISTS;
	char name[SPF_NAME_MAX];
	enum spf_result r = asks ? count_look_up(c, t) : SPF_PASS;

	snprintf(name, sizeof(name), "%s", domain);
	if (r == SPF_PASS && asks && t->name.n && spf_name(name, c->q, domain, t->name))
		r = wrong(c, "no name", t->text);
	if (r != SPF_PASS)
		return r;
	switch (t->is) {
	case M_ALL:
		*match = true;
		return SPF_PASS;
	case M_INCLUDE:
		return try_include(c, name, match);
	case M_A:
		return try_addresses(c, name, t, match);
	case M_MX:
		return try_mx(c, name, t, match);
	case M_PTR:
		try_ptr(c, name, t, match);
		return SPF_PASS;
	case M_EXISTS:
		return try_exists(c, name, match);
	case M_IP4:
	case M_IP6:
		*match = in_net(c->q, t->name, t);
		return SPF_PASS;
	case M_REDIRECT:
	case M_OTHER:
	default:
		return SPF_PASS;
	}
}

static enum spf_result result_of(char qualifier)
{
	switch (qualifier) {
	case '-':
		return SPF_FAIL;
	case '~':
		return SPF_SOFTFAIL;
	case '?':
		return SPF_NEUTRAL;
	default:
		return SPF_PASS;
	}
}

/* Section 4.6: all of it, before any term is evaluated. */
static enum spf_result syntax(
	struct checking *c, const char *domain, struct slice rest, struct term *redirect)
{
	unsigned redirects = 0, explanations = 0;
	struct slice text;
	struct term t;

	while (next_term(&rest, &text)) {
		if (read_term(&t, text) || !term_good(c, domain, &t))
			return wrong(c, "not understood", text);
		explanations += text.n > 4 && !strncasecmp(text.p, "exp=", 4);
		if (t.is != M_REDIRECT)
			continue;
		*redirect = t;
		redirects++;
	}
	return redirects > 1 || explanations > 1
		       ? wrong(c, "given twice", SLICE_LIT("redirect or exp"))
		       : SPF_PASS;
}

static enum spf_result follow(struct checking *c, const char *domain, const struct term *t)
{
	char name[SPF_NAME_MAX];
	enum spf_result r = count_look_up(c, t);

	if (r != SPF_PASS)
		return r;
	if (spf_name(name, c->q, domain, t->name))
		return wrong(c, "no name", t->text);
	r = check_host(c, name);
	return r == SPF_NONE ? wrong(c, "redirected to, and has no SPF record", slice_of(name)) : r;
}

static enum spf_result evaluate(struct checking *c, const char *domain, struct slice record)
{
	struct slice rest = slice_from(record, 6), text;
	struct term t, redirect = { .is = M_OTHER };
	enum spf_result r = syntax(c, domain, rest, &redirect);
	bool ended = false; /* with q->all: behind "all" nothing counts */

	while (r == SPF_PASS && !ended && next_term(&rest, &text)) {
		bool match = false;

		read_term(&t, text); /* its syntax was seen to be good */
		r = try_term(c, domain, &t, &match);
		if (r != SPF_PASS || !match)
			continue;
		if (c->q->all) {
			ended = t.is == M_ALL;
			continue;
		}
		snprintf(c->out->what, sizeof(c->out->what), "%.*s of %.150s",
			(int)(text.n < 120 ? text.n : 120), text.p, domain);
		return result_of(t.qualifier);
	}
	if (r != SPF_PASS)
		return r;
	if (!ended && redirect.is == M_REDIRECT)
		return follow(c, domain, &redirect);
	if (!c->q->all)
		snprintf(c->out->what, sizeof(c->out->what), "no term of %.150s matches", domain);
	return SPF_NEUTRAL;
}

/* Section 4.3: labels of 1 to 63 bytes, at least two. */
static bool is_domain(const char *s)
{
	unsigned dots = 0;

	if (strlen(s) > 253)
		return false;
	for (;; s++, dots++) {
		size_t n = strcspn(s, ".");

		if (n == 0 || n > 63)
			return false;
		s += n;
		if (!*s)
			return dots > 0;
	}
}

static bool is_record(struct slice s)
{
	return s.n >= 6 && slice_case_eq((struct slice){ s.p, 6 }, SLICE_LIT("v=spf1")) &&
	       (s.n == 6 || s.p[6] == ' ');
}

static enum spf_result check_host(struct checking *c, const char *domain)
{
	struct spf_records found;
	const struct buf *record = NULL;
	enum spf_result r;

	if (!is_domain(domain))
		return SPF_NONE;
	r = ask(c, SPF_TXT, domain, &found);
	for (unsigned i = 0; r == SPF_PASS && i < found.n; i++) {
		if (!is_record(record_text(&found, i)))
			continue;
		if (record)
			r = wrong(c, "several SPF records", slice_of(domain));
		record = &found.text[i];
	}
	if (r == SPF_PASS)
		r = record ? evaluate(c, domain, buf_slice(record)) : SPF_NONE;
	records_free(&found);
	return r;
}

void spf_check(const struct spf_question *q, struct spf_outcome *ret)
{
	struct checking c = { q, ret };

	*ret = (struct spf_outcome){ 0 };
	ret->result = check_host(&c, q->domain);
}
