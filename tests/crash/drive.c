/* A workload for the queue: messages of all sizes come, whole and in pieces, are deferred, settled,
 * with notifications, or stay; many jobs are under way at once. What was answered, and when, goes
 * into the model. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postern/must.h"
#include "powercut.h"

#define SLOTS	 24u
#define LIVE_MAX 200u
#define DOMAINS	 40u

struct slot {
	uint32_t message; /* in the model */
	struct message *m;
	struct queue_accept accept, notice;
	struct queue_append append;
	struct queue_settle settle;
	struct queue_settle_rcpt outcomes[RECIPIENTS];
	struct queue_accept *notices[1];
	char domains[RECIPIENTS][64];
	uint64_t to_stream;
	bool discard;
};

struct model_message *model;
uint32_t nmodel;

static struct {
	struct queue *q;
	struct mpsc answers, fresh;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool woken;
	struct rng rng;
	struct slot slots[SLOTS];
	uint32_t *live, nlive; /* accepted, nobody busy with them */
	uint32_t wanted;
	unsigned busy;
} w = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

static void next_step(struct slot *s);

char content_byte(uint64_t id, uint64_t offset)
{
	uint64_t h = (id + offset / 37) * 0x9e3779b97f4a7c15ull;

	return (char)('a' + (h >> 40) % 26);
}

static void wake(void *arg)
{
	pthread_mutex_lock(&w.lock);
	w.woken = true;
	pthread_cond_signal(&w.cond);
	pthread_mutex_unlock(&w.lock);
}

static void drop_fresh(void)
{
	struct mpsc_node *n = mpsc_take_all(&w.fresh);

	while (n) {
		struct mpsc_node *next = n->next;

		message_unref((struct message *)(void *)((char *)n -
							 offsetof(struct message, fresh_node)));
		n = next;
	}
}

/* ---- making ---- */

static const char *domain_of(uint64_t id, uint32_t index)
{
	static __thread char text[64];

	snprintf(text, sizeof(text), "t%u.example", (unsigned)((id * 31 + index * 7) % DOMAINS));
	return text;
}

static struct message *make_message(uint32_t nrecipients)
{
	struct message *m = message_new();
	char text[128];

	must(m);
	m->id = queue_new_id(w.q);
	m->arrived = 1700000000000;
	m->expires = m->arrived + 172800000;
	m->sender = "sender@here.example";
	m->pool = "main";
	m->client = "127.0.0.1";
	m->recipients = arena_alloc(&m->arena, RECIPIENTS * sizeof(*m->recipients));
	must(m->recipients);
	for (uint32_t i = 0; i < nrecipients; i++) {
		struct recipient *r = &m->recipients[m->nrecipients++];

		snprintf(text, sizeof(text), "user%u@%s", i, domain_of(m->id, i));
		r->address = arena_strdup(&m->arena, slice_of(text));
		r->domain = strchr(r->address, '@') + 1;
		r->index = i;
	}
	m->body = body_new();
	must(m->body);
	return m;
}

static void add_content(struct message *m, uint64_t n)
{
	char text[4096];

	while (n > 0) {
		size_t take = n < sizeof(text) ? n : sizeof(text);

		for (size_t i = 0; i < take; i++)
			text[i] = content_byte(m->id, m->body->size + i);
		must(body_append(m->body, (struct slice){ text, take }) == 0);
		n -= take;
	}
	m->size = m->body->size;
}

static uint32_t model_add(const struct message *m)
{
	struct model_message *o = &model[nmodel];

	*o = (struct model_message){ .id = m->id, .nrecipients = m->nrecipients, .parent = NEVER };
	o->posted = o->accepted = o->refused = NEVER;
	for (uint32_t i = 0; i < RECIPIENTS; i++)
		o->recipients[i].posted = o->recipients[i].gone = NEVER;
	return nmodel++;
}

/* ---- posting ---- */

static void post(struct slot *s, struct queue_job *job, enum queue_job_kind kind)
{
	job->kind = kind;
	job->owner = s;
	job->reply_to = &w.answers;
	job->result = 0;
	queue_post(w.q, job);
}

static void post_accept(struct slot *s)
{
	struct model_message *o = &model[s->message];
	bool appended = s->m->body->taken > 0;

	body_seal(s->m->body);
	o->size = s->m->size;
	o->posted = record_mark();
	s->accept = (struct queue_accept){
		.message = s->m, .due = s->m->arrived, .appended = appended
	};
	post(s, &s->accept.job, QUEUE_ACCEPT);
}

