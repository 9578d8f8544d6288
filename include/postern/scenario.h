/* Scenario files of `postern rehearse`, read by the reader of the configuration. */
#pragma once

#include "postern/config.h"
#include "postern/rehearse.h"

/* A scenario of `postern rehearse`, against the configuration whose sources, pools and providers it
 * names (borrowed for the scenario's life). As config_load: 0, -EINVAL and
 * errors tells it, -ENOMEM, or the errno of reading. */
int scenario_load(
	struct scenario **ret, const char *path, const struct config *c, struct buf *errors);
int scenario_parse(struct scenario **ret, const char *path, struct slice text,
	const struct config *c, struct buf *errors);
struct scenario *scenario_free(struct scenario *s);
/* Every option, as config_describe. */
int scenario_describe(struct buf *out, bool roff);
