/* `retry --all`: what waits for its time is due now. A million entries of the due index are not
 * written anew for that, one by one; a mark says when it was asked, and each domain's entries are
 * read once whatever their time, from the first on (feed.far). The operator is answered when the
 * mark is on disk. Called by operate.c, which marks the domains, and by turn.c once a second, on
 * the dispatcher's thread.
 *
 * Who was tried since the mark is not concerned, and the queue's record tells when that was. So a
 * new process goes through all again and tries nobody twice; and so does this one where mail that
 * it had read was put back untried, parked or for want of room. The mark is kept until all that
 * waited then has come due by itself.
 *
 * A pass ends with the domain's last entry. What is put off meanwhile, without having been tried,
 * comes behind and is read again; so that this ends, a pass looks at no more entries than there
 * were in all when it was asked for. */
#include "recall.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int load_one(void *arg, struct slice key, struct slice value)
{
	ms_t *at = arg;
	char text[32];
	int used = 0;

	(void)key;
	if (value.n >= sizeof(text))
		return 0;
	memcpy(text, value.p, value.n);
	text[value.n] = '\0';
	if (sscanf(text, "1 %" SCNd64 "%n", at, &used) != 1 || text[used] || *at < 0)
		*at = 0;
	return 0;
}

bool recall_recorded(struct dispatch *d, ms_t *at, uint64_t *most)
{
	ms_t wall = loop_wall(d->loop);

	*at = 0;
	if (queue_state_scan(d->queue, RECALL_KEY, load_one, at) || !*at ||
		queue_indexed(d->queue, most))
		return false; /* all wait for their time, as they would have */
	/* by a clock that was ahead, whoever is tried now would seem to have been tried before */
	*at = *at < wall ? *at : wall;
	return true;
}

bool recall_over(const struct dispatch *d)
{
	return d->clock.recall_at && loop_wall(d->loop) - d->clock.recall_at > d->clock.due_longest;
}
