/* Which mail a command means: queue ids as words, by --id or from standard input, and the words of
 * selectors. Called by queue and by what changes mail; main thread of a tool. More ids than one
 * request takes go in several, one after the other: each is done when it is answered. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "select.h"

#define IDS_A_REQUEST 2000u

struct ids {
	char **id;
	size_t n, cap;
};

static bool add_id(struct ids *ids, struct slice s)
{
	char *copy;

	if (ids->n == ids->cap) {
		size_t cap = ids->cap ? 2 * ids->cap : 64;
		char **more = realloc(ids->id, cap * sizeof(*more));

		if (!more)
			return false;
		ids->id = more;
		ids->cap = cap;
	}
	copy = strndup(s.p, s.n);
	if (copy)
		ids->id[ids->n++] = copy;
	return copy != NULL;
}

static void free_ids(struct ids *ids)
{
	for (size_t i = 0; i < ids->n; i++)
		free(ids->id[i]);
	free(ids->id);
}

/* The first word of each line, so that a list with more on its lines will do. */
static bool read_ids(struct ids *ids)
{
	char *line = NULL;
	size_t max = 0;
	bool ok = true;

	while (ok && getline(&line, &max, stdin) >= 0) {
		const char *from = line + strspn(line, " \t\r\n");
		size_t n = strcspn(from, " \t\r\n");

		if (n)
			ok = add_id(ids, (struct slice){ from, n });
	}
	free(line);
	return ok;
}

static bool gather(const struct cli_arguments *a, struct ids *ids, json_t *terms)
{
	json_t *term;
	bool ok = true;

	for (int i = 0; i < a->nrest && ok; i++)
		ok = strcmp(a->rest[i], "-") ? add_id(ids, slice_of(a->rest[i])) : read_ids(ids);
	for (unsigned i = 0; i < a->nselects && ok; i++) {
		const char *word = a->selects[i].word, *value = a->selects[i].value;

		if (strcmp(word, "id")) {
			term = json_sprintf("%s=%s", word, value);
			ok = term != NULL;
			answers_add(terms, term);
		} else {
			ok = strcmp(value, "-") ? add_id(ids, slice_of(value)) : read_ids(ids);
		}
	}
	return ok;
}

static json_t *request_of(const json_t *base, const json_t *terms, const struct ids *ids, size_t at)
{
	json_t *request = json_copy((json_t *)(uintptr_t)base), *select = json_deep_copy(terms);

	for (size_t i = at; i < ids->n && i < at + IDS_A_REQUEST; i++)
		answers_add(select, json_sprintf("id=%s", ids->id[i]));
	if (json_object_set_new(request, "select", select)) {
		json_decref(request);
		return NULL;
	}
	return request;
}

int cli_select_and_ask(const struct cli_arguments *a, json_t *base, bool json,
	void (*each)(void *arg, const json_t *line), void *arg)
{
	json_t *terms = json_array();
	struct ids ids = { 0 };
	int r = EX_OK, found = EX_DATAERR;
	size_t at = 0;

	if (!base || !terms || !gather(a, &ids, terms)) {
		print_error("postern: an argument is not valid UTF-8, so no name of the relay's\n");
		r = EX_USAGE;
		goto out;
	}
	do {
		r = cli_ask_and_print(a, request_of(base, terms, &ids, at), json, each, arg);
		if (r == EX_OK)
			found = EX_OK;
		at += IDS_A_REQUEST;
	} while (at < ids.n && (r == EX_OK || r == EX_DATAERR));
	/* of many ids some may be gone: all of a request's have to be for that to be told */
	if (r == EX_DATAERR)
		r = found;
out:
	free_ids(&ids);
	json_decref(terms);
	json_decref(base);
	return r;
}

bool cli_selects(const struct cli_arguments *a)
{
	return a->nrest > 0 || a->nselects > 0;
}

bool cli_sure(const struct cli_command *self, const char *what)
{
	char answer[16];

	if (!isatty(STDIN_FILENO)) {
		print_error("postern %s: that is %s: say --yes if it is meant, or --dry-run to see "
			    "how much it is\n",
			self->name, what);
		return false;
	}
	print_error("postern %s: that is %s. Type yes if it is meant: ", self->name, what);
	if (fgets(answer, sizeof(answer), stdin) && !strcmp(answer, "yes\n"))
		return true;
	print_error("postern %s: nothing was changed\n", self->name);
	return false;
}
