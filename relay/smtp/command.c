/* Command lines into values; see smtp_command.h. Pure. Called by server.c for each line.
 *
 * Order: verb → arguments → parameters of MAIL and RCPT, each once. What is wrong is a value (enum
 * smtp_syntax), never a failure of the parser. */
#include "postern/smtp_command.h"

#include <errno.h>

#include "postern/text.h"

#define HELLO_MAX     255 /* RFC 5321 section 4.5.3.1.2 */
#define MECHANISM_MAX 20  /* RFC 4422 section 3.1 */
#define ENVID_MAX     100 /* RFC 3461 section 4.4 */
#define ORCPT_MAX     500 /* RFC 3461 section 4.2 */
#define XTEXT_MAX     ORCPT_MAX

static const char *const verb_names[] = {
#define X(name) #name,
	SMTP_VERBS(X)
#undef X
};

const char *smtp_verb_name(enum smtp_verb v)
{
	return verb_names[v];
}

static enum smtp_verb verb_find(struct slice word)
{
	for (enum smtp_verb v = 0; v < SMTP_UNKNOWN; v++) {
		if (slice_case_eq(word, slice_of(verb_names[v])))
			return v;
	}
	return SMTP_UNKNOWN;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool has_blank(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (is_blank(s.p[i]))
			return true;
	}
	return false;
}

static struct slice skip_blanks(struct slice s)
{
	while (s.n > 0 && is_blank(s.p[0]))
		s = slice_from(s, 1);
	return s;
}

/* Takes the bytes up to the next blank; rest begins after the blanks that follow. */
static struct slice take_word(struct slice *rest)
{
	struct slice word = { rest->p, 0 };

	while (word.n < rest->n && !is_blank(rest->p[word.n]))
		word.n++;
	*rest = skip_blanks(slice_from(*rest, word.n));
	return word;
}

static bool is_graph(char c)
{
	return c > 0x20 && c < 0x7f;
}

static bool all_graph(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!is_graph(s.p[i]))
			return false;
	}
	return true;
}

static bool has_control(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (((unsigned char)s.p[i] < 0x20 && s.p[i] != '\t') || s.p[i] == 0x7f)
			return true;
	}
	return false;
}

/* The bytes that s stands for are text: ASCII, or UTF-8 where that is allowed. Bytes over 127 may
 * then also stand for themselves (RFC 6533 section 3, utf-8-address in an ORCPT of a message with
 * SMTPUTF8). */
static bool xtext_valid(struct slice s, bool utf8)
{
	char text[XTEXT_MAX];
	struct buf out = { .p = text, .cap = sizeof(text), .max = sizeof(text) };
	size_t i = 0;

	if (s.n > sizeof(text))
		return false;
	while (i < s.n) {
		size_t from = i;

		while (i < s.n && (unsigned char)s.p[i] < 0x80)
			i++;
		/* never grows: xtext is at least as long as what it stands for */
		if (i > from && xtext_decode(&out, (struct slice){ s.p + from, i - from }))
			return false;
		from = i;
		while (i < s.n && (unsigned char)s.p[i] >= 0x80)
			i++;
		if (i > from && buf_add(&out, s.p + from, i - from))
			return false;
	}
	for (i = 0; i < out.len && !utf8; i++) {
		if ((unsigned char)text[i] >= 0x80)
			return false;
	}
	return utf8_valid(buf_slice(&out));
}

/* ---- parameters of MAIL and RCPT ---- */

static enum smtp_syntax parse_size(struct smtp_command *c, struct slice v)
{
	int r = slice_u64(v, &c->size);

	if (r == -EINVAL)
		return SMTP_SYNTAX_ARGUMENT;
	if (r == -ERANGE)
		c->size = UINT64_MAX; /* a number, and too large for anybody */
	c->size_given = true;
	return SMTP_SYNTAX_OK;
}

