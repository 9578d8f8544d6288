/* Requests of the control socket: bytes of a client that may be anybody with access to it, into an
 * object that commands may look into. Called on clients' threads. No state; does no I/O, so that it
 * is fuzzed as it is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control.h"
#include "postern/dns.h"

/* Names, ids, durations: nothing that a command takes is longer. */
#define TEXT_MAX 1024u
#define KEYS_MAX 64u

static bool plain(const json_t *v);

/* A list of texts: the terms of a selector. Its length is bounded by the request's. */
static bool texts(const json_t *v)
{
	const json_t *one;
	size_t i;

	if (!json_is_array(v))
		return false;
	json_array_foreach(v, i, one)
	{
		if (!json_is_string(one) || !plain(one))
			return false;
	}
	return true;
}

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
	*why = "not a request: members are texts of at most 1,024 bytes, lists of such, whole "
	       "numbers, true and false";
	json_object_foreach(request, key, v)
	{
		if (!plain(v) && !texts(v))
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

static int add_member(
	struct selector *s, const json_t *request, const char *key, const char *word, char *why)
{
	const char *text = request_str(request, key);
	char value[SELECTOR_VALUE_MAX + 1];

	if (!text)
		return 0;
	snprintf(value, sizeof(value), "%s%s", strcmp(word, "to") ? "" : "@", text);
	return selector_add(s, slice_of(word), slice_of(value), why, REQUEST_WHY);
}

int request_selector(
	const json_t *request, bool no_reason, struct selector **ret, char why[REQUEST_WHY])
{
	const json_t *terms = json_object_get(request, "select"), *term;
	struct selector *s;
	size_t i;
	int r;

	snprintf(why, REQUEST_WHY, "out of memory");
	r = selector_new(&s, domain_to_ascii);
	if (r)
		return r;
	json_array_foreach(terms, i, term)
	{
		const char *text = json_string_value(term);

		if (no_reason && !strncmp(text, "reason=", 7))
			continue;
		r = selector_add_text(s, slice_of(text), why, REQUEST_WHY);
		if (r)
			break;
	}
	if (!r)
		r = add_member(s, request, "id", "id", why);
	if (!r)
		r = add_member(s, request, "domain", "to", why);
	if (r)
		selector_free(s);
	else
		*ret = s;
	return r;
}
