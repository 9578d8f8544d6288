/* Inside relay/ops: what waits, by what it waits for. (waits.c) */
#pragma once

#include <jansson.h>

#include "postern/policy_why.h"

struct control_client;

struct waits_asked {
	const char *pool; /* NULL: all */
	const char *at;	  /* cluster, provider or recipient domain; NULL: all */
	json_t *array;	  /* answers are added to it */
};
/* Counts the queue on the asking client's thread. 0, -errno. */
int waits_gather(struct control_client *c, const struct waits_asked *a);
