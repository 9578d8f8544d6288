/* The PROXY preface, versions 1 and 2, out of the bytes that came so far. Pure; called by
 * inbound_proxy.c, which peeks at the socket until it is whole. */
#include "postern/smtp_proxy.h"

#include <errno.h>

#define V2_HEAD 16 /* signature, version and command, family, length */
#define V2_TLVS (PROXY_V2_MAX - V2_HEAD)

static const char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

static bool take_field(struct slice *rest, struct slice *field)
{
	const char *space = rest->n ? memchr(rest->p, ' ', rest->n) : NULL;

	*field = (struct slice){ rest->p, space ? (size_t)(space - rest->p) : rest->n };
	*rest = slice_from(*rest, field->n + 1);
	return field->n > 0;
}

static bool parse_port(struct slice s, uint16_t *ret)
{
	uint64_t v;

	if (s.n > 5 || (s.n > 1 && s.p[0] == '0') || slice_u64(s, &v) || v > UINT16_MAX)
		return false;
	*ret = (uint16_t)v;
	return true;
}

static bool has_colon(struct slice s)
{
	return memchr(s.p, ':', s.n) != NULL;
}

/* "TCP4 192.0.2.1 198.51.100.1 56324 25", "UNKNOWN ..." */
static enum proxy_status parse_v1_line(struct proxy_header *h, struct slice line)
{
	struct slice protocol, from, to, from_port, to_port;
	struct addr destination;
	uint16_t port;
	bool v6;

	if (!take_field(&line, &protocol))
		return PROXY_BAD;
	if (slice_eq(protocol, SLICE_LIT("UNKNOWN"))) {
		h->local = true;
		return PROXY_DONE;
	}
	v6 = slice_eq(protocol, SLICE_LIT("TCP6"));
	if (!v6 && !slice_eq(protocol, SLICE_LIT("TCP4")))
		return PROXY_BAD;
	if (!take_field(&line, &from) || !take_field(&line, &to) ||
		!take_field(&line, &from_port) || !take_field(&line, &to_port) || line.n > 0)
		return PROXY_BAD;
	if (to_port.p[to_port.n - 1] == ' ' || has_colon(from) != v6 || has_colon(to) != v6)
		return PROXY_BAD;
	if (addr_parse(&h->client, from) || addr_parse(&destination, to) ||
		!parse_port(from_port, &h->client_port) || !parse_port(to_port, &port))
		return PROXY_BAD;
	return PROXY_DONE;
}

static enum proxy_status parse_v1(struct proxy_header *h, struct slice in, size_t *used)
{
	const struct slice prefix = SLICE_LIT("PROXY ");
	size_t look = in.n < PROXY_V1_MAX ? in.n : PROXY_V1_MAX;
	size_t known = in.n < prefix.n ? in.n : prefix.n;
	const char *lf = memchr(in.p, '\n', look);
	enum proxy_status s;
	size_t n;

	if (memcmp(in.p, prefix.p, known) != 0)
		return PROXY_BAD;
	if (!lf)
		return in.n < PROXY_V1_MAX ? PROXY_MORE : PROXY_BAD;
	n = (size_t)(lf - in.p) + 1;
	if (n < prefix.n + 2 || in.p[n - 2] != '\r' || memchr(in.p, '\r', n) != in.p + n - 2 ||
		in.p[n - 3] == ' ')
		return PROXY_BAD;
	s = parse_v1_line(h, (struct slice){ in.p + prefix.n, n - prefix.n - 2 });
	if (s == PROXY_DONE)
		*used = n;
	return s;
}

static uint16_t read_u16(const char *p)
{
	return (uint16_t)((unsigned char)p[0] << 8 | (unsigned char)p[1]);
}

static struct addr addr_of_bytes(uint8_t family, const char *p)
{
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct addr a = { 0 };

	/* by way of sockaddr, so that mapped addresses are folded as everywhere */
	if (family == ADDR_V4) {
		memcpy(&sin.sin_addr, p, 4);
		addr_from_sockaddr(&a, NULL, (struct sockaddr *)&sin);
	} else {
		memcpy(&sin6.sin6_addr, p, 16);
		addr_from_sockaddr(&a, NULL, (struct sockaddr *)&sin6);
	}
	return a;
}

static enum proxy_status parse_v2_addresses(struct proxy_header *h, uint8_t family, struct slice s)
{
	size_t width = family == 0x11 ? 4 : 16;

	switch (family) {
	case 0x00: /* not said */
	case 0x31: /* a Unix socket: nothing to match networks with */
		h->local = true;
		return PROXY_DONE;
	case 0x11:
	case 0x21:
		if (s.n < 2 * width + 4)
			return PROXY_BAD;
		h->client = addr_of_bytes(width == 4 ? ADDR_V4 : ADDR_V6, s.p);
		h->client_port = read_u16(s.p + 2 * width);
		return PROXY_DONE;
	default: /* datagrams, and what is not assigned */
		return PROXY_BAD;
	}
}

static enum proxy_status parse_v2(struct proxy_header *h, struct slice in, size_t *used)
{
	size_t known = in.n < sizeof(v2_signature) ? in.n : sizeof(v2_signature);
	enum proxy_status s = PROXY_DONE;
	uint8_t version_command;
	size_t n;

	if (memcmp(in.p, v2_signature, known) != 0)
		return PROXY_BAD;
	if (in.n > sizeof(v2_signature)) {
		version_command = (uint8_t)in.p[12];
		if (version_command != 0x20 && version_command != 0x21)
			return PROXY_BAD;
	}
	if (in.n < V2_HEAD)
		return PROXY_MORE;
	n = read_u16(in.p + 14);
	if (n > V2_TLVS)
		return PROXY_BAD;
	if (in.n < V2_HEAD + n)
		return PROXY_MORE;
	if ((uint8_t)in.p[12] == 0x20)
		h->local = true;
	else
		s = parse_v2_addresses(h, (uint8_t)in.p[13], (struct slice){ in.p + V2_HEAD, n });
	if (s == PROXY_DONE)
		*used = V2_HEAD + n;
	return s;
}

enum proxy_status proxy_parse(struct proxy_header *ret, struct slice in, size_t *used)
{
	struct proxy_header h = { 0 };
	enum proxy_status s;

	*used = 0;
	if (in.n == 0)
		return PROXY_MORE;
	s = in.p[0] == 'P' ? parse_v1(&h, in, used) : parse_v2(&h, in, used);
	if (s == PROXY_DONE)
		*ret = h;
	return s;
}
