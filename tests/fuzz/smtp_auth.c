/* AUTH exchanges: the input is lines, the first is what stands behind "AUTH ". */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../relay/smtp/sasl.h"
#include "postern/must.h"
#include "postern/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slice take(struct slice *in, char end)
{
	const char *at = in->n ? memchr(in->p, end, in->n) : NULL;
	struct slice s = { in->p, at ? (size_t)(at - in->p) : in->n };

	*in = slice_from(*in, s.n + 1);
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = { (const char *)data, size }, first, mechanism;
	enum sasl_status status;
	struct sasl s;

	if (size == 0)
		return 0;
	first = take(&in, '\n');
	mechanism = take(&first, ' ');
	status = sasl_start(&s, mechanism, first.n ? first : (struct slice){ NULL, 0 });
	for (unsigned n = 0; status == SASL_CHALLENGE; n++) {
		must(n < 3 && strlen(sasl_challenge(&s)) < 32);
		status = sasl_feed(&s, take(&in, '\n'));
	}
	if (status == SASL_DONE) {
		must(s.user[0] && strlen(s.user) <= SASL_USER_MAX &&
			strlen(s.password) <= SASL_PASSWORD_MAX);
		must(utf8_valid(slice_of(s.user)) && utf8_valid(slice_of(s.password)));
	}
	sasl_wipe(&s);
	must(!s.user[0] && !s.password[0]);
	return 0;
}
