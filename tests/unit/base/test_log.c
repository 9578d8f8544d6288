/* The log: lines, levels, reopening, and what is dropped when nobody writes it away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../temporary.h"
#include "postern/log.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BYTES(s)                                                                                   \
	{                                                                                          \
		(s), sizeof(s) - 1                                                                 \
	}

static char dir[200], path[240], moved[240];

static int make_dir(void **state)
{
	temporary_name(dir, sizeof(dir), "log");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/log", dir);
	snprintf(moved, sizeof(moved), "%s/log.1", dir);
	return 0;
}

static int remove_dir(void **state)
{
	unlink(path);
	unlink(moved);
	return rmdir(dir);
}

static char *read_all(const char *name)
{
	struct stat st;
	char *text;
	int fd = open(name, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	text = calloc(1, (size_t)st.st_size + 1);
	assert_non_null(text);
	assert_int_equal(read(fd, text, (size_t)st.st_size), st.st_size);
	close(fd);
	return text;
}

static void test_quote(void **state)
{
	static const struct {
		struct slice in;
		const char *out;
	} rows[] = {
		{ BYTES(""), "\"\"" },
		{ BYTES("250 2.6.0 ok"), "\"250 2.6.0 ok\"" },
		{ BYTES("a\"b\\c/"), "\"a\\\"b\\\\c/\"" },
		{ BYTES("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\"" },
		{ BYTES("\0\x01\x0b\x1f\x7f"), "\"\\u0000\\u0001\\u000b\\u001f\\u007f\"" },
		{ BYTES("gr\xc3\xbc\xc3\x9f \xf0\x9f\x93\xa8"),
			"\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x93\xa8\"" },
		{ BYTES("\xff!"), "\"\xef\xbf\xbd!\"" },
		{ BYTES("x\xc3"), "\"x\xef\xbf\xbd\"" },
		{ BYTES("\xc3("), "\"\xef\xbf\xbd(\"" },
		{ BYTES("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct buf b;

		buf_init(&b, 0);
		assert_int_equal(json_quote(&b, rows[i].in), 0);
		assert_int_equal(buf_add(&b, "", 1), 0);
		assert_string_equal(buf_slice(&b).p, rows[i].out);
		buf_deinit(&b);
	}
}

static void test_line(void **state)
{
	struct log_line ln;

	log_line_init(&ln);
	for (int again = 0; again < 2; again++) {
		log_line_begin(&ln, 1795308360123, "delivered");
		log_line_str(&ln, "to", SLICE_LIT("a@b.example"));
		log_line_str(&ln, "absent", (struct slice){ 0 });
		log_line_cstr(&ln, "absent", NULL);
		log_line_cstr(&ln, "empty", "");
		log_line_int(&ln, "code", 250);
		log_line_int(&ln, "least", INT64_MIN);
		log_line_int(&ln, "most", INT64_MAX);
		log_line_int(&ln, "zero", 0);
		log_line_bool(&ln, "tls", true);
		log_line_bool(&ln, "held", false);
		log_line_time(&ln, "next", 0);
		log_line_raw(&ln, "delays", SLICE_LIT("{\"queue\":1}"));
		assert_false(ln.failed);
		assert_true(slice_eq(buf_slice(&ln.b),
			SLICE_LIT(
				"{\"time\":\"2026-11-22T00:46:00.123Z\",\"event\":\"delivered\","
				"\"to\":\"a@b.example\",\"empty\":\"\",\"code\":250,"
				"\"least\":-9223372036854775808,\"most\":9223372036854775807,"
				"\"zero\":0,\"tls\":true,\"held\":false,"
				"\"next\":\"1970-01-01T00:00:00.000Z\",\"delays\":{\"queue\":1}")));
	}
	log_line_deinit(&ln);
}

/* Values are cut at 2 KiB, and never inside a character. */
static void test_line_cut(void **state)
{
	char text[4000];
	struct log_line ln;

	log_line_init(&ln);
	for (size_t shift = 0; shift < 3; shift++) {
		size_t n, from;

		memset(text, 'x', sizeof(text));
		for (size_t i = shift; i + 3 <= sizeof(text); i += 3)
			memcpy(text + i, "\xe2\x82\xac", 3);
		log_line_begin(&ln, 0, "e");
		from = buf_size(&ln.b);
		log_line_str(&ln, "v", (struct slice){ text, sizeof(text) });
		n = buf_size(&ln.b) - from - strlen(",\"v\":\"\"");
		assert_in_range(n, 2046, 2048);
		assert_true(slice_eq((struct slice){ text, n },
			(struct slice){ buf_slice(&ln.b).p + from + strlen(",\"v\":\""), n }));
		assert_null(memmem(ln.b.p, ln.b.len, "\xef\xbf\xbd", 3));
	}
	log_line_deinit(&ln);
}

