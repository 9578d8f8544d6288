/* Whether somebody keeps the queue's file from giving space back: an alarm when it has lasted, told
 * once, and its end. Time and the queue's figures are the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../../relay/dispatch/watch.h"
#include "../temporary.h"

static ms_t now = 1764392400000;
static struct queue_stats figures;

ms_t __wrap_loop_wall(const struct loop *l);
ms_t __wrap_loop_wall(const struct loop *l)
{
	(void)l;
	return now;
}

void __wrap_queue_stats(struct queue *q, struct queue_stats *ret);
void __wrap_queue_stats(struct queue *q, struct queue_stats *ret)
{
	(void)q;
	*ret = figures;
}

static void seconds(struct dispatch *d, unsigned n, int pid, uint64_t reader_ms)
{
	for (unsigned i = 0; i < n; i++) {
		figures.reader_pid = pid;
		figures.reader_ms = reader_ms ? reader_ms + 1000u * i : 0;
		now += 1000;
		watch_tick(d);
	}
}

static void test_reader(void **state)
{
	struct dispatch *d = calloc(1, sizeof(*d));
	struct log_params p = { .level = LOG_INFO };
	char path[240], text[4096] = "";
	const char *at;
	size_t n;
	FILE *f;
	int fd;

	assert_non_null(d);
	temporary_name(path, sizeof(path), "watch");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	p.file = path;
	assert_int_equal(log_open(&d->log, &p), 0);
	log_line_init(&d->line);
	seconds(d, 60, 0, 0);
	seconds(d, 20, 4711, 2000); /* a check of a large queue */
	seconds(d, 10, 0, 0);
	seconds(d, 600, 4711, 2000); /* one that was stopped: told at 30 s, once */
	seconds(d, 60, 0, 0);
	log_close(d->log);
	log_line_deinit(&d->line);
	free(d);

	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	unlink(path);
	text[n] = '\0';
	at = strstr(text, "\"event\":\"queue-reader\",\"level\":\"warning\"");
	assert_non_null(at);
	assert_non_null(strstr(at, "process 4711 has been reading the queue's file for 30 s"));
	at = strstr(at, "\"alarm\":true");
	assert_non_null(at);
	at = strstr(at, "\"event\":\"queue-reader\",\"level\":\"notice\"");
	assert_non_null(at);
	at = strstr(at, "\"alarm\":false}\n");
	assert_non_null(at);
	assert_ptr_equal(strchr(at, '\n') + 1, text + n); /* and nothing else */
	assert_ptr_equal(
		strstr(text, "queue-reader"), strstr(text, "queue-reader\",\"level\":\"warning"));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_reader) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
