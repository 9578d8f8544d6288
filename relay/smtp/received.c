/* The Received field that this relay puts on top. Pure; called by server_content.c. What a client
 * calls itself goes in cleaned, so that it cannot end the field. */
#include <errno.h>

#include "postern/smtp_data.h"

/* A name in a comment or as a word: what would end or structure the field becomes '?'. */
static int add_clean(struct buf *out, const char *s)
{
	size_t n = strlen(s);
	int r = buf_reserve(out, n);

	if (r)
		return r;
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		bool bad = c < 0x20 || c >= 0x7f || strchr("()\\\"", c);

		out->p[out->len++] = bad ? '?' : s[i];
	}
	return 0;
}

static int add_from(struct buf *out, const struct received_params *p)
{
	bool v6 = p->client && strchr(p->client, ':');
	int r = buf_add_str(out, "Received: from ");

	if (!r)
		r = add_clean(out, p->helo && *p->helo ? p->helo : "unknown");
	if (!r)
		r = buf_add_str(out, v6 ? " ([IPv6:" : " ([");
	if (!r)
		r = add_clean(out, p->client ? p->client : "unknown");
	return r ? r : buf_add_str(out, "])");
}

static int add_user(struct buf *out, const struct received_params *p)
{
	int r;

	if (!p->user || !*p->user)
		return 0;
	r = buf_add_str(out, "\r\n\t(authenticated as ");
	if (!r)
		r = add_clean(out, p->user);
	return r ? r : buf_add_str(out, ")");
}

static int add_by(struct buf *out, const struct received_params *p)
{
	int r = buf_add_str(out, "\r\n\tby ");

	if (!r)
		r = add_clean(out, p->hostname);
	if (!r)
		r = buf_add_str(out, " (Postern) with ");
	if (!r)
		r = buf_add_str(out, p->with);
	if (r || !p->tls || !*p->tls)
		return r;
	r = buf_add_str(out, " (");
	if (!r)
		r = add_clean(out, p->tls);
	return r ? r : buf_add_str(out, ")");
}

/* for_ is an address that was parsed: quoting stays as it is, and it has no control characters */
static int add_for(struct buf *out, const struct received_params *p)
{
	int r;

	if (!p->for_)
		return 0;
	r = buf_add_str(out, "\r\n\tfor <");
	if (!r)
		r = buf_add_str(out, p->for_);
	return r ? r : buf_add_str(out, ">");
}

int received_build(struct buf *out, const struct received_params *p)
{
	char date[CLOCK_RFC5322_MAX];
	int r = add_from(out, p);

	if (!r)
		r = add_user(out, p);
	if (!r)
		r = add_by(out, p);
	if (!r)
		r = buf_add_str(out, " id ");
	if (!r)
		r = add_clean(out, p->id);
	if (!r)
		r = add_for(out, p);
	clock_rfc5322(date, p->wall, p->zone_minutes);
	if (!r)
		r = buf_add_str(out, ";\r\n\t");
	if (!r)
		r = buf_add_str(out, date);
	return r ? r : buf_add_str(out, "\r\n");
}