static void test_fields(void **state)
{
	static const struct {
		const char *lines, *json;
	} rows[] = {
		{ "", "{}" },
		{ "X-A: one\n", "{\"X-A\":\"one\"}" },
		{ "X-A: \nX-B: a: \"b\"\x7f\n", "{\"X-A\":\"\",\"X-B\":\"a: \\\"b\\\"\\u007f\"}" },
		{ "X-A", "{\"X-A\":\"\"}" },
	};
	struct log_line ln;

	log_line_init(&ln);
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct slice got;

		log_line_begin(&ln, 0, "e");
		log_line_fields(&ln, "h", slice_of(rows[i].lines));
		assert_false(ln.failed);
		got = buf_slice(&ln.b);
		got = slice_from(got, got.n - strlen(rows[i].json));
		assert_true(slice_eq(got, slice_of(rows[i].json)));
	}
	log_line_deinit(&ln);
}

/* The text that standard output got while it was said to be the journal. */
static char *as_journal(const char *stream)
{
	struct log_params p = { .file = "-", .level = LOG_INFO };
	int out = dup(STDOUT_FILENO), fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	char told[64], *text;
	struct log_line ln;
	struct log *l = NULL;
	struct stat st;

	assert_true(out >= 0 && fd >= 0 && fstat(fd, &st) == 0);
	snprintf(told, sizeof(told), "%llu:%llu", (unsigned long long)st.st_dev,
		(unsigned long long)st.st_ino);
	assert_int_equal(setenv("JOURNAL_STREAM", stream ? stream : told, 1), 0);
	fflush(stdout);
	assert_true(dup2(fd, STDOUT_FILENO) >= 0);
	assert_int_equal(log_open(&l, &p), 0);
	log_line_init(&ln);
	log_line_begin(&ln, 0, "delivered");
	log_emit(l, &ln);
	log_event(l, LOG_WARN, EVENT_STARTED, "said");
	log_event(l, LOG_ERR, EVENT_STARTED, "said");
	log_close(l);
	log_line_deinit(&ln);
	dup2(out, STDOUT_FILENO);
	close(out);
	close(fd);
	unsetenv("JOURNAL_STREAM");
	text = read_all(path);
	assert_int_equal(unlink(path), 0);
	return text;
}

static void test_journal(void **state)
{
	char *text = as_journal(NULL);

	assert_memory_equal(text, "<6>{\"time\":", 11);
	assert_non_null(strstr(text, "\n<4>{"));
	assert_non_null(strstr(text, "\n<3>{"));
	free(text);
	/* what the variable names is somebody else's standard output */
	text = as_journal("1:2");
	assert_int_equal(text[0], '{');
	assert_null(strchr(text, '<'));
	free(text);
}

#define THREADS 4
#define EACH	5000

static void *emit_many(void *arg)
{
	struct log_line ln;

	log_line_init(&ln);
	for (int i = 0; i < EACH; i++) {
		log_line_begin(&ln, 0, "line");
		log_line_int(&ln, "n", i);
		log_emit(arg, &ln);
	}
	log_line_deinit(&ln);
	return NULL;
}

static void test_threads(void **state)
{
	struct log_params p = { .file = path, .level = LOG_INFO };
	static const char want[] =
		"{\"time\":\"1970-01-01T00:00:00.000Z\",\"event\":\"line\",\"n\":";
	pthread_t threads[THREADS];
	unsigned lines = 0;
	struct log *l = NULL;
	char *text;

	assert_int_equal(log_open(&l, &p), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, emit_many, l), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(log_dropped(l), 0);
	assert_null(log_close(l));
	text = read_all(path);
	for (char *at = text; *at; at = strchr(at, '\n') + 1) {
		assert_memory_equal(at, want, sizeof(want) - 1);
		lines++;
	}
	assert_int_equal(lines, THREADS * EACH);
	free(text);
	unlink(path);
}

