/* TXT records of a name, asked for once, as a tool does. */
#pragma once

#include "postern/buf.h"
#include "postern/dns.h"

#define TXT_RECORDS_MAX 8 /* of a name; more are not looked at */

struct txt {
	struct buf records[TXT_RECORDS_MAX]; /* each with its strings put together */
	unsigned n;
};

/* Asks the servers of p, or the system's, and waits for the answer: at most a minute. 0 (n may be
 * 0: the name has none), -ENOENT: there is no such name, -EIO with the reason in why. Deinit it in
 * any case. */
int txt_look_up(
	struct txt *ret, const struct dns_params *p, const char *name, char *why, size_t why_max);
void txt_deinit(struct txt *t);
