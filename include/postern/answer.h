/* JSON out of text of others, and answers that cannot get lost on the way. jansson takes nothing
 * but valid UTF-8 and says so by a NULL only, which every caller above it passes on as a NULL: so
 * text goes in by json_text, and entries by answers_add. tests/lint/answers.py finds what goes
 * past. */
#pragma once

#include <jansson.h>

#include "postern/buf.h"
#include "postern/clock.h"

/* A string with what is no UTF-8 replaced; null for NULL. NULL: out of memory. */
json_t *json_text(const char *s);
json_t *json_slice(struct slice s);
/* RFC 3339, or null for 0: never. NULL: out of memory. */
json_t *json_time(ms_t wall);
/* The entry (taken) at the end of the array. One that could not be made stays as a null, which
 * control_say reports: a shorter list would look like a whole one. */
void answers_add(json_t *array, json_t *entry);
