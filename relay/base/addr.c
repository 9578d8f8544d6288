/* IP addresses and networks: text to value and back, comparison, socket addresses. Pure; any
 * thread.
 *
 * An IPv4 address that comes mapped into IPv6 (::ffff:192.0.2.1) is taken as the IPv4 address that
 * it is, so that each address has one value only. */
#include "postern/addr.h"

#include <arpa/inet.h>
#include <errno.h>

#include "postern/must.h"

static const uint8_t v4_mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static unsigned addr_width(const struct addr *a)
{
	return a->family == ADDR_V4 ? 32 : 128;
}

static struct addr addr_v4(const void *ip)
{
	struct addr a = { .family = ADDR_V4 };

	memcpy(a.ip, ip, 4);
	return a;
}

static struct addr addr_v6(const uint8_t *ip)
{
	struct addr a = { .family = ADDR_V6 };

	if (memcmp(ip, v4_mapped, sizeof(v4_mapped)) == 0)
		return addr_v4(ip + 12);
	memcpy(a.ip, ip, 16);
	return a;
}

int addr_parse(struct addr *ret, struct slice s)
{
	char text[INET6_ADDRSTRLEN];
	uint8_t ip[16];

	if (s.n == 0 || s.n >= sizeof(text) || memchr(s.p, '\0', s.n))
		return -EINVAL;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	if (inet_pton(AF_INET, text, ip) == 1)
		*ret = addr_v4(ip);
	else if (inet_pton(AF_INET6, text, ip) == 1)
		*ret = addr_v6(ip);
	else
		return -EINVAL;
	return 0;
}

static int port_parse(uint16_t *ret, struct slice s)
{
	uint64_t v;

	if (s.n > 5 || slice_u64(s, &v) || v > UINT16_MAX)
		return -EINVAL;
	*ret = (uint16_t)v;
	return 0;
}

int addr_parse_port(struct addr *ret, uint16_t *port, struct slice s)
{
	const char *colon = s.n ? memrchr(s.p, ':', s.n) : NULL;
	bool bracketed = s.n > 0 && s.p[0] == '[';
	struct slice host, digits;
	struct addr a;
	uint16_t v;

	if (!colon)
		return -EINVAL;
	host = (struct slice){ s.p, (size_t)(colon - s.p) };
	digits = slice_from(s, host.n + 1);
	if (bracketed) {
		if (host.n < 2 || host.p[host.n - 1] != ']')
			return -EINVAL;
		host = (struct slice){ host.p + 1, host.n - 2 };
	}
	/* brackets are for colons: "[192.0.2.1]:25" and "::1:25" are both refused, the latter
	 * because it reads as an address without a port */
	if (addr_parse(&a, host) || port_parse(&v, digits) ||
		bracketed != (memchr(host.p, ':', host.n) != NULL))
		return -EINVAL;
	*ret = a;
	*port = v;
	return 0;
}

static char *put_octet(char *p, unsigned v)
{
	if (v >= 100)
		*p++ = (char)('0' + v / 100);
	if (v >= 10)
		*p++ = (char)('0' + v / 10 % 10);
	*p++ = (char)('0' + v % 10);
	return p;
}

