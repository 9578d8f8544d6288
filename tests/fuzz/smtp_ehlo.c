/* Fuzz target: replies to EHLO, whole and line by line. */
#include <string.h>

#include "postern/must.h"
#include "postern/smtp_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct reply r;
	struct ehlo e;

	memset(&r, 0, offsetof(struct reply, text));
	r.code = 250;
	r.n = (uint32_t)(size < REPLY_TEXT_MAX - 1 ? size : REPLY_TEXT_MAX - 1);
	memcpy(r.text, data, r.n);
	r.text[r.n] = '\0';
	ehlo_parse(&e, &r);
	must(memchr(e.name, '\0', sizeof(e.name)));
	must(e.size_given || e.size == 0);
	return 0;
}
