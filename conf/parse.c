/* The text through libconfuse. All options are strings to it: values are judged by our own table,
 * which can say more about them and goes on after the first bad one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "source.h"

/* libconfuse gives its error function no argument of ours. Its lexer is global anyway: one parse at
 * a time in a process. */
static struct diag *reporting;

__attribute__((format(printf, 2, 0))) static void report(cfg_t *cfg, const char *fmt, va_list ap)
{
	char text[512];

	/* the library's own wording, which names what it met */
	vsnprintf(text, sizeof(text), fmt, ap);
	diag_error(reporting, cfg->line > 0 ? (unsigned)cfg->line : 1, "syntax: %s", text);
}

static void keep_quiet(cfg_t *cfg, const char *fmt, va_list ap)
{
}

static cfg_opt_t *section_opts(const struct section *kind, cfg_opt_t *extra, unsigned nextra)
{
	cfg_opt_t end = CFG_END();
	cfg_opt_t *opts = calloc(kind->noptions + nextra + 1, sizeof(*opts));

	if (!opts)
		return NULL;
	for (unsigned i = 0; i < kind->noptions; i++) {
		cfg_opt_t one = CFG_STR(kind->options[i].name, NULL, CFGF_NODEFAULT);
		cfg_opt_t list = CFG_STR_LIST(kind->options[i].name, NULL, CFGF_NODEFAULT);

		opts[i] = option_is_list(&kind->options[i]) ? list : one;
	}
	for (unsigned i = 0; i < nextra; i++)
		opts[kind->noptions + i] = extra[i];
	opts[kind->noptions + nextra] = end;
	return opts;
}

static int make_opts(struct source *s)
{
	cfg_opt_t subs[SCHEMA_SECTIONS_MAX];

	for (unsigned i = 1; i < s->schema->n; i++) {
		cfg_opt_t single = CFG_SEC(s->schema->sections[i].name, NULL, CFGF_NODEFAULT);
		cfg_opt_t titled = CFG_SEC(s->schema->sections[i].name, NULL,
			CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);

		s->opts[i] = section_opts(&s->schema->sections[i], NULL, 0);
		if (!s->opts[i])
			return -ENOMEM;
		subs[i] = s->schema->sections[i].titled ? titled : single;
		subs[i].subopts = s->opts[i];
	}
	s->opts[0] = section_opts(&s->schema->sections[0], subs + 1, s->schema->n - 1);
	return s->opts[0] ? 0 : -ENOMEM;
}

int source_parse(struct source *s, char *text)
{
	unsigned before;
	int r = scan_text(&s->scan, s->schema, text, s->diag);

	if (!r)
		r = make_opts(s);
	if (r)
		return r;
	s->cfg = cfg_init(s->opts[0], CFGF_NONE);
	if (!s->cfg)
		return -ENOMEM;
	cfg_set_error_function(s->cfg, report);
	reporting = s->diag;
	if (s->scan.stopped) {
		/* our own finding says more than the library's, and its line is that of the cause;
		 * what is before it is still to be read */
		diag_error(s->diag, s->scan.stop_line, "syntax: %s", s->scan.stop_why);
		cfg_set_error_function(s->cfg, keep_quiet);
	}
	before = s->diag->errors;
	r = cfg_parse_buf(s->cfg, text);
	s->whole = !s->scan.stopped && r == CFG_SUCCESS;
	if (r != CFG_SUCCESS && !s->scan.stopped && s->diag->errors == before)
		diag_error(s->diag, 1, "syntax: the file cannot be parsed");
	reporting = NULL;
	return 0;
}

void source_deinit(struct source *s)
{
	if (s->cfg)
		cfg_free(s->cfg);
	for (unsigned i = 0; i < SCHEMA_SECTIONS_MAX; i++)
		free(s->opts[i]);
	scan_deinit(&s->scan);
}

unsigned source_count(const struct source *s, unsigned id)
{
	return id == SECTION_ROOT ? 1 : cfg_size(s->cfg, s->schema->sections[id].name);
}

cfg_t *source_section(const struct source *s, unsigned id, unsigned i)
{
	if (id == SECTION_ROOT)
		return s->cfg;
	return i < cfg_size(s->cfg, s->schema->sections[id].name)
		       ? cfg_getnsec(s->cfg, s->schema->sections[id].name, i)
		       : NULL;
}

unsigned source_values(cfg_t *cfg, const char *option)
{
	return cfg ? cfg_size(cfg, option) : 0;
}

const char *source_value(cfg_t *cfg, const char *option, unsigned i)
{
	const char *v = cfg_getnstr(cfg, option, i);

	return v ? v : "";
}

bool source_flag(cfg_t *cfg, const char *option)
{
	static const struct option flag = { .type = OPTION_BOOL };
	const char *text;
	struct buf why;
	bool on = false;

	if (source_values(cfg, option) == 0)
		return false;
	text = source_value(cfg, option, 0);
	buf_init(&why, 0);
	/* what is not a flag at all was told when it was bound */
	if (value_set_text(&flag, &on, text, &why))
		on = false;
	buf_deinit(&why);
	return on;
}

const char *section_label(char out[96], const struct section *kind, const char *title)
{
	if (!kind->name[0])
		out[0] = '\0';
	else if (kind->titled)
		snprintf(out, 96, "%s \"%.63s\": ", kind->name, title ? title : "");
	else
		snprintf(out, 96, "%s: ", kind->name);
	return out;
}
