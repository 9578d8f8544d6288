/* What a receiver takes of a source and of its subnet: two paces (pace.h), of which one explains a
 * refusal. Pure; on the dispatcher's thread, nothing can fail. */
#pragma once

#include "pace.h"

struct lane;
struct path;
struct policy;

/* May one more go from there? As pace_ready; *until (mono): the later of the two. */
bool paces_ready(struct lane *l, ms_t mono, ms_t *until);
void paces_take(struct lane *l, ms_t mono, uint32_t n);
void paces_give_back(struct lane *l, uint32_t n);
void paces_accepted(struct lane *l, ms_t mono, uint32_t n);
/* As pace_refused. *of: the one that was asked. */
enum pace_finding paces_refused(
	struct policy *p, struct policy_now now, struct lane *l, ms_t sent, const struct pace **of);
/* The subnet is to rest: as pace_suspect, of what its sources took together. */
void paces_suspect(struct policy *p, struct policy_now now, struct path *h);
/* What the lane goes by: its subnet's where no limit of its own is known. */
const struct pace *paces_of(const struct lane *l);
