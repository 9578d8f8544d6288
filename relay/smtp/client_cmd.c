/* Command lines of the outbound session, built without printf: they are made for every message.
 * Called by client.c and client_txn.c; pure. Parameters go along only where the receiver offered
 * them. */
#include "client_state.h"

/* Appends; the first error sticks, so that a line is checked once at its end. */
struct line {
	struct buf *b;
	int err;
};

static void put(struct line *l, const void *p, size_t n)
{
	if (!l->err)
		l->err = buf_add(l->b, p, n);
}

static void put_str(struct line *l, const char *s)
{
	put(l, s, strlen(s));
}

#define put_lit(l, s) put((l), (s), sizeof(s) - 1)

static void put_u64(struct line *l, uint64_t v)
{
	char text[20];
	size_t at = sizeof(text);

	do {
		text[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	put(l, text + at, sizeof(text) - at);
}

static const char hex[] = "0123456789ABCDEF";

static void put_xchar(struct line *l, unsigned char c)
{
	char text[3] = { '+', hex[c >> 4], hex[c & 15] };

	if (c > ' ' && c < 0x7f && c != '+' && c != '=')
		put(l, &c, 1);
	else
		put(l, text, 3);
}

static void put_xtext(struct line *l, const char *s)
{
	for (; *s; s++)
		put_xchar(l, (unsigned char)*s);
}

/* A character beyond ASCII as "\x{E9}" (RFC 6533 section 3); returns where the next begins. */
static const char *put_utf8_escaped(struct line *l, const char *s)
{
	unsigned char c = (unsigned char)*s++;
	uint32_t v = c >= 0xf0 ? c & 7u : c >= 0xe0 ? c & 15u : c & 31u;
	char text[8];
	size_t at = sizeof(text);

	while (((unsigned char)*s & 0xc0u) == 0x80)
		v = (v << 6 | ((unsigned char)*s++ & 0x3fu)) & 0x1fffffu;
	do {
		text[--at] = hex[v & 15];
		v >>= 4;
	} while (v);
	put_lit(l, "\\x{");
	put(l, text + at, sizeof(text) - at);
	put_lit(l, "}");
	return s;
}

/* "type;address". utf8: the transaction has SMTPUTF8, so that UTF-8 may stand as it is. */
static void put_orcpt(struct line *l, const char *orcpt, bool utf8)
{
	bool utf8_type = slice_case_prefix(slice_of(orcpt), SLICE_LIT("utf-8;"));

	put_lit(l, " ORCPT=");
	while (*orcpt) {
		if (!utf8_type || !((unsigned char)*orcpt & 0x80u))
			put_xchar(l, (unsigned char)*orcpt++);
		else if (utf8)
			put(l, orcpt++, 1);
		else
			orcpt = put_utf8_escaped(l, orcpt);
	}
}

static void put_notify(struct line *l, uint8_t notify)
{
	static const struct {
		uint8_t bit;
		const char *name;
	} words[] = { { NOTIFY_SUCCESS, "SUCCESS" }, { NOTIFY_FAILURE, "FAILURE" },
		{ NOTIFY_DELAY, "DELAY" } };
	bool any = false;

	put_lit(l, " NOTIFY=");
	if (notify & NOTIFY_NEVER) {
		put_lit(l, "NEVER");
		return;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!(notify & words[i].bit))
			continue;
		if (any)
			put_lit(l, ",");
		put_str(l, words[i].name);
		any = true;
	}
}

int cmd_hello(struct buf *out, bool esmtp, const char *name)
{
	struct line l = { out, 0 };

	put_str(&l, esmtp ? "EHLO " : "HELO ");
	put_str(&l, name);
	put_lit(&l, "\r\n");
	return l.err;
}

static bool is_8bit(const struct message *m)
{
	return m->body_type == BODY_8BITMIME || (m->flags & MESSAGE_8BIT_CONTENT);
}

bool cmd_mail_has_params(const struct smtp_client *c)
{
	const struct message *m = c->t.txn->message;
	const struct ehlo *e = &c->info.ehlo;

	return e->size_given || (e->eightbit && is_8bit(m)) ||
	       (e->dsn && (m->ret != RET_UNSET || m->envid));
}

bool cmd_rcpt_has_params(const struct smtp_client *c, const struct recipient *r)
{
	return c->info.ehlo.dsn && (r->notify != NOTIFY_DEFAULT || r->orcpt);
}

int cmd_mail(struct buf *out, const struct smtp_client *c)
{
	const struct message *m = c->t.txn->message;
	const struct ehlo *e = &c->info.ehlo;
	struct line l = { out, 0 };

	put_lit(&l, "MAIL FROM:<");
	put_str(&l, m->sender);
	put_lit(&l, ">");
	if (e->size_given) {
		put_lit(&l, " SIZE=");
		put_u64(&l, m->size);
	}
	/* 8-bit content goes to hosts without 8BITMIME as it is: they all pass it on, and
	 * converting it would break signatures */
	if (m->body_type == BODY_BINARYMIME)
		put_lit(&l, " BODY=BINARYMIME");
	else if (e->eightbit && is_8bit(m))
		put_lit(&l, " BODY=8BITMIME");
	if (c->t.utf8)
		put_lit(&l, " SMTPUTF8");
	if (e->dsn && m->ret != RET_UNSET)
		put_str(&l, m->ret == RET_FULL ? " RET=FULL" : " RET=HDRS");
	if (e->dsn && m->envid) {
		put_lit(&l, " ENVID=");
		put_xtext(&l, m->envid);
	}
	put_lit(&l, "\r\n");
	return l.err;
}

int cmd_rcpt(struct buf *out, const struct smtp_client *c, const struct recipient *r)
{
	struct line l = { out, 0 };

	put_lit(&l, "RCPT TO:<");
	put_str(&l, r->address);
	put_lit(&l, ">");
	if (c->info.ehlo.dsn && r->notify != NOTIFY_DEFAULT)
		put_notify(&l, r->notify);
	if (c->info.ehlo.dsn && r->orcpt)
		put_orcpt(&l, r->orcpt, c->t.utf8);
	put_lit(&l, "\r\n");
	return l.err;
}

int cmd_bdat(struct buf *out, uint64_t size)
{
	struct line l = { out, 0 };

	put_lit(&l, "BDAT ");
	put_u64(&l, size);
	put_lit(&l, " LAST\r\n");
	return l.err;
}

bool text_is_ascii(const char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s & 0x80u)
			return false;
	}
	return true;
}
