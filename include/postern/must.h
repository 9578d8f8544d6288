/* Assertions that stay in releases, and the error convention.
 *
 * Errors: functions return 0 for success, a negative errno value for what is unexpected (passed up
 * unchanged), and a small positive MODULE_X value for a documented outcome that the caller handles.
 * Peer input and failed allocations are never asserted. */
#pragma once

#define must(x) (__builtin_expect(!!(x), 1) ? (void)0 : must_failed(#x, __FILE__, __LINE__))

/* Says what failed and where on standard error, then aborts. */
_Noreturn void must_failed(const char *what, const char *file, int line);
