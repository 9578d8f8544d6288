/* Entries of the learned state on their way to disk: put together by whoever learned something, kept
 * until the writer's answer. Called by everything of this room that outlives the process, on the
 * dispatcher's thread. What belongs to it, and how it is read at the start: learned.c. */
#include "state.h"

#include <errno.h>
#include <stdlib.h>

#include "post.h"

struct saving {
	struct queue_state_put put;
	bool failed;
	uint64_t ticket; /* of a warm-up's save; 0: none */
};

struct saving *saving_new(void)
{
	return calloc(1, sizeof(struct saving));
}

void saving_add(void *arg, struct slice key, struct slice value)
{
	struct saving *s = arg;
	struct queue_state_entry *e, *all;
	char *k, *v = NULL;

	all = realloc(s->put.entries, (s->put.n + 1) * sizeof(*all));
	if (all)
		s->put.entries = all;
	k = slice_dup(key);
	if (value.p)
		v = slice_dup(value);
	if (!all || !k || (value.p && !v)) {
		free(k);
		free(v);
		s->failed = true;
		return;
	}
	e = &all[s->put.n++];
	e->key = (struct slice){ k, key.n };
	e->value = (struct slice){ v, value.n };
}

static void saving_free(struct saving *s)
{
	for (uint32_t i = 0; i < s->put.n; i++) {
		free((void *)(uintptr_t)s->put.entries[i].key.p);
		free((void *)(uintptr_t)s->put.entries[i].value.p);
	}
	free(s->put.entries);
	free(s);
}

void saving_post(struct dispatch *d, struct saving *s)
{
	if (s->failed)
		log_event(
			d->log, LOG_ERR, EVENT_OUT_OF_MEMORY, "learned state is not saved in full");
	if (!s->put.n) {
		saving_free(s);
		return;
	}
	s->put.job.kind = QUEUE_STATE;
	job_post(d, &s->put.job, JOB_STATE);
}

int state_put(struct dispatch *d, struct slice key, struct slice value)
{
	struct saving *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	saving_add(s, key, value);
	if (s->failed) {
		saving_free(s);
		return -ENOMEM;
	}
	s->put.job.kind = QUEUE_STATE;
	s->put.urgent = true;
	job_post(d, &s->put.job, JOB_STATE);
	return 0;
}

void warmup_save(struct dispatch *d)
{
	struct saving *s = calloc(1, sizeof(*s));
	uint64_t ticket;

	if (!s)
		return; /* asked for again at the next turn */
	policy_save_warmup(d->policy, now_of(d), saving_add, s, &ticket);
	s->ticket = ticket;
	if (s->failed || !s->put.n) {
		policy_warmup_saved(d->policy, now_of(d), ticket, !s->failed);
		saving_free(s);
		return;
	}
	s->put.job.kind = QUEUE_STATE;
	s->put.urgent = true;
	job_post(d, &s->put.job, JOB_STATE);
}

void state_answer(struct dispatch *d, struct queue_job *j)
{
	struct saving *s = container(container(j, struct queue_state_put, job), struct saving, put);

	if (s->ticket)
		policy_warmup_saved(d->policy, now_of(d), s->ticket, j->result == 0);
	saving_free(s);
}
