/* Requests of the control socket: bytes of a client that may be anybody with access to it, into an
 * object that commands may look into. Called on clients' threads. No state; does no I/O, so that it
 * is fuzzed as it is. */
#include <errno.h>
#include <string.h>

#include "control.h"

/* Names, ids, durations: nothing that a command takes is longer. */
#define TEXT_MAX 1024u
#define KEYS_MAX 64u

static bool plain(const json_t *v)
{
	if (json_is_string(v))
		return json_string_length(v) <= TEXT_MAX;
	return json_is_boolean(v) || json_is_integer(v) || json_is_null(v);
}

json_t *request_parse(struct slice line, const char **why)
{
	json_t *request = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, NULL), *v;
	const char *key;

	*why = "not a request: expected {\"command\": …} on one line";
	if (!json_is_object(request) || !request_str(request, "command"))
		goto refuse;
	*why = "not a request: too many members";
	if (json_object_size(request) > KEYS_MAX)
		goto refuse;
	*why = "not a request: members are texts of at most 1,024 bytes, whole numbers, true and "
	       "false";
	json_object_foreach(request, key, v)
	{
		if (!plain(v))
			goto refuse;
	}
	*why = NULL;
	return request;
refuse:
	json_decref(request);
	return NULL;
}

const char *request_str(const json_t *request, const char *key)
{
	return json_string_value(json_object_get(request, key));
}

bool request_bool(const json_t *request, const char *key)
{
	return json_is_true(json_object_get(request, key));
}

int request_id(const json_t *request, const char *key, uint64_t *id)
{
	const char *text = request_str(request, key);

	if (!text)
		return -ENOENT;
	return queue_id_parse(id, slice_of(text));
}

int request_domain(const json_t *request, const char *key, char ret[REQUEST_DOMAIN])
{
	const char *given = request_str(request, key);
	size_t n = given ? strlen(given) : 0;

	if (!given)
		return -ENOENT;
	if (n == 0 || n >= REQUEST_DOMAIN)
		return -EINVAL;
	for (size_t i = 0; i <= n; i++)
		ret[i] = given[i] >= 'A' && given[i] <= 'Z' ? (char)(given[i] | 0x20) : given[i];
	return 0;
}
