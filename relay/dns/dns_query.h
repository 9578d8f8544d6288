/* Single DNS questions through c-ares, with a budget of how many run at once (dns_budget.h); the
 * others wait. Each has one quick try; who did not answer it may get more (slow lane). */
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

/* Names that were answered before; first-time names; those that did not answer a quick try; what
 * is not going to be asked, as its zone is silent. */
enum dns_lane { DNS_KNOWN, DNS_FIRST, DNS_SLOW, DNS_GIVEN_UP, DNS_LANES };
enum dns_patience { DNS_BRISK, DNS_QUICK, DNS_PATIENT, DNS_PATIENCES };
struct dns_zone;

/* Embedded in what asks; busy from start to done. */
struct dns_query {
	struct dns_query *prev, *next;
	struct dns_channel *channel;
	struct dns_zone *zone;
	enum dns_lane lane;
	ms_t began;  /* mono; the try under way */
	bool silent; /* in done: nobody answered */
	bool again;  /* was asked a second time, as its connection broke */
	struct dns_port *port;
	const char *name; /* of the asker; lives until done */
	enum dns_type type;
	dns_query_done *done;
};

struct dns_channel_stats {
	uint64_t queries, failures, timeouts;
	unsigned running, waiting;
};
struct dns_port;
struct dns_budget;

int dns_channel_new(struct dns_channel **ret, struct loop *l, const struct dns_params *p,
	char *error, size_t error_max);
/* Ends all questions with DNS_TEMPORARY inside the call; the memory goes when its handles are
 * closed. */
void dns_channel_close(struct dns_channel *c);
/* done may be called inside the call (no server, shutting down). known: the name was answered
 * before. */
void dns_query_start(struct dns_channel *c, struct dns_query *q, const char *name,
	enum dns_type type, bool known, dns_query_done *done);
const struct dns_channel_stats *dns_channel_stats(struct dns_channel *c);
struct dns_budget *dns_channel_budget(struct dns_channel *c);
