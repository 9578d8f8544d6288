/* Where tests may put files for their time. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "postern/must.h"

/* A template for mkstemp and mkdtemp, where TMPDIR says. */
static inline void temporary_name(char *out, size_t max, const char *what)
{
	const char *dir = getenv("TMPDIR");
	int n = snprintf(out, max, "%s/postern-%s-XXXXXX", dir && *dir ? dir : P_tmpdir, what);

	must(n > 0 && (size_t)n < max);
}
