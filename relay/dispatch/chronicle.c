/* The dispatcher's part in the history: what is settled is counted, ramps are sampled, closed
 * minutes are saved with the next commit. On its thread; the history itself asks for no time. */
#include "delivery_log.h"
#include "past.h"
#include "postern/history.h"
#include "shelf.h"

_Static_assert(VERDICT_COUNT <= HISTORY_VERDICTS, "saved by number: only ever add at the end");

/* Of the queue's file at most a part goes to it. */
#define PART_OF_FILE 32u
#define MEMORY_MAX   (22u << 20)

int chronicle_new(struct dispatch *d)
{
	struct history_params p = { .memory = MEMORY_MAX };
	struct queue_stats q;

	queue_stats(d->queue, &q);
	if (q.bytes_max / PART_OF_FILE < p.memory)
		p.memory = q.bytes_max / PART_OF_FILE;
	d->past = calloc(1, sizeof(*d->past));
	if (!d->past)
		return -ENOMEM;
	d->past->shelf = calloc(1, sizeof(*d->past->shelf));
	return d->past->shelf ? history_new(&d->past->history, &p) : -ENOMEM;
}

void chronicle_free(struct dispatch *d)
{
	if (!d->past)
		return;
	transcripts_free(d);
	history_free(d->past->history);
	free(d->past);
	d->past = NULL;
}

/* ---- over restarts ---- */

struct loading {
	struct history *history;
	unsigned damaged;
};

static int load_entry(void *arg, struct slice key, struct slice value)
{
	struct loading *l = arg;

	l->damaged += history_load(l->history, key, value) != 0;
	return 0;
}

void chronicle_load(struct dispatch *d)
{
	struct loading l = { d->past->history, 0 };
	int r = queue_state_scan(d->queue, SLICE_LIT(HISTORY_PREFIX), load_entry, &l);

	if (r)
		log_event(d->log, LOG_ERR, EVENT_HISTORY_UNREAD, "the history cannot be read: %s",
			strerror(-r));
	if (l.damaged)
		log_event(d->log, LOG_WARN, EVENT_HISTORY_DAMAGED,
			"%u periods of the history cannot be read and are left out", l.damaged);
	history_begin(d->past->history, loop_wall(d->loop));
	transcripts_load(d);
}

static void sample_ramp(void *arg, const struct policy_warmup_info *i)
{
	struct history_ramp r = { i->source, i->provider, i->change, i->why, .day = i->day,
		.rung = i->rung, .rungs = i->nrungs, .allowance = i->allowance, .used = i->used,
		.delivered = i->delivered, .deferred = i->deferred };

	if (i->day > 0)
		history_ramp(arg, &r);
}

static void sample(struct dispatch *d)
{
	struct queue_stats q;

	if (d->params->nwarmups)
		policy_warmups(d->policy, now_of(d), sample_ramp, d->past->history);
	queue_stats(d->queue, &q);
	if (q.recipients)
		history_waiting(d->past->history, "", "", "", q.recipients, 0);
}

bool chronicle_due(const struct dispatch *d)
{
	return !d->life.quiet && history_due(d->past->history, loop_wall(d->loop));
}

void chronicle_keep(struct dispatch *d, history_put *put, void *arg)
{
	ms_t wall = loop_wall(d->loop);

	if (history_due(d->past->history, wall)) {
		sample(d);
		history_tick(d->past->history, wall, put, arg);
	} else {
		history_flush(d->past->history, wall, put, arg);
	}
	transcripts_save(d, put, arg);
}

/* ---- what happens ---- */

static void lane_of(struct dispatch *d, const struct connection *c, struct history_lane *ret)
{
	struct policy_slot_info info;

	policy_slot(d->policy, c->match.slot, &info);
	*ret = (struct history_lane){ .source = c->source_name,
		.subnet = c->subnet,
		.cluster = info.cluster ? info.cluster : "",
		.provider = provider_of(d, c->match.provider)->name };
}

void chronicle_connection(struct dispatch *d, const struct connection *c, bool well)
{
	struct history_lane l;

	lane_of(d, c, &l);
	history_connected(d->past->history, &l, well);
}

/* What a receiver refused counts as deferred, whoever it waits for then. */
static bool what_of(const struct log_attempt *a, enum history_what *ret)
{
	if (a->event == EVENT_DELIVERED)
		*ret = HISTORY_IS_DELIVERED;
	else if (a->event == EVENT_BOUNCED)
		*ret = HISTORY_IS_BOUNCED;
	else if (a->event == EVENT_DEFERRED || (a->event == EVENT_HELD && a->reply))
		*ret = HISTORY_IS_DEFERRED;
	else
		return false;
	return true;
}

void chronicle_attempt(struct dispatch *d, const struct log_attempt *a)
{
	struct history_result r = { .bytes = a->message->size,
		.verdict = a->verdict ? a->item->verdict : (unsigned)VERDICT_TRANSIENT_OTHER };
	struct history_lane l;

	if (!what_of(a, &r.what))
		return;
	if (r.what == HISTORY_IS_DELIVERED)
		r.delay = loop_wall(d->loop) - a->message->arrived;
	if (a->connection)
		lane_of(d, a->connection, &l);
	history_result(d->past->history, a->connection ? &l : NULL, a->message->pool, &r);
}
