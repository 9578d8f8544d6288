/* The part of a DNS answer that a relay needs, parsed from what a server sent. Pure. */
#pragma once

#include "postern/addr.h"

#define DNS_NAME_MAX  256 /* text with its NUL */
#define DNS_MX_MAX    20
#define DNS_ADDRS_MAX 16

enum dns_type {
	DNS_TYPE_A = 1,
	DNS_TYPE_CNAME = 5,
	DNS_TYPE_PTR = 12,
	DNS_TYPE_MX = 15,
	DNS_TYPE_AAAA = 28
};

struct dns_mx {
	uint16_t preference;
	char name[DNS_NAME_MAX]; /* lower case; "" is the root (null MX) */
};

/* Records of the type asked for that belong to the name asked for, or to what its CNAMEs lead to.
 */
struct dns_answer {
	uint32_t ttl;	  /* seconds: the least of all records used */
	unsigned skipped; /* records whose content cannot be a host name */
	unsigned nmx;	  /* in order of preference; the best DNS_MX_MAX, each name once */
	struct dns_mx mx[DNS_MX_MAX];
	unsigned naddrs;
	struct addr addrs[DNS_ADDRS_MAX];
	char ptr[DNS_NAME_MAX]; /* "": none */
};

/* 0, or -EBADMSG when the message is malformed, or its CNAMEs run in a circle. */
int dns_wire_parse(struct dns_answer *ret, const uint8_t *p, size_t n, enum dns_type type);
/* Letters, digits, hyphen and underscore in labels of 1-63 characters, 253 in all; no dot at the
 * end. */
bool dns_name_valid(struct slice s);