size_t addr_format(char out[ADDR_TEXT_MAX], const struct addr *a)
{
	char *p = out;

	*out = '\0';
	if (a->family == ADDR_V6) {
		must(inet_ntop(AF_INET6, a->ip, out, ADDR_TEXT_MAX));
		return strlen(out);
	}
	if (a->family != ADDR_V4)
		return 0;
	/* by hand: once or twice per message logged, and inet_ntop goes through printf */
	for (int i = 0; i < 4; i++) {
		if (i > 0)
			*p++ = '.';
		p = put_octet(p, a->ip[i]);
	}
	*p = '\0';
	return (size_t)(p - out);
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
	return a->family == b->family && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

uint32_t addr_hash(const struct addr *a)
{
	uint64_t hi, lo, h;

	memcpy(&hi, a->ip, 8);
	memcpy(&lo, a->ip + 8, 8);
	h = (hi ^ a->family) * 0x9e3779b97f4a7c15u;
	h = (h ^ (h >> 32) ^ lo) * 0xd6e8feb86659fd93u;
	return (uint32_t)(h ^ (h >> 32));
}

bool addr_is_loopback(const struct addr *a)
{
	static const uint8_t one[16] = { [15] = 1 };

	if (a->family == ADDR_V4)
		return a->ip[0] == 127;
	return a->family == ADDR_V6 && memcmp(a->ip, one, sizeof(one)) == 0;
}

void addr_to_sockaddr(struct sockaddr_storage *ret, const struct addr *a, uint16_t port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	memset(ret, 0, sizeof(*ret));
	if (a->family == ADDR_V4) {
		memcpy(&sin.sin_addr, a->ip, 4);
		memcpy(ret, &sin, sizeof(sin));
	} else if (a->family == ADDR_V6) {
		memcpy(&sin6.sin6_addr, a->ip, 16);
		memcpy(ret, &sin6, sizeof(sin6));
	}
}

int addr_from_sockaddr(struct addr *ret, uint16_t *port, const struct sockaddr *sa)
{
	struct sockaddr_in6 sin6;
	struct sockaddr_in sin;

	if (sa->sa_family == AF_INET) {
		memcpy(&sin, sa, sizeof(sin));
		*ret = addr_v4(&sin.sin_addr);
		if (port)
			*port = ntohs(sin.sin_port);
		return 0;
	}
	if (sa->sa_family == AF_INET6) {
		memcpy(&sin6, sa, sizeof(sin6));
		*ret = addr_v6(sin6.sin6_addr.s6_addr);
		if (port)
			*port = ntohs(sin6.sin6_port);
		return 0;
	}
	return -EAFNOSUPPORT;
}

/* a with all bits after the first n cleared */
static struct addr addr_mask(const struct addr *a, unsigned n)
{
	struct addr m = *a;

	for (unsigned i = 0; i < sizeof(m.ip); i++) {
		unsigned keep = n > 8 * i ? n - 8 * i : 0;

		if (keep < 8)
			m.ip[i] &= (uint8_t)(0xff00u >> keep);
	}
	return m;
}

int net_parse(struct net *ret, struct slice s)
{
	const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
	struct slice host = { s.p, slash ? (size_t)(slash - s.p) : s.n };
	struct addr a, masked;
	uint64_t bits;

	if (addr_parse(&a, host))
		return -EINVAL;
	bits = addr_width(&a);
	if (slash) {
		if (slice_u64(slice_from(s, host.n + 1), &bits) || s.n - host.n - 1 > 3)
			return -EINVAL;
		/* a mapped network, "::ffff:192.0.2.0/120", has become an IPv4 one */
		if (a.family == ADDR_V4 && memchr(host.p, ':', host.n))
			bits = bits >= 96 ? bits - 96 : UINT64_MAX;
		if (bits > addr_width(&a))
			return -EINVAL;
	}
	masked = addr_mask(&a, (unsigned)bits);
	if (!addr_eq(&masked, &a))
		return -EINVAL;
	*ret = (struct net){ .addr = a, .bits = (uint8_t)bits };
	return 0;
}

bool net_contains(const struct net *n, const struct addr *a)
{
	struct addr masked;

	if (n->addr.family != a->family)
		return false;
	masked = addr_mask(a, n->bits);
	return addr_eq(&masked, &n->addr);
}

struct net net_of(const struct addr *a, uint8_t v4_bits, uint8_t v6_bits)
{
	unsigned bits = a->family == ADDR_V4 ? v4_bits : v6_bits;

	if (bits > addr_width(a))
		bits = addr_width(a);
	return (struct net){ .addr = addr_mask(a, bits), .bits = (uint8_t)bits };
}

size_t net_format(char out[ADDR_TEXT_MAX + 4], const struct net *n)
{
	char *p = out + addr_format(out, &n->addr);

	*p++ = '/';
	p = put_octet(p, n->bits);
	*p = '\0';
	return (size_t)(p - out);
}
