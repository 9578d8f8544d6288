/* Transcripts: entries one behind another in one piece of memory, each with who, when and how long.
 * Filled by outbound connections on their workers' threads, read by whoever shows them. */
#include "postern/transcript.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postern/hash.h"

#define ENTRY	  7u /* who, ms (4), length (2) */
#define NONE	  UINT32_MAX
#define ENTRY_MAX 4096u

struct entry {
	enum transcript_who who;
	uint32_t ms;
	uint16_t n;
};

static void put_entry(char *at, const struct entry *e)
{
	at[0] = (char)e->who;
	memcpy(at + 1, &e->ms, 4);
	memcpy(at + 5, &e->n, 2);
}

static struct entry get_entry(const char *at)
{
	struct entry e = { .who = (enum transcript_who)at[0] };

	memcpy(&e.ms, at + 1, 4);
	memcpy(&e.n, at + 5, 2);
	return e;
}

static bool reserve(struct recorder *r, size_t more)
{
	size_t cap = r->cap ? r->cap : 1024;
	char *a;

	if (r->n + more > TRANSCRIPT_MAX)
		return false;
	while (cap < r->n + more)
		cap *= 2;
	if (cap == r->cap)
		return true;
	a = realloc(r->a, cap);
	if (!a)
		return false;
	r->a = a;
	r->cap = (uint32_t)cap;
	return true;
}

/* A reply that came in pieces is one entry. */
static bool goes_on(const struct recorder *r, enum transcript_who who, size_t more)
{
	struct entry e;

	if (!r->n || r->last == NONE)
		return false;
	e = get_entry(r->a + r->last);
	return e.who == who && who != TRANSCRIPT_NOTE && e.n > 0 && e.n + more <= ENTRY_MAX &&
	       r->a[r->last + ENTRY + e.n - 1] != '\n';
}

void recorder_add(struct recorder *r, enum transcript_who who, ms_t ms, struct slice bytes)
{
	struct entry e = { who, (uint32_t)(ms < 0 ? 0 : ms), 0 };
	bool on = bytes.n > 0 && goes_on(r, who, bytes.n);

	if (!bytes.n)
		return;
	if (bytes.n > ENTRY_MAX || !reserve(r, bytes.n + (on ? 0 : ENTRY))) {
		r->cut = true;
		return;
	}
	if (on) {
		e = get_entry(r->a + r->last);
	} else {
		r->last = r->n;
		r->n += ENTRY;
	}
	memcpy(r->a + r->n, bytes.p, bytes.n);
	r->n += (uint32_t)bytes.n;
	e.n = (uint16_t)(e.n + bytes.n);
	put_entry(r->a + r->last, &e);
}

void recorder_next(struct recorder *r)
{
	if (!r->headed)
		r->head = r->n;
	r->headed = true;
	r->n = r->head;
	r->last = NONE;
	r->cut = false;
}

void recorder_deinit(struct recorder *r)
{
	free(r->a);
	*r = (struct recorder){ .last = NONE };
}

struct transcript *recorder_take(const struct recorder *r, bool refused)
{
	struct transcript *t = malloc(sizeof(*t) + r->n);

	if (!t)
		return NULL;
	t->refused = refused;
	t->cut = r->cut;
	t->hidden = false;
	t->n = r->n;
	if (r->n)
		memcpy(t->a, r->a, r->n);
	return t;
}

void transcript_each(const struct transcript *t,
	void (*fn)(void *arg, enum transcript_who who, ms_t ms, struct slice line), void *arg)
{
	for (uint32_t at = 0; at + ENTRY <= t->n;) {
		struct entry e = get_entry(t->a + at);
		struct slice rest = { t->a + at + ENTRY, e.n };

		while (rest.n > 0) {
			const char *end = memchr(rest.p, '\n', rest.n);
			size_t n = end ? (size_t)(end - rest.p) : rest.n;
			struct slice line = { rest.p, n };

			if (line.n > 0 && line.p[line.n - 1] == '\r')
				line.n--;
			fn(arg, e.who, e.ms, line);
			rest = slice_from(rest, end ? n + 1 : n);
		}
		at += ENTRY + e.n;
	}
}

/* ---- addresses ---- */

/* Where the local part begins that ends before the @ at `at`; at itself: there is none. */
static size_t local_begins(struct slice s, size_t from, size_t at)
{
	size_t i = at;

	if (i > from && s.p[i - 1] == '"') {
		for (i--; i > from && s.p[i - 1] != '"';)
			i--;
		return i > from ? i - 1 : from;
	}
	while (i > from && !strchr("@<>()[]:;, \t\"", s.p[i - 1]) && s.p[i - 1])
		i--;
	return i;
}

int transcript_hide(struct buf *out, struct slice line, uint64_t secret)
{
	size_t from = 0;
	int r = 0;

	for (size_t i = 0; i < line.n && !r; i++) {
		size_t begins;
		uint64_t hash;

		if (line.p[i] != '@')
			continue;
		begins = local_begins(line, from, i);
		if (begins == i)
			continue;
		hash = hash_bytes(HASH_START ^ secret, line.p + begins, i - begins);
		r = buf_add(out, line.p + from, begins - from);
		if (!r)
			r = buf_printf(out, "#%08x", (unsigned)hash_fold(hash));
		from = i;
	}
	return r ? r : buf_add(out, line.p + from, line.n - from);
}

/* ---- in a file ---- */

struct packing {
	struct buf *out;
	bool hide;
	uint64_t secret;
	int r;
};

/* A line an entry. What hiding made longer than an entry may be is cut. */
static void pack_line(void *arg, enum transcript_who who, ms_t ms, struct slice line)
{
	struct packing *p = arg;
	struct entry e = { who, (uint32_t)ms, 0 };
	char head[ENTRY];
	struct buf text;

	buf_init(&text, 64 * 1024);
	if (!p->r)
		p->r = p->hide ? transcript_hide(&text, line, p->secret)
			       : buf_add_slice(&text, line);
	e.n = (uint16_t)(buf_size(&text) < ENTRY_MAX ? buf_size(&text) : ENTRY_MAX);
	put_entry(head, &e);
	if (!p->r)
		p->r = buf_add(p->out, head, sizeof(head));
	if (!p->r && e.n)
		p->r = buf_add(p->out, buf_slice(&text).p, e.n);
	buf_deinit(&text);
}

int transcript_pack(struct buf *out, const struct transcript *t, bool hide, uint64_t secret)
{
	struct packing p = { out, hide && !t->hidden, secret, 0 };

	transcript_each(t, pack_line, &p);
	return p.r;
}

int transcript_unpack(struct transcript **ret, struct slice in)
{
	struct transcript *t;
	size_t at = 0;

	if (in.n > 4 * TRANSCRIPT_MAX)
		return -EBADMSG;
	while (at < in.n) {
		struct entry e;

		if (in.n - at < ENTRY)
			return -EBADMSG;
		e = get_entry(in.p + at);
		if (e.who > TRANSCRIPT_NOTE || e.n > ENTRY_MAX || e.n > in.n - at - ENTRY)
			return -EBADMSG;
		at += ENTRY + e.n;
	}
	t = calloc(1, sizeof(*t) + in.n);
	if (!t)
		return -ENOMEM;
	t->n = (uint32_t)in.n;
	memcpy(t->a, in.p, in.n);
	*ret = t;
	return 0;
}
