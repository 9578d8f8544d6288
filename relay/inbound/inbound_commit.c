/* A message's way from the session to the queue: its id, parts of large content ahead of it, the
 * commit, and back-pressure while the process holds too much content. On the worker's thread; the
 * writer's answers come through the worker's mailbox (inbound_answers).
 *
 * Jobs of one session: at most APPENDS_MAX parts under way, then one commit, which the client
 * waits for. A session lives until the last of them is answered, however its connection ended. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <utlist.h>

#include "inbound.h"
#include "postern/list.h"
#include "postern/must.h"
#include "postern/text.h"

/* What a job is when it comes back; its owner is the session. */
enum answer_tag { ANSWER_ACCEPT, ANSWER_SLOT };

#define STARVED_CHECK_MS 5
#define STARVED_LET_GO	 50 /* checks after which some may go on though memory is still short … */
#define STARVED_LET_GO_N 4  /* … so that it cannot be held for ever by those that wait for it */

void inbound_begin(struct session *s)
{
	struct inbound *ib = s->ib;
	uint64_t id = queue_new_id(ib->p.queue);

	s->content.id = id;
	s->content.begun = true;
	s->content.error = 0;
	s->since = s->interval_start = loop_mono(ib->loop);
	s->interval_bytes = 0;
	if (sign_begin(s) ||
		smtp_server_begun(s->server, id, COMMIT_OK, &ib->out, loop_wall(ib->loop)))
		session_close(s, 0, "out of memory");
}

/* ---- parts ahead of the message ---- */

static struct queue_append *slot_take(struct session *s, enum queue_job_kind kind)
{
	for (unsigned i = 0; i < APPENDS_MAX; i++) {
		struct queue_append *a = &s->content.slots[i];

		if (s->content.busy & (1u << i))
			continue;
		s->content.busy |= 1u << i;
		*a = (struct queue_append){
			.job = { .kind = kind,
				.reply_to = &s->ib->answers.mpsc,
				.owner = s,
				.tag = ANSWER_SLOT },
			.id = s->content.id,
		};
		session_hold(s);
		return a;
	}
	return NULL;
}

static bool slots_full(const struct session *s)
{
	return s->content.busy == (1u << APPENDS_MAX) - 1;
}

static void move_blocks(struct session *s, struct body_block *(*take)(struct body *b))
{
	struct message *m = smtp_server_message(s->server);
	struct body_block *blocks;
	struct queue_append *a;
	uint64_t offset;

	if (!m || !m->body)
		return;
	offset = m->body->taken;
	sign_catch_up(s, m);
	blocks = take(m->body);
	if (!blocks)
		return;
	if (s->content.error) {
		/* lost already: the client is told at the end of its content */
		body_blocks_free(blocks);
		return;
	}
	a = slot_take(s, QUEUE_APPEND);
	a->offset = offset;
	a->blocks = blocks;
	s->content.appended = true;
	inbound_post_job(s->ib, &a->job);
	if (slots_full(s))
		s->waits |= WAIT_APPEND;
}

void inbound_flush(struct session *s)
{
	if (!slots_full(s)) {
		move_blocks(s, body_take_full);
		return;
	}
	content_due(s, DUE_FLUSH);
	s->waits |= WAIT_APPEND;
}

uint64_t inbound_evict(struct session *s)
{
	struct message *m = smtp_server_message(s->server);
	uint64_t before = m && m->body ? m->body->taken : 0;

	if (slots_full(s) || !m || !m->body)
		return 0;
	move_blocks(s, body_take_chunks);
	budget_charge(s);
	return m->body->taken - before;
}

void inbound_discard(struct session *s)
{
	struct queue_append *a;

	/* behind the parts that are on their way: jobs keep their order */
	a = slot_take(s, QUEUE_DISCARD);
	if (!a) {
		content_due(s, DUE_DISCARD);
		s->waits |= WAIT_APPEND;
		return;
	}
	s->content.appended = false;
	content_due(s, DUE_NOTHING);
	inbound_post_job(s->ib, &a->job);
}

