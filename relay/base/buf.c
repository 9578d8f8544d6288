/* Slices and growable buffers; see buf.h. One owner at a time. No call fails half way: on an error
 * the buffer is as it was. */
#include "postern/buf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "postern/must.h"

#define BUF_FIRST 64u

static unsigned char fold(char c)
{
	unsigned char u = (unsigned char)c;

	return u >= 'A' && u <= 'Z' ? (unsigned char)(u | 0x20) : u;
}

bool slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool slice_case_eq(struct slice a, struct slice b)
{
	return a.n == b.n && slice_case_prefix(a, b);
}

bool slice_case_prefix(struct slice s, struct slice prefix)
{
	if (s.n < prefix.n)
		return false;
	for (size_t i = 0; i < prefix.n; i++) {
		if (fold(s.p[i]) != fold(prefix.p[i]))
			return false;
	}
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct slice slice_trim(struct slice s)
{
	while (s.n > 0 && is_blank(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

char *slice_dup(struct slice s)
{
	char *copy = malloc(s.n + 1);

	if (!copy)
		return NULL;
	if (s.n > 0)
		memcpy(copy, s.p, s.n);
	copy[s.n] = '\0';
	return copy;
}

int slice_u64(struct slice s, uint64_t *ret)
{
	uint64_t v = 0;

	if (s.n == 0)
		return -EINVAL;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -EINVAL;
	}
	for (size_t i = 0; i < s.n; i++) {
		if (__builtin_mul_overflow(v, 10u, &v) ||
			__builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
			return -ERANGE;
	}
	*ret = v;
	return 0;
}

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .max = max };
}

void buf_deinit(struct buf *b)
{
	free(b->p);
	*b = (struct buf){ .max = b->max };
}

static void buf_compact(struct buf *b)
{
	size_t n = buf_size(b);

	if (b->off == 0)
		return;
	if (n > 0)
		memmove(b->p, b->p + b->off, n);
	b->off = 0;
	b->len = n;
}

/* Moving the content to the front is done only when it costs less than what was consumed since the
 * last move, or when the buffer may not grow: so the cost of moving stays linear in bytes added. */
static bool buf_compact_pays(const struct buf *b, size_t need)
{
	return need <= b->cap && (b->off >= buf_size(b) || (b->max && b->cap >= b->max));
}

static int buf_grow(struct buf *b, size_t need)
{
	size_t cap = b->cap ? b->cap : BUF_FIRST;
	char *p;

	while (cap < need) {
		if (__builtin_mul_overflow(cap, 2u, &cap))
			return -ENOMEM;
	}
	if (cap ==
		b->cap) /* fits, yet compacting did not pay: grow, so that the next ones fit too */
		cap *= 2;
	if (b->max && cap > b->max)
		cap = b->max;
	buf_compact(b);
	p = realloc(b->p, cap);
	if (!p)
		return need <= b->cap ? 0 : -ENOMEM;
	b->p = p;
	b->cap = cap;
	return 0;
}

int buf_reserve(struct buf *b, size_t n)
{
	size_t need;

	if (n <= b->cap - b->len && b->p)
		return 0;
	if (__builtin_add_overflow(buf_size(b), n, &need))
		return -ENOMEM;
	if (b->max && need > b->max)
		return -ENOBUFS;
	if (!b->p || !buf_compact_pays(b, need))
		return buf_grow(b, need);
	buf_compact(b);
	return 0;
}

int buf_add(struct buf *b, const void *p, size_t n)
{
	int r;

	if (n == 0)
		return 0;
	r = buf_reserve(b, n);
	if (r)
		return r;
	memcpy(b->p + b->len, p, n);
	b->len += n;
	return 0;
}

int buf_add_slice(struct buf *b, struct slice s)
{
	return buf_add(b, s.p, s.n);
}

int buf_add_str(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int n, r;

	va_copy(again, ap);
	r = buf_reserve(b, 1);
	if (r)
		goto out;
	n = vsnprintf(b->p + b->len, b->cap - b->len, fmt, ap);
	if (n < 0) {
		r = -EINVAL;
		goto out;
	}
	if ((size_t)n >= b->cap - b->len) {
		/* one more for the NUL, which is then not part of the content */
		r = buf_reserve(b, (size_t)n + 1);
		if (r)
			goto out;
		n = vsnprintf(b->p + b->len, b->cap - b->len, fmt, again);
	}
	b->len += (size_t)n;
out:
	va_end(again);
	return r;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = buf_vprintf(b, fmt, ap);
	va_end(ap);
	return r;
}

void buf_consume(struct buf *b, size_t n)
{
	must(n <= buf_size(b));
	b->off += n;
	if (b->off == b->len)
		b->off = b->len = 0;
}

void buf_reset(struct buf *b)
{
	b->off = b->len = 0;
}
