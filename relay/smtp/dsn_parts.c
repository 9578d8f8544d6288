/* The parts of a notification: the explanation for people, and the fields for programs (RFC 3464).
 * Pure; called by dsn.c.
 *
 * Whatever others said goes in cleaned and folded, and is bounded in all: a long list whose
 * recipients all fail makes one notification that everybody takes. */
#include <stdio.h>

#include "dsn_parts.h"
#include "postern/text.h"

#define FOLD_AT	 76  /* columns, where there is a blank */
#define WORD_MAX 800 /* a line has at most 998 bytes (RFC 5322 section 2.1.1) */
#define TEXT_MAX 4000

/* A notification about very many tells each of them, but not all that was said of each. */
#define PEOPLE_MAX 100		  /* recipients that the section for people lists */
#define SAID_MAX   (256u * 1024u) /* bytes, from which on programs are told no more replies */

void dsn_put(struct dsn_out *o, const char *s)
{
	if (!o->err)
		o->err = buf_add_str(o->b, s);
}

static void put_bytes(struct dsn_out *o, const char *p, size_t n)
{
	if (!o->err)
		o->err = buf_add(o->b, p, n);
}

/* s as it may stand in a notification. Returns its length. */
static size_t cleaned(char *out, size_t max, const char *s, bool utf8)
{
	size_t n = 0;

	if (utf8)
		utf8 = utf8_valid(slice_of(s));
	for (; *s && n < max; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c == 0x7f)
			out[n++] = ' ';
		else
			out[n++] = c >= 0x80 && !utf8 ? '?' : *s;
	}
	/* not in the middle of a character */
	while (n == max && n > 0 && ((unsigned char)out[n - 1] & 0x80))
		n--;
	return n;
}

void dsn_put_text(struct dsn_out *o, const char *s)
{
	char text[TEXT_MAX];

	put_bytes(o, text, cleaned(text, WORD_MAX, s, o->utf8));
}

/* Writes text from the given column on, breaking lines with the given indent. */
static void put_folded(struct dsn_out *o, struct slice s, size_t column, const char *indent)
{
	bool first = true;

	for (;;) {
		struct slice word;
		const char *blank;

		while (s.n > 0 && s.p[0] == ' ')
			s = slice_from(s, 1);
		if (s.n == 0)
			return;
		blank = memchr(s.p, ' ', s.n);
		word = (struct slice){ s.p, blank ? (size_t)(blank - s.p) : s.n };
		if (word.n > WORD_MAX) {
			word.n = WORD_MAX;
			while (word.n > 1 && ((unsigned char)word.p[word.n] & 0xc0) == 0x80)
				word.n--;
		}
		if (!first && column + 1 + word.n > FOLD_AT) {
			dsn_put(o, "\r\n");
			dsn_put(o, indent);
			column = strlen(indent);
		} else if (!first) {
			dsn_put(o, " ");
			column++;
		}
		put_bytes(o, word.p, word.n);
		column += word.n;
		s = slice_from(s, word.n);
		first = false;
	}
}

void dsn_put_field(struct dsn_out *o, const char *name, const char *type, const char *s)
{
	char text[TEXT_MAX];
	size_t n;

	if (!s)
		return;
	n = cleaned(text, sizeof(text), s, o->utf8);
	dsn_put(o, name);
	dsn_put(o, ": ");
	dsn_put(o, type);
	put_folded(o, (struct slice){ text, n }, strlen(name) + 2 + strlen(type), " ");
	dsn_put(o, "\r\n");
}

void dsn_put_date(struct dsn_out *o, const char *name, ms_t wall, int zone_minutes)
{
	char text[CLOCK_RFC5322_MAX];

	if (wall == 0)
		return;
	clock_rfc5322(text, wall, zone_minutes);
	dsn_put_field(o, name, "", text);
}

/* "5.1.1": class 2, 4 or 5, then two numbers of up to three digits. */
static bool is_status(const char *s)
{
	size_t digits;

	if (!s || !strchr("245", s[0]) || !s[0] || s[1] != '.')
		return false;
	s += 2;
	digits = strspn(s, "0123456789");
	if (digits < 1 || digits > 3 || s[digits] != '.')
		return false;
	s += digits + 1;
	digits = strspn(s, "0123456789");
	return digits >= 1 && digits <= 3 && s[digits] == '\0';
}

const char *dsn_status(const char *s, enum dsn_action action)
{
	if (is_status(s))
		return s;
	if (action == DSN_FAILED)
		return "5.0.0";
	return action == DSN_DELAYED ? "4.0.0" : "2.0.0";
}

