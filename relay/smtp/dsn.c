/* Delivery status notifications (RFC 3464): what the relay writes to a sender about recipients.
 * Called by the dispatcher when an outcome is settled; pure. What receivers said is text of
 * others, and goes in cleaned. */
#include <errno.h>
#include <stdio.h>

#include "dsn_parts.h"
#include "postern/must.h"
#include "postern/smtp_command.h"
#include "postern/text.h"

#define RETURN_MAX_DEFAULT (64u * 1024u)
#define BOUNDARY_MAX	   64

bool dsn_wanted(const struct message *m, const struct recipient *r, enum dsn_action action)
{
	if (m->sender[0] == '\0' || (r->notify & NOTIFY_NEVER))
		return false;
	switch (action) {
	case DSN_FAILED:
		return r->notify == NOTIFY_DEFAULT || (r->notify & NOTIFY_FAILURE);
	case DSN_DELAYED:
		return r->notify == NOTIFY_DEFAULT || (r->notify & NOTIFY_DELAY);
	case DSN_DELIVERED:
	case DSN_RELAYED:
	case DSN_EXPANDED:
	default:
		return r->notify & NOTIFY_SUCCESS;
	}
}

/* What is returned of the message. */
struct excerpt {
	struct slice text;
	bool full, eight_bit;
};

static bool has_8bit(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if ((unsigned char)s.p[i] & 0x80)
			return true;
	}
	return false;
}

/* A part of a notification is text: whole lines of bounded length that all end in CRLF. */
static bool is_text(struct slice s)
{
	size_t line = 0;

	for (size_t i = 0; i < s.n; i++) {
		bool crlf = s.p[i] == '\r' && i + 1 < s.n && s.p[i + 1] == '\n';

		if (s.p[i] == '\0' || (!crlf && (s.p[i] == '\r' || s.p[i] == '\n')) || ++line > 999)
			return false;
		if (crlf) {
			line = 0;
			i++;
		}
	}
	return true;
}

/* The header section, as far as it is good text. */
static struct slice header_section(struct slice s, size_t max)
{
	size_t at = 0;

	if (s.n > max)
		s.n = max;
	while (at < s.n) {
		const char *lf = memchr(s.p + at, '\n', s.n - at);
		size_t n = lf ? (size_t)(lf - s.p) - at + 1 : 0;

		if (n <= 2 || s.p[at + n - 2] != '\r' || !is_text((struct slice){ s.p + at, n }))
			break;
		at += n;
	}
	return (struct slice){ s.p, at };
}

static struct excerpt excerpt_of(const struct message *m, const struct dsn_recipient *r, size_t n,
	struct slice original, uint64_t max)
{
	struct excerpt e = { .full = m->ret == RET_FULL && m->body_type != BODY_BINARYMIME };

	/* RET is about failures only (RFC 3461 section 4.3) */
	for (size_t i = 0; i < n; i++)
		e.full = e.full && r[i].action == DSN_FAILED;
	e.full = e.full && m->size <= max && original.n >= m->size && is_text(original);
	e.text = e.full ? (struct slice){ original.p, (size_t)m->size }
			: header_section(original, max);
	e.eight_bit = has_8bit(e.text);
	return e;
}

/* A line that is not in the returned message, so that it cannot end its part. */
static void boundary_choose(char out[BOUNDARY_MAX], uint64_t id, struct slice text)
{
	char qid[QUEUE_ID_TEXT + 1];
	unsigned n = 0;

	queue_id_format(qid, id);
	do {
		snprintf(out, BOUNDARY_MAX, "=_%s_%u", qid, n++);
	} while (text.n > 0 && memmem(text.p, text.n, out, strlen(out)));
}

static const char *subject(const struct dsn_recipient *r, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		if (r[i].action != r[0].action)
			return "Delivery report";
	}
	switch (r[0].action) {
	case DSN_FAILED:
		return "Undelivered mail returned to sender";
	case DSN_DELAYED:
		return "Delayed mail (still being tried)";
	case DSN_DELIVERED:
	case DSN_RELAYED:
	case DSN_EXPANDED:
	default:
		return "Successful mail delivery report";
	}
}

