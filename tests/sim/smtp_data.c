/* Message content: DATA with its dots, BDAT with its chunks; what the headers say about identity.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "smtp.h"

#define TEXT_LINE_MAX 998

static void content_begin(struct conn *c)
{
	struct sim *s = c->loop->sim;

	if (c->has_body)
		return;
	c->has_body = true;
	c->in_header = true;
	c->prev_cr = false;
	c->text_line = 0;
	c->hdr_n = 0;
	if (s->opt.hash) {
		if (!c->md)
			c->md = EVP_MD_CTX_new();
		if (!c->md || EVP_DigestInit_ex(c->md, EVP_sha256(), NULL) != 1)
			die("SHA-256 is not available");
	}
}

/* "Name: <value>" as one word, without the angle brackets' surroundings. */
static void keep_id(char out[ID_MAX], const char *value)
{
	size_t n;

	value += strspn(value, " \t");
	n = strcspn(value, "\r\n");
	while (n && (value[n - 1] == ' ' || value[n - 1] == '\t'))
		n--;
	if (n >= ID_MAX)
		n = ID_MAX - 1;
	memcpy(out, value, n);
	out[n] = '\0';
}

static void header_line(struct conn *c)
{
	c->hdr[c->hdr_n] = '\0';
	if (c->take_fold) { /* Message-ID alone on a line of its own */
		c->take_fold = false;
		if (c->hdr[0] == ' ' || c->hdr[0] == '\t') {
			keep_id(c->message_id, c->hdr);
			return;
		}
	}
	if (strncasecmp(c->hdr, "X-Test-Id:", 10) == 0 && !c->test_id[0]) {
		keep_id(c->test_id, c->hdr + 10);
	} else if (strncasecmp(c->hdr, "Message-ID:", 11) == 0 && !c->message_id[0]) {
		keep_id(c->message_id, c->hdr + 11);
		c->take_fold = !c->message_id[0];
	} else if (c->hdr[0] == '\r' || c->hdr[0] == '\n' || c->hdr[0] == '\0') {
		c->in_header = false;
	}
}

static void scan_header(struct conn *c, const char *p, size_t n)
{
	while (n && c->in_header) {
		const char *nl = memchr(p, '\n', n);
		size_t k = nl ? (size_t)(nl - p) + 1 : n, room = sizeof(c->hdr) - 1 - c->hdr_n;

		memcpy(c->hdr + c->hdr_n, p, k < room ? k : room);
		c->hdr_n += k < room ? k : room;
		p += k;
		n -= k;
		if (nl) {
			header_line(c);
			c->hdr_n = 0;
		}
	}
}

static bool has_8bit(const char *p, size_t n)
{
	uint64_t w, any = 0;

	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&w, p, 8);
		any |= w;
	}
	for (; n; n--, p++)
		any |= (uint64_t)(unsigned char)*p;
	return (any & 0x8080808080808080ULL) != 0;
}

static void content(struct conn *c, const char *p, size_t n)
{
	struct sim *s = c->loop->sim;

	c->size += n;
	if (c->in_header)
		scan_header(c, p, n);
	if (!c->eightbit && !c->binary && !c->utf8 && !c->noted_8bit && has_8bit(p, n)) {
		c->noted_8bit = true;
		violation(c, "8bit-undeclared", c->test_id, strlen(c->test_id));
	}
	if (s->opt.hash)
		EVP_DigestUpdate(c->md, p, n);
	if (s->opt.store && c->size <= c->cluster->size)
		put(&c->body, p, n);
}

static void note_bare(struct conn *c, const char *kind)
{
	if (!c->noted_bare)
		violation(c, kind, c->test_id, strlen(c->test_id));
	c->noted_bare = true;
}

static void note_line(struct conn *c, size_t len)
{
	if (len > TEXT_LINE_MAX && !c->noted_long) {
		c->noted_long = true;
		violation(c, "long-text-line", c->test_id, strlen(c->test_id));
	}
}

