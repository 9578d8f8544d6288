/* Internationalised domain names (IDNA2008) to what DNS asks for. Pure; called by the resolver,
 * and by sessions for the domains of envelopes and From fields. */
#include <errno.h>
#include <idn2.h>

#include "dns_wire.h"
#include "postern/dns.h"

static bool is_ascii(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	}
	return true;
}

static int copy_lower(struct slice in, char *out, size_t out_max)
{
	if (!dns_name_valid(in) || in.n >= out_max)
		return -EINVAL;
	for (size_t i = 0; i < in.n; i++)
		out[i] = (char)(in.p[i] >= 'A' && in.p[i] <= 'Z' ? in.p[i] | 0x20 : in.p[i]);
	out[in.n] = '\0';
	return 0;
}

int domain_to_ascii(struct slice in, char *out, size_t out_max)
{
	uint8_t *ascii = NULL;
	char text[4 * DNS_NAME_MAX];
	int r;

	if (is_ascii(in))
		return copy_lower(in, out, out_max);
	if (in.n >= sizeof(text) || memchr(in.p, '\0', in.n))
		return -EINVAL;
	memcpy(text, in.p, in.n);
	text[in.n] = '\0';
	r = idn2_lookup_u8((const uint8_t *)text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	if (r != IDN2_OK)
		return -EINVAL;
	r = copy_lower(slice_of((const char *)ascii), out, out_max);
	idn2_free(ascii);
	return r;
}
