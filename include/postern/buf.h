/* Growable, bounded byte buffers and borrowed slices. Not thread-safe: one owner at a time. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed bytes; never owned, not NUL-terminated. */
struct slice {
	const char *p;
	size_t n;
};

#define SLICE_LIT(s) ((struct slice){ (s), sizeof(s) - 1 })

static inline struct slice slice_of(const char *s)
{
	return (struct slice){ s, s ? strlen(s) : 0 };
}

static inline struct slice slice_from(struct slice s, size_t off)
{
	if (off > s.n)
		off = s.n;
	/* no arithmetic on NULL, which an empty slice may have */
	return (struct slice){ off ? s.p + off : s.p, s.n - off };
}

bool slice_eq(struct slice a, struct slice b);
/* ASCII case folding only, as SMTP keywords and domains want it (RFC 5321 section 2.4). */
bool slice_case_eq(struct slice a, struct slice b);
bool slice_case_prefix(struct slice s, struct slice prefix);
struct slice slice_trim(struct slice s); /* without leading and trailing SP and HTAB */
/* A NUL-terminated heap copy, or NULL when memory is out. */
char *slice_dup(struct slice s);
/* Decimal without sign. 0, -EINVAL (no digits or other bytes), -ERANGE. */
int slice_u64(struct slice s, uint64_t *ret);

/* Invariant: off <= len <= cap, cap <= max when max is not 0. Bytes off..len are the content:
 * what was consumed at the front is given back by buf_consume without moving each time. */
struct buf {
	char *p;
	size_t off, len, cap, max;
};

void buf_init(struct buf *b, size_t max); /* max 0: unbounded; the caller then bounds it */
void buf_deinit(struct buf *b);
static inline size_t buf_size(const struct buf *b)
{
	return b->len - b->off;
}
static inline struct slice buf_slice(const struct buf *b)
{
	return (struct slice){ b->off ? b->p + b->off : b->p, b->len - b->off };
}
/* Room for n more bytes at b->p + b->len. 0, -ENOMEM, -ENOBUFS (over max; nothing changed). */
int buf_reserve(struct buf *b, size_t n);
int buf_add(struct buf *b, const void *p, size_t n);
int buf_add_slice(struct buf *b, struct slice s);
int buf_add_str(struct buf *b, const char *s);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void buf_consume(struct buf *b, size_t n);
void buf_reset(struct buf *b); /* empties, keeps the memory */
