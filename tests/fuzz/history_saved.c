/* A saved history, with any bytes in it: entries are taken or refused, and of what was taken every
 * question has an answer, more is counted, and what is then saved is taken again. Input: entries of
 * a key's length (a byte), a value's length (two), key and value. A value's sum is made right, or
 * few would come past it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "postern/history.h"
#include "postern/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WALL 1795046400000

static bool line(void *arg, ms_t start, const struct history_cell *c)
{
	(void)arg;
	(void)start;
	must(history_quantile(c->delay, 0.95) >= 0);
	return true;
}

static void ask_all(struct history *h)
{
	for (unsigned by = 0; by < HISTORY_KIND_COUNT; by++)
		for (unsigned level = 0; level < HISTORY_LEVELS; level++) {
			struct history_question q = { .by = (enum history_kind)by,
				.level = (enum history_level)level,
				.to = INT64_MAX / 4,
				.sum = by & 1 };
			struct history_view *v = history_look(h, &q);

			must(v != NULL);
			history_view_each(v, line, NULL);
			history_view_free(v);
		}
}

static void put_again(void *arg, struct slice key, struct slice value)
{
	int r = value.p ? history_load(arg, key, value) : 0;

	must(r == 0 || r == -EINVAL); /* a period that is put twice is refused by this one */
}

static void mend(char *value, size_t n)
{
	uint32_t h = 0x811c9dc5u;

	if (n < 7)
		return;
	for (size_t i = 7; i < n; i++)
		h = (h ^ (unsigned char)value[i]) * 0x01000193u;
	for (unsigned i = 0; i < 4; i++)
		value[3 + i] = (char)(h >> 8 * i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct history_params p = { .memory = 20000 };
	struct history_lane l = { "a1", "192.0.2.0/24", "EUR01", "microsoft365" };
	struct history_result r = { HISTORY_IS_DELIVERED, .bytes = 10, .delay = 100 };
	struct history *h, *again;

	must(!history_new(&h, &p) && !history_new(&again, &p));
	while (size > 3) {
		size_t k = data[0], n = (size_t)data[1] << 8 | data[2];
		char *copy;

		data += 3;
		size -= 3;
		k = k < size ? k : size;
		n = n < size - k ? n : size - k;
		copy = malloc(n + 1);
		must(copy != NULL);
		memcpy(copy, data + k, n);
		mend(copy, n);
		history_load(h, (struct slice){ (const char *)data, k }, (struct slice){ copy, n });
		free(copy);
		data += k + n;
		size -= k + n;
	}
	history_begin(h, WALL);
	ask_all(h);
	history_result(h, &l, "main", &r);
	history_tick(h, WALL + 60000, put_again, again);
	ask_all(h);
	ask_all(again);
	history_free(h);
	history_free(again);
	return 0;
}
