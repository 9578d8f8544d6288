/* One UTF-8 sequence at a time, RFC 3629. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Bytes of the well-formed sequence at the start of p[0..n), 0 if there is none. n > 0. */
static inline size_t utf8_sequence(const unsigned char *p, size_t n)
{
	unsigned c = p[0];
	size_t len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	/* the second byte alone tells overlong forms, surrogates and what is over U+10FFFF */
	unsigned low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
	unsigned high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;

	if (len == 1)
		return 1;
	if (c < 0xc2 || c > 0xf4 || n < len || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return len;
}
