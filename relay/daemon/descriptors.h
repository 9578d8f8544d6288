#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "postern/config.h"
#include "postern/log.h"

struct descriptors {
	uint64_t limit, reserved;
	uint32_t outbound, inbound; /* connections and sessions that may be open together */
	bool all;		    /* as many as the configuration asks for */
	bool enough;		    /* to run at all */
};
/* Divides the limit. reserved: for neither; the others: as many as are wanted. Pure. */
void descriptors_divide(struct descriptors *d, uint64_t limit, uint64_t reserved, uint64_t outbound,
	uint64_t inbound);
/* Raises the process's limit as far as it may, divides it, and says so in the log. EX_OK, or
 * EX_OSERR with a sentence when it is too low to run. */
int descriptors_share(struct descriptors *d, const struct config *c, unsigned workers,
	struct log *log, char *error, size_t error_max);
