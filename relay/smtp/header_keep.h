/* Inside of the header filter: the text of chosen fields. (header_keep.c) */
#pragma once

#include "postern/smtp_data.h"

/* All: 0, -ENOMEM. */
void keep_init(struct header_keep *k);
/* A field begins: the one before has ended, and this may be one of them. */
int keep_begin(struct header_keep *k, struct slice name);
int keep_text(struct header_keep *k, struct slice s); /* a part of its text, if it is */
int keep_end(struct header_keep *k);		      /* no field follows */
