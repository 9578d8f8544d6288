/* Single DNS questions through c-ares, with a bound on how many run at once; the others wait in
 * line. */
#pragma once

#include "dns_wire.h"
#include "postern/dns.h"

struct dns_channel;
struct dns_query;

/* status: DNS_OK (the answer may hold no record of the type), DNS_NXDOMAIN, DNS_TEMPORARY or
 * DNS_BAD; detail is a sentence for the latter two. answer is valid in the call, and only with
 * DNS_OK. */
typedef void dns_query_done(struct dns_query *q, enum dns_status status,
	const struct dns_answer *answer, const char *detail);

/* Embedded in what asks; busy from start to done. */
struct dns_query {
	struct dns_query *prev, *next;
	struct dns_channel *channel;
	const char *name; /* of the asker; lives until done */
	enum dns_type type;
	dns_query_done *done;
};

struct dns_channel_stats {
	uint64_t queries, failures, timeouts;
	unsigned running, waiting;
};

int dns_channel_new(struct dns_channel **ret, struct loop *l, const struct dns_params *p,
	char *error, size_t error_max);
/* Ends all questions with DNS_TEMPORARY inside the call; the memory goes when its handles are
 * closed. */
void dns_channel_close(struct dns_channel *c);
/* done may be called inside the call (no server, shutting down). */
void dns_query_start(struct dns_channel *c, struct dns_query *q, const char *name,
	enum dns_type type, dns_query_done *done);
const struct dns_channel_stats *dns_channel_stats(const struct dns_channel *c);
