/* Password guesses: how many failed of late, by client network (/32, /64), by user, and by both,
 * and what follows for the next one. Bounded tables whose entries decay; time is an argument, no
 * clock, no lock: the caller has one (limits.c).
 *
 * The first failures are free, then each doubles the delay before the next password is checked,
 * and over the limit none is. What counts is the worse of network and user; but where this user
 * logged in from this network of late, only what failed there with this name counts. So a user who
 * is guessed at from elsewhere, or whose neighbour guesses, still gets in. */
#pragma once

#include <stdbool.h>

#include "postern/addr.h"
#include "postern/clock.h"

#define GUESSES_FREE	  5u
#define GUESSES_DELAY	  1000 /* ms, after the last free one; doubles */
#define GUESSES_DELAY_MAX 16000
#define GUESSES_HALF	  600000	   /* ms in which a failure loses half its weight */
#define GUESSES_GOOD	  (7 * 86400000ll) /* ms for which a log-in is good history */

struct guesses;
struct guesses *guesses_new(uint64_t seed); /* NULL when memory is out */
struct guesses *guesses_free(struct guesses *g);
/* May a password be checked, and after how many ms? False: not now (limit: failures; 0: none). */
bool guesses_ask(struct guesses *g, ms_t now, const struct addr *client, const char *user,
	unsigned limit, ms_t *delay);
/* Did this user log in from this network of late? */
bool guesses_know(struct guesses *g, ms_t now, const struct addr *client, const char *user);
void guesses_failed(struct guesses *g, ms_t now, const struct addr *client, const char *user);
void guesses_passed(struct guesses *g, ms_t now, const struct addr *client, const char *user);
