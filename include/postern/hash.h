/* FNV-1a, 64 and 32 bits: keys of tables in memory, and sums that find an accident. Whoever chooses the
 * texts can make them meet: a table that takes names from outside adds a secret to the start, or is
 * bounded by something else. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HASH_START   0xcbf29ce484222325u
#define HASH32_START 0x811c9dc5u

/* Goes on from h: HASH_START, a secret, or what something else came to. */
static inline uint64_t hash_bytes(uint64_t h, const void *data, size_t n)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h;
}

static inline uint64_t hash_text(uint64_t h, const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++)
		h = (h ^ *p) * 0x100000001b3u;
	return h;
}

/* For tables that look at the low bits alone. */
static inline uint64_t hash_fold(uint64_t h)
{
	return h ^ h >> 32;
}

static inline uint32_t hash32_bytes(uint32_t h, const void *data, size_t n)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x01000193u;
	return h;
}
