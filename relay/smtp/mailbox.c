/* Addresses: RFC 5321 and 6531, and what programs send besides (smtp_path.lax). Pure; called by
 * command.c, server_mail.c and the checks of the configuration. */
#include <errno.h>

#include "postern/smtp_command.h"
#include "postern/text.h"

#define LABEL_MAX 63

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_utf8(char c)
{
	return (unsigned char)c >= 0x80;
}

/* atext of RFC 5322 section 3.2.3, and what RFC 6531 adds to it */
static bool is_atext(char c)
{
	return is_alnum(c) || is_utf8(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* *odd: it has dots where RFC 5321 has none: first, last, or two in a row. */
static size_t dot_string_length(struct slice s, bool *odd)
{
	size_t i = 0, atom = 0;
	bool any = false;

	*odd = false;
	for (; i < s.n; i++) {
		if (s.p[i] == '.') {
			*odd |= atom == 0;
			atom = 0;
		} else if (is_atext(s.p[i])) {
			atom++;
			any = true;
		} else {
			break;
		}
	}
	*odd |= atom == 0;
	return any ? i : 0;
}

static size_t quoted_string_length(struct slice s)
{
	for (size_t i = 1; i < s.n; i++) {
		if (s.p[i] == '"')
			return i + 1;
		if (s.p[i] == '\\')
			i++;
		if (i < s.n && ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f))
			return 0;
	}
	return 0;
}

/* Bytes of the local part at the start of s, 0 when there is none. */
static size_t local_length(struct slice s, bool *odd)
{
	*odd = false;
	if (s.n == 0)
		return 0;
	return s.p[0] == '"' ? quoted_string_length(s) : dot_string_length(s, odd);
}

static bool label_valid(struct slice s)
{
	bool utf8 = false;

	if (s.n == 0 || s.p[0] == '-' || s.p[s.n - 1] == '-')
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (is_utf8(s.p[i]))
			utf8 = true;
		else if (!is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
			return false;
	}
	return utf8 || s.n <= LABEL_MAX; /* the A-label of a U-label has another length */
}

static bool all_digits(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!is_digit(s.p[i]))
			return false;
	}
	return true;
}

struct slice smtp_domain_trim(struct slice s)
{
	if (s.n > 1 && s.p[s.n - 1] == '.')
		s.n--;
	return s;
}

bool smtp_domain_valid(struct slice s)
{
	struct slice label;

	if (s.n == 0 || s.n > SMTP_DOMAIN_MAX)
		return false;
	for (;;) {
		const char *dot = s.n ? memchr(s.p, '.', s.n) : NULL;

		label = (struct slice){ s.p, dot ? (size_t)(dot - s.p) : s.n };
		if (!label_valid(label))
			return false;
		if (!dot)
			return !all_digits(label) && utf8_valid(s);
		if (!utf8_valid(label))
			return false;
		s = slice_from(s, label.n + 1);
	}
}

int smtp_literal_parse(struct addr *ret, struct slice s)
{
	const struct slice tag = SLICE_LIT("IPv6:");
	struct slice inside;
	bool tagged, colon;

	if (s.n < 2 || s.p[0] != '[' || s.p[s.n - 1] != ']')
		return -EINVAL;
	inside = (struct slice){ s.p + 1, s.n - 2 };
	tagged = slice_case_prefix(inside, tag);
	if (tagged)
		inside = slice_from(inside, tag.n);
	colon = inside.n && memchr(inside.p, ':', inside.n);
	if (tagged != colon)
		return -EINVAL;
	return addr_parse(ret, inside);
}

static bool is_domain_or_literal(struct slice s)
{
	struct addr ignored;

	if (s.n > 0 && s.p[0] == '[')
		return smtp_literal_parse(&ignored, s) == 0;
	return smtp_domain_valid(s);
}

int smtp_mailbox_parse(struct smtp_path *ret, struct slice s, bool postmaster_ok)
{
	bool odd = false;
	size_t n = s.n <= SMTP_MAILBOX_MAX ? local_length(s, &odd) : 0;
	struct smtp_path path = { .address = s, .local = { s.p, n }, .lax = odd };

	if (n == 0 || n > SMTP_LOCAL_MAX)
		return -EINVAL;
	if (n == s.n) {
		if (!postmaster_ok || !slice_case_eq(s, SLICE_LIT("postmaster")))
			return -EINVAL;
		*ret = path;
		return 0;
	}
	path.domain = smtp_domain_trim(slice_from(s, n + 1));
	path.address.n = n + 1 + path.domain.n;
	if (s.p[n] != '@' || !is_domain_or_literal(path.domain))
		return -EINVAL;
	for (size_t i = 0; i < s.n && !path.utf8; i++)
		path.utf8 = is_utf8(s.p[i]);
	if (path.utf8 && !utf8_valid(s))
		return -EINVAL;
	*ret = path;
	return 0;
}
