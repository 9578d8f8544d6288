/* uthash, as the policy's tables use it: memory that is out is told by the element not being in the
 * table, and is not the end of the process. */
#pragma once

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* An element of a hash to the end of its order, without taking memory. */
#define HASH_TO_END(type, head, e)                                                                 \
	do {                                                                                       \
		UT_hash_table *table_ = (e)->hh.tbl;                                               \
		type *next_ = (e)->hh.next, *prev_ = (e)->hh.prev, *last_;                         \
		if (!next_)                                                                        \
			break;                                                                     \
		if (prev_)                                                                         \
			prev_->hh.next = next_;                                                    \
		else                                                                               \
			(head) = next_;                                                            \
		next_->hh.prev = prev_;                                                            \
		last_ = (type *)((uintptr_t)table_->tail - (uintptr_t)table_->hho);                \
		last_->hh.next = (e);                                                              \
		(e)->hh.prev = last_;                                                              \
		(e)->hh.next = NULL;                                                               \
		table_->tail = &(e)->hh;                                                           \
	} while (0)
