/* Between value.c and format.c. */
#pragma once

#include "option.h"

/* Bytes of one item of a list. */
size_t value_item_size(const struct option *o);
