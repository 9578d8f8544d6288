/* A name server that tests run, on a loop of theirs. */
#pragma once

#include "dns_wire.h"
#include "loop.h"

struct dns_query {
	struct question question;
	const uint8_t *wire; /* the message as it came, for dns_message */
	bool tcp;
	uint16_t port; /* by UDP: whose it is */
};

/* Writes the reply into out, which is empty; it goes after delay_us (0: at once). False: no reply at
 * all. On the loop's thread. */
typedef bool dns_answerer(
	void *arg, const struct dns_query *query, struct buf *out, uint64_t *delay_us);

struct dns_service;
/* 0 or -errno; *text (caller frees): the address as bound. Before the loop runs. */
int dns_open(struct dns_service **ret, struct loop *lp, const char *address, dns_answerer *answerer,
	void *arg, char **text);
struct dns_service *dns_close(struct dns_service *d); /* once the loop has ended; NULL */
