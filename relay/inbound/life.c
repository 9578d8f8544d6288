/* The inbound half of a worker: made before its loop starts, fed by its iterations, and its end.
 * Called by relay/worker on the worker's thread, but for birth and death and the counters.
 *
 *   accepting --drain--> draining --stop--> stopping
 *
 * Draining ends idle sessions and lets the others finish; stopping ends all. Each ends
 * with `empty`, when no session is left. */
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "inbound.h"
#include "postern/must.h"

int inbound_new(struct inbound **ret, const struct inbound_params *p)
{
	struct inbound *ib = calloc(1, sizeof(*ib));

	if (!ib)
		return -ENOMEM;
	ib->p = *p;
	ib->loop = p->loop;
	buf_init(&ib->out, 0);
	log_line_init(&ib->line);
	loop_mailbox_add(p->loop, &ib->answers, inbound_answers, ib);
	*ret = ib;
	return 0;
}

struct inbound *inbound_free(struct inbound *ib)
{
	if (!ib)
		return NULL;
	inbound_free_listeners(ib);
	log_line_deinit(&ib->line);
	buf_deinit(&ib->out);
	free(ib);
	return NULL;
}

void inbound_started(struct inbound *ib)
{
	must(uv_timer_init(loop_uv(ib->loop), &ib->starved_timer) == 0);
	ib->starved_timer.data = ib;
}

void inbound_stopping(struct inbound *ib)
{
	uv_close((uv_handle_t *)&ib->starved_timer, NULL);
}

/* ---- what goes out once an iteration ---- */

void inbound_post_job(struct inbound *ib, struct queue_job *job)
{
	mpsc_batch_add(&ib->jobs, &job->node);
}

void inbound_post(struct inbound *ib)
{
	if (ib->jobs.first)
		queue_post_batch(ib->p.queue, &ib->jobs);
}

/* ---- the end ---- */

void inbound_session_gone(struct inbound *ib)
{
	must(ib->live > 0);
	if (--ib->live == 0)
		ib->p.empty(ib->p.arg);
}

bool inbound_is_ending(const struct inbound *ib)
{
	return ib->draining || ib->stopping;
}

void inbound_drain(struct inbound *ib)
{
	ib->draining = true;
	inbound_close_listeners(ib);
	ib->live++; /* so that ending the last session inside the call is no special case */
	inbound_end_idle(ib);
	inbound_session_gone(ib);
}

void inbound_stop(struct inbound *ib, const char *reply)
{
	ib->draining = true;
	inbound_close_listeners(ib);
	ib->live++; /* as above */
	ib->stopping = true;
	inbound_end_all(ib, reply);
	inbound_session_gone(ib);
}

void inbound_stats(struct inbound *ib, struct inbound_stats *ret)
{
	const struct inbound_counters *c = &ib->count;

	*ret = (struct inbound_stats){
		.sessions = count_of(&c->sessions),
		.sessions_refused = count_of(&c->sessions_refused),
		.messages = count_of(&c->messages),
		.recipients = count_of(&c->recipients),
		.bytes = count_of(&c->bytes),
		.rejected_messages = count_of(&c->rejected_messages),
		.auth_failures = count_of(&c->auth_failures),
		.tls_sessions = count_of(&c->tls_sessions),
		.open = atomic_load_explicit(&c->open, memory_order_relaxed),
	};
}
