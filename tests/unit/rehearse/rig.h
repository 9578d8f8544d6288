/* A configuration, a scenario and what came of it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "postern/scenario.h"

struct rig {
	struct config *config;
	struct scenario *scenario;
	struct classifier *rules;
	struct rehearsal *rehearsal;
	struct rehearsal_result r;
};
/* Files of conf/scenarios. */
void rig_files(struct rig *g, const char *config, const char *scenario);
/* The same from texts; what a configuration needs besides sources and pools is added. */
void rig_texts(struct rig *g, const char *config, const char *scenario);
/* seed 0: the scenario's */
void rig_run(struct rig *g, uint32_t seed);
void rig_free(struct rig *g);
unsigned rig_events(const struct rig *g, enum policy_event_kind kind);
/* Of a source in hours from..until-1 */
struct rehearsal_cell rig_source(
	const struct rig *g, const char *source, unsigned from, unsigned until);
struct rehearsal_cell rig_path(const struct rig *g, const char *subnet, const char *cluster,
	unsigned from, unsigned until);
void rig_balanced(const struct rig *g); /* no message came from nowhere or got lost */
bool rig_says(const struct rig *g, const char *words);
unsigned rig_seeds(void);
