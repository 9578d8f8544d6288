/* Shared by the files that turn option values into a scenario. */
#pragma once

#include "scenario_conf.h"

struct loader {
	struct scenario *s;
	cfg_t *cfg, *defaults;
	const char *name;
	struct buf *errors;
};

#define fail(ld, sec, ...) scenario_conf_error((ld)->errors, (ld)->name, sec, __VA_ARGS__)

/* A reply begins with a code; further lines may leave it out. */
bool scenario_reply_valid(const char *s);
void scenario_strings(struct strings *l, cfg_t *sec, const char *key);
struct rule *scenario_load_rule(struct loader *ld, cfg_t *sec);
void scenario_load_limit(struct loader *ld, cfg_t *sec);
void scenario_load_dns(struct loader *ld, cfg_t *sec);
