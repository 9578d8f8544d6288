/* The writer thread: jobs in, one transaction and one sync for many of them, answers out.
 *
 * gather (gather.c) → run the batch in one transaction → commit → answers, one wake-up a mailbox.
 * Nothing is answered before the commit is on disk. A job that breaks its transaction is answered
 * alone, and the batch is run again without it; without space new mail is refused, and settling
 * goes on in small transactions; after a failed commit every job of it fails and the file is
 * opened again. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "postern/must.h"
#include "queue_impl.h"

/* Pages a transaction writes at most, about: its dirty pages are memory of ours until the commit.
 */
#define PAGES_MAX 1024u
/* After a failure for lack of space what is left goes in transactions of this many jobs, which
 * need few new pages each and give some back to the next but one. */
#define GROUP_AFTER_FULL 64u
/* Bodies without message removed along with jobs, and in a transaction of their own. */
#define REAP_ALONG	256u
#define REAP_ALONE	1024u
#define REOPEN_EVERY_US 100000u
/* Chores that failed (no space, damage) are left alone for so long: jobs must not wait for them. */
#define CHORES_AGAIN_US 1000000u
#define MAILBOXES	64u
/* What goes along with mail in one transaction, at least or at most: in a deep queue each outcome
 * and each flag of an operator's pass writes pages of its own, all over the file, and who brings
 * mail waits for them. */
#define OUTCOMES_ALONG 64u
#define LATER_ALONG    16u
#define LATER_ALONE    2048u
#define MAIL_LATELY_US 200000u /* who brought mail may be about to bring more */

/* ---- answers ---- */

/* One post and at most one wake for each mailbox and transaction. */
struct answers {
	struct mpsc *box[MAILBOXES];
	struct mpsc_batch batch[MAILBOXES];
	unsigned n, last;
};

static void answers_flush(struct answers *a)
{
	for (unsigned i = 0; i < a->n; i++)
		mpsc_batch_post(&a->batch[i], a->box[i]);
	a->n = a->last = 0;
}

static void answers_add(struct answers *a, struct mpsc *box, struct mpsc_node *node)
{
	unsigned i = a->last;

	if (i >= a->n || a->box[i] != box) {
		for (i = 0; i < a->n && a->box[i] != box; i++)
			;
	}
	if (i == MAILBOXES) {
		answers_flush(a);
		i = 0;
	}
	if (i == a->n) {
		a->box[i] = box;
		a->batch[i] = (struct mpsc_batch){ 0 };
		a->n++;
	}
	a->last = i;
	mpsc_batch_add(&a->batch[i], node);
}

static void announce(struct queue *q, struct answers *out, const struct queue_accept *a)
{
	struct mpsc *fresh = atomic_load_explicit(&q->fresh, memory_order_acquire);
	struct message *m = a->message;

	if (!fresh)
		return;
	m->first_due = a->due;
	message_ref(m);
	answers_add(out, fresh, &m->fresh_node);
}

static bool is_new_mail(const struct queue_job *job)
{
	return job->kind == QUEUE_ACCEPT || job->kind == QUEUE_APPEND;
}

/* What those who ask how we are shall know. */
static void note_refusal(struct queue *q, int result)
{
	pthread_mutex_lock(&q->lock);
	q->refused.error = result;
	q->refused.at_us = clock_mono_us();
	q->refused.n++;
	pthread_mutex_unlock(&q->lock);
}

static void answer(struct queue *q, struct answers *out, struct queue_job *job, int result)
{
	if (result && result != -ENOENT && is_new_mail(job))
		note_refusal(q, result);
	if (job->kind == QUEUE_ACCEPT && !result)
		announce(q, out, (struct queue_accept *)job);
	if (job->kind == QUEUE_SETTLE && !result) {
		struct queue_settle *s = (struct queue_settle *)job;

		for (uint32_t i = 0; i < s->ndsn; i++)
			announce(q, out, s->dsn[i]);
	}
	if (job->kind == QUEUE_APPEND) {
		struct queue_append *a = (struct queue_append *)job;

		body_blocks_free(a->blocks);
		a->blocks = NULL;
	}
	job->result = result;
	atomic_fetch_add_explicit(&q->answered, 1, memory_order_relaxed);
	/* Who has its fence may free its mailboxes: what else is for it must be there by then, also
	 * the mail of a notification that was stored with the fence. */
	if (job->kind == QUEUE_FENCE)
		answers_flush(out);
	if (job->reply_to)
		answers_add(out, job->reply_to, &job->node);
	else
		free(job);
}