static void stream_on(struct slot *s)
{
	uint64_t n = s->to_stream < 65280 ? s->to_stream : 65280;

	add_content(s->m, n);
	s->to_stream -= n;
	s->append = (struct queue_append){ .id = s->m->id, .offset = s->m->body->taken };
	s->append.blocks = body_take_full(s->m->body);
	if (s->append.blocks)
		post(s, &s->append.job, QUEUE_APPEND);
	else
		post_accept(s);
}

static void begin_message(struct slot *s)
{
	uint64_t dice = rng_below(&w.rng, 100);

	s->m = make_message(1 + (uint32_t)(dice % 4 == 0 ? rng_below(&w.rng, RECIPIENTS) : 0));
	s->message = model_add(s->m);
	s->discard = false;
	s->to_stream = 0;
	if (dice < 5) {
		s->discard = dice < 2;
		s->to_stream = 70000 + rng_below(&w.rng, 300000);
		stream_on(s);
		return;
	}
	add_content(s->m, rng_below(&w.rng, dice < 80 ? 6000 : 20000));
	post_accept(s);
}

static void add_notice(struct slot *s, uint32_t recipient)
{
	struct message *m = make_message(1);
	uint32_t n = model_add(m);

	add_content(m, 1500);
	body_seal(m->body);
	model[n].size = m->size;
	model[n].parent = s->message;
	model[n].parent_recipient = recipient;
	s->notice =
		(struct queue_accept){ .job.kind = QUEUE_ACCEPT, .message = m, .due = m->arrived };
	s->notices[0] = &s->notice;
	s->settle.dsn = s->notices;
	s->settle.ndsn = 1;
}

/* All that is left of it, or a part; some wait on. */
static void post_settle(struct slot *s, bool all)
{
	struct model_message *o = &model[s->message];
	uint32_t mark = record_mark(), gone = NEVER;

	s->settle = (struct queue_settle){ .id = o->id, .rcpts = s->outcomes };
	for (uint32_t i = 0; i < o->nrecipients; i++) {
		struct queue_settle_rcpt *r = &s->outcomes[s->settle.n];

		if (o->recipients[i].gone != NEVER)
			continue;
		snprintf(s->domains[i], sizeof(s->domains[i]), "%s", domain_of(o->id, i));
		*r = (struct queue_settle_rcpt){
			.index = i, .domain = s->domains[i], .old_due = 1700000000000
		};
		r->outcome = all || rng_below(&w.rng, 3) ? OUTCOME_GONE : OUTCOME_DEFER;
		r->state = (struct queue_rcpt_state){ .due = 1700000000000 +
							     (ms_t)rng_below(&w.rng, 1000000),
			.attempts = 3,
			.code = 451,
			.reply = "4.7.0 Later",
			.host = "mx.example[127.0.0.1]",
			.source = "a1" };
		s->settle.n++;
		if (r->outcome != OUTCOME_GONE)
			continue;
		gone = i;
		o->recipients[i].posted = mark;
	}
	if (gone != NEVER && rng_below(&w.rng, 12) == 0) {
		add_notice(s, gone);
		model[nmodel - 1].posted = mark;
	}
	post(s, &s->settle.job, QUEUE_SETTLE);
}

/* ---- answers ---- */

static void keep(struct slot *s)
{
	const struct model_message *o = &model[s->message];

	for (uint32_t i = 0; i < o->nrecipients; i++) {
		if (o->recipients[i].gone != NEVER)
			continue;
		w.live[w.nlive++] = s->message;
		return;
	}
}

static void on_accept(struct slot *s, int result)
{
	if (result == 0)
		model[s->message].accepted = record_mark();
	else
		model[s->message].refused = record_mark();
	s->m = message_unref(s->m);
	if (result == 0 && rng_below(&w.rng, 3) == 0)
		post_settle(s, false);
	else {
		if (result == 0)
			keep(s);
		next_step(s);
	}
}

static void on_append(struct slot *s, int result)
{
	if (result == 0 && s->to_stream > 0 && !(s->discard && rng_below(&w.rng, 3) == 0)) {
		stream_on(s);
	} else if (result == 0 && !s->discard) {
		post_accept(s);
	} else {
		s->append = (struct queue_append){ .id = s->m->id };
		s->m = message_unref(s->m);
		post(s, &s->append.job, QUEUE_DISCARD);
	}
}

