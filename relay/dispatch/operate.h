/* What operators ask for: operate.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

void orders_tick(struct dispatch *d);  /* once a second: ends those whose time is over */
bool operate_step(struct dispatch *d); /* true: more to do in the next iteration */
void operate_answer(struct dispatch *d, struct queue_job *j);
void operate_free_all(struct dispatch *d);