static void on_slot(struct session *s, struct queue_append *a)
{
	s->content.busy &= ~(1u << (a - s->content.slots));
	if (a->job.kind == QUEUE_APPEND && a->job.result && !s->content.error)
		s->content.error = a->job.result;
	if (s->content.due == DUE_DISCARD)
		inbound_discard(s);
	else if (s->content.due == DUE_FLUSH && !session_is_closed(s)) {
		content_due(s, DUE_NOTHING);
		inbound_flush(s);
	}
	if (!session_is_closed(s) && (s->waits & WAIT_APPEND) && !slots_full(s))
		session_ready(s, WAIT_APPEND);
}

/* ---- the commit ---- */

static enum smtp_commit_result commit_result(int r)
{
	switch (r) {
	case 0:
		return COMMIT_OK;
	case -ENOSPC:
		return COMMIT_FULL;
	case -ESHUTDOWN:
	case -ECANCELED:
		return COMMIT_SHUTDOWN;
	default:
		return COMMIT_ERROR;
	}
}

static void log_accepted(struct session *s, const struct message *m)
{
	struct log_line *ln = &s->ib->line;
	char id[QUEUE_ID_TEXT + 1], number[20];

	if (!s->ib->p.log)
		return;
	queue_id_format(id, m->id);
	snprintf(number, sizeof(number), "%" PRIx64, s->number);
	log_line_begin(ln, loop_wall(s->ib->loop), log_event_name(EVENT_ACCEPTED));
	log_line_cstr(ln, "id", id);
	log_line_cstr(ln, "from", m->sender);
	if (m->nrecipients > 0)
		log_line_cstr(ln, "to", m->recipients[0].address);
	log_line_int(ln, "recipients", m->nrecipients);
	log_line_cstr(ln, "client", m->client);
	log_line_cstr(ln, "helo", m->helo);
	log_line_cstr(ln, "user", m->user);
	log_line_cstr(ln, "listener", m->listener);
	log_line_cstr(ln, "pool", m->pool);
	log_line_cstr(ln, "from_domain", m->from_domain);
	log_line_cstr(ln, "class", m->class);
	log_line_cstr(ln, "tag", m->tag);
	log_line_int(ln, "size", (int64_t)m->size);
	log_line_cstr(ln, "message_id", m->message_id);
	log_line_cstr(ln, "envelope_id", m->envid);
	if (m->headers)
		log_line_fields(ln, "headers", slice_of(m->headers));
	if (m->flags & (MESSAGE_HEADER_MENDED | MESSAGE_HEADER_CUT))
		log_line_cstr(ln, "header", m->flags & MESSAGE_HEADER_CUT ? "cut" : "mended");
	log_line_cstr(ln, "tls", s->tls[0] ? s->tls : NULL);
	log_line_cstr(ln, "session", number);
	log_emit(s->ib->p.log, ln);
}

/* The session's answer to its client; nobody may be there to hear it. */
static void answer_commit(struct session *s, int result)
{
	struct inbound *ib = s->ib;

	if (result) {
		count_add(&ib->count.rejected_messages, 1);
		log_event(ib->p.log, LOG_ERR, EVENT_NOT_ACCEPTED,
			"session %" PRIx64 ": the queue says: %s", s->number, strerror(-result));
		if (s->content.appended)
			inbound_discard(s);
	}
	if (session_is_closed(s))
		return;
	if (smtp_server_committed(s->server, commit_result(result), &ib->out))
		session_close(s, 0, "out of memory");
	else
		session_send(s);
}

static void post_accept(struct session *s, struct message *m)
{
	struct inbound *ib = s->ib;

	must(!s->accept.message);
	s->accept = (struct queue_accept){
		.job = { .kind = QUEUE_ACCEPT,
			.reply_to = &ib->answers.mpsc,
			.owner = s,
			.tag = ANSWER_ACCEPT },
		.message = m,
		.due = loop_wall(ib->loop),
		.appended = s->content.appended,
	};
	session_hold(s);
	s->waits |= WAIT_COMMIT;
	inbound_post_job(ib, &s->accept.job);
}

/* With its signatures, or without when nobody signs for it. A message that repeats its fields
 * without end cannot be signed, now or later, and goes as it is; for another error its client is to
 * come again. True: it was not accepted. */
