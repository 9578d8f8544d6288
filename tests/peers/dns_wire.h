/* DNS messages of servers that tests run: questions read, answers written. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "postern/buf.h"

#define DNS_NAME_TEXT 256

enum {
	TYPE_A = 1,
	TYPE_NS = 2,
	TYPE_CNAME = 5,
	TYPE_SOA = 6,
	TYPE_PTR = 12,
	TYPE_MX = 15,
	TYPE_TXT = 16,
	TYPE_AAAA = 28,
	TYPE_OPT = 41,
	TYPE_TLSA = 52
};
enum { RC_OK = 0, RC_FORMERR = 1, RC_SERVFAIL = 2, RC_NXDOMAIN = 3, RC_NOTIMP = 4, RC_REFUSED = 5 };

struct question {
	char name[DNS_NAME_TEXT]; /* lower case, without the last dot */
	size_t n, wire_end;	  /* of the question section in the query */
	uint16_t id, flags, type, klass, udp_size;
	bool edns;
};

struct answer {
	struct buf b; /* answer records */
	uint16_t count;
	int rcode;
	uint32_t ttl; /* of the SOA in a negative answer */
};

/* 0; -1: not even a reply is possible; else an rcode to answer with. */
int dns_parse(const uint8_t *p, size_t n, struct question *q);
/* owner NULL: the name asked for. */
void dns_put_rr(struct answer *a, const char *owner, uint16_t type, uint32_t ttl, const void *rdata,
	size_t n);
size_t dns_put_name(uint8_t *out, const char *name); /* at most 256 bytes */
void dns_put_host(struct answer *a, const char *owner, uint16_t type, uint32_t ttl, int preference,
	const char *target);
/* The whole message: header, the question as it stands in query, the answer. Truncated where it does
 * not fit into max, or where the form wants it. */
struct dns_form {
	bool edns;     /* questions with EDNS get it back */
	bool ad;       /* "authentic data" */
	bool soa;      /* negative answers say how long they hold */
	bool truncate; /* header and question alone */
};
void dns_message(const struct dns_form *form, const struct question *q, const uint8_t *query,
	const struct answer *a, size_t max, struct buf *out);
const char *dns_type_name(uint16_t type, char out[12]);
