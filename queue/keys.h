/* Keys of the queue's trees: the format on disk. Numbers in keys are big-endian, so that byte order
 * is number order; (n) is a length in bytes. Records are described in codec.h.
 *
 * tree     key                                        value
 * -------  -----------------------------------------  -------------------------------------------
 * mail     id(8) sub(4), sub = 0                      envelope of the message
 *          id(8) sub(4), sub = 1 + index              one recipient with its state
 *          id(8) sub(4) crc(4), sub = MAIL_BODY + n   chunk n of the body; crc is its CRC-32C, in
 *                                                     the key because the chunk fills its page
 *          the same, n = MAIL_HEAD                    what stands before chunk 0, made after it:
 *                                                     signatures; of any length up to BODY_HEAD_MAX
 * due      domain NUL due(8) id(8) index(4)           empty; one for each recipient that waits
 *                                                     for its time; the sign bit of due is flipped
 * young    id(8) index(4)                             empty; recipients accepted lately that are
 *                                                     not in `due` yet (young.h)
 * loose    id(8)                                      bytes(8) dead(1): a body without an envelope,
 *                                                     still coming in or being removed (dead)
 * state    text, chosen by its user                   learned state, in its user's format
 * damaged  letter of the tree, old key                the old value, set aside by a repair
 *
 * Beside these six the main tree holds the records "schema" (schema.c) and "totals" (store.c).
 *
 * All that belongs to one message lies in one tree, side by side: a settled message touches one or
 * two leaf pages, and messages that come and go together share them. Measured in a bare LMDB loop
 * (4 KiB messages, 10 accepted and 10 settled a commit): 7.5 KB written a message; with envelopes,
 * recipients and bodies in trees of their own 9.0. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "postern/buf.h"
#include "postern/clock.h"

#define MAIL_BODY    0x80000000u
#define MAIL_HEAD    (MAIL_BODY - 1u)
#define MAIL_KEY_LEN 12u
/* LMDB takes keys of 511 bytes; a domain name has at most 253, a literal fewer. */
#define DOMAIN_MAX  400u
#define DUE_TAIL    20u
#define DUE_KEY_MAX (DOMAIN_MAX + 1 + DUE_TAIL)

static inline void put_be32(char *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void put_be64(char *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(p, &v, sizeof(v));
}

static inline uint32_t get_be32(const char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap32(v);
}

static inline uint64_t get_be64(const char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap64(v);
}

struct mail_key {
	char b[MAIL_KEY_LEN];
};

static inline struct mail_key mail_key(uint64_t id, uint32_t sub)
{
	struct mail_key k;

	put_be64(k.b, id);
	put_be32(k.b + 8, sub);
	return k;
}

#define CHUNK_KEY_LEN 16u
struct chunk_key {
	char b[CHUNK_KEY_LEN];
};

static inline struct chunk_key chunk_key(uint64_t id, uint32_t chunk, uint32_t crc)
{
	struct chunk_key k;

	put_be64(k.b, id);
	put_be32(k.b + 8, MAIL_BODY + chunk);
	put_be32(k.b + 12, crc);
	return k;
}

/* Of any key of `mail`; false: it is none. */
static inline bool mail_key_parse(const void *p, size_t n, uint64_t *id, uint32_t *sub)
{
	if (n != MAIL_KEY_LEN && n != CHUNK_KEY_LEN)
		return false;
	*id = get_be64(p);
	*sub = get_be32((const char *)p + 8);
	return (*sub >= MAIL_BODY) == (n == CHUNK_KEY_LEN);
}

struct due_key {
	char b[DUE_KEY_MAX];
	size_t n;
};

struct due_ref {
	struct slice domain; /* borrowed from the key */
	ms_t due;
	uint64_t id;
	uint32_t index;
};

/* The sign bit is flipped, so that times before 1970 sort first. n must be at most DOMAIN_MAX. */
static inline void due_key_make(
	struct due_key *k, struct slice domain, ms_t due, uint64_t id, uint32_t index)
{
	char *p = k->b;

	memcpy(p, domain.p, domain.n);
	p += domain.n;
	*p++ = '\0';
	put_be64(p, (uint64_t)due ^ (1ull << 63));
	put_be64(p + 8, id);
	put_be32(p + 16, index);
	k->n = domain.n + 1 + DUE_TAIL;
}

static inline bool due_key_parse(struct due_ref *ret, struct slice key)
{
	const char *tail;

	if (key.n <= DUE_TAIL + 1)
		return false;
	tail = key.p + key.n - DUE_TAIL;
	if (tail[-1] != '\0' || memchr(key.p, '\0', key.n - DUE_TAIL - 1))
		return false;
	*ret = (struct due_ref){
		.domain = { key.p, key.n - DUE_TAIL - 1 },
		.due = (ms_t)(get_be64(tail) ^ (1ull << 63)),
		.id = get_be64(tail + 8),
		.index = get_be32(tail + 16),
	};
	return true;
}
