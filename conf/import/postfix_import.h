/* Between postfix.c and postfix_listen.c. */
#pragma once

#include "postern/text.h"
#include "postfix.h"

/* Found, and so no longer to be noted as unknown; NULL: not set. */
const struct cf_param *cf_use(struct cf *cf, const char *name);

/* ---- postfix.c ---- */
/* A service that sends: its addresses as sources, its name as their pool. */
void postfix_client(struct cf *cf, const struct cf_service *s, const struct origin *at);

/* ---- postfix_listen.c ---- */
void postfix_services(struct cf *cf, const char *file, struct slice text);
/* What all listeners have in common; after the pool is known. */
void postfix_listeners(struct cf *cf);
