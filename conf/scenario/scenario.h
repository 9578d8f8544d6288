/* Sections of a scenario. */
#pragma once

#include "../option.h"

enum scenario_section {
	SCENARIO_ROOT,
	SCENARIO_TRAFFIC,
	SCENARIO_CLUSTER,
	SCENARIO_REPUTATION,
	SCENARIO_HISTORY,
	SCENARIO_INCIDENT,
	SCENARIO_SECTIONS
};
extern const struct schema scenario_schema;
extern const struct section scenario_sections[SCENARIO_SECTIONS];
