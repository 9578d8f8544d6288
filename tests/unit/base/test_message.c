/* Messages and their content: blocks, references, the count of memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>

#include "postern/message.h"

static char pattern(uint64_t at)
{
	return (char)(at * 31 + at / BODY_CHUNK);
}

static void append_pattern(struct body *b, size_t n)
{
	char *p = malloc(n + 1);

	assert_non_null(p);
	for (size_t i = 0; i < n; i++)
		p[i] = pattern(b->size + i);
	assert_int_equal(body_append(b, (struct slice){ p, n }), 0);
	free(p);
}

/* Checks content and form of a chain that starts at offset from; returns where it ends. */
static uint64_t check_chain(const struct body_block *k, uint64_t from)
{
	for (; k; k = k->next) {
		assert_int_equal(k->cap % BODY_CHUNK, 0);
		assert_true(k->len > 0 && k->len <= k->cap);
		if (k->next)
			assert_int_equal(k->len, k->cap);
		for (uint32_t i = 0; i < k->len; i++) {
			if (k->data[i] != pattern(from + i))
				fail_msg("wrong byte at %llu", (unsigned long long)(from + i));
		}
		from += k->len;
	}
	return from;
}

static void test_append(void **state)
{
	static const size_t steps[] = { 0, 1, 4079, 4080, 4081, 8160, 65280, 65281, 300000 };

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct body *b = body_new();

		assert_non_null(b);
		for (int j = 0; j < 5; j++)
			append_pattern(b, steps[i]);
		body_seal(b);
		assert_int_equal(b->size, 5 * steps[i]);
		assert_int_equal(check_chain(b->first, 0), b->size);
		if (b->first)
			assert_int_equal(b->first->cap, 2 * BODY_CHUNK);
		assert_null(body_unref(b));
		assert_int_equal(body_memory(), 0);
	}
}

static void test_take_full(void **state)
{
	struct body *b = body_new();
	struct body_block *chain;
	uint64_t at = 0;

	assert_non_null(b);
	assert_null(body_take_full(b));
	append_pattern(b, 8159);
	assert_null(body_take_full(b));
	append_pattern(b, 1);
	chain = body_take_full(b); /* the last one, just full */
	at = check_chain(chain, at);
	assert_int_equal(at, 8160);
	assert_int_equal(b->taken, 8160);
	assert_null(b->first);
	body_blocks_free(chain);
	assert_int_equal(body_memory(), 0);
	append_pattern(b, 65280 * 2 + 5);
	chain = body_take_full(b);
	at = check_chain(chain, at);
	assert_int_equal(at, 8160 + 65280 * 2);
	body_blocks_free(chain);
	assert_int_equal(body_memory(), 65280);
	append_pattern(b, 100);
	body_seal(b);
	assert_int_equal(check_chain(b->first, at), b->size);
	assert_int_equal(b->size, at + 105);
	assert_int_equal(b->taken, at);
	body_unref(b);
	assert_int_equal(body_memory(), 0);
}

/* What small messages hold is near their size, and what is whole of it can be moved out at any
 * time. */
static void test_take_chunks(void **state)
{
	static const size_t sizes[] = { 1, 4079, 4080, 4081, 8160, 9216, 12240, 20000, 70000,
		200001 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct body *b = body_new();
		struct body_block *chain;
		uint64_t at;

		for (size_t n = 0; n < sizes[i]; n += 1000)
			append_pattern(b, sizes[i] - n < 1000 ? sizes[i] - n : 1000);
		assert_in_range(body_memory(), b->size, 2 * b->size + 2 * BODY_CHUNK);
		chain = body_take_chunks(b);
		at = check_chain(chain, 0);
		assert_int_equal(at, b->size - b->size % BODY_CHUNK);
		assert_int_equal(b->taken, at);
		for (const struct body_block *k = chain; k; k = k->next)
			assert_int_equal(k->len, k->cap);
		body_blocks_free(chain);
		assert_true(body_memory() <= b->size - b->taken + 256);
		append_pattern(b, 30000);
		assert_int_equal(check_chain(b->first, at), b->size);
		chain = body_take_chunks(b);
		at = check_chain(chain, at);
		body_blocks_free(chain);
		assert_int_equal(check_chain(b->first, at), b->size);
		assert_true(b->size - at < BODY_CHUNK);
		body_unref(b);
		assert_int_equal(body_memory(), 0);
	}
}

/* Many that stop within a message hold their rests, and as much again at most when they drip. */
static void test_rests(void **state)
{
	struct body *b[200];
	uint64_t held = 0;

	for (unsigned i = 0; i < 200; i++) {
		b[i] = body_new();
		append_pattern(b[i], 9014);
		body_blocks_free(body_take_chunks(b[i]));
		held += b[i]->size - b[i]->taken;
	}
	assert_int_equal(held, 200 * (9014 - 2 * 4080));
	assert_int_equal(body_memory(), held);
	for (unsigned n = 1; n < 4080; n++) {
		append_pattern(b[0], 1);
		assert_null(body_take_full(b[1]));
		if (b[0]->first->len == b[0]->first->cap)
			break;
		assert_true(body_memory() <= held + 2 * n + 9014 - 2 * 4080);
		if (n % 500 == 0) {
			assert_null(body_take_chunks(b[0]));
			assert_true(body_memory() <= held + n + 256);
		}
	}
	assert_int_equal(check_chain(b[0]->first, 8160), 12240);
	for (unsigned i = 0; i < 200; i++)
		body_unref(b[i]);
	assert_int_equal(body_memory(), 0);
}

static void *drop_refs(void *arg)
{
	for (int i = 0; i < 10000; i++)
		message_unref(message_ref(arg));
	message_unref(arg);
	return NULL;
}

static void test_message_refs(void **state)
{
	struct message *m = message_new();
	pthread_t threads[3];

	assert_non_null(m);
	assert_string_equal(m->sender, "");
	m->helo = arena_strdup(&m->arena, SLICE_LIT("client.example"));
	m->body = body_new();
	append_pattern(m->body, 5000);
	assert_int_equal(body_memory(), 8160);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, drop_refs, message_ref(m)), 0);
	assert_string_equal(m->helo, "client.example");
	assert_null(message_unref(m));
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(body_memory(), 0); /* the last one out freed it all */
	assert_null(message_unref(NULL));
	assert_null(body_unref(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append),
		cmocka_unit_test(test_take_full),
		cmocka_unit_test(test_take_chunks),
		cmocka_unit_test(test_rests),
		cmocka_unit_test(test_message_refs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