/* ---- the section for people ---- */

static const char *opening(enum dsn_action action, size_t n)
{
	switch (action) {
	case DSN_FAILED:
		return n == 1 ? "Your message could not be delivered to the recipient below, and "
				"it will\r\n"
				"not be tried again.\r\n"
			      : "Your message could not be delivered to the recipients below, and "
				"it will\r\n"
				"not be tried again.\r\n";
	case DSN_DELAYED:
		return "Your message has not been delivered yet. There is nothing that you need\r\n"
		       "to do: it stays in the queue and is tried again. If it cannot be "
		       "delivered\r\n"
		       "in time, you will be told.\r\n";
	case DSN_DELIVERED:
		return "Your message was delivered, as you asked to be told.\r\n";
	case DSN_RELAYED:
		return "Your message was passed on to a host that sends no notifications of\r\n"
		       "success. You may hear nothing more about it.\r\n";
	case DSN_EXPANDED:
	default:
		return "Your message was passed on to the members of a list.\r\n";
	}
}

/* What the sender can do about a failure, by its status code. Some codes do not tell: Microsoft's
 * 5.4.1 is a code of routing for an address that is dead. */
static const char *advice(const char *status, const struct dsn_recipient *r)
{
	static const struct {
		const char *prefix, *text;
	} t[] = {
		{ "5.1.8", "The receiving host does not accept the sender's address or domain. Ask "
			   "your mail "
			   "administrator." },
		{ "5.1.7", "The receiving host does not accept the sender's address. Ask your mail "
			   "administrator." },
		{ "5.1.", "Check the address for typing errors, or ask the recipient for the "
			  "present one." },
		{ "5.2.2", "The mailbox is full. Tell the recipient in another way, or try again "
			   "later." },
		{ "5.2.3", "Send a smaller message, or offer the files for download." },
		{ "5.3.4", "Send a smaller message, or offer the files for download." },
		{ "5.2.", "The mailbox does not accept mail. Tell the recipient in another way." },
		{ "5.4.", "The recipient's mail system is not set up or not reachable. Its "
			  "administrator must "
			  "correct that." },
		{ "5.6.", "The receiving host cannot take content of this kind. Send it in another "
			  "form." },
		{ "5.7.", "The receiving host refused the message by its rules. Pass this report "
			  "on to your mail "
			  "administrator." },
		{ "4.", "The recipient's mail system did not accept the message in time. Send it "
			"again later, or "
			"reach the recipient in another way." },
	};

	if (r->ours)
		return "The recipient's address may be right, and the message well. Send it again "
		       "later, or pass this report on to your mail administrator.";
	if (r->address_invalid && strncmp(status, "5.2.", 4) && strncmp(status, "5.7.", 4))
		status = "5.1.1";
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		if (!strncmp(status, t[i].prefix, strlen(t[i].prefix)))
			return t[i].text;
	}
	return "Pass this report on to your mail administrator.";
}

static void put_paragraph(struct dsn_out *o, const char *label, const char *s)
{
	char text[TEXT_MAX];
	size_t n = cleaned(text, sizeof(text), s, o->utf8);

	dsn_put(o, "    ");
	dsn_put(o, label);
	put_folded(o, (struct slice){ text, n }, 4 + strlen(label), "      ");
	dsn_put(o, "\r\n");
}

static void put_said(struct dsn_out *o, const struct dsn_recipient *r)
{
	if (!r->diagnostic)
		return;
	if (r->remote_mta) {
		dsn_put(o, "    The host ");
		dsn_put_text(o, r->remote_mta);
		dsn_put(o, " said:\r\n");
	} else {
		dsn_put(o, "    The receiving host said:\r\n");
	}
	put_paragraph(o, "  ", r->diagnostic);
}

static void put_recipient(
	struct dsn_out *o, const struct dsn_recipient *r, const struct dsn_params *p)
{
	const char *status = dsn_status(r->status, r->action);

	dsn_put(o, "\r\n<");
	dsn_put_text(o, r->recipient->address);
	dsn_put(o, ">\r\n");
	if (r->reason)
		put_paragraph(o, "", r->reason);
	put_said(o, r);
	if (r->action == DSN_FAILED)
		put_paragraph(o, "What you can do: ", advice(status, r));
	if (r->action == DSN_DELAYED && r->will_retry_until) {
		char text[CLOCK_RFC5322_MAX];

		clock_rfc5322(text, r->will_retry_until, p->zone_minutes);
		put_paragraph(o, "It is tried until ", text);
	}
}

