/* Waiting for what other threads do: looked for again and again, up to a deadline that only a fault
 * reaches. What every test with threads opens with. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "postern/clock.h"

enum { WAIT_MS = 20000 };

static inline void wait_pause(void)
{
	nanosleep(&(const struct timespec){ .tv_nsec = 1000000 }, NULL);
}

/* Looks until it holds; fails the test at the deadline. */
#define WAIT_UNTIL(condition)                                                                      \
	do {                                                                                       \
		ms_t wait_end = clock_mono_ms() + WAIT_MS;                                         \
		while (!(condition)) {                                                             \
			if (clock_mono_ms() > wait_end)                                            \
				fail_msg("waited in vain for: %s", #condition);                    \
			wait_pause();                                                              \
		}                                                                                  \
	} while (0)
