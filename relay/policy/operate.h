/* The operator's suspensions, as time passes. */
#pragma once

#include "postern/policy.h"

void suspensions_expire(struct policy *p, struct policy_now now);
