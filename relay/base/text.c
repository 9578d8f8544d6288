/* Small codecs: base64, xtext, UTF-8, patterns, queue ids. Pure; any thread. */
#include "postern/text.h"

#include <errno.h>

#include "utf8.h"

static const char base64_alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

/* Four characters to one to three bytes; padding counts from the end. Bits that no byte takes up
 * must be zero, so that each value has one spelling. */
static int base64_quad(char out[3], const char *in, size_t padding)
{
	uint32_t v = 0;

	for (size_t i = 0; i < 4; i++) {
		int d = i < 4 - padding ? base64_value(in[i]) : 0;

		if (d < 0)
			return -EINVAL;
		v = v << 6 | (uint32_t)d;
	}
	if ((padding == 1 && (v & 0xff)) || (padding == 2 && (v & 0xffff)))
		return -EINVAL;
	out[0] = (char)(v >> 16);
	out[1] = (char)(v >> 8);
	out[2] = (char)v;
	return 0;
}

int base64_decode(struct buf *out, struct slice in)
{
	size_t padding = 0;
	char bytes[3];
	char *p;
	int r;

	if (in.n % 4 != 0)
		return -EINVAL;
	if (in.n == 0)
		return 0;
	if (in.p[in.n - 1] == '=')
		padding = in.p[in.n - 2] == '=' ? 2 : 1;
	r = buf_reserve(out, in.n / 4 * 3 - padding);
	if (r)
		return r;
	p = out->p + out->len;
	for (size_t i = 0; i < in.n; i += 4) {
		size_t pad = i + 4 == in.n ? padding : 0;

		r = base64_quad(bytes, in.p + i, pad);
		if (r)
			return r; /* len untouched: nothing was added */
		memcpy(p, bytes, 3 - pad);
		p += 3 - pad;
	}
	out->len = (size_t)(p - out->p);
	return 0;
}

int base64_encode(struct buf *out, struct slice in)
{
	const unsigned char *s = (const unsigned char *)in.p;
	size_t blocks = in.n / 3 + (in.n % 3 != 0);
	char *p;
	int r;

	if (in.n == 0)
		return 0;
	if (blocks > SIZE_MAX / 4)
		return -ENOMEM;
	r = buf_reserve(out, blocks * 4);
	if (r)
		return r;
	p = out->p + out->len;
	for (size_t i = 0; i < in.n; i += 3) {
		size_t left = in.n - i;
		uint32_t v = (uint32_t)s[i] << 16 | (left > 1 ? (uint32_t)s[i + 1] << 8 : 0) |
			     (left > 2 ? s[i + 2] : 0);

		*p++ = base64_alphabet[v >> 18];
		*p++ = base64_alphabet[v >> 12 & 63];
		*p++ = left > 1 ? base64_alphabet[v >> 6 & 63] : '=';
		*p++ = left > 2 ? base64_alphabet[v & 63] : '=';
	}
	out->len = (size_t)(p - out->p);
	return 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Bytes that stand for themselves, RFC 3461: printable, no SP, no "+", no "=". */
static bool is_xchar(unsigned char c)
{
	return c > 0x20 && c < 0x7f && c != '+' && c != '=';
}

static int xtext_decode_one(struct slice in, size_t *at, char *ret)
{
	int high, low;
	unsigned v;

	if (in.p[*at] != '+') {
		if (!is_xchar((unsigned char)in.p[*at]))
			return -EINVAL;
		*ret = in.p[(*at)++];
		return 0;
	}
	if (in.n - *at < 3)
		return -EINVAL;
	high = hex_value(in.p[*at + 1]);
	low = hex_value(in.p[*at + 2]);
	if (high < 0 || low < 0)
		return -EINVAL;
	v = (unsigned)high << 4 | (unsigned)low;
	/* what is decoded goes into header fields of DSNs: nothing that could end a line */
	if (v < 0x20 || v == 0x7f)
		return -EINVAL;
	*ret = (char)v;
	*at += 3;
	return 0;
}

int xtext_decode(struct buf *out, struct slice in)
{
	size_t at = 0, n = 0;
	int r = buf_reserve(out, in.n);

	if (r)
		return r;
	while (at < in.n) {
		r = xtext_decode_one(in, &at, out->p + out->len + n);
		if (r)
			return r;
		n++;
	}
	out->len += n;
	return 0;
}

int xtext_encode(struct buf *out, struct slice in)
{
	static const char hex[] = "0123456789ABCDEF";
	char *p;
	int r;

	if (in.n > SIZE_MAX / 3)
		return -ENOMEM;
	r = buf_reserve(out, in.n * 3);
	if (r)
		return r;
	p = out->p + out->len;
	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];

		if (is_xchar(c)) {
			*p++ = (char)c;
			continue;
		}
		*p++ = '+';
		*p++ = hex[c >> 4];
		*p++ = hex[c & 15];
	}
	out->len = (size_t)(p - out->p);
	return 0;
}

bool utf8_valid(struct slice s)
{
	size_t at = 0;

	while (at < s.n) {
		size_t n = utf8_sequence((const unsigned char *)s.p + at, s.n - at);

		if (n == 0)
			return false;
		at += n;
	}
	return true;
}

bool glob_match(struct slice pattern, struct slice s)
{
	size_t p = 0, i = 0, star = SIZE_MAX, resume = 0;

	/* on a mismatch only the last star needs to take one byte more: a run that an earlier star
	 * could take is one that the later star could have taken as well */
	while (i < s.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			resume = i;
		} else if (p < pattern.n && slice_case_eq((struct slice){ pattern.p + p, 1 },
						    (struct slice){ s.p + i, 1 })) {
			p++;
			i++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			i = ++resume;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}

static const char queue_id_alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

void queue_id_format(char out[QUEUE_ID_TEXT + 1], uint64_t id)
{
	for (int i = QUEUE_ID_TEXT; i > 0; i--) {
		out[i - 1] = queue_id_alphabet[id & 31];
		id >>= 5;
	}
	out[QUEUE_ID_TEXT] = '\0';
}

int queue_id_parse(uint64_t *ret, struct slice s)
{
	uint64_t id = 0;

	if (s.n != QUEUE_ID_TEXT)
		return -EINVAL;
	for (size_t i = 0; i < s.n; i++) {
		/* people also type what they read in capitals */
		char c = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] | 0x20) : s.p[i];
		const char *at = memchr(queue_id_alphabet, c, sizeof(queue_id_alphabet) - 1);

		/* 13 digits hold 65 bits: the first may only use four */
		if (!at || (i == 0 && at - queue_id_alphabet > 15))
			return -EINVAL;
		id = id << 5 | (uint64_t)(at - queue_id_alphabet);
	}
	*ret = id;
	return 0;
}
