/* Who signs what: the rules of a configuration, and the choice among them by a message's authors.
 * Made by whoever reads the configuration, immutable then, shared by reference between threads. */
#include <errno.h>
#include <stdlib.h>

#include "dkim_private.h"
#include "postern/must.h"
#include "postern/text.h"

struct dkim_set *dkim_set_new(dkim_to_ascii_fn to_ascii)
{
	struct dkim_set *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	atomic_init(&s->refs, 1);
	s->to_ascii = to_ascii;
	/* fetched once: by name it would be looked for again in each message */
	s->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (s->sha256)
		return s;
	free(s);
	return NULL;
}

struct dkim_set *dkim_set_ref(struct dkim_set *s)
{
	must(atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed) > 0);
	return s;
}

static void rule_free(struct dkim_signs *r)
{
	for (unsigned i = 0; r->from && i < r->nfrom; i++)
		free(r->from[i]);
	free(r->from);
	free(r->domain);
	free(r->selector);
	free(r->sign_as);
	dkim_key_free(r->key);
	free(r);
}

struct dkim_set *dkim_set_unref(struct dkim_set *s)
{
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	for (unsigned i = 0; i < s->nnamed; i++)
		rule_free(s->named[i]);
	for (unsigned i = 0; i < s->nlisted; i++)
		rule_free(s->listed[i]);
	free(s->named);
	free(s->listed);
	EVP_MD_free(s->sha256);
	free(s);
	return NULL;
}

static int rule_fill(struct dkim_signs *to, const struct dkim_rule *r)
{
	to->header = r->header;
	to->body = r->body;
	to->domain = strdup(r->domain);
	to->selector = strdup(r->selector);
	to->sign_as = strdup(r->sign_as ? r->sign_as : r->domain);
	to->from = calloc(r->nfrom + 1u, sizeof(*to->from));
	if (!to->domain || !to->selector || !to->sign_as || !to->from)
		return -ENOMEM;
	to->nfrom = r->nfrom;
	for (unsigned i = 0; i < r->nfrom; i++) {
		to->from[i] = strdup(r->from[i]);
		if (!to->from[i])
			return -ENOMEM;
	}
	return 0;
}

/* Where rules of the domain begin, in order of name. */
static unsigned place_of(const struct dkim_set *s, const char *domain)
{
	unsigned from = 0, to = s->nnamed;

	while (from < to) {
		unsigned mid = from + (to - from) / 2;

		if (strcmp(s->named[mid]->domain, domain) < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

static bool grow(struct dkim_signs ***list, unsigned n)
{
	struct dkim_signs **more = reallocarray(*list, n + 1u, sizeof(*more));

	if (more)
		*list = more;
	return more != NULL;
}

int dkim_set_add(struct dkim_set *s, const struct dkim_rule *r, struct dkim_key *key)
{
	struct dkim_signs *rule = calloc(1, sizeof(*rule));
	unsigned at;

	if (!rule) {
		dkim_key_free(key);
		return -ENOMEM;
	}
	rule->key = key;
	if (rule_fill(rule, r) || !grow(&s->named, s->nnamed) || !grow(&s->listed, s->nlisted)) {
		rule_free(rule);
		return -ENOMEM;
	}
	if (rule->nfrom) {
		s->listed[s->nlisted++] = rule;
		return 0;
	}
	at = place_of(s, rule->domain);
	while (at < s->nnamed && strcmp(s->named[at]->domain, rule->domain) == 0)
		at++; /* those of one domain in the order in which they came */
	memmove(s->named + at + 1, s->named + at, (s->nnamed - at) * sizeof(*s->named));
	s->named[at] = rule;
	s->nnamed++;
	return 0;
}

unsigned dkim_set_count(const struct dkim_set *s)
{
	return s->nnamed + s->nlisted;
}

/* ---- the choice ---- */

struct choice {
	const struct dkim_signs **out;
	unsigned n, max;
};

static void choose(struct choice *c, const struct dkim_signs *r)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->out[i] == r)
			return;
	if (c->n < c->max)
		c->out[c->n++] = r;
}

/* The nearest domain's rules, and no other's: who gives a subdomain keys of its own does not want
 * the parent's on it as well. */
static void choose_named(struct choice *c, const struct dkim_set *s, const char *name)
{
	bool found = false;

	for (; name && !found; name = strchr(name, '.')) {
		name += *name == '.';
		for (unsigned i = place_of(s, name);
			i < s->nnamed && strcmp(s->named[i]->domain, name) == 0; i++) {
			choose(c, s->named[i]);
			found = true;
		}
	}
}

static void choose_listed(struct choice *c, const struct dkim_set *s, const char *name)
{
	for (unsigned i = 0; i < s->nlisted; i++)
		for (unsigned k = 0; k < s->listed[i]->nfrom; k++)
			if (glob_match(slice_of(s->listed[i]->from[k]), slice_of(name)))
				choose(c, s->listed[i]);
}

unsigned dkim_set_choose(const struct dkim_set *s, const struct authors *a,
	const struct dkim_signs **out, unsigned max)
{
	struct choice c = { .out = out, .max = max };

	for (unsigned i = 0; i < a->n; i++) {
		choose_named(&c, s, a->domain[i]);
		choose_listed(&c, s, a->domain[i]);
	}
	return c.n;
}
