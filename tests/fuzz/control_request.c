/* Control requests: whatever a client sends is refused with a sentence, or is an object whose
 * members can be asked for; and what is kept goes into an answer as valid JSON. */
#include <stdint.h>
#include <string.h>

#include "../../relay/ops/control.h"
#include "postern/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask_for(const json_t *request, const char *key)
{
	const char *text = request_str(request, key);
	char domain[REQUEST_DOMAIN];
	char *dumped;
	json_t *j;
	uint64_t id;

	request_bool(request, key);
	must(request_id(request, key, &id) <= 0);
	if (request_domain(request, key, domain) == 0)
		must(strlen(domain) == strlen(text));
	j = json_pack("{so}", "text", json_text(text));
	must(j);
	dumped = json_dumps(j, JSON_COMPACT);
	must(dumped && !strchr(dumped, '\n'));
	free(dumped);
	json_decref(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *why, *key;
	json_t *request = request_parse((struct slice){ (const char *)data, size }, &why), *v, *raw;

	must(!request == !!why);
	/* the same bytes as text of others */
	raw = json_slice((struct slice){ (const char *)data, size });
	must(raw && json_is_string(raw));
	json_decref(raw);
	if (!request)
		return 0;
	must(request_str(request, "command"));
	json_object_foreach(request, key, v) ask_for(request, key);
	ask_for(request, "id");
	ask_for(request, "domain");
	json_decref(request);
	return 0;
}
