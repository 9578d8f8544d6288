/* What outlives a restart: entries of a key and four numbers, or a text. Put into a batch that the
 * caller writes; nothing here fails. */
#pragma once

#include "postern/policy.h"

struct saver {
	void (*put)(void *arg, struct slice key, struct slice value);
	void *arg;
};

void save_mark(const struct saver *s);
void save_numbers(const struct saver *s, const char *kind, const char *a, const char *b,
	const char *c, const int64_t n[4]);
/* One entry of four numbers; gone: it is deleted. */
void save_entry(const struct saver *s, const char *kind, const char *a, const char *b,
	const char *c, bool gone, const int64_t n[4]);
int save_key(char *out, size_t max, const char *kind, const char *a, const char *b, const char *c);
void path_subnet_text(const struct policy *p, unsigned subnet, char out[ADDR_TEXT_MAX + 4]);