/* Line endings within [p, p+n): every CR before an LF, every LF behind a CR. */
static void check_lines(struct conn *c, const char *p, size_t n)
{
	const char *end = p + n, *at = p, *hit;

	for (; at < end && (hit = memchr(at, '\n', (size_t)(end - at))) != NULL; at = hit + 1) {
		bool cr = hit > p ? hit[-1] == '\r' : c->prev_cr;

		if (!cr)
			note_bare(c, "bare-lf");
		note_line(c, c->text_line + (size_t)(hit - at) - (hit > at ? 1 : 0));
		c->text_line = 0;
	}
	c->text_line += (size_t)(end - at);
	for (at = p; at < end && (hit = memchr(at, '\r', (size_t)(end - at))) != NULL;
		at = hit + 1) {
		if (hit + 1 < end && hit[1] != '\n')
			note_bare(c, "bare-cr");
	}
	if (c->prev_cr && p[0] != '\n')
		note_bare(c, "bare-cr");
	c->prev_cr = end[-1] == '\r';
}

static void content_text(struct conn *c, const char *p, size_t n)
{
	if (!n)
		return;
	check_lines(c, p, n);
	content(c, p, n);
}

/* Takes a line or what is there of it. Returns the number of bytes. */
static size_t data_line(struct conn *c, const char *p, size_t n)
{
	const char *nl = memchr(p, '\n', n);
	size_t k = nl ? (size_t)(nl - p) + 1 : n;
	bool cr = nl && (k > 1 ? nl[-1] == '\r' : c->prev_cr);

	content_text(c, p, k);
	c->ds = nl && cr ? DS_BOL : DS_LINE;
	return k;
}

/* Lines are passed on in one piece up to the next one that begins with a dot. */
static size_t data_run(struct conn *c, const char *p, size_t n)
{
	size_t i = 0, k;

	while (i < n) {
		const char *nl = memchr(p + i, '\n', n - i);

		if (!nl)
			break;
		k = (size_t)(nl - p) + 1;
		if (k < 2 || nl[-1] != '\r') { /* bare, or CR in the last piece: the slow way */
			if (i)
				break;
			return data_line(c, p, n);
		}
		i = k;
		if (i < n && p[i] == '.')
			break;
	}
	if (!i)
		return data_line(c, p, n);
	content_text(c, p, i);
	c->ds = DS_BOL;
	return i;
}

size_t data_feed(struct conn *c, const char *p, size_t n)
{
	if (!c->has_body) {
		smtp_early_check(c, p, n);
		content_begin(c);
	}
	switch (c->ds) {
	case DS_BOL:
		if (*p == '.') {
			c->ds = DS_DOT;
			return 1;
		}
		return data_run(c, p, n);
	case DS_DOT:
		if (*p == '\r') {
			c->ds = DS_DOTCR;
			return 1;
		}
		if (*p != '.')
			violation(c, "dot-not-doubled", p, n < 40 ? n : 40);
		return data_line(c, p, n);
	case DS_DOTCR:
		if (*p == '\n') {
			smtp_eod(c);
			return 1;
		}
		content_text(c, "\r", 1);
		return data_line(c, p, n);
	case DS_LINE:
		return data_line(c, p, n);
	}
	return n;
}

/* Is there anything to put a message in? Replies when not. */
static bool transaction_ready(struct conn *c, const char *verb)
{
	if (!c->mail) {
		if (!c->mail_failed)
			violation(c, "data-before-mail", verb, strlen(verb));
		smtp_echo(c, "503 5.5.2 Need mail command");
		return false;
	}
	if (!c->nrcpts) {
		if (!c->rcpt_failed)
			violation(c, "data-before-rcpt", verb, strlen(verb));
		smtp_echo(c, "503 5.5.2 Need rcpt command");
		return false;
	}
	return true;
}

void smtp_data(struct conn *c, char *args)
{
	if (!transaction_ready(c, "DATA"))
		return;
	if (*args || c->chunking || c->binary) {
		violation(c, "data-after-bdat-or-binary", args, strlen(args));
		reply_tail(c, "503 5.5.2 DATA not possible in this transaction");
		return;
	}
	if (rules_apply(c, PH_DATA, NULL)) {
		if (!c->hold_until)
			smtp_reset(c);
		return;
	}
	REPLY_LIT(c, "354 Start mail input; end with <CRLF>.<CRLF>\r\n");
	c->state = ST_DATA;
	c->ds = DS_BOL;
}

