/* What outlives a restart: entries of a key and four numbers, or a text. Put into a batch that the
 * caller writes; nothing here fails. */
#pragma once

#include "postern/policy.h"

#define KEY_MAX	  480 /* bytes of a key, its end included */
#define VALUE_MAX 512 /* of a value */
/* Times and counts of entries lie within ±this: they are added to others. */
#define NUMBER_MAX ((int64_t)1 << 53)

struct saver {
	void (*put)(void *arg, struct slice key, struct slice value);
	void *arg;
};

/* n0..n3 and a name, NULL: none; gone: the entry is deleted. */
struct save_record {
	const char *kind, *a, *b, *c;
	bool gone;
	int64_t n[4];
	const char *name;
};
void save_put(const struct saver *s, const struct save_record *e);
void save_mark(const struct saver *s);
void save_numbers(const struct saver *s, const char *kind, const char *a, const char *b,
	const char *c, const int64_t n[4]);
/* One entry of four numbers; gone: it is deleted. */
void save_entry(const struct saver *s, const char *kind, const char *a, const char *b,
	const char *c, bool gone, const int64_t n[4]);
int save_key(char *out, size_t max, const char *kind, const char *a, const char *b, const char *c);

/* The numbers with which a text begins, max at the most; those that are out of bounds end them.
 * Returns how many there are. */
unsigned saved_numbers(const char *text, int64_t *n, unsigned max);
static inline uint32_t saved_count(int64_t v)
{
	return v < 0 ? 0 : v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}
/* A day's number; what is none is 0. */
static inline int32_t saved_day(int64_t v)
{
	return v > 0 && v < INT32_MAX / 2 ? (int32_t)v : 0;
}

/* Keys of saved entries that are no more. */
struct gone_keys {
	char **keys;
	size_t n, cap;
};
/* An entry is no more: it is deleted with the next save. Where there is no memory for that it stays
 * saved, and is forgotten again after the next start. */
void forget_key(struct policy *p, const char *key);