/* ---- one transaction ---- */

static int execute(struct qtxn *t, struct queue_job *job)
{
	switch (job->kind) {
	case QUEUE_ACCEPT:
		return qtxn_accept(t, (struct queue_accept *)job);
	case QUEUE_APPEND:
		return qtxn_append(t, (struct queue_append *)job);
	case QUEUE_DISCARD:
		return qtxn_discard(t, ((struct queue_append *)job)->id);
	case QUEUE_SETTLE:
		return qtxn_settle(t, (struct queue_settle *)job);
	case QUEUE_STATE:
		return qtxn_state(t, (struct queue_state_put *)job);
	case QUEUE_FLAG:
		return qtxn_flag(t, (struct queue_flag *)job, &((struct queue_flag *)job)->changed);
	case QUEUE_FENCE:
		return 0;
	}
	return -EINVAL;
}

static int run_fixes(struct queue *q)
{
	struct fix fixes[FIXES_MAX];
	uint32_t n;
	int r = 0;

	pthread_mutex_lock(&q->lock);
	n = q->fixes.n;
	memcpy(fixes, q->fixes.all, n * sizeof(fixes[0]));
	q->fixes.n = 0;
	pthread_mutex_unlock(&q->lock);
	for (uint32_t i = 0; i < n && !r; i++)
		r = qtxn_fix(&q->txn, &fixes[i]);
	return r;
}

/* What the writer does for itself, along with the jobs. */
static int housekeeping(struct queue *q, uint32_t reap)
{
	struct qtxn *t = &q->txn;
	uint64_t next = atomic_load_explicit(&q->next_id, memory_order_relaxed);
	int r;

	if (next + QUEUE_ID_BLOCK / 2 > t->totals.id_limit) {
		t->totals.id_limit = next + QUEUE_ID_BLOCK;
		t->dirty = true;
	}
	if (clock_mono_us() < q->chores_at_us)
		return 0;
	r = run_fixes(q);
	if (!r && (q->loose_waits || t->more_loose))
		r = qtxn_reap(t, reap);
	return r ? r : sweep_step(q);
}

static void publish(struct queue *q, bool failed)
{
	struct qtxn *t = &q->txn;

	if (!failed) {
		q->now.messages = t->totals.messages;
		q->now.recipients = t->totals.recipients;
		q->now.content_bytes = t->totals.bytes;
		q->now.accepted += t->accepted;
		q->now.settled += t->settled;
		q->now.full = t->room < 64;
		atomic_store_explicit(&q->id_limit, t->totals.id_limit, memory_order_relaxed);
		atomic_store(&q->ids_short, false);
	} else {
		q->now.failed_commits++;
	}
	q->now.bytes_max = q->store.map_size;
	pthread_mutex_lock(&q->lock);
	q->stats = q->now;
	pthread_mutex_unlock(&q->lock);
}

static void publish_readers(struct queue *q)
{
	if (!readers_look(q))
		return;
	pthread_mutex_lock(&q->lock);
	q->readers_seen = q->readers;
	pthread_mutex_unlock(&q->lock);
}

static int commit(struct queue *q)
{
	struct qtxn *t = &q->txn;
	bool dirty = t->dirty;
	uint64_t from = clock_mono_us();
	int r;

	q->now.bytes_used = store_pages_used(&q->store, t->txn) * q->store.page_size;
	r = qtxn_commit(t);
	q->last_commit_us = clock_mono_us();
	q->commit_us = q->last_commit_us - from;
	/* before the answers: who is answered comes again, and would count twice */
	gather_count(q);
	if (dirty && !r) {
		/* LMDB syncs the data, then writes its meta page through a synchronous descriptor
		 */
		q->now.syncs += 2;
		q->now.commits++;
		q->now.commit_us_total += q->last_commit_us - from;
	}
	publish(q, r != 0);
	store_touched(&q->store, t->pages * q->store.page_size);
	return r;
}

enum step { STEP_DONE, STEP_CULPRIT, STEP_COMMIT_FAILED };

/* Runs jobs[0..n) or, when they write much, a first part of them; *done says how many. Results are
 * in the jobs, not yet answered. STEP_CULPRIT: jobs[*done] broke the transaction with *error. */
static enum step transact(
	struct queue *q, struct queue_job **jobs, uint32_t n, uint32_t *done, int *error)
{
	struct qtxn *t = &q->txn;
	uint32_t i;

