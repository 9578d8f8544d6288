/* PROXY prefaces: a verdict about some bytes does not change when more come. */
#include <stdint.h>
#include <stdlib.h>

#include "postern/must.h"
#include "postern/smtp_proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum proxy_status before = PROXY_MORE;
	size_t from = size > 300 ? size - 300 : 0, used, first_used = 0;
	struct proxy_header h;

	for (size_t n = from; n <= size; n++) {
		enum proxy_status s =
			proxy_parse(&h, (struct slice){ (const char *)data, n }, &used);

		must(used <= n && (s == PROXY_DONE) == (used > 0));
		if (before != PROXY_MORE)
			must(s == before && used == first_used);
		if (s == PROXY_MORE)
			must(n < PROXY_V2_MAX);
		if (s == PROXY_DONE)
			must(h.local || h.client.family == ADDR_V4 || h.client.family == ADDR_V6);
		before = s;
		first_used = used;
	}
	return 0;
}
