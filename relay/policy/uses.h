/* What slots make of whatever they are counted in: provider, geography, cluster, path, lane, source at
 * a provider, host. Written by slot_count (slot.c) alone; read by everybody. */
#pragma once

#include <stdint.h>

struct uses {
	uint32_t in_use;      /* slots */
	uint32_t up;	      /* of them connected */
	uint32_t busy;	      /* of them with a transaction under way */
	uint32_t unknown;     /* of them whose cluster is not known yet */
	uint32_t outstanding; /* transactions under way */
};

/* times: 1, or (uint32_t)-1 to take them off. */
static inline void uses_add(struct uses *to, const struct uses *u, uint32_t times)
{
	to->in_use += times * u->in_use;
	to->up += times * u->up;
	to->busy += times * u->busy;
	to->unknown += times * u->unknown;
	to->outstanding += times * u->outstanding;
}