static enum smtp_syntax parse_body(struct smtp_command *c, struct slice v)
{
	if (slice_case_eq(v, SLICE_LIT("7BIT")))
		c->body = BODY_7BIT;
	else if (slice_case_eq(v, SLICE_LIT("8BITMIME")))
		c->body = BODY_8BITMIME;
	else if (slice_case_eq(v, SLICE_LIT("BINARYMIME")))
		c->body = BODY_BINARYMIME;
	else
		return SMTP_SYNTAX_ARGUMENT;
	return SMTP_SYNTAX_OK;
}

static enum smtp_syntax parse_smtputf8(struct smtp_command *c, struct slice v)
{
	c->smtputf8 = true;
	return v.p ? SMTP_SYNTAX_ARGUMENT : SMTP_SYNTAX_OK;
}

static enum smtp_syntax parse_ret(struct smtp_command *c, struct slice v)
{
	if (slice_case_eq(v, SLICE_LIT("FULL")))
		c->ret = RET_FULL;
	else if (slice_case_eq(v, SLICE_LIT("HDRS")))
		c->ret = RET_HDRS;
	else
		return SMTP_SYNTAX_ARGUMENT;
	return SMTP_SYNTAX_OK;
}

static enum smtp_syntax parse_envid(struct smtp_command *c, struct slice v)
{
	if (v.n == 0 || v.n > ENVID_MAX || !all_graph(v) || !xtext_valid(v, false))
		return SMTP_SYNTAX_ARGUMENT;
	c->envid = v;
	return SMTP_SYNTAX_OK;
}

static enum smtp_syntax parse_auth_param(struct smtp_command *c, struct slice v)
{
	c->auth_param = true;
	return v.n == 0 ? SMTP_SYNTAX_ARGUMENT : SMTP_SYNTAX_OK;
}

static enum smtp_syntax parse_notify(struct smtp_command *c, struct slice v)
{
	static const struct {
		struct slice name;
		uint8_t bit;
	} words[] = {
		{ SLICE_LIT("NEVER"), NOTIFY_NEVER },
		{ SLICE_LIT("SUCCESS"), NOTIFY_SUCCESS },
		{ SLICE_LIT("FAILURE"), NOTIFY_FAILURE },
		{ SLICE_LIT("DELAY"), NOTIFY_DELAY },
	};
	size_t i;

	for (;;) {
		const char *comma = v.n ? memchr(v.p, ',', v.n) : NULL;
		struct slice word = { v.p, comma ? (size_t)(comma - v.p) : v.n };

		for (i = 0; i < 4 && !slice_case_eq(word, words[i].name); i++)
			;
		if (i == 4)
			return SMTP_SYNTAX_ARGUMENT;
		c->notify |= words[i].bit;
		if (!comma)
			break;
		v = slice_from(v, word.n + 1);
	}
	if ((c->notify & NOTIFY_NEVER) && c->notify != NOTIFY_NEVER)
		return SMTP_SYNTAX_ARGUMENT;
	return SMTP_SYNTAX_OK;
}

static enum smtp_syntax parse_orcpt(struct smtp_command *c, struct slice v)
{
	const char *semicolon = v.n ? memchr(v.p, ';', v.n) : NULL;
	struct slice type = { v.p, semicolon ? (size_t)(semicolon - v.p) : 0 };
	struct slice address = slice_from(v, type.n + 1);

	if (type.n == 0 || v.n > ORCPT_MAX || address.n == 0)
		return SMTP_SYNTAX_ARGUMENT;
	for (size_t i = 0; i < type.n; i++) {
		if (!is_graph(type.p[i]) || strchr("()<>@,:\\\"[]", type.p[i]))
			return SMTP_SYNTAX_ARGUMENT;
	}
	if (!xtext_valid(address, slice_case_eq(type, SLICE_LIT("utf-8"))))
		return SMTP_SYNTAX_ARGUMENT;
	c->orcpt = v;
	return SMTP_SYNTAX_OK;
}

