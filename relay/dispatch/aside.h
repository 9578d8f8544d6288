/* Works that wait alone, set aside: aside.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

/* This work, ready in f, is held for its sender until then (mono). */
void aside_take(struct dispatch *d, struct flow *f, struct work *w, ms_t until);
void aside_look(struct dispatch *d, struct flow *a);
/* Recipients that take no more for now are set aside out of the flow's work. False: all of it. */
bool aside_recipients(struct dispatch *d, struct flow *f, struct work *w);
/* The work was given out: it may find out whether its recipients take mail again. */
void aside_gone(struct dispatch *d, const struct work *w);
