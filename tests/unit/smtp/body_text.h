/* The content of a body as text, for tests. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "postern/message.h"

static inline char *body_text(const struct body *b)
{
	char *text = malloc((size_t)(b->size - b->taken) + 1), *p = text;

	if (!text)
		abort();
	for (const struct body_block *k = b->first; k; k = k->next) {
		memcpy(p, k->data, k->len);
		p += k->len;
	}
	*p = '\0';
	return text;
}
