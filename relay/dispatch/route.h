/* From a domain's name to its hosts: route.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

bool route_ready(
	struct dispatch *d, struct domain *m); /* asks DNS if need be; the answer comes later */
void route_answer(void *dispatch, void *domain, struct dns_route *r);
