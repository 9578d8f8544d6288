/* Counts of sessions in all and per client, shared by the workers that serve one listener. */
#pragma once

#include "postern/worker.h"

enum limits_outcome { LIMITS_OK = 0, LIMITS_TOTAL, LIMITS_CLIENT };

/* Counts a session of listener p in. LIMITS_TOTAL when p->sessions_max are open (or memory is out):
 * nothing was counted. */
enum limits_outcome limits_enter(struct session_limits *l, const struct listener_params *p);
/* Counts it for its client, whose address may be known only after the PROXY preface. IPv6 clients
 * count by /64. LIMITS_CLIENT: nothing was counted. */
enum limits_outcome limits_enter_client(
	struct session_limits *l, const struct listener_params *p, const struct addr *client);
/* Takes both back; client NULL: limits_enter alone was done. */
void limits_leave(
	struct session_limits *l, const struct listener_params *p, const struct addr *client);
