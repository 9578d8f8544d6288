/* DNS answers as bytes into values: names, MX, A, AAAA, PTR, the chain of CNAMEs. Pure; called by
 * dns_query.c with what c-ares received.
 *
 * Hostile input: each name, record and count is bounded, pointers only go backwards, and a name
 * with bytes that no host name has is left out. */
#include "dns_wire.h"

#include <errno.h>

#define HEADER	   12u
#define CLASS_IN   1u
#define CNAMES_MAX 9 /* a longer chain is a circle, or as good as one */
#define LABEL_MAX  63u
#define TEXT_MAX   253u

struct wire {
	const uint8_t *p;
	size_t n;
};

struct wire_name {
	size_t n;
	bool odd; /* has bytes that no host name has */
	char text[DNS_NAME_MAX];
};

struct record {
	struct wire_name owner;
	uint16_t type, class;
	uint32_t ttl;
	size_t data, size; /* the content's place in the message */
};

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static char lower(uint8_t c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

static bool host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool add_label(struct wire_name *out, const uint8_t *p, size_t n)
{
	if (out->n + n + 1 > TEXT_MAX + (out->n == 0))
		return false;
	if (out->n > 0)
		out->text[out->n++] = '.';
	for (size_t i = 0; i < n; i++) {
		char c = lower(p[i]);

		out->odd |= !host_char(c);
		out->text[out->n++] = c;
	}
	return true;
}

/* RFC 1035 section 4.1.4. Each pointer must lead to before the place where the part it ends began:
 * so following them ends. *at moves behind the name. */
static int read_name(const struct wire *w, size_t *at, struct wire_name *out)
{
	size_t i = *at, begin = *at;
	bool jumped = false;

	out->n = 0;
	out->odd = false;
	for (;;) {
		uint8_t len;

		if (i >= w->n)
			return -EBADMSG;
		len = w->p[i];
		if (len >= 0xc0) {
			size_t to;

			if (i + 2 > w->n)
				return -EBADMSG;
			to = get16(w->p + i) & 0x3fffu;
			if (to >= begin)
				return -EBADMSG;
			if (!jumped)
				*at = i + 2;
			jumped = true;
			begin = i = to;
			continue;
		}
		i++;
		if (len == 0)
			break;
		if (len > LABEL_MAX || i + len > w->n || !add_label(out, w->p + i, len))
			return -EBADMSG;
		i += len;
	}
	if (!jumped)
		*at = i;
	out->text[out->n] = '\0';
	return 0;
}

static int read_record(const struct wire *w, size_t *at, struct record *r)
{
	int e = read_name(w, at, &r->owner);

	if (e)
		return e;
	if (w->n - *at < 10)
		return -EBADMSG;
	r->type = get16(w->p + *at);
	r->class = get16(w->p + *at + 2);
	r->ttl = get32(w->p + *at + 4);
	if (r->ttl > INT32_MAX)
		r->ttl = 0; /* RFC 2181 section 8 */
	r->size = get16(w->p + *at + 8);
	r->data = *at + 10;
	if (w->n - r->data < r->size)
		return -EBADMSG;
	*at = r->data + r->size;
	return 0;
}

static bool same_name(const struct wire_name *a, const struct wire_name *b)
{
	return a->n == b->n && memcmp(a->text, b->text, a->n) == 0;
}

static void keep_ttl(struct dns_answer *ret, const struct record *r)
{
	if (r->ttl < ret->ttl)
		ret->ttl = r->ttl;
}

/* Stable: equal preferences stay in the order of the answer. */
static void add_mx(struct dns_answer *ret, uint16_t preference, const struct wire_name *name)
{
	unsigned i, at;

	for (i = 0; i < ret->nmx; i++) {
		if (strcmp(ret->mx[i].name, name->text) != 0)
			continue;
		if (ret->mx[i].preference <= preference)
			return;
		memmove(&ret->mx[i], &ret->mx[i + 1], (ret->nmx - i - 1) * sizeof(ret->mx[0]));
		ret->nmx--;
		break;
	}
	for (at = ret->nmx; at > 0 && ret->mx[at - 1].preference > preference; at--)
		;
	if (at == DNS_MX_MAX)
		return;
	if (ret->nmx == DNS_MX_MAX)
		ret->nmx--;
	memmove(&ret->mx[at + 1], &ret->mx[at], (ret->nmx - at) * sizeof(ret->mx[0]));
	ret->mx[at].preference = preference;
	memcpy(ret->mx[at].name, name->text, name->n + 1);
	ret->nmx++;
}

static int take_mx(struct dns_answer *ret, const struct wire *w, const struct record *r)
{
	size_t at = r->data + 2;
	struct wire_name name;

	if (r->size < 3 || read_name(w, &at, &name) || at != r->data + r->size)
		return -EBADMSG;
	if (name.odd)
		ret->skipped++;
	else
		add_mx(ret, get16(w->p + r->data), &name);
	return 0;
}

static int take_addr(struct dns_answer *ret, const struct wire *w, const struct record *r)
{
	struct addr a = { .family = r->type == DNS_TYPE_A ? ADDR_V4 : ADDR_V6 };

	if (r->size != (r->type == DNS_TYPE_A ? 4u : 16u))
		return -EBADMSG;
	memcpy(a.ip, w->p + r->data, r->size);
	for (unsigned i = 0; i < ret->naddrs; i++) {
		if (addr_eq(&ret->addrs[i], &a))
			return 0;
	}
	if (ret->naddrs < DNS_ADDRS_MAX)
		ret->addrs[ret->naddrs++] = a;
	return 0;
}

static int take_ptr(struct dns_answer *ret, const struct wire *w, const struct record *r)
{
	size_t at = r->data;
	struct wire_name name;

	if (read_name(w, &at, &name) || at != r->data + r->size)
		return -EBADMSG;
	if (name.odd)
		ret->skipped++;
	else if (!ret->ptr[0])
		memcpy(ret->ptr, name.text, name.n + 1);
	return 0;
}

static int take(struct dns_answer *ret, const struct wire *w, const struct record *r)
{
	keep_ttl(ret, r);
	if (r->type == DNS_TYPE_MX)
		return take_mx(ret, w, r);
	if (r->type == DNS_TYPE_PTR)
		return take_ptr(ret, w, r);
	return take_addr(ret, w, r);
}

/* Walks the answer section: takes what is of the type and belongs to the name. *alias: where the
 * name's CNAME leads. */
static int walk(struct dns_answer *ret, const struct wire *w, size_t at,
	const struct wire_name *name, enum dns_type type, struct wire_name *alias, bool *aliased)
{
	unsigned count = get16(w->p + 6);
	struct record r;
	int e = 0;

	*aliased = false;
	for (unsigned i = 0; i < count && !e; i++) {
		e = read_record(w, &at, &r);
		if (e || r.class != CLASS_IN || !same_name(&r.owner, name))
			continue;
		if (r.type == (uint16_t)type) {
			e = take(ret, w, &r);
		} else if (r.type == DNS_TYPE_CNAME && !*aliased) {
			size_t target = r.data;

			e = read_name(w, &target, alias);
			*aliased = true;
			keep_ttl(ret, &r);
		}
	}
	return e;
}

int dns_wire_parse(struct dns_answer *ret, const uint8_t *p, size_t n, enum dns_type type)
{
	struct wire w = { p, n };
	struct wire_name name, alias;
	size_t at = HEADER;
	bool aliased = true;
	int r;

	ret->ttl = UINT32_MAX;
	ret->skipped = ret->nmx = ret->naddrs = 0;
	ret->ptr[0] = '\0';
	if (n < HEADER || get16(p + 4) != 1)
		return -EBADMSG;
	r = read_name(&w, &at, &name);
	if (r || n - at < 4)
		return -EBADMSG;
	at += 4;
	for (unsigned hops = 0; aliased; hops++) {
		if (hops > CNAMES_MAX)
			return -EBADMSG;
		r = walk(ret, &w, at, &name, type, &alias, &aliased);
		if (r)
			return r;
		if (ret->nmx + ret->naddrs + ret->skipped > 0 || ret->ptr[0])
			break;
		name = alias;
	}
	if (ret->ttl == UINT32_MAX)
		ret->ttl = 0;
	return 0;
}

bool dns_name_valid(struct slice s)
{
	size_t label = 0;

	if (s.n == 0 || s.n > TEXT_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '.') {
			if (label == 0)
				return false;
			label = 0;
		} else if (!host_char(lower((uint8_t)s.p[i])) || ++label > LABEL_MAX) {
			return false;
		}
	}
	return label > 0;
}