static const struct parameter {
	struct slice name;
	enum smtp_verb verb;
	enum smtp_syntax (*parse)(struct smtp_command *c, struct slice value);
} parameters[] = {
	{ SLICE_LIT("SIZE"), SMTP_MAIL, parse_size },
	{ SLICE_LIT("BODY"), SMTP_MAIL, parse_body },
	{ SLICE_LIT("SMTPUTF8"), SMTP_MAIL, parse_smtputf8 },
	{ SLICE_LIT("RET"), SMTP_MAIL, parse_ret },
	{ SLICE_LIT("ENVID"), SMTP_MAIL, parse_envid },
	{ SLICE_LIT("AUTH"), SMTP_MAIL, parse_auth_param },
	{ SLICE_LIT("NOTIFY"), SMTP_RCPT, parse_notify },
	{ SLICE_LIT("ORCPT"), SMTP_RCPT, parse_orcpt },
};
#define NPARAMETERS (sizeof(parameters) / sizeof(parameters[0]))

static enum smtp_syntax parse_parameter(struct smtp_command *c, struct slice word, unsigned *seen)
{
	const char *equals = memchr(word.p, '=', word.n);
	struct slice name = { word.p, equals ? (size_t)(equals - word.p) : word.n };
	struct slice value = { NULL, 0 };

	if (equals)
		value = slice_from(word, name.n + 1);
	for (unsigned i = 0; i < NPARAMETERS; i++) {
		if (parameters[i].verb != c->verb || !slice_case_eq(name, parameters[i].name))
			continue;
		if (*seen & 1u << i)
			return SMTP_SYNTAX_DUPLICATE;
		*seen |= 1u << i;
		return parameters[i].parse(c, value);
	}
	return SMTP_SYNTAX_PARAMETER;
}

/* ---- paths ---- */

/* Bytes of the path in angle brackets at the start of s, 0 when it does not end. A '>' inside a
 * quoted local part does not end it. */
