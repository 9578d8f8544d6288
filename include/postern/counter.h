/* Counters that one thread writes and any reads. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

/* On the thread that writes it: no locked instruction needed. */
static inline void count_add(atomic_uint_least64_t *c, uint64_t n)
{
	atomic_store_explicit(
		c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline uint64_t count_of(const atomic_uint_least64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}