static void on_settle(struct slot *s, int result)
{
	struct model_message *o = &model[s->message];
	uint32_t mark;

	uint64_t notice = s->settle.ndsn ? s->notice.message->id : 0;
	struct model_message *n = NULL;

	for (uint32_t i = nmodel; notice && i-- > 0 && !n;)
		n = model[i].id == notice ? &model[i] : NULL;
	if (notice)
		message_unref(s->notice.message);
	if (result) {
		/* as the relay does: until it is recorded; here without the notification */
		s->settle.ndsn = 0;
		if (n)
			n->refused = record_mark();
		for (uint32_t i = 0; i < s->settle.n; i++)
			s->outcomes[i].outcome = OUTCOME_GONE;
		mark = record_mark();
		for (uint32_t i = 0; i < s->settle.n; i++) {
			if (o->recipients[s->outcomes[i].index].posted == NEVER)
				o->recipients[s->outcomes[i].index].posted = mark;
		}
		post(s, &s->settle.job, QUEUE_SETTLE);
		return;
	}
	mark = record_mark();
	for (uint32_t i = 0; i < s->settle.n; i++) {
		if (s->outcomes[i].outcome == OUTCOME_GONE)
			o->recipients[s->outcomes[i].index].gone = mark;
	}
	if (n) {
		n->accepted = mark;
		w.live[w.nlive++] = (uint32_t)(n - model);
	}
	keep(s);
	next_step(s);
}

static void next_step(struct slot *s)
{
	w.busy--;
	if (nmodel >= w.wanted)
		return;
	w.busy++;
	if (w.nlive > 0 && (w.nlive > LIVE_MAX || rng_below(&w.rng, 3) == 0)) {
		uint32_t k = (uint32_t)rng_below(&w.rng, w.nlive);

		s->message = w.live[k];
		w.live[k] = w.live[--w.nlive];
		post_settle(s, rng_below(&w.rng, 2));
	} else {
		begin_message(s);
	}
}

static void answer(struct queue_job *job)
{
	struct slot *s = job->owner;

	switch ((int)job->kind) {
	case QUEUE_ACCEPT:
		on_accept(s, job->result);
		break;
	case QUEUE_APPEND:
		on_append(s, job->result);
		break;
	case QUEUE_SETTLE:
		on_settle(s, job->result);
		break;
	default:
		next_step(s);
		break;
	}
}

static void wait_answers(void)
{
	struct mpsc_node *n;

	while (!(n = mpsc_take_all(&w.answers))) {
		pthread_mutex_lock(&w.lock);
		while (!w.woken)
			pthread_cond_wait(&w.cond, &w.lock);
		w.woken = false;
		pthread_mutex_unlock(&w.lock);
	}
	while (n) {
		struct mpsc_node *next = n->next;

		answer((struct queue_job *)(void *)n);
		n = next;
	}
	drop_fresh();
}

static void run(const char *dir)
{
	const struct queue_params p = { .path = dir, .max_size = 256u << 20, .gather_us = 100 };
	char error[512] = "";
	int r = 0;

	/* a sync that fails may be one of opening */
	for (unsigned tries = 0; !w.q && tries < 20; tries++)
		r = queue_open(&w.q, &p, error, sizeof(error));
	if (r) {
		fprintf(stderr, "%s\n", error);
		exit(1);
	}
	queue_set_fresh(w.q, &w.fresh);
	for (unsigned i = 0; i < SLOTS; i++) {
		w.busy += 2;
		w.busy--;
		next_step(&w.slots[i]);
	}
	while (w.busy > 0)
		wait_answers();
	w.q = queue_close(w.q);
	drop_fresh();
}

void drive(const char *dir, uint32_t messages, uint64_t seed)
{
	const uint32_t most = messages + 4 * SLOTS;

	rng_seed(&w.rng, seed);
	model = calloc(most, sizeof(*model));
	w.live = calloc(most, sizeof(*w.live));
	must(model && w.live);
	mpsc_init(&w.answers, wake, NULL);
	mpsc_init(&w.fresh, wake, NULL);
	/* in three lives */
	for (unsigned life = 1; life <= 3; life++) {
		w.wanted = messages / 3 * life;
		run(dir);
	}
	free(w.live);
}