	*done = 0;
	*error = q->reopen.error;
	if (!q->store.env)
		return STEP_COMMIT_FAILED;
	store_allocate_ahead(&q->store);
	*error = qtxn_begin(t, q->reserve);
	if (*error)
		return STEP_COMMIT_FAILED;
	for (i = 0; i < n && t->pages < PAGES_MAX; i++) {
		jobs[i]->result = execute(t, jobs[i]);
		if (t->broken) {
			*done = i;
			*error = jobs[i]->result;
			qtxn_abort(t);
			return STEP_CULPRIT;
		}
	}
	*done = i;
	*error = housekeeping(q, n > 0 ? REAP_ALONG : REAP_ALONE);
	if (*error) {
		qtxn_abort(t);
		q->chores_at_us = clock_mono_us() + CHORES_AGAIN_US;
		return n > 0 ? transact(q, jobs, n, done, error) : STEP_COMMIT_FAILED;
	}
	q->loose_waits = t->more_loose || (q->loose_waits && clock_mono_us() < q->chores_at_us);
	*error = commit(q);
	/* before the answers: whoever is told shall find it; and the names are theirs */
	if (!*error)
		t->young_strays = !qtxn_young_apply(t);
	return *error ? STEP_COMMIT_FAILED : STEP_DONE;
}

/* ---- batches ---- */

struct batch {
	struct queue_job **jobs;
	uint32_t pos, n, group;
	unsigned failures;
	struct answers out;
};

/* Answers the jobs for which which() holds, and closes the gaps. */
static void refuse(struct queue *q, struct batch *b, bool only_new, int result)
{
	uint32_t kept = b->pos;

	for (uint32_t i = b->pos; i < b->n; i++) {
		if (!only_new || is_new_mail(b->jobs[i]))
			answer(q, &b->out, b->jobs[i], result);
		else
			b->jobs[kept++] = b->jobs[i];
	}
	b->n = kept;
}

static void refuse_one(struct queue *q, struct batch *b, uint32_t i, int result)
{
	answer(q, &b->out, b->jobs[i], result);
	memmove(&b->jobs[i], &b->jobs[i + 1], (b->n - i - 1) * sizeof(b->jobs[0]));
	b->n--;
}

static void reopen(struct queue *q)
{
	uint64_t now = clock_mono_us();

	if (now < q->reopen.at_us)
		return;
	q->reopen.error = store_reopen(&q->store);
	if (q->reopen.error) {
		q->reopen.at_us = now + REOPEN_EVERY_US;
		return;
	}
	q->reopen.suspect = false;
}

static bool is_space(int r)
{
	return r == -ENOSPC || r == -ENOBUFS || r == -EDQUOT || r == -EFBIG;
}

/* What processes kept that are gone may be all that is needed. */
static bool room_after_all(struct queue *q, const struct batch *b)
{
	return b->failures < 2 && readers_clear(q) > 0;
}

/* One job made the transaction impossible. For lack of space, new mail is refused; else that job
 * alone. */
static void after_culprit(struct queue *q, struct batch *b, uint32_t done, int error)
{
	uint32_t before = b->n;

	if (is_space(error) && room_after_all(q, b))
		return;
	if (is_space(error)) {
		refuse(q, b, true, -ENOSPC);
		if (b->n < before)
			return;
		if (b->group == 1) /* alone, and still it does not fit */
			refuse_one(q, b, b->pos + done, -ENOSPC);
		b->group = b->group > GROUP_AFTER_FULL ? GROUP_AFTER_FULL : 1;
	} else {
		refuse_one(q, b, b->pos + done, error);
		if (b->failures > 2)
			b->group = 1;
	}
}

/* Nothing of it is on disk, or nobody knows: no one is told that it is. Settling is tried once
 * more. */
static void after_failed_commit(struct queue *q, struct batch *b, int error)
{
	if (is_space(error) && q->store.env && room_after_all(q, b))
		return;
	if (is_space(error) && q->store.env) {
		q->store.disk_tight = true;
	} else {
		q->reopen.suspect = true;
		reopen(q);
	}
	refuse(q, b, true, is_space(error) ? -ENOSPC : error);
	b->group = GROUP_AFTER_FULL;
	if (b->failures > 1)
		refuse(q, b, false, error);
}

