/* A configuration file of any bytes is refused with positions, or understood: then what it means
 * prints as a configuration that means the same. */
#include <errno.h>

#include "postern/config.h"
#include "postern/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_errors(const struct buf *errors, bool needed)
{
	struct slice left = buf_slice(errors);

	must(left.n > 0 || !needed);
	while (left.n > 0) {
		const char *end = memchr(left.p, '\n', left.n);

		must(end && slice_case_prefix(left, SLICE_LIT("fuzz:")));
		must(left.p[5] >= '1' && left.p[5] <= '9');
		left = slice_from(left, (size_t)(end - left.p) + 1);
	}
}

static void check_again(const struct config *c)
{
	struct config *again = NULL;
	struct buf first, second, errors;

	buf_init(&first, 0);
	buf_init(&second, 0);
	buf_init(&errors, 0);
	must(config_dump(&first, c, false) == 0);
	must(config_parse(&again, "fuzz", buf_slice(&first), &errors) == 0);
	must(config_dump(&second, again, false) == 0);
	must(slice_eq(buf_slice(&first), buf_slice(&second)));
	must(config_reloadable(c, again, &errors));
	config_free(again);
	buf_deinit(&first);
	buf_deinit(&second);
	buf_deinit(&errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *c = NULL;
	struct buf errors;
	int r;

	buf_init(&errors, 0);
	r = config_parse(&c, "fuzz", (struct slice){ (const char *)data, size }, &errors);
	must(r == 0 || r == -EINVAL || r == -ENOMEM);
	check_errors(&errors, r == -EINVAL);
	if (c)
		check_again(c);
	config_free(c);
	buf_deinit(&errors);
	return 0;
}
