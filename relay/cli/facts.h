/* What DNS says of a source: what receivers look at before they look at its mail. */
#pragma once

#include <jansson.h>

#include "postern/config.h"

/* The source's names, each with whether it leads back to the address, and whether the name that it
 * greets with does:
 * {"address", "ehlo", "ptr": [{"name", "leads_back"}], "ehlo_leads_here": bool, "ehlo_is_ptr": bool,
 *  "unknown": text?}
 * unknown: a look-up failed, so that what is false is only not known. NULL: no memory. */
json_t *facts_of(const struct source_params *s, const struct dns_params *dns);
