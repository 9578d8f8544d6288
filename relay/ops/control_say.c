/* A control command's answer on its way to the client: lines of JSON, gathered until they are worth
 * a system call. Called by the commands on their client's thread, which alone has the client; who is
 * slow holds up nobody else. What could not be made or sent is remembered and told at the end. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "control.h"
#include "postern/foreign.h"

#define GATHER (32 * 1024)

bool control_flush(struct control_client *c)
{
	struct slice s = buf_slice(&c->out);
	ssize_t n;

	while (s.n && !c->broken) {
		n = send(c->fd, s.p, s.n, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			c->broken = true;
		else
			s = slice_from(s, (size_t)n);
	}
	buf_reset(&c->out);
	return !c->broken;
}

bool control_say(struct control_client *c, json_t *object)
{
	char *text = json_is_object(object) ? json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER)
					    : NULL;

	json_decref(object);
	if (!text)
		c->lost = true;
	else if (buf_add_str(&c->out, text) || buf_add(&c->out, "\n", 1))
		c->broken = true; /* out of memory: the closing line will be missing, which the
				     client reports */
	free(text);
	if (buf_size(&c->out) >= GATHER)
		control_flush(c);
	return !c->broken;
}

void control_say_all(struct control_client *c, json_t *array)
{
	json_t *entry;
	size_t i;

	if (!array)
		c->lost = true;
	json_array_foreach(array, i, entry)
	{
		if (!control_say(c, json_incref(entry)))
			break;
	}
	json_decref(array);
}

void control_fail(struct control_client *c, int code, const char *fmt, ...)
{
	va_list ap;

	c->exit = code;
	va_start(ap, fmt);
	vsnprintf(c->error, sizeof(c->error), fmt, ap);
	va_end(ap);
	foreign_end(c->error);
}