static bool bdat_parse(struct conn *c, char *args, uint64_t *size, bool *last)
{
	char *end;

	if (!isdigit((unsigned char)*args))
		return false;
	*size = strtoull(args, &end, 10);
	*last = strcasecmp(end, " LAST") == 0;
	return (!*end || *last) && end - args < 19;
}

void smtp_bdat(struct conn *c, char *args)
{
	uint64_t size;
	bool last;

	if (!(c->cluster->features & F_CHUNKING) || !c->esmtp) {
		violation(c, "bdat-not-offered", args, strlen(args));
		reply_tail(c, "502 5.5.1 Command not implemented");
		return;
	}
	if (!bdat_parse(c, args, &size, &last)) {
		violation(c, "bdat-syntax", args, strlen(args));
		reply_tail(c, "501 5.5.4 Invalid arguments");
		return;
	}
	c->state = ST_BDAT;
	c->bdat_left = size;
	c->bdat_last = last;
	c->bdat_bad = !c->mail || !c->nrcpts || c->data_failed;
	if (!c->bdat_bad && !c->chunking) {
		c->chunking = true;
		content_begin(c);
	}
	if (!size)
		bdat_feed(c, "", 0);
}

/* A chunk is complete. */
static void bdat_end(struct conn *c)
{
	bool first = !c->bdat_ruled;

	c->state = ST_COMMAND;
	if (!(c->cluster->features & F_PIPELINING))
		smtp_sync_point(c);
	if (c->bdat_bad) {
		if (c->data_failed)
			smtp_echo(c, "503 5.5.2 Need mail command");
		else
			transaction_ready(c, "BDAT");
		return;
	}
	c->bdat_ruled = true;
	if (first && rules_apply(c, PH_DATA, NULL)) {
		if (c->hold_until) {
			c->bdat_ruled = false;
			c->resume = RESUME_EOD;
			c->state = ST_BDAT;
			return;
		}
		smtp_reset(c);
		c->data_failed = true;
		return;
	}
	if (c->bdat_last)
		smtp_eod(c);
	else
		REPLY_LIT(c, "250 2.0.0 Octets received\r\n");
}

size_t bdat_feed(struct conn *c, const char *p, size_t n)
{
	size_t k = n < c->bdat_left ? n : (size_t)c->bdat_left;

	if (!c->bdat_bad && k) {
		if (c->binary)
			content(c, p, k);
		else
			content_text(c, p, k);
	}
	c->bdat_left -= k;
	if (!c->bdat_left)
		bdat_end(c);
	return k;
}

static void finish_hash(struct conn *c)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (!c->loop->sim->opt.hash || c->sha256[0] || EVP_DigestFinal_ex(c->md, md, &n) != 1)
		return;
	for (unsigned i = 0; i < n && i < 32; i++)
		snprintf(c->sha256 + 2 * i, 3, "%02x", md[i]);
}

/* The whole message is there: the last word on it. */
void smtp_eod(struct conn *c)
{
	if (c->state == ST_BDAT && !c->bdat_ruled) { /* the delay was the chunk's */
		bdat_end(c);
		return;
	}
	c->state = ST_COMMAND;
	if (c->in_header && c->hdr_n) { /* a message without a body may end within its last field */
		header_line(c);
		c->hdr_n = 0;
	}
	finish_hash(c);
	if (rules_apply(c, PH_EOD, NULL)) {
		if (c->hold_until) {
			c->resume = RESUME_EOD;
			return;
		}
	} else if (c->size > c->cluster->size) {
		refuse(c, PH_EOD, "#size",
			"552 5.3.4 Message size exceeds fixed maximum message size {tail}", NULL);
	} else {
		c->messages++;
		ledger_accept(&c->loop->sim->ledger, c);
		reply_queued(c);
	}
	smtp_reset(c);
}
