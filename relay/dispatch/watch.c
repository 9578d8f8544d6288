/* What the dispatcher watches of its neighbours once a second, on its own thread: whether somebody
 * keeps the queue's file from giving space back. Told once when it begins and once when it is over.
 */
#include "watch.h"

#include <stdio.h>

#define READER_TELL_MS 30000u /* a check of a large queue takes seconds */

static void tell_reader(struct dispatch *d, const struct queue_stats *s, bool over)
{
	char text[256];

	if (over)
		snprintf(
			text, sizeof(text), "the reader that kept the queue's freed space is gone");
	else
		snprintf(text, sizeof(text),
			"process %d has been reading the queue's file for %llu s: no space that is "
			"freed "
			"can be used until it goes on or ends",
			s->reader_pid, (unsigned long long)s->reader_ms / 1000);
	log_line_begin(&d->line, loop_wall(d->loop), log_event_name(EVENT_QUEUE_READER));
	log_line_cstr(&d->line, "level", over ? "notice" : "warning");
	log_line_cstr(&d->line, "message", text);
	log_line_bool(&d->line, "alarm", !over);
	log_emit(d->log, &d->line);
}

void watch_tick(struct dispatch *d)
{
	struct queue_stats s;
	bool lasts;

	queue_stats(d->queue, &s);
	lasts = s.reader_ms >= READER_TELL_MS;
	if (lasts != d->clock.reader_told)
		tell_reader(d, &s, !lasts);
	d->clock.reader_told = lasts;
}
