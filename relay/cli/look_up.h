/* One question to DNS, asked and waited for, as a tool does. */
#pragma once

#include "postern/addr.h"
#include "postern/buf.h"
#include "postern/dns.h"

#define LOOK_UP_MAX 16 /* records of a name; more are not looked at */

enum look_up_type { LOOK_UP_A, LOOK_UP_AAAA, LOOK_UP_PTR, LOOK_UP_TXT, LOOK_UP_MX };

/* Records as texts: an address; a name; the strings of a TXT record put together; "10 mx.example". */
struct look_up {
	struct buf records[LOOK_UP_MAX];
	unsigned n;
};

/* Asks the servers of p, or the system's, and waits for the answer: at most a minute. 0 (n may be
 * 0: the name has none), -ENOENT: there is no such name, -EIO with the reason in why. Deinit it in
 * any case. */
int look_up(struct look_up *ret, const struct dns_params *p, enum look_up_type type,
	const char *name, char *why, size_t why_max);
void look_up_deinit(struct look_up *l);
/* Each record followed by a NUL that is not counted. */
const char *look_up_text(const struct look_up *l, unsigned i);
/* "4.3.2.1.in-addr.arpa", or with zone "bl.example" "4.3.2.1.bl.example". */
#define REVERSED_MAX 400
void look_up_reversed(char out[REVERSED_MAX], const struct addr *a, const char *zone);
