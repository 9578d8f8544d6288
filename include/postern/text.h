/* Small codecs that several rooms need. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "postern/buf.h"
#include "postern/clock.h"

/* RFC 4648 section 4, strict: padding required, no white space. out grows. 0, -EINVAL,
 * -ENOMEM/-ENOBUFS. */
int base64_decode(struct buf *out, struct slice in);
int base64_encode(struct buf *out, struct slice in);
/* xtext of RFC 3461 section 4. */
int xtext_decode(struct buf *out, struct slice in);
int xtext_encode(struct buf *out, struct slice in);
bool utf8_valid(struct slice s); /* RFC 3629: no surrogates, no overlong forms */

/* "90s" "5m" "4h" "2d" "250ms"; "0". 0, -EINVAL, -ERANGE. Milliseconds. */
int duration_parse(ms_t *ret, struct slice s);
size_t duration_format(char out[32], ms_t d); /* "1h30m", for people */
/* "64MiB", "10KiB", "3GiB", "1024". Bytes. */
int size_parse(uint64_t *ret, struct slice s);
/* "30/1m": count per duration. */
struct rate {
	uint32_t count;
	ms_t per;
};
int rate_parse(struct rate *ret, struct slice s);
/* Shell-like pattern with '*' (any run of bytes, dots too), ASCII case folded. */
bool glob_match(struct slice pattern, struct slice s);

/* Queue ids as people see them: 13 characters of lower-case base 32 without vowel look-alikes
 * (0-9 a-z without i l o u), fixed width, so that text order is id order. */
#define QUEUE_ID_TEXT 13
void queue_id_format(char out[QUEUE_ID_TEXT + 1], uint64_t id);
int queue_id_parse(uint64_t *ret, struct slice s); /* 0, -EINVAL */