static void test_levels_and_event(void **state)
{
	struct log_params p = { .file = path, .level = LOG_NOTICE };
	struct log *l = NULL;
	char *text;

	assert_int_equal(log_open(&l, &p), 0);
	assert_true(log_wants(l, LOG_ERR));
	assert_false(log_wants(l, LOG_INFO));
	log_event(l, LOG_INFO, EVENT_STARTED, "not to be seen");
	log_event(l, LOG_ERR, EVENT_ROOT, "%d%% of \"%s\"", 5, "x");
	log_set_level(l, LOG_DBG);
	log_event(l, LOG_DBG, EVENT_HTTP, "seen");
	log_close(l);
	text = read_all(path);
	assert_null(strstr(text, "quiet"));
	assert_non_null(strstr(text, ",\"level\":\"error\",\"event\":\"root\",\"message\":\"5% of "
				     "\\\"x\\\"\"}\n{\"time\":"));
	assert_non_null(
		strstr(text, ",\"level\":\"debug\",\"event\":\"http\",\"message\":\"seen\"}\n"));
	free(text);
	unlink(path);
	assert_false(log_wants(NULL, LOG_ERR));
	log_event(NULL, LOG_ERR, EVENT_ROOT, "%s", "");
}

/* Rotation: lines before log_reopen are in the old file, later ones in the new. */
static void test_reopen(void **state)
{
	struct log_params p = { .file = path, .level = LOG_INFO };
	struct log *l = NULL;
	char *before, *after;

	assert_int_equal(log_open(&l, &p), 0);
	log_event(l, LOG_INFO, EVENT_ROOT, "x");
	assert_int_equal(rename(path, moved), 0);
	assert_int_equal(log_reopen(l), 0);
	assert_int_equal(log_reopen(l), 0); /* twice in a row leaks nothing and loses nothing */
	log_event(l, LOG_INFO, EVENT_HTTP, "x");
	log_close(l);
	before = read_all(moved);
	after = read_all(path);
	assert_non_null(strstr(before, "\"root\""));
	assert_null(strstr(before, "\"http\""));
	assert_null(strstr(after, "\"root\""));
	assert_non_null(strstr(after, "\"http\""));
	free(before);
	free(after);
	unlink(moved);
	unlink(path);
}

/* A reader that takes nothing: the buffer fills, lines are dropped and counted, nobody waits; when
 * the reader comes back the count is told. */
static void test_full(void **state)
{
	char pipe_path[32], chunk[65536], *all = calloc(1, 1 << 20);
	struct log_params p = { .file = pipe_path, .level = LOG_INFO, .buffer_max = 8192 };
	size_t n = 0;
	struct log *l = NULL;
	int fds[2];
	ssize_t r;

	assert_non_null(all);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(fcntl(fds[1], F_SETPIPE_SZ, 4096), 4096);
	snprintf(pipe_path, sizeof(pipe_path), "/dev/fd/%d", fds[1]);
	assert_int_equal(log_open(&l, &p), 0);
	while (log_dropped(l) == 0)
		log_event(l, LOG_INFO, EVENT_ROOT, "%0100d", 1);
	while (!memmem(all, n, "log-dropped", 11)) {
		r = read(fds[0], chunk, sizeof(chunk));
		assert_true(r > 0 && n + (size_t)r < 1 << 20);
		memcpy(all + n, chunk, (size_t)r);
		n += (size_t)r;
	}
	assert_non_null(memmem(all, n, "\"dropped\":", 10));
	log_close(l);
	close(fds[0]);
	close(fds[1]);
	free(all);
}

/* A reader that went away costs lines, not the process. */
static void test_reader_gone(void **state)
{
	char pipe_path[32];
	struct log_params p = { .file = pipe_path, .level = LOG_INFO };
	struct log *l = NULL;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	snprintf(pipe_path, sizeof(pipe_path), "/dev/fd/%d", fds[1]);
	assert_int_equal(log_open(&l, &p), 0);
	close(fds[0]);
	log_event(l, LOG_INFO, EVENT_ROOT, "x");
	while (log_dropped(l) == 0)
		sched_yield();
	log_close(l);
	close(fds[1]);
}

static void test_open_errors(void **state)
{
	struct log_params p = { .file = "/nonexistent/dir/log", .level = LOG_INFO };
	struct log *l = NULL;

	assert_int_equal(log_open(&l, &p), -ENOENT);
	assert_null(l);
	assert_null(log_close(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quote),
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_line_cut),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_journal),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_levels_and_event),
		cmocka_unit_test(test_reopen),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_reader_gone),
		cmocka_unit_test(test_open_errors),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
