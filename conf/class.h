/* Classes of mail, made of what the file says: class.c. */
#pragma once

#include "postern/config.h"

/* Which value could not be used, and why. */
struct class_mistake {
	const char *option;
	unsigned value;
	char why[600];
};
/* Makes the selector of what is given. 0; -ENOMEM; else *m is filled in. */
int class_make(struct class_params *c, struct class_mistake *m);
/* What the file does not give is the queue's. 0, -ENOMEM */
int class_derive(
	struct class_params *c, const struct retry_params *q, bool has_expire, bool has_notice);
void config_free_classes(struct policy_params *p);
/* The class of a message, for a listener: as smtp_server_params.class_of. */
bool config_class_of(
	void *config, const struct message *m, const char *wanted, struct smtp_class *ret);
