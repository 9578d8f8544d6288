/* When mail is given up, and its sender told of a delay: lifetime.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

/* Is it to be given up now? */
bool lifetime_over(const struct dispatch *d, const struct message *m, const struct item *i);
/* Is its sender to be told now that it takes long? */
bool lifetime_notice(const struct dispatch *d, const struct message *m, const struct item *i);
/* When one of both may be so; mono. */
ms_t lifetime_look(const struct dispatch *d, const struct message *m, const struct item *i);
/* The same of one that has just come, by its first recipient. */
ms_t lifetime_look_fresh(const struct dispatch *d, const struct message *m);
