/* One setting read out of a configuration that may be wrong everywhere else: what a command needs to
 * find the running relay, or its queue. No checks and no defaults; the first such setting counts, also
 * in an included file. Called by commands, one thread.
 *
 * The same tokens as scan.c sees, but what does not fit is walked over. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "include.h"
#include "lex.h"
#include "source.h"

struct search {
	const char *section, *name;
	char *out;
	size_t max;
	struct arena arena;
	unsigned files;
	bool found;
};

static void search_file(struct search *s, const struct include_file *f, const struct buf *text);

static void keep(struct search *s, const struct token *t)
{
	struct token_text text;

	token_text(t, &s->arena, &text);
	if (text.text && text.text[0] && strlen(text.text) < s->max) {
		strcpy(s->out, text.text);
		s->found = true;
	}
}

static void search_included(struct search *s, const struct include_file *f, const struct token *t)
{
	struct include_list found;
	struct token_text pattern;

	token_text(t, &s->arena, &pattern);
	if (!pattern.text || f->depth >= INCLUDE_DEPTH)
		return;
	include_find(&found, f->path, pattern.text);
	for (unsigned i = 0; i < found.n && !s->found && s->files++ < INCLUDE_FILES; i++) {
		struct include_file inner;
		struct buf text;

		buf_init(&text, 0);
		if (include_open(&inner, found.found.gl_pathv[i], f, &text) == 0)
			search_file(s, &inner, &text);
		buf_deinit(&text);
	}
	include_list_free(&found);
}

static bool is(const struct token *t, enum token_kind kind, const char *word)
{
	return t->kind == kind && slice_eq(t->text, slice_of(word));
}

static void search_text(struct search *s, const struct include_file *f, const char *text)
{
	struct lexer x = { text, 1 };
	struct token before = { 0 }, last = { 0 }, t;
	unsigned depth = 0;
	bool inside = false;

	for (lexer_next(&x, &t); !s->found && t.kind != TOKEN_END && t.kind != TOKEN_OPEN_COMMENT &&
				 t.kind != TOKEN_OPEN_QUOTE;
		before = last, last = t, lexer_next(&x, &t)) {
		if (t.kind == TOKEN_OPEN) {
			inside |= depth++ == 0 && is(&last, TOKEN_STRING, s->section);
		} else if (t.kind == TOKEN_CLOSE) {
			depth -= depth > 0;
			inside &= depth > 0;
		} else if (t.kind == TOKEN_STRING && depth == 0 && t.quote &&
			   is(&last, TOKEN_STRING, "include")) {
			search_included(s, f, &t);
		} else if (t.kind == TOKEN_STRING && inside && depth == 1 &&
			   last.kind == TOKEN_EQUALS && is(&before, TOKEN_STRING, s->name)) {
			keep(s, &t);
		}
	}
}

static void search_file(struct search *s, const struct include_file *f, const struct buf *text)
{
	char *copy = slice_dup(buf_slice(text));

	if (copy)
		search_text(s, f, copy);
	free(copy);
}

int config_setting(const char *path, const char *section, const char *name, char *out, size_t max)
{
	struct search s = { .section = section, .name = name, .out = out, .max = max };
	struct include_file file;
	struct buf text;
	int r;

	buf_init(&text, 0);
	arena_init(&s.arena, 0);
	r = config_read_file(path, &text);
	if (!r) {
		include_is(&file, path);
		search_file(&s, &file, &text);
		r = !s.found;
	}
	arena_deinit(&s.arena);
	buf_deinit(&text);
	return r;
}
