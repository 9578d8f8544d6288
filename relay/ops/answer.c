/* Text of others in JSON; lists of answers. Called by control commands, on their clients' threads
 * and on the dispatcher's, and by the command line. No state. */
#include "postern/answer.h"

#include "postern/foreign.h"

json_t *json_slice(struct slice s)
{
	json_t *j = s.n ? json_stringn(s.p, s.n) : json_string("");
	struct buf clean;

	if (j)
		return j;
	buf_init(&clean, 0);
	if (foreign_utf8(&clean, s) == 0)
		j = json_stringn(buf_slice(&clean).p, buf_size(&clean));
	buf_deinit(&clean);
	return j;
}

json_t *json_text(const char *s)
{
	return s ? json_slice(slice_of(s)) : json_null();
}

json_t *json_time(ms_t wall)
{
	char text[CLOCK_RFC3339_MAX];
	size_t n;

	if (!wall)
		return json_null();
	n = clock_rfc3339(text, wall);
	return json_slice((struct slice){ text, n });
}

void answers_add(json_t *array, json_t *entry)
{
	json_array_append_new(array, entry ? entry : json_null());
}
