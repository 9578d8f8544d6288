/* Receivers that say the same of us, and have nothing in common: a few of them are more than one
 * that says it often. No memory of its own. */
#pragma once

#include <stdint.h>

#define WITNESSES 6u
/* Unrelated receivers that said the same, since it was last contradicted. */
struct witnesses {
	uint32_t org[WITNESSES], net[WITNESSES];
	uint8_t n;
};
/* Whom a domain belongs to, as a number that is not 0. */
uint32_t organisation(const char *domain);
/* One more says it. net: of its host, 0: does not count. How many do that have nothing in common;
 * WITNESSES at most. */
unsigned witness_add(struct witnesses *w, uint32_t org, uint32_t net);
