/* Names that no table has: what may have been meant. Called by scan.c; pure. */
#include "scan.h"

const struct section *scan_kind_named(const struct schema *schema, struct slice name)
{
	for (unsigned i = 1; i < schema->n; i++) {
		if (slice_eq(slice_of(schema->sections[i].name), name))
			return &schema->sections[i];
	}
	return NULL;
}

/* Levenshtein distance of short words; at most `limit` matters. */
static unsigned distance(struct slice a, struct slice b)
{
	unsigned row[64];

	if (a.n >= 64 || b.n >= 64)
		return 64;
	for (unsigned j = 0; j <= b.n; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a.n; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (unsigned j = 1; j <= b.n; j++) {
			unsigned change = diagonal + (a.p[i - 1] != b.p[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < change)
				change = row[j] + 1;
			if (row[j - 1] + 1 < change)
				change = row[j - 1] + 1;
			row[j] = change;
		}
	}
	return row[b.n];
}

struct guess {
	unsigned distance;
	const char *name;
};

static void guess_add(struct guess *g, struct slice name, const char *candidate)
{
	unsigned n = distance(name, slice_of(candidate));

	/* up to a third of the letters may differ */
	if (n < g->distance && (size_t)n * 3 <= name.n) {
		g->distance = n;
		g->name = candidate;
	}
}

void scan_tell_unknown(const struct scan *s, struct diag *d, const struct section *kind,
	const struct token *name, bool section)
{
	int n = name->text.n < 60 ? (int)name->text.n : 60;
	const char *where = kind->name[0] ? kind->name : "the file";
	struct guess g = { .distance = 64 };
	const struct schema *schema = s->schema;

	if (section && option_find(kind, name->text)) {
		diag_error(d, name->line,
			"\"%.*s\" is an option, not a section: write %.*s = value", n, name->text.p,
			n, name->text.p);
		return;
	}
	if (!section && !kind->name[0] && scan_kind_named(schema, name->text)) {
		diag_error(d, name->line, "\"%.*s\" is a section: write %.*s { ... }", n,
			name->text.p, n, name->text.p);
		return;
	}
	for (unsigned i = 0; i < kind->noptions; i++)
		guess_add(&g, name->text, kind->options[i].name);
	for (unsigned i = 1; i < schema->n && !kind->name[0]; i++)
		guess_add(&g, name->text, schema->sections[i].name);
	for (unsigned i = 0; i < schema->n; i++) {
		if (g.distance == 0 || !option_find(&schema->sections[i], name->text))
			continue;
		diag_error(d, name->line, "unknown option \"%.*s\" in %s: it belongs %s%s%s", n,
			name->text.p, where, i ? "into " : "outside all sections",
			schema->sections[i].name, i ? " { }" : "");
		return;
	}
	if (section && scan_kind_named(schema, name->text)) {
		diag_error(d, name->line,
			"section \"%.*s\" inside %s: close that section before it", n, name->text.p,
			where);
		return;
	}
	diag_error(d, name->line, "unknown %s \"%.*s\" in %s: %s%s%s",
		section ? "section" : "option", n, name->text.p, where,
		g.name ? "did you mean \"" : "remove it, or look for its name in ",
		g.name ? g.name : schema->names, g.name ? "\"?" : "");
}
