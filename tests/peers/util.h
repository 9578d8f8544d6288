/* Small helpers of the simulator. It is a test tool: when memory is out it says so and ends. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "postern/buf.h"

_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);

/* Appending that cannot fail. */
void put(struct buf *b, const void *p, size_t n);
void put_str(struct buf *b, const char *s);
void put_fmt(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void put_json(struct buf *b, const char *s); /* quoted; NULL becomes null */

#define PUT_LIT(b, s) put((b), (s), sizeof(s) - 1)

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed);
uint64_t hash_str(const char *s);
uint64_t hash_mix(uint64_t x);

/* A list of owned strings. */
struct strings {
	char **v;
	size_t n;
};
void strings_add(struct strings *l, const char *s);
void strings_free(struct strings *l);
/* Does one of the patterns match? An empty list matches everything. */
bool strings_match(const struct strings *globs, const char *s);

/* u64 key → u64 value, open addressing, grows by doubling. Key 0 is stored as 1. */
struct map64 {
	uint64_t *key, *val;
	size_t cap, n;
};
uint64_t *map64_at(
	struct map64 *m, uint64_t key); /* made with 0 when missing; until the next map64_at */
uint64_t map64_get(const struct map64 *m, uint64_t key);
void map64_clear(struct map64 *m);

/* IPv4 in host order. */
#define IP_TEXT 16
const char *ip_text(char out[IP_TEXT], uint32_t ip);
int ip_parse(uint32_t *ret, const char *s);