static bool is_message_id(const char *s)
{
	size_t n = s ? strlen(s) : 0;

	return n > 2 && s[0] == '<' && s[n - 1] == '>' && !strpbrk(s, " \t\r\n");
}

static void put_header(struct dsn_out *o, const struct message *m, const struct dsn_recipient *r,
	size_t n, const struct dsn_params *p, const char *message_id)
{
	dsn_put(o, "From: Mail Delivery System <");
	if (p->postmaster) {
		dsn_put_text(o, p->postmaster);
	} else {
		dsn_put(o, "MAILER-DAEMON@");
		dsn_put_text(o, p->hostname);
	}
	dsn_put(o, ">\r\nTo: <");
	dsn_put_text(o, m->sender);
	dsn_put(o, ">\r\n");
	dsn_put_field(o, "Subject", "", subject(r, n));
	dsn_put_date(o, "Date", p->wall, p->zone_minutes);
	dsn_put_field(o, "Message-ID", "", message_id);
	if (is_message_id(m->message_id)) {
		dsn_put_field(o, "In-Reply-To", "", m->message_id);
		dsn_put_field(o, "References", "", m->message_id);
	}
	dsn_put(o, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n");
}

static void put_part(struct dsn_out *o, const char *boundary, const char *type, bool eight_bit)
{
	dsn_put(o, "\r\n--");
	dsn_put(o, boundary);
	dsn_put(o, "\r\nContent-Type: ");
	dsn_put(o, type);
	dsn_put(o, eight_bit ? "\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" : "\r\n\r\n");
}

static void put_parts(struct dsn_out *o, const struct message *m, const struct dsn_recipient *r,
	size_t n, const struct dsn_params *p, const struct excerpt *e)
{
	char boundary[BOUNDARY_MAX];

	boundary_choose(boundary, p->id, e->text);
	dsn_put(o, "Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"");
	dsn_put(o, boundary);
	dsn_put(o,
		o->utf8 || e->eight_bit ? "\"\r\nContent-Transfer-Encoding: 8bit\r\n" : "\"\r\n");
	dsn_put(o, "\r\nThis is a report in MIME format.\r\n");
	put_part(o, boundary,
		o->utf8 ? "text/plain; charset=utf-8" : "text/plain; charset=us-ascii", o->utf8);
	dsn_put_explanation(o, m, r, n, p);
	put_part(o, boundary,
		o->utf8 ? "message/global-delivery-status" : "message/delivery-status", o->utf8);
	dsn_put_status(o, m, r, n, p);
	if (e->full)
		put_part(o, boundary, o->utf8 ? "message/global" : "message/rfc822", e->eight_bit);
	else
		put_part(o, boundary, o->utf8 ? "message/global-headers" : "text/rfc822-headers",
			e->eight_bit);
	if (!o->err)
		o->err = buf_add_slice(o->b, e->text);
	dsn_put(o, "\r\n--");
	dsn_put(o, boundary);
	dsn_put(o, "--\r\n");
}

/* RFC 6533: the types for UTF-8 where the envelope had it. */
static bool needs_utf8(const struct message *m, const struct dsn_recipient *r, size_t n)
{
	if ((m->flags & MESSAGE_SMTPUTF8) || has_8bit(slice_of(m->sender)))
		return true;
	for (size_t i = 0; i < n; i++) {
		if (has_8bit(slice_of(r[i].recipient->address)))
			return true;
	}
	return false;
}

/* The routing key of an address, as for mail that comes in: its domain in lower case, literals in
 * the one form that addresses are printed in. */
static char *domain_key(struct arena *a, const char *address)
{
	const char *at = strrchr(address, '@');
	struct slice s = slice_of(at ? at + 1 : "");
	char ip_text[ADDR_TEXT_MAX], text[ADDR_TEXT_MAX + 8];
	struct addr ip;
	char *key;

	if (smtp_literal_parse(&ip, s) == 0) {
		addr_format(ip_text, &ip);
		snprintf(text, sizeof(text), ip.family == ADDR_V6 ? "[IPv6:%s]" : "[%s]", ip_text);
		return arena_strdup(a, slice_of(text));
	}
	while (s.n > 0 && s.p[s.n - 1] == '.')
		s.n--;
	key = arena_strdup(a, s);
	for (size_t i = 0; key && key[i]; i++) {
		if (key[i] >= 'A' && key[i] <= 'Z')
			key[i] = (char)(key[i] | 0x20);
	}
	return key;
}

/* What it is about, for the log: a notification is joined with the message that caused it. */
static int about_fill(struct message *d, const struct message *m)
{
	char id[QUEUE_ID_TEXT + 1];
	struct arena *a = &d->arena;

	queue_id_format(id, m->id);
	d->about = arena_strdup(a, slice_of(id));
	d->about_message_id = m->message_id ? arena_strdup(a, slice_of(m->message_id)) : NULL;
	d->tag = m->tag ? arena_strdup(a, slice_of(m->tag)) : NULL;
	return d->about && !d->about_message_id == !m->message_id && !d->tag == !m->tag ? 0
											: -ENOMEM;
}

static int envelope_fill(struct message *d, const struct message *m, const struct dsn_params *p)
{
	ms_t life = m->expires > m->arrived ? m->expires - m->arrived : 0;
	struct arena *a = &d->arena;
	struct recipient *r = arena_alloc(a, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->address = arena_strdup(a, slice_of(m->sender));
	r->domain = p->sender_domain ? arena_strdup(a, slice_of(p->sender_domain))
				     : domain_key(a, m->sender);
	/* a notification that fails is told to nobody: no NOTIFY of its own is needed */
	d->recipients = r;
	d->nrecipients = 1;
	d->id = p->id;
	d->arrived = p->wall;
	d->expires = p->wall + life;
	d->flags = MESSAGE_FROM_RELAY;
	d->sender = "";
	d->pool = arena_strdup(a, slice_of(m->pool));
	d->client = "";
	return r->address && r->domain && d->pool ? about_fill(d, m) : -ENOMEM;
}

static int content_build(struct message *d, const struct message *m, const struct dsn_recipient *r,
	size_t n, const struct excerpt *e, const struct dsn_params *p)
{
	char qid[QUEUE_ID_TEXT + 1], id[512];
	struct buf b;
	struct dsn_out o = { .b = &b, .utf8 = needs_utf8(m, r, n) };

	buf_init(&b, 0);
	queue_id_format(qid, p->id);
	snprintf(id, sizeof(id), "<%s.dsn@%.255s>", qid, p->hostname);
	put_header(&o, m, r, n, p, id);
	put_parts(&o, m, r, n, p, e);
	d->message_id = arena_strdup(&d->arena, slice_of(id));
	d->body = body_new();
	if (o.err || !d->message_id || !d->body)
		goto out;
	o.err = body_append(d->body, buf_slice(&b));
	body_seal(d->body);
	d->size = buf_size(&b);
	if (o.utf8)
		d->flags |= MESSAGE_SMTPUTF8;
	if (has_8bit(buf_slice(&b))) {
		d->flags |= MESSAGE_8BIT_CONTENT;
		d->body_type = BODY_8BITMIME;
	}
out:
	buf_deinit(&b);
	return !d->message_id || !d->body || o.err ? -ENOMEM : 0;
}

int dsn_build(struct message **ret, const struct message *m, const struct dsn_recipient *r,
	size_t n, struct slice original, const struct dsn_params *p)
{
	struct excerpt e;
	struct message *d;
	int err;

	must(n > 0 && m->sender[0] != '\0');
	e = excerpt_of(m, r, n, original, p->return_max ? p->return_max : RETURN_MAX_DEFAULT);
	d = message_new();
	if (!d)
		return -ENOMEM;
	err = envelope_fill(d, m, p);
	if (!err)
		err = content_build(d, m, r, n, &e, p);
	if (err) {
		message_unref(d);
		return err;
	}
	*ret = d;
	return 0;
}
