/* One turn of the dispatcher's loop, and its tick: turn.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

void turn_end(void *dispatch);		    /* loop_at_end */
void turn_tick(uv_timer_t *t);		    /* once a second; its data is the dispatcher */
void turn_flush(struct dispatch *d);	    /* what was gathered is posted */
void turn_keep_history(struct dispatch *d); /* closes the minute, or what there is of it */
