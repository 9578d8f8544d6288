/* All that a command prints for people goes through here, and all JSON: a reply, an address or a
 * file's text may hold what a terminal obeys. Called by every subcommand, one thread.
 * tests/lint/answers.py finds what goes past. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "postern/answer.h"
#include "postern/foreign.h"

void print_text(FILE *to, struct slice s)
{
	struct buf b;

	buf_init(&b, 0);
	if (foreign_show(&b, s, FOREIGN_LINES) == 0)
		fwrite(buf_slice(&b).p, 1, buf_size(&b), to);
	buf_deinit(&b);
}

static void __attribute__((format(printf, 2, 0))) vprint(FILE *to, const char *fmt, va_list ap)
{
	struct buf b;

	buf_init(&b, 0);
	if (buf_vprintf(&b, fmt, ap) == 0)
		print_text(to, buf_slice(&b));
	buf_deinit(&b);
}

void print(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprint(stdout, fmt, ap);
	va_end(ap);
}

void print_error(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	va_start(ap, fmt);
	vprint(stderr, fmt, ap);
	va_end(ap);
}

static bool progress_shown;

void print_progress(const char *fmt, ...)
{
	va_list ap;

	if (!isatty(STDERR_FILENO))
		return;
	progress_shown = true;
	fputc('\r', stderr);
	va_start(ap, fmt);
	vprint(stderr, fmt, ap);
	va_end(ap);
	fputs("\033[K", stderr);
}

void print_progress_end(void)
{
	if (progress_shown)
		fputs("\r\033[K", stderr);
	progress_shown = false;
}

void print_content(struct slice s)
{
	if (isatty(STDOUT_FILENO)) {
		for (const char *cr; (cr = s.n ? memmem(s.p, s.n, "\r\n", 2) : NULL);) {
			size_t n = (size_t)(cr - s.p);

			print_text(stdout, (struct slice){ s.p, n });
			s = slice_from(s, n + 1);
		}
		print_text(stdout, s);
	} else {
		fwrite(s.p, 1, s.n, stdout);
	}
}

void print_json(const json_t *j)
{
	char *text = j ? json_dumps(j, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	struct buf b;

	buf_init(&b, 0);
	if (text && foreign_show(&b, slice_of(text), FOREIGN_JSON) == 0) {
		fwrite(buf_slice(&b).p, 1, buf_size(&b), stdout);
		putchar('\n');
	} else {
		print_error("postern: out of memory: a part of the answer is missing\n");
	}
	buf_deinit(&b);
	free(text);
}

void print_json_take(json_t *j)
{
	print_json(j);
	json_decref(j);
}

/* A copy with every text escaped; lines stay apart only where the relay itself writes some. */
static json_t *shown_text(const char *key, const json_t *j)
{
	bool lines = key && (!strcmp(key, "notes") || !strcmp(key, "error") ||
				    !strcmp(key, "configuration"));
	struct slice s = { json_string_value(j), json_string_length(j) };
	json_t *shown = NULL;
	struct buf b;

	buf_init(&b, 0);
	if (foreign_show(&b, s, lines ? FOREIGN_LINES : FOREIGN_TERMINAL) == 0)
		shown = json_slice(buf_slice(&b));
	buf_deinit(&b);
	return shown;
}

static json_t *shown(const char *key, json_t *j)
{
	json_t *copy, *v;
	const char *k;
	size_t i;

	if (json_is_string(j))
		return shown_text(key, j);
	if (json_is_array(j)) {
		copy = json_array();
		json_array_foreach(j, i, v) answers_add(copy, shown(NULL, v));
		return copy;
	}
	if (!json_is_object(j))
		return json_incref(j);
	copy = json_object();
	json_object_foreach(j, k, v) json_object_set_new(copy, k, shown(k, v));
	return copy;
}

json_t *print_shown(json_t *j)
{
	return shown(NULL, j);
}
