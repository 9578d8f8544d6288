/* The users file: whatever it holds, loading ends in users or in one sentence that names a line,
 * and no password of nobody is right. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "postern/inbound.h"
#include "postern/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = { (const char *)data, size };
	struct users *u = NULL;
	char error[256] = "";
	int r = users_parse(&u, text, "users", error, sizeof(error));

	if (r) {
		must(!u && strncmp(error, "users:", 6) == 0);
		must(memchr(error, '\0', sizeof(error)) && !strpbrk(error, "\n\r\x1b"));
		return 0;
	}
	must(u && error[0] == '\0' && users_generation(u) > 0);
	users_unref(users_ref(u));
	users_unref(u);
	return 0;
}
