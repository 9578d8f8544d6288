/* Small helpers of the simulator: memory that must be there, text, JSON, maps, addresses. */
#include "util.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postern/log.h"
#include "postern/text.h"

void die(const char *fmt, ...)
{
	va_list ap;

	fputs("m365sim: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(EXIT_FAILURE);
}

void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size ? size : 1);

	if (!p)
		die("out of memory");
	return p;
}

void *xrealloc(void *p, size_t size)
{
	p = realloc(p, size ? size : 1);
	if (!p)
		die("out of memory");
	return p;
}

char *xstrndup(const char *s, size_t n)
{
	char *p = xcalloc(n + 1, 1);

	memcpy(p, s, n);
	return p;
}

char *xstrdup(const char *s)
{
	return xstrndup(s, strlen(s));
}

void put(struct buf *b, const void *p, size_t n)
{
	if (n && buf_add(b, p, n))
		die("out of memory");
}

void put_str(struct buf *b, const char *s)
{
	put(b, s, strlen(s));
}

void put_fmt(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = buf_vprintf(b, fmt, ap);
	va_end(ap);
	if (r)
		die("out of memory");
}

void put_json(struct buf *b, const char *s)
{
	if (!s)
		PUT_LIT(b, "null");
	else if (json_quote(b, slice_of(s)))
		die("out of memory");
}

uint64_t hash_mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ULL;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ULL;
	return x ^ x >> 32;
}

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed)
{
	const unsigned char *s = p;
	uint64_t h = hash_mix(seed ^ n ^ 0x9e3779b97f4a7c15ULL), w;

	for (; n >= 8; n -= 8, s += 8) {
		memcpy(&w, s, 8);
		h = hash_mix(h ^ w);
	}
	if (n) {
		w = 0;
		memcpy(&w, s, n);
		h = hash_mix(h ^ w);
	}
	return h;
}

uint64_t hash_str(const char *s)
{
	return hash_bytes(s, strlen(s), 0);
}

void strings_add(struct strings *l, const char *s)
{
	l->v = xrealloc(l->v, (l->n + 1) * sizeof(*l->v));
	l->v[l->n++] = xstrdup(s);
}

void strings_free(struct strings *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
	l->v = NULL;
	l->n = 0;
}

bool strings_match(const struct strings *globs, const char *s)
{
	for (size_t i = 0; i < globs->n; i++) {
		if (glob_match(slice_of(globs->v[i]), slice_of(s)))
			return true;
	}
	return globs->n == 0;
}

static void map64_grow(struct map64 *m)
{
	struct map64 old = *m;

	m->cap = old.cap ? old.cap * 2 : 64;
	m->key = xcalloc(m->cap, sizeof(*m->key));
	m->val = xcalloc(m->cap, sizeof(*m->val));
	m->n = 0;
	for (size_t i = 0; i < old.cap; i++) {
		if (old.key[i])
			*map64_at(m, old.key[i]) = old.val[i];
	}
	free(old.key);
	free(old.val);
}

uint64_t *map64_at(struct map64 *m, uint64_t key)
{
	size_t i;

	if (!key)
		key = 1;
	if (m->n * 2 >= m->cap)
		map64_grow(m);
	for (i = hash_mix(key) & (m->cap - 1); m->key[i] && m->key[i] != key;)
		i = (i + 1) & (m->cap - 1);
	if (!m->key[i]) {
		m->key[i] = key;
		m->n++;
	}
	return &m->val[i];
}

uint64_t map64_get(const struct map64 *m, uint64_t key)
{
	if (!key)
		key = 1;
	if (!m->cap)
		return 0;
	for (size_t i = hash_mix(key) & (m->cap - 1); m->key[i]; i = (i + 1) & (m->cap - 1)) {
		if (m->key[i] == key)
			return m->val[i];
	}
	return 0;
}

void map64_clear(struct map64 *m)
{
	free(m->key);
	free(m->val);
	*m = (struct map64){ 0 };
}

const char *ip_text(char out[IP_TEXT], uint32_t ip)
{
	snprintf(out, IP_TEXT, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
	return out;
}

int ip_parse(uint32_t *ret, const char *s)
{
	struct in_addr a;

	if (inet_pton(AF_INET, s, &a) != 1)
		return -1;
	*ret = ntohl(a.s_addr);
	return 0;
}
