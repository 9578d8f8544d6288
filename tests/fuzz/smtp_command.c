/* Command lines. What is found to be right must be right: slices lie in the line, addresses parse
 * again. */
#include <stdint.h>
#include <stdlib.h>

#include "postern/must.h"
#include "postern/smtp_command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct slice s, struct slice line)
{
	must(!s.p || s.n == 0 || (s.p >= line.p && s.p + s.n <= line.p + line.n));
}

static void check_path(const struct smtp_command *c)
{
	struct smtp_path again;

	if (c->path.address.n == 0) {
		must(c->verb == SMTP_MAIL);
		return;
	}
	must(smtp_mailbox_parse(&again, c->path.address, c->verb == SMTP_RCPT) == 0);
	must(slice_eq(again.local, c->path.local) && slice_eq(again.domain, c->path.domain));
	for (size_t i = 0; i < c->path.address.n; i++)
		must((unsigned char)c->path.address.p[i] >= 0x20 && c->path.address.p[i] != 0x7f);
	must(c->path.domain.n == 0 || c->path.domain.p[0] == '[' ||
		smtp_domain_valid(c->path.domain));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice line = { (const char *)data, size };
	struct smtp_command c;

	smtp_command_parse(&c, line);
	must(c.verb <= SMTP_UNKNOWN && smtp_verb_name(c.verb));
	if (c.syntax != SMTP_SYNTAX_OK) {
		must(smtp_command_reply(&c)[0] == '5');
		return 0;
	}
	must(c.verb != SMTP_UNKNOWN);
	check_inside(c.argument, line);
	check_inside(c.initial, line);
	check_inside(c.path.address, line);
	check_inside(c.envid, line);
	check_inside(c.orcpt, line);
	if (c.verb == SMTP_MAIL || c.verb == SMTP_RCPT)
		check_path(&c);
	must(!(c.notify & NOTIFY_NEVER) || c.notify == NOTIFY_NEVER);
	return 0;
}
