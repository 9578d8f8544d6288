/* Log-ins that succeeded a moment ago, so that a client that authenticates for each message does
 * not cost a crypt hash each time. What is kept is a keyed hash of users file, user and password,
 * under a key that never leaves the process, for a short time. No lock: the caller has one
 * (limits.c). */
#pragma once

#include <stdbool.h>

#include "postern/clock.h"
#include "postern/inbound.h"

#define LOGINS_LIFE 300000 /* ms */

struct login_key {
	unsigned char hash[32];
};

struct logins;
struct logins *logins_new(void); /* NULL when memory is out, or no random key is to be had */
struct logins *logins_free(struct logins *l);
/* Needs no lock. False when it cannot be made: then there is no entry either. */
bool logins_key(const struct logins *l, struct login_key *ret, const struct users *users,
	const char *user, const char *password);
/* The user's pool goes into pool. */
bool logins_find(const struct logins *l, ms_t now, const struct login_key *k, char pool[64]);
void logins_add(struct logins *l, ms_t now, const struct login_key *k, const char *pool);