static void run_batch(struct queue *q, uint32_t n)
{
	struct batch b = { .jobs = q->batch, .n = n, .group = n };

	q->now.jobs += n;
	if (n > q->now.largest_batch)
		q->now.largest_batch = n;
	if (q->reopen.suspect)
		reopen(q);
	do {
		uint32_t take = b.n - b.pos < b.group ? b.n - b.pos : b.group, done;
		int error;

		switch (transact(q, b.jobs + b.pos, take, &done, &error)) {
		case STEP_DONE:
			for (uint32_t i = b.pos; i < b.pos + done; i++)
				answer(q, &b.out, b.jobs[i], b.jobs[i]->result);
			b.pos += done;
			break;
		case STEP_CULPRIT:
			b.failures++;
			after_culprit(q, &b, done, error);
			break;
		case STEP_COMMIT_FAILED:
			b.failures++;
			after_failed_commit(q, &b, error);
			break;
		}
		answers_flush(&b.out);
	} while (b.pos < b.n);
	publish_readers(q); /* also when nothing could be committed: then most of all */
}

/* ---- the loop ---- */

static bool lazy_due(const struct queue *q, bool closing)
{
	return q->lazy.n > 0 && (closing || clock_mono_us() - q->lazy_since_us >= LAZY_US);
}

static bool has_chores(struct queue *q)
{
	bool fixes;

	pthread_mutex_lock(&q->lock);
	fixes = q->fixes.n > 0;
	pthread_mutex_unlock(&q->lock);
	if (atomic_load(&q->ids_short) || q->reopen.suspect)
		return true;
	return (fixes || q->loose_waits || sweep_waits(q)) && clock_mono_us() >= q->chores_at_us;
}

static void take(struct queue *q, struct job_list *from, uint32_t max, uint32_t *n)
{
	for (; from->n > 0 && max > 0 && *n < q->batch_max; max--)
		q->batch[(*n)++] = jobs_take(from);
}

static bool fence_first(const struct queue *q)
{
	return q->later.n > 0 && jobs_first(&q->later)->kind == QUEUE_FENCE;
}

/* While mail comes in, a backlog of other things goes along in slices. */
static uint32_t fill_batch(struct queue *q)
{
	bool mail = q->mail_us > 0 && clock_mono_us() - q->mail_us < MAIL_LATELY_US;
	uint32_t twice = 2 * q->todo.mail, n = 0;
	uint32_t outcomes = mail ? (twice > OUTCOMES_ALONG ? twice : OUTCOMES_ALONG) : UINT32_MAX;

	take(q, &q->lazy, UINT32_MAX, &n);
	take(q, &q->todo, UINT32_MAX, &n);
	take(q, &q->outcomes, outcomes, &n);
	for (uint32_t max = mail ? LATER_ALONG : LATER_ALONE; max > 0; max--) {
		if (fence_first(q) && inbox_waiting(q) > 0)
			break;
		take(q, &q->later, 1, &n);
	}
	return n;
}

static bool is_closing(struct queue *q)
{
	bool closing;

	pthread_mutex_lock(&q->lock);
	closing = q->closing;
	pthread_mutex_unlock(&q->lock);
	return closing;
}

/* The ids that were not given out are given back. */
static void last_commit(struct queue *q)
{
	struct qtxn *t = &q->txn;

	if (!q->store.env || qtxn_begin(t, 0))
		return;
	t->totals.id_limit = atomic_load(&q->next_id);
	t->dirty = true;
	qtxn_commit(t);
}

static uint64_t next_look(const struct queue *q)
{
	if (clock_mono_us() < q->chores_at_us)
		return q->chores_at_us;
	if (q->reopen.suspect)
		return clock_mono_us() + REOPEN_EVERY_US;
	if (q->lazy.n > 0)
		return q->lazy_since_us + LAZY_US;
	return q->readers.txn < UINT64_MAX ? q->readers.look_us : 0; /* is it still there? */
}

void *queue_writer(void *arg)
{
	struct queue *q = arg;

	/* gathering waits for a millisecond or two: not for a tenth of that longer */
	prctl(PR_SET_TIMERSLACK, 1000ul, 0ul, 0ul, 0ul);
	pthread_setname_np(pthread_self(), "queue-writer");
	for (;;) {
		bool closing = is_closing(q);

		inbox_collect(q);
		if (inbox_waiting(q) > 0 || q->later.n > 0) {
			gather_batch(q);
			run_batch(q, fill_batch(q));
		} else if (lazy_due(q, closing)) {
			run_batch(q, fill_batch(q));
		} else if (closing) {
			break;
		} else if (has_chores(q) &&
			   !(q->reopen.suspect && clock_mono_us() < q->reopen.at_us)) {
			run_batch(q, 0);
		} else {
			inbox_wait(q, next_look(q));
			if (q->readers.txn < UINT64_MAX)
				publish_readers(q);
		}
	}
	last_commit(q);
	return NULL;
}
