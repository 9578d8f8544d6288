/* A configuration's life: load (scan → bind → check), free, compare. Called by the main thread, by
 * whoever reloads, and by the commands. Immutable once loaded. */
#include "postern/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "class.h"
#include "include.h"
#include "source.h"

static int build(struct config *c, const struct scan_input *in, struct diag *d)
{
	struct source s = {
		.schema = &config_schema,
		.base = c,
		.config = c,
		.diag = d,
		.on_machine = in->includes,
	};
	int r;

	c->path = strdup(in->path);
	if (!c->path)
		return -ENOMEM;
	r = scan_text(&s.scan, s.schema, in, d);
	if (!r)
		r = source_bind(&s);
	/* references into what was never read would all be reported as broken */
	if (!r && !s.scan.broken)
		r = source_check(&s);
	scan_deinit(&s.scan);
	return r;
}

static int parse(struct config **ret, const struct scan_input *in, struct buf *errors)
{
	struct config *c = calloc(1, sizeof(*c));
	struct diag d;
	int r = -ENOMEM;

	diag_init(&d);
	if (c)
		r = build(c, in, &d);
	if (!r)
		r = diag_print(&d, errors);
	if (!r && d.errors > 0)
		r = -EINVAL;
	if (!r) {
		*ret = c;
		c = NULL;
	}
	diag_deinit(&d);
	config_free(c);
	return r;
}

int config_parse(struct config **ret, const char *path, struct slice text, struct buf *errors)
{
	char *copy = slice_dup(text);
	struct scan_input in = { .path = path, .text = { copy, text.n } };
	int r = copy ? parse(ret, &in, errors) : -ENOMEM;

	free(copy);
	return r;
}

int config_load(struct config **ret, const char *path, struct buf *errors)
{
	struct buf text;
	int r;

	buf_init(&text, 0);
	r = config_read_file(path, &text);
	if (r) {
		buf_printf(errors, "%s:1: cannot be read: %s%s\n", path, strerror(-r),
			r == -ENOENT ? ": name the configuration with -c FILE; the sample "
				       "postern.conf is one to start from"
				     : "");
		goto out;
	}
	r = buf_add(&text, "", 1);
	if (!r) {
		struct scan_input in = {
			.path = path, .text = { text.p, buf_size(&text) - 1 }, .includes = true
		};

		r = parse(ret, &in, errors);
	}
out:
	buf_deinit(&text);
	return r;
}

static void free_titled(const struct section *kind, void *base)
{
	for (unsigned i = 0; i < section_count(kind, base); i++) {
		char *element = section_element(kind, base, i), *name;

		for (unsigned k = 0; k < kind->noptions; k++)
			value_free(&kind->options[k], element);
		memcpy(&name, element + kind->name_at, sizeof(name));
		free(name);
	}
	free(section_element(kind, base, 0));
}

void schema_free(const struct schema *k, void *base)
{
	for (unsigned id = 0; id < k->n; id++) {
		const struct section *kind = &k->sections[id];

		if (kind->titled) {
			free_titled(kind, base);
			continue;
		}
		for (unsigned i = 0; i < kind->noptions; i++)
			value_free(&kind->options[i], base);
	}
}

struct config *config_free(struct config *c)
{
	if (!c)
		return NULL;
	for (unsigned i = 0; i < c->policy.npools; i++)
		free(c->policy.pools[i].members);
	config_free_warmups(&c->policy);
	config_free_classes(&c->policy);
	schema_free(&config_schema, c);
	free(c->path);
	free(c);
	return NULL;
}
