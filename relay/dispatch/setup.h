/* TLS contexts, and what is freed at the end: setup.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

int setup_tls(
	struct tls_context ***ret, const struct policy_params *p, char *error, size_t error_max);
void setup_tls_free(struct tls_context **all, unsigned n);
void dispatch_free_memory(struct dispatch *d);
