/* Keys that sign mail: what no single option of a dkim section can tell, and the set of signers that
 * the sections make together. Called by check.c, and by whoever starts or reloads. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "source.h"

#define RSA_USUAL 2048u

static unsigned line(const struct source *s, unsigned i, const char *option)
{
	return scan_line(scan_find(&s->scan, &sections[SECTION_DKIM], i), option);
}

static const char *signs_as(const struct config_dkim *d)
{
	return d->sign_as ? d->sign_as : d->domain;
}

/* A key that others can read signs for them, too. */
static void check_mode(struct source *s, unsigned i, const struct config_dkim *d)
{
	struct stat st;
	unsigned mode;

	if (stat(d->key, &st))
		return;
	mode = (unsigned)st.st_mode & 07777u;
	if (mode & (S_IWGRP | S_IRWXO))
		diag_error(s->diag, line(s, i, "key"),
			"dkim \"%s\": key: others than the relay may read or change %s (mode %04o): "
			"chmod 0640 it, with the relay's group",
			d->domain, d->key, mode);
}

int config_dkim_key(const struct config_dkim *d, struct dkim_key **ret, char *why, size_t why_max)
{
	struct buf text;
	int r;

	buf_init(&text, 0);
	r = config_read_file(d->key, &text);
	if (r)
		snprintf(why, why_max, "cannot be read: %s", strerror(-r));
	else
		r = dkim_key_parse(ret, buf_slice(&text), why, why_max);
	if (text.p)
		explicit_bzero(text.p, text.cap);
	buf_deinit(&text);
	return r;
}

static int check_key(struct source *s, unsigned i, const struct config_dkim *d)
{
	struct dkim_key *k = NULL;
	char why[200] = "";
	int r = config_dkim_key(d, &k, why, sizeof(why));

	if (r == -ENOMEM)
		return r;
	if (r)
		diag_error(s->diag, line(s, i, "key"), "dkim \"%s\": key: %s %s", d->domain, d->key,
			why);
	else if (dkim_key_algorithm(k) == DKIM_RSA && dkim_key_bits(k) < RSA_USUAL)
		diag_warning(s->diag, line(s, i, "key"),
			"dkim \"%s\": key: %s is an RSA key of %u bits: some receivers do not count "
			"it; make one of 2048 under a new selector",
			d->domain, d->key, dkim_key_bits(k));
	dkim_key_free(k);
	return 0;
}

/* One name in DNS has one key. */
static void check_selector(struct source *s, unsigned i, const struct config_dkim *d)
{
	char where[DIAG_WHERE_MAX];

	for (unsigned k = 0; k < i; k++) {
		const struct config_dkim *o = &s->config->dkims[k];

		if (!o->selector || !o->key || strcmp(o->selector, d->selector) != 0 ||
			strcmp(signs_as(o), signs_as(d)) != 0 || strcmp(o->key, d->key) == 0)
			continue;
		diag_error(s->diag, line(s, i, "selector"),
			"dkim \"%s\": selector: the section in %s has the same name, "
			"%s._domainkey.%s, for another key: each key needs a selector of its own",
			d->domain,
			diag_where(s->diag, line(s, k, ""), line(s, i, "selector"), where),
			d->selector, signs_as(d));
		return;
	}
}

static void lower(char *text)
{
	for (; text && *text; text++)
		if (*text >= 'A' && *text <= 'Z')
			*text = (char)(*text | 0x20);
}

int source_check_dkims(struct source *s)
{
	int r = 0;

	for (unsigned i = 0; i < s->config->ndkims && !r; i++) {
		struct config_dkim *d = &s->config->dkims[i];

		lower(d->domain);
		lower(d->sign_as);
		if (scan_given(scan_find(&s->scan, &sections[SECTION_DKIM], i), "from") &&
			d->nfrom == 0)
			diag_error(s->diag, line(s, i, "from"),
				"dkim \"%s\": from: an empty list signs nothing: leave the option out",
				d->domain);
		if (!d->key || !d->selector)
			continue; /* told already */
		check_selector(s, i, d);
		check_mode(s, i, d);
		r = check_key(s, i, d);
	}
	return r;
}

int config_dkim(const struct config *c, dkim_to_ascii_fn to_ascii, struct dkim_set **ret,
	struct buf *errors)
{
	struct dkim_set *set = NULL;
	char why[200] = "";
	int r = 0;

	*ret = NULL;
	if (c->ndkims == 0)
		return 0;
	set = dkim_set_new(to_ascii);
	if (!set)
		return -ENOMEM;
	for (unsigned i = 0; i < c->ndkims && !r; i++) {
		const struct config_dkim *d = &c->dkims[i];
		struct dkim_key *k = NULL;
		struct dkim_rule rule = { .domain = d->domain,
			.selector = d->selector,
			.sign_as = d->sign_as,
			.from = (const char *const *)d->from,
			.nfrom = d->nfrom,
			.header = d->canonicalization >= FORMS_SIMPLE_RELAXED ? DKIM_SIMPLE
									      : DKIM_RELAXED,
			.body = d->canonicalization % 2 ? DKIM_SIMPLE : DKIM_RELAXED };

		r = config_dkim_key(d, &k, why, sizeof(why));
		if (r)
			buf_printf(errors, "dkim \"%s\": key: %s %s\n", d->domain, d->key, why);
		else
			r = dkim_set_add(set, &rule, k);
	}
	if (r)
		dkim_set_unref(set);
	else
		*ret = set;
	return r;
}
