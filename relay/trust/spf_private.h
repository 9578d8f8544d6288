/* Inside of SPF: macros. (spf_macro.c) */
#pragma once

#include "postern/spf.h"

#define SPF_NAME_MAX 256

/* Appends in with its macros expanded. 0, -EINVAL: not their syntax, -ENOMEM, -ENOBUFS. */
int spf_expand(struct buf *out, const struct spf_question *q, const char *domain, struct slice in);
/* The name that a domain-spec comes to, without a dot at the end. 0, or as above. */
int spf_name(
	char out[SPF_NAME_MAX], const struct spf_question *q, const char *domain, struct slice in);