static bool not_signed(struct session *s, struct message *m, int error)
{
	if (error && !session_is_closed(s))
		log_event(s->ib->p.log, error == -EMSGSIZE ? LOG_WARN : LOG_ERR, EVENT_NOT_SIGNED,
			"session %" PRIx64 ": %s", s->number,
			error == -EMSGSIZE ? "too many fields to be listed in a signature"
					   : strerror(-error));
	if (!session_is_closed(s) && (!error || error == -EMSGSIZE)) {
		post_accept(s, m);
		return false;
	}
	/* closed: what was appended is being forgotten, and nobody was told 250 */
	message_unref(m);
	answer_commit(s, error ? error : -ECANCELED);
	return true;
}

void inbound_signed(struct session *s, struct message *m, int error)
{
	if (not_signed(s, m, error))
		session_ready(s, WAIT_COMMIT);
}

void inbound_commit(struct session *s)
{
	struct message *m;
	int error = 0;

	/* each part must be known to be there; the state machine then asks again */
	if (s->content.busy) {
		s->waits |= WAIT_APPEND;
		return;
	}
	m = smtp_server_take_message(s->server);
	s->content.begun = false;
	if (s->content.error) {
		sign_drop(s);
		message_unref(m);
		answer_commit(s, s->content.error);
		return;
	}
	if (sign_start(s, m, &error))
		s->waits |= WAIT_COMMIT;
	else
		not_signed(s, m, error);
}

static void on_accepted(struct session *s)
{
	struct message *m = s->accept.message;
	struct inbound_counters *c = &s->ib->count;
	int result = s->accept.job.result;

	s->accept.message = NULL;
	if (result == 0) {
		s->content.appended = false;
		count_add(&c->messages, 1);
		count_add(&c->recipients, m->nrecipients);
		count_add(&c->bytes, m->size);
		client_prove(s->known, loop_mono(s->ib->loop));
		stress_leave(s);
		log_accepted(s, m);
	}
	message_unref(m);
	answer_commit(s, result);
	session_ready(s, WAIT_COMMIT);
}

static struct session *owner_of(struct queue_job *job)
{
	return job->owner;
}

void inbound_answers(void *arg, struct mpsc_node *first)
{
	while (first) {
		struct queue_job *job = container(first, struct queue_job, node);
		struct session *s = owner_of(job);

		first = first->next;
		if (job->tag == ANSWER_ACCEPT)
			on_accepted(s);
		else
			on_slot(s, (struct queue_append *)(void *)job);
		session_release(s); /* the job's */
	}
}

/* ---- memory ---- */

bool inbound_over_budget(const struct session *s)
{
	return s->ib->p.body_memory_max > 0 && body_memory() > s->ib->p.body_memory_max;
}

static void let_go(struct inbound *ib)
{
	struct session *s = ib->starved;

	inbound_unstarve(s);
	session_hold(s);
	session_ready(s, WAIT_MEMORY);
	session_release(s);
}

static void on_starved_timer(uv_timer_t *t)
{
	struct inbound *ib = t->data;
	unsigned forced = ++ib->starved_ticks % STARVED_LET_GO == 0 ? STARVED_LET_GO_N : 0;

	budget_relieve(ib);
	while (ib->starved && (forced > 0 || body_memory() <= ib->p.body_memory_max)) {
		let_go(ib);
		forced -= forced > 0;
	}
	if (!ib->starved)
		uv_timer_stop(t);
}

void inbound_starve(struct session *s)
{
	struct inbound *ib = s->ib;

	/* what the queue can take need not be held here */
	inbound_evict(s);
	s->waits |= WAIT_MEMORY;
	DL_APPEND2(ib->starved, s, hungry_prev, hungry_next);
	if (!uv_is_active((uv_handle_t *)&ib->starved_timer))
		uv_timer_start(
			&ib->starved_timer, on_starved_timer, STARVED_CHECK_MS, STARVED_CHECK_MS);
}

void inbound_unstarve(struct session *s)
{
	DL_DELETE2(s->ib->starved, s, hungry_prev, hungry_next);
}
