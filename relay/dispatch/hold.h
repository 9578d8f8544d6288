/* Recipient domains that are held: hold.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

bool hold_is_set(const struct dispatch *d, const char *domain);
int hold_add(struct dispatch *d, struct slice domain); /* 0, -ENOSPC: too many, -ENOMEM */
int hold_record(struct dispatch *d, const char *domain, bool held); /* 0, -ENOMEM, -EINVAL */
void hold_forget(struct dispatch *d, const char *domain);
void holds_load(struct dispatch *d);
void holds_free(struct dispatch *d);
/* fn may forget it. */
void holds_each(struct dispatch *d, void (*fn)(void *arg, const char *domain), void *arg);
