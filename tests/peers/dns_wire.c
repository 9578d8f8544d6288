/* DNS messages: questions read, answers written. Its own code, so that a fault in
 * relay/dns/dns_wire.c is not in both. Called by dns.c and by who answers; no state. */
#include "dns_wire.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

const char *dns_type_name(uint16_t type, char out[12])
{
	static const struct {
		uint16_t type;
		const char *name;
	} names[] = { { TYPE_A, "A" }, { TYPE_NS, "NS" }, { TYPE_CNAME, "CNAME" },
		{ TYPE_SOA, "SOA" }, { TYPE_PTR, "PTR" }, { TYPE_MX, "MX" }, { TYPE_TXT, "TXT" },
		{ TYPE_AAAA, "AAAA" }, { TYPE_TLSA, "TLSA" } };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].type == type)
			return names[i].name;
	}
	snprintf(out, 12, "TYPE%u", type);
	return out;
}

/* An uncompressed name. Returns its length on the wire, or 0. */
static size_t parse_name(const uint8_t *p, size_t n, struct question *q)
{
	size_t i = 0;

	q->n = 0;
	while (i < n && p[i]) {
		size_t k = p[i];

		if (k > 63 || i + k + 1 >= n || q->n + k + 1 >= sizeof(q->name))
			return 0;
		if (q->n)
			q->name[q->n++] = '.';
		for (size_t j = 1; j <= k; j++)
			q->name[q->n++] = (char)tolower(p[i + j]);
		i += k + 1;
	}
	q->name[q->n] = '\0';
	return i < n ? i + 1 : 0;
}

int dns_parse(const uint8_t *p, size_t n, struct question *q)
{
	size_t k;

	memset(q, 0, sizeof(*q));
	q->udp_size = 512;
	if (n < 12)
		return -1;
	q->id = get16(p);
	q->flags = get16(p + 2);
	if (q->flags & 0x8000)
		return -1; /* a reply */
	if (q->flags & 0x7800)
		return RC_NOTIMP;
	if (get16(p + 4) != 1)
		return RC_FORMERR;
	k = parse_name(p + 12, n - 12, q);
	if (!k || 12 + k + 4 > n)
		return RC_FORMERR;
	q->type = get16(p + 12 + k);
	q->klass = get16(p + 14 + k);
	q->wire_end = 16 + k;
	/* OPT with the root as its owner, first of the additional section */
	if (get16(p + 10) && n >= q->wire_end + 11 && !p[q->wire_end] &&
		get16(p + q->wire_end + 1) == TYPE_OPT) {
		q->edns = true;
		q->udp_size = get16(p + q->wire_end + 3);
		if (q->udp_size < 512)
			q->udp_size = 512;
	}
	return 0;
}

size_t dns_put_name(uint8_t *out, const char *name)
{
	size_t n = 0;

	while (*name) {
		size_t k = strcspn(name, ".");

		if (!k || k > 63 || n + k + 2 > 255)
			break;
		out[n++] = (uint8_t)k;
		memcpy(out + n, name, k);
		n += k;
		name += k;
		name += *name == '.';
	}
	out[n++] = 0;
	return n;
}

void dns_put_rr(struct answer *a, const char *owner, uint16_t type, uint32_t ttl, const void *rdata,
	size_t n)
{
	uint8_t head[10], name[256];

	if (owner) {
		put(&a->b, name, dns_put_name(name, owner));
	} else {
		PUT_LIT(&a->b, "\xc0\x0c");
	}
	put16(head, type);
	put16(head + 2, 1);
	put16(head + 4, ttl >> 16);
	put16(head + 6, ttl & 0xffff);
	put16(head + 8, (unsigned)n);
	put(&a->b, head, sizeof(head));
	put(&a->b, rdata, n);
	a->count++;
}

void dns_put_host(struct answer *a, const char *owner, uint16_t type, uint32_t ttl, int preference,
	const char *target)
{
	uint8_t rdata[2 + 256];
	size_t n = 0;

	if (preference >= 0) {
		put16(rdata, (unsigned)preference);
		n = 2;
	}
	n += dns_put_name(rdata + n, target);
	dns_put_rr(a, owner, type, ttl, rdata, n);
}

/* A negative answer says how long it may be kept. */
static void put_soa(struct answer *a, uint32_t ttl)
{
	uint8_t rdata[256];
	size_t n = dns_put_name(rdata, "ns.invalid");

	n += dns_put_name(rdata + n, "hostmaster.invalid");
	memset(rdata + n, 0, 20);
	put16(rdata + n + 2, 1);
	put16(rdata + n + 18, ttl & 0xffff);
	dns_put_rr(a, NULL, TYPE_SOA, ttl, rdata, n + 20);
}

void dns_message(const struct dns_form *form, const struct question *q, const uint8_t *query,
	const struct answer *a, size_t max, struct buf *out)
{
	static const uint8_t opt[11] = { 0, 0, TYPE_OPT, 0x10, 0, 0, 0, 0, 0, 0, 0 };
	struct answer soa = { 0 };
	uint8_t head[12] = { 0 };
	bool edns = q->edns && form->edns, truncate = form->truncate,
	     negative = !a->count && q->wire_end && (a->rcode == RC_OK || a->rcode == RC_NXDOMAIN);
	size_t n;

	buf_init(&soa.b, 0);
	if (negative && form->soa)
		put_soa(&soa, a->ttl);
	n = 12 + (q->wire_end ? q->wire_end - 12 : 0) + a->b.len + soa.b.len +
	    (edns ? sizeof(opt) : 0);
	truncate |= n > max;
	put16(head, q->id);
	put16(head + 2, 0x8480U | (q->flags & 0x0100U) | (truncate ? 0x0200U : 0) |
				(form->ad ? 0x0020U : 0) | (unsigned)a->rcode);
	put16(head + 4, q->wire_end ? 1 : 0);
	put16(head + 6, truncate ? 0 : a->count);
	put16(head + 8, truncate ? 0 : soa.count);
	put16(head + 10, edns ? 1 : 0);
	put(out, head, sizeof(head));
	if (q->wire_end)
		put(out, query + 12, q->wire_end - 12);
	if (!truncate) {
		put(out, a->b.p, a->b.len);
		put(out, soa.b.p, soa.b.len);
	}
	if (edns)
		put(out, opt, sizeof(opt));
	buf_deinit(&soa.b);
}
