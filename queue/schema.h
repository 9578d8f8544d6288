/* The number of the schema that a file has: which trees and records there are.
 *
 * An older file is brought up to date when it is opened for writing: one step after the other, all
 * in the transaction that writes the new number. So a power cut in the middle, an error or a full
 * disk leave the old file as it was, and the older version can still open it. A newer file is
 * refused: this version could not even know what it must not touch. */
#pragma once

#include "store.h"

struct schema_step {
	uint32_t from; /* to from + 1 */
	/* 0 or -errno; needs the room that it changes: pages are copied, not written over. NULL: there
	 * may be records that the older version does not know, and nothing to change; so this version
	 * can also read an older file without writing to it. */
	int (*run)(struct store *s, MDB_txn *txn);
};
struct schema {
	uint32_t number;
	const struct schema_step *steps; /* for the older ones that can be brought up to date */
	unsigned nsteps;
};
extern const struct schema schema_current;

/* An empty file becomes a queue. Opens s->main. */
int schema_settle(struct store *s, const struct schema *known, const struct complaint *c);
