/* Names in the parameters, and names of ours for people. The index, or -ENOENT. */
#pragma once

#include "postern/policy.h"

struct cluster;

int source_by_name(const struct policy_params *params, const char *name);
int provider_by_name(const struct policy_params *params, const char *name);
/* "": no source lies in it. */
void path_subnet_text(const struct policy *p, unsigned subnet, char out[ADDR_TEXT_MAX + 4]);
const char *geography_name(const struct policy *p, const struct cluster *c);
