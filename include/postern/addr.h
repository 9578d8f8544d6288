/* IP addresses, ports and networks: values, no sockets. Pure. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "postern/buf.h"

enum addr_family { ADDR_NONE = 0, ADDR_V4 = 4, ADDR_V6 = 6 };

/* 16 bytes in network order; IPv4 in the first four. IPv4-mapped IPv6 is folded to IPv4.
 * Comparable with addr_eq; all bytes defined, so it may be hashed as memory. */
struct addr {
	uint8_t family; /* enum addr_family */
	uint8_t pad[3];
	uint8_t ip[16];
};

struct net {
	struct addr addr; /* host bits zero */
	uint8_t bits;
};

#define ADDR_TEXT_MAX 48
int addr_parse(struct addr *ret, struct slice s); /* "192.0.2.1", "2001:db8::1"; 0, -EINVAL */
int addr_parse_port(
	struct addr *ret, uint16_t *port, struct slice s);	   /* "127.0.0.1:25", "[::1]:25" */
size_t addr_format(char out[ADDR_TEXT_MAX], const struct addr *a); /* returns the length */
bool addr_eq(const struct addr *a, const struct addr *b);
uint32_t addr_hash(const struct addr *a);
bool addr_is_loopback(const struct addr *a);
void addr_to_sockaddr(struct sockaddr_storage *ret, const struct addr *a, uint16_t port);
int addr_from_sockaddr(
	struct addr *ret, uint16_t *port, const struct sockaddr *sa); /* 0, -EAFNOSUPPORT */
/* "10.0.0.0/8", or an address alone (/32, /128). Host bits set: -EINVAL. */
int net_parse(struct net *ret, struct slice s);
bool net_contains(const struct net *n, const struct addr *a);
struct net net_of(
	const struct addr *a, uint8_t v4_bits, uint8_t v6_bits); /* the subnet that a lies in */
size_t net_format(char out[ADDR_TEXT_MAX + 4], const struct net *n);
