/* Inside postern evidence: what was gathered, as one object, and the text made of it. */
#pragma once

#include "cli.h"

/* Appends the text. 0, -ENOMEM. */
int evidence_text(struct buf *out, const json_t *evidence);