static void put_recipients(struct dsn_out *o, const struct dsn_recipient *r, size_t n,
	enum dsn_action action, const struct dsn_params *p)
{
	size_t told = 0, all = 0;
	char text[80];

	for (size_t i = 0; i < n; i++) {
		if (r[i].action != action)
			continue;
		if (all++ < PEOPLE_MAX) {
			put_recipient(o, &r[i], p);
			told++;
		}
	}
	if (all == told)
		return;
	snprintf(text, sizeof(text), "and %zu more, which the next part of this report names.",
		all - told);
	dsn_put(o, "\r\n");
	dsn_put(o, text);
	dsn_put(o, "\r\n");
}

/* By what the message is known to the sender's programs, and here. */
static void put_names(struct dsn_out *o, const struct message *m)
{
	char id[QUEUE_ID_TEXT + 1];

	queue_id_format(id, m->id);
	dsn_put(o, "\r\n");
	if (m->message_id && m->message_id[0])
		dsn_put_field(o, "    Message-ID", "", m->message_id);
	if (m->envid && m->envid[0])
		dsn_put_field(o, "    Envelope-ID", "", m->envid);
	dsn_put_field(o, "    Queue-ID", "", id);
}

void dsn_put_explanation(struct dsn_out *o, const struct message *m, const struct dsn_recipient *r,
	size_t n, const struct dsn_params *p)
{
	char text[CLOCK_RFC5322_MAX];

	dsn_put(o, "This is the mail system at host ");
	dsn_put_text(o, p->hostname);
	dsn_put(o, ".\r\n");
	clock_rfc5322(text, m->arrived, p->zone_minutes);
	dsn_put(o, "It writes about a message that it took over from you on\r\n");
	dsn_put(o, text);
	dsn_put(o, ".\r\n");
	put_names(o, m);
	for (int a = DSN_FAILED; a <= (int)DSN_EXPANDED; a++) {
		size_t count = 0;

		for (size_t i = 0; i < n; i++)
			count += (int)r[i].action == a;
		if (count == 0)
			continue;
		dsn_put(o, "\r\n");
		dsn_put(o, opening((enum dsn_action)a, count));
		put_recipients(o, r, n, (enum dsn_action)a, p);
	}
}

/* ---- the section for programs ---- */

static const char *action_name(enum dsn_action a)
{
	static const char *const names[] = { "failed", "delayed", "delivered", "relayed",
		"expanded" };

	return (size_t)a < sizeof(names) / sizeof(names[0]) ? names[a] : "failed";
}

static bool is_ascii(const char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s & 0x80)
			return false;
	}
	return true;
}

static void put_recipient_status(
	struct dsn_out *o, const struct dsn_recipient *r, const struct dsn_params *p)
{
	const char *type = is_ascii(r->recipient->address) ? "rfc822; " : "utf-8; ";
	const char *orcpt = r->recipient->orcpt;

	dsn_put(o, "\r\n");
	/* type and address come in one; without a type it would be no field */
	if (orcpt && strchr(orcpt, ';'))
		dsn_put_field(o, "Original-Recipient", "", orcpt);
	dsn_put_field(o, "Final-Recipient", type, r->recipient->address);
	dsn_put_field(o, "Action", "", action_name(r->action));
	dsn_put_field(o, "Status", "", dsn_status(r->status, r->action));
	dsn_put_field(o, "Remote-MTA", "dns; ", r->remote_mta);
	if (buf_size(o->b) < SAID_MAX)
		dsn_put_field(o, "Diagnostic-Code", "smtp; ", r->diagnostic);
	dsn_put_date(o, "Last-Attempt-Date", r->last_attempt, p->zone_minutes);
	if (r->action == DSN_DELAYED)
		dsn_put_date(o, "Will-Retry-Until", r->will_retry_until, p->zone_minutes);
}

void dsn_put_status(struct dsn_out *o, const struct message *m, const struct dsn_recipient *r,
	size_t n, const struct dsn_params *p)
{
	char id[QUEUE_ID_TEXT + 1];

	dsn_put_field(o, "Original-Envelope-Id", "", m->envid);
	dsn_put_field(o, "Reporting-MTA", "dns; ", p->hostname);
	dsn_put_date(o, "Arrival-Date", m->arrived, p->zone_minutes);
	queue_id_format(id, m->id);
	dsn_put_field(o, "X-Postern-Queue-ID", "", id);
	dsn_put_field(o, "X-Postern-Message-ID", "", m->message_id);
	for (size_t i = 0; i < n; i++)
		put_recipient_status(o, &r[i], p);
}
