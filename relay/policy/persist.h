/* What outlives a restart: entries of a key and four numbers, or a text. Put into a batch that the
 * caller writes; nothing here fails. */
#pragma once

#include "postern/policy.h"

#define KEY_MAX 480 /* bytes of a key, its end included */

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

/* Keys of saved entries that are no more. */
struct gone_keys {
	char **keys;
	size_t n, cap;
};
/* An entry is no more: it is deleted with the next save. Where there is no memory for that it stays
 * saved, and is forgotten again after the next start. */
void forget_key(struct policy *p, const char *key);
