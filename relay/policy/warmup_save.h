/* Ramps in the saved state. */
#pragma once

#include "postern/policy.h"

struct saver;

void ramps_save(struct policy *p, const struct saver *s);
int ramp_load(
	struct policy *p, unsigned provider, unsigned source, const int64_t n[4], const char *rest);
