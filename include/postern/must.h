/* Assertions that stay in releases, and the error convention (more of it in doc/HACKING.md).
 *
 * A function that can fail returns 0, or a negative errno value. Outcomes that the caller is to
 * tell apart are listed in its header; any other is unexpected and passed up unchanged. A positive
 * outcome is done, with a remark that the header names; an index is -1 when there is none. What
 * libuv or errno has no value for is below -10000 (STREAM_E_*). Where several outcomes are in order
 * the function returns an enum; a question is a bool; a pointer is NULL when memory is out. Peer
 * input and failed allocations are never asserted. */
#pragma once

#define must(x) (__builtin_expect(!!(x), 1) ? (void)0 : must_failed(#x, __FILE__, __LINE__))

/* Says what failed and where on standard error, then aborts. */
_Noreturn void must_failed(const char *what, const char *file, int line);
