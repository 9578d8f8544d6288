/* The DSN builder: whatever hosts, clients and addresses said, a notification is one well-formed
 * message whose parts nobody can break out of. The input is a list of fields, each ended by 0xff;
 * first byte: flags; second: how many recipients. */
#include <stdint.h>
#include <stdlib.h>

#include "postern/dsn.h"
#include "postern/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RECIPIENTS_MAX 250u

struct fields {
	const uint8_t *p;
	size_t n;
};

/* The next field as a string; the caller frees. */
static char *next(struct fields *f)
{
	size_t n = 0;
	char *s;

	while (n < f->n && f->p[n] != 0xff && f->p[n])
		n++;
	s = malloc(n + 1);
	must(s);
	if (n)
		memcpy(s, f->p, n);
	s[n] = '\0';
	n += n < f->n;
	f->p += n;
	f->n -= n;
	return s;
}

/* Whole lines of bounded length, and no byte that a terminal or a parser could take for more. */
static void check_lines(struct slice s)
{
	size_t line = 0;

	must(s.n >= 2 && s.p[s.n - 2] == '\r' && s.p[s.n - 1] == '\n');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\r') {
			must(i + 1 < s.n && s.p[i + 1] == '\n');
			line = 0;
			i++;
			continue;
		}
		must(s.p[i] != '\n' && s.p[i] != '\0' && ++line <= 998);
	}
}

static unsigned count(struct slice s, const char *what)
{
	size_t n = strlen(what);
	unsigned c = 0;

	for (size_t i = 0; i + n <= s.n; i++)
		c += !memcmp(s.p + i, what, n);
	return c;
}

/* Four lines begin with the boundary: three parts, and the end. The address in To may have the word,
 * too; no line of it begins like the field. */
static void check_parts(struct slice s)
{
	static const char field[] = "\r\nContent-Type: multipart/report;", key[] = " boundary=\"";
	const char *type = memmem(s.p, s.n, field, sizeof(field) - 1), *at, *end;
	char line[80] = "\r\n--";
	size_t n;

	must(type);
	at = memmem(type, s.n - (size_t)(type - s.p), key, sizeof(key) - 1);
	must(at);
	at += sizeof(key) - 1;
	end = memchr(at, '"', s.n - (size_t)(at - s.p));
	must(end && (size_t)(end - at) < sizeof(line) - 5);
	n = (size_t)(end - at);
	memcpy(line + 4, at, n);
	line[4 + n] = '\0';
	must(count(s, line) == 4);
	memcpy(line + 4 + n, "--\r\n", 5);
	must(s.n > n + 8 && !memcmp(s.p + s.n - strlen(line), line, strlen(line)));
}

static void build(
	const struct message *m, const struct dsn_recipient *r, unsigned n, struct slice original)
{
	struct dsn_params p = {
		.hostname = "relay.example", .id = 77, .wall = 1700000000000, .return_max = 4096
	};
	struct message *made = NULL;
	struct buf text;

	must(dsn_build(&made, m, r, n, original, &p) == 0);
	must(made->sender[0] == '\0' && made->nrecipients == 1);
	buf_init(&text, 0);
	for (const struct body_block *k = made->body->first; k; k = k->next)
		must(buf_add(&text, k->data, k->len) == 0);
	must(made->size == buf_size(&text));
	check_lines(buf_slice(&text));
	check_parts(buf_slice(&text));
	must(count(buf_slice(&text), "\r\nFinal-Recipient: ") >= n);
	/* bounded, however much was said */
	must(buf_size(&text) < (1u << 20) + n * 4096u);
	buf_deinit(&text);
	message_unref(made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum dsn_action actions[] = { DSN_FAILED, DSN_DELAYED, DSN_RELAYED,
		DSN_DELIVERED };
	struct fields f;
	struct message *m;
	struct recipient rcpt = { 0 };
	struct dsn_recipient one = { .recipient = &rcpt }, *all;
	char *text[8], *original;
	unsigned n;

	if (size < 2)
		return 0;
	f = (struct fields){ data + 2, size - 2 };
	n = 1u + data[1] % RECIPIENTS_MAX;
	m = message_new();
	must(m);
	for (unsigned i = 0; i < 8; i++)
		text[i] = next(&f);
	original = next(&f);
	m->sender = text[0][0] ? text[0] : "s@example.org";
	m->envid = text[1];
	m->message_id = text[2];
	m->pool = "main";
	m->arrived = 1699999990000;
	m->expires = m->arrived + 172800000;
	m->flags = data[0] & 1 ? MESSAGE_SMTPUTF8 : 0;
	m->ret = data[0] & 2 ? RET_FULL : RET_HDRS;
	m->size = strlen(original);
	rcpt.address = text[3];
	rcpt.domain = "example.org";
	rcpt.orcpt = data[0] & 4 ? text[4] : NULL;
	one.action = actions[data[0] >> 6];
	one.status = text[5];
	one.remote_mta = data[0] & 8 ? text[6] : NULL;
	one.diagnostic = data[0] & 16 ? text[7] : NULL;
	one.reason = data[0] & 32 ? text[7] : NULL;
	one.will_retry_until = m->expires;
	all = calloc(n, sizeof(*all));
	must(all);
	for (unsigned i = 0; i < n; i++)
		all[i] = one;
	build(m, all, n, slice_of(original));
	free(all);
	message_unref(m);
	for (unsigned i = 0; i < 8; i++)
		free(text[i]);
	free(original);
	return 0;
}