static size_t path_length(struct slice s)
{
	bool quoted = false;

	if (s.n == 0 || s.p[0] != '<')
		return 0;
	for (size_t i = 1; i < s.n; i++) {
		if (quoted && s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			quoted = !quoted;
		else if (s.p[i] == '>' && !quoted)
			return i + 1;
	}
	return 0;
}

/* Takes off "@one,@two:", which RFC 5321 section 4.1.1.3 wants accepted and ignored. */
static enum smtp_syntax skip_route(struct slice *s)
{
	const char *colon = memchr(s->p, ':', s->n);
	struct slice route = { s->p, colon ? (size_t)(colon - s->p) : 0 };

	if (!colon)
		return SMTP_SYNTAX_ADDRESS;
	*s = slice_from(*s, route.n + 1);
	while (route.n > 0) {
		const char *comma = memchr(route.p, ',', route.n);
		struct slice hop = { route.p, comma ? (size_t)(comma - route.p) : route.n };

		if (hop.n == 0 || hop.p[0] != '@' ||
			!smtp_domain_valid(smtp_domain_trim(slice_from(hop, 1))))
			return SMTP_SYNTAX_ADDRESS;
		if (comma && hop.n + 1 == route.n)
			return SMTP_SYNTAX_ADDRESS;
		route = slice_from(route, hop.n + 1);
	}
	return SMTP_SYNTAX_OK;
}

static enum smtp_syntax parse_path(struct smtp_command *c, struct slice s)
{
	if (s.n == 0 && c->verb == SMTP_MAIL) {
		c->path.address = c->path.local = c->path.domain = s;
		return SMTP_SYNTAX_OK;
	}
	if (s.n > 0 && s.p[0] == '@' && skip_route(&s))
		return SMTP_SYNTAX_ADDRESS;
	if (smtp_mailbox_parse(&c->path, s, c->verb == SMTP_RCPT))
		return SMTP_SYNTAX_ADDRESS;
	return SMTP_SYNTAX_OK;
}

/* The address and what it is written in; rest begins behind it. */
static enum smtp_syntax take_path(struct smtp_command *c, struct slice *rest)
{
	struct slice inside, address;
	bool lax = rest->n == 0 || rest->p[0] != '<';
	enum smtp_syntax e;
	size_t n;

	if (lax) {
		inside = address = take_word(rest);
		if (inside.n == 0)
			return SMTP_SYNTAX_ADDRESS;
	} else {
		n = path_length(*rest);
		if (n == 0)
			return SMTP_SYNTAX_ADDRESS;
		inside = (struct slice){ rest->p + 1, n - 2 };
		address = slice_trim(inside);
		lax = address.n < inside.n;
		*rest = slice_from(*rest, n);
	}
	e = parse_path(c, address);
	c->path.lax |= lax;
	return e;
}

/* MAIL FROM:<path> parameters, RCPT TO:<path> parameters */
static enum smtp_syntax parse_envelope(
	struct smtp_command *c, struct slice rest, struct slice keyword)
{
	enum smtp_syntax e;
	unsigned seen = 0;
	bool bracket;

	if (!slice_case_prefix(rest, keyword))
		return SMTP_SYNTAX_ARGUMENT;
	/* "FROM: <a@b>" is wrong, and common */
	rest = skip_blanks(slice_from(rest, keyword.n));
	if (rest.n == 0 || rest.p[0] != ':')
		return SMTP_SYNTAX_ARGUMENT;
	rest = skip_blanks(slice_from(rest, 1));
	bracket = rest.n > 0 && rest.p[0] == '<';
	e = take_path(c, &rest);
	if (e == SMTP_SYNTAX_OK && bracket && rest.n > 0 && !is_blank(rest.p[0]))
		e = SMTP_SYNTAX_ARGUMENT;
	rest = slice_trim(rest);
	while (e == SMTP_SYNTAX_OK && rest.n > 0)
		e = parse_parameter(c, take_word(&rest), &seen);
	/* RFC 6531 section 3.5; for RCPT only the session knows what MAIL said */
	if (e == SMTP_SYNTAX_OK && c->verb == SMTP_MAIL && c->path.utf8 && !c->smtputf8)
		e = SMTP_SYNTAX_NON_ASCII;
	return e;
}

/* ---- the other commands ---- */

/* Clients say the strangest names here and mean no harm; but the name goes into a header field and
 * into logs, so it may not have what structures those. Hosts whose owner gave them a name with
 * letters beyond ASCII say it so, against RFC 6531 section 3.7.1: the session writes it otherwise.
 */
static enum smtp_syntax parse_hello(struct smtp_command *c, struct slice rest)
{
	rest = smtp_domain_trim(rest);
	c->argument = rest;
	if (rest.n == 0 || rest.n > HELLO_MAX)
		return SMTP_SYNTAX_ARGUMENT;
	for (size_t i = 0; i < rest.n; i++) {
		bool high = (unsigned char)rest.p[i] >= 0x80;

		if ((!high && !is_graph(rest.p[i])) || strchr("()<>@,;\\\"", rest.p[i]))
			return SMTP_SYNTAX_ARGUMENT;
	}
	return SMTP_SYNTAX_OK;
}

static enum smtp_syntax parse_bdat(struct smtp_command *c, struct slice rest)
{
	struct slice size = take_word(&rest);

	if (slice_u64(size, &c->size))
		return SMTP_SYNTAX_ARGUMENT;
	c->size_given = true;
	c->last = rest.n > 0;
	if (c->last && !slice_case_eq(rest, SLICE_LIT("LAST")))
		return SMTP_SYNTAX_ARGUMENT;
	return SMTP_SYNTAX_OK;
}

static enum smtp_syntax parse_auth(struct smtp_command *c, struct slice rest)
{
	c->argument = take_word(&rest);
	if (c->argument.n == 0 || c->argument.n > MECHANISM_MAX || !all_graph(c->argument))
		return SMTP_SYNTAX_ARGUMENT;
	if (rest.n == 0)
		return SMTP_SYNTAX_OK;
	c->initial = rest;
	return has_blank(rest) ? SMTP_SYNTAX_ARGUMENT : SMTP_SYNTAX_OK;
}

static enum smtp_syntax parse_nothing(struct slice rest)
{
	return rest.n ? SMTP_SYNTAX_ARGUMENT : SMTP_SYNTAX_OK;
}

static enum smtp_syntax parse_text(struct smtp_command *c, struct slice rest, bool needed)
{
	c->argument = rest;
	return needed && rest.n == 0 ? SMTP_SYNTAX_ARGUMENT : SMTP_SYNTAX_OK;
}

static enum smtp_syntax parse_arguments(struct smtp_command *c, struct slice rest)
{
	switch (c->verb) {
	case SMTP_HELO:
	case SMTP_EHLO:
		return parse_hello(c, rest);
	case SMTP_MAIL:
		return parse_envelope(c, rest, SLICE_LIT("FROM"));
	case SMTP_RCPT:
		return parse_envelope(c, rest, SLICE_LIT("TO"));
	case SMTP_BDAT:
		return parse_bdat(c, rest);
	case SMTP_AUTH:
		return parse_auth(c, rest);
	case SMTP_VRFY:
	case SMTP_EXPN:
		return parse_text(c, rest, true);
	case SMTP_NOOP:
	case SMTP_HELP:
		return parse_text(c, rest, false);
	case SMTP_DATA:
	case SMTP_RSET:
	case SMTP_QUIT:
	case SMTP_STARTTLS:
		return parse_nothing(rest);
	case SMTP_UNKNOWN:
		break;
	}
	return SMTP_SYNTAX_UNKNOWN;
}

void smtp_command_parse(struct smtp_command *c, struct slice line)
{
	*c = (struct smtp_command){ .verb = SMTP_UNKNOWN };
	while (line.n > 0 && (line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t'))
		line.n--;
	/* the verb is wanted also of a bad line: after a bad BDAT nobody knows where commands go on
	 */
	c->verb = verb_find(take_word(&line));
	c->syntax = has_control(line) ? SMTP_SYNTAX_CONTROL : parse_arguments(c, line);
}

static const char *argument_reply(enum smtp_verb v)
{
	switch (v) {
	case SMTP_HELO:
	case SMTP_EHLO:
		return "501 5.5.4 Give the name of your host: EHLO name";
	case SMTP_MAIL:
		return "501 5.5.4 Syntax: MAIL FROM:<address> [SIZE= BODY= SMTPUTF8 RET= ENVID= "
		       "AUTH=]";
	case SMTP_RCPT:
		return "501 5.5.4 Syntax: RCPT TO:<address> [NOTIFY= ORCPT=]";
	case SMTP_BDAT:
		/* its octets follow, and nobody knows how many */
		return "521 5.5.4 Syntax: BDAT size [LAST]; closing";
	case SMTP_AUTH:
		return "501 5.5.4 Syntax: AUTH mechanism [initial-response]";
	case SMTP_VRFY:
	case SMTP_EXPN:
		return "501 5.5.4 An argument is needed";
	case SMTP_DATA:
	case SMTP_RSET:
	case SMTP_QUIT:
	case SMTP_STARTTLS:
	case SMTP_NOOP:
	case SMTP_HELP:
	case SMTP_UNKNOWN:
		break;
	}
	return "501 5.5.4 This command takes no argument";
}

const char *smtp_command_reply(const struct smtp_command *c)
{
	switch (c->syntax) {
	case SMTP_SYNTAX_ARGUMENT:
		return argument_reply(c->verb);
	case SMTP_SYNTAX_ADDRESS:
		return c->verb == SMTP_MAIL
			       ? "501 5.1.7 Bad sender address; write MAIL FROM:<user@example.com>"
			       : "501 5.1.3 Bad recipient address; write RCPT "
				 "TO:<user@example.com>";
	case SMTP_SYNTAX_PARAMETER:
		return "555 5.5.4 Parameter not recognized";
	case SMTP_SYNTAX_DUPLICATE:
		return "501 5.5.4 Parameter given twice";
	case SMTP_SYNTAX_NON_ASCII:
		return "553 5.6.7 Non-ASCII address; give the SMTPUTF8 parameter to MAIL";
	case SMTP_SYNTAX_CONTROL:
		return c->verb == SMTP_BDAT
			       ? argument_reply(c->verb)
			       : "501 5.5.2 Control characters are not allowed in commands";
	case SMTP_SYNTAX_UNKNOWN:
	case SMTP_SYNTAX_OK:
		break;
	}
	return "500 5.5.2 Command not recognized";
}
