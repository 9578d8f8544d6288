/* Inside relay/ops: what was said in sessions. (commands_transcript.c) */
#pragma once

#include <jansson.h>

#include "postern/ops.h"

struct transcripts_asked {
	const char *source, *at, *subnet, *session; /* NULL: all; at: cluster or provider */
	uint64_t message;			    /* 0: any */
};
/* So many at most, the newest last. NULL: no memory. */
json_t *transcripts_json(
	const struct ops_context *ctx, const struct transcripts_asked *a, unsigned max);
