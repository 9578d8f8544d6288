/* A next hop that the test plays, and the dispatcher's part: orders to the worker and what comes
 * back. */
#include "hop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "postern/must.h"

struct certificates hop_files;

void hop_open(struct hop *h)
{
	struct addr loopback;

	memset(h, 0, sizeof(*h));
	must(addr_parse(&loopback, SLICE_LIT("127.0.0.1")) == 0);
	must(listen_open(&h->listening, &loopback, 0, 16, LISTEN_ALONE, &h->port) == 0);
	h->p.fd = -1;
	h->play.files = &hop_files;
}

void hop_accept(struct hop *h)
{
	int fd = -1;

	WAIT_UNTIL((fd = accept4(h->listening, NULL, NULL, SOCK_CLOEXEC)) >= 0);
	peer_adopt(&h->p, fd);
}

void hop_close(struct hop *h)
{
	peer_close(&h->p);
	close(h->listening);
	free(h->play.content);
}

void hop_run(struct hop *h, const char *const *script)
{
	peer_play(&h->p, &h->play, script);
}

struct outbound_event *event_next(struct rig *r, enum outbound_event_kind kind)
{
	struct outbound_event *e;
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_MS / 1000;
	while (!r->events_taken) {
		r->events_taken = mpsc_take_all(&r->events);
		if (!r->events_taken && sem_timedwait(&r->events_there, &until) &&
			errno == ETIMEDOUT)
			fail_msg("no event of kind %d", kind);
	}
	e = (struct outbound_event *)(void *)((char *)r->events_taken -
					      offsetof(struct outbound_event, node));
	r->events_taken = r->events_taken->next;
	if (e->kind != kind)
		fail_msg("expected an event of kind %d, got %d: %s", kind, e->kind, e->why);
	return e;
}

void order_post(struct rig *r, struct outbound_order *o)
{
	struct mpsc_batch b = { 0 };

	mpsc_batch_add(&b, &o->node);
	worker_post(r->worker, &b);
}

struct outbound_connect *connect_order(const struct hop *h, uint64_t number)
{
	struct outbound_connect *o = calloc(1, sizeof(*o));

	must(o);
	o->order.kind = OUTBOUND_CONNECT;
	o->order.connection = number;
	must(addr_parse(&o->source, SLICE_LIT("127.0.0.7")) == 0);
	must(addr_parse(&o->to, SLICE_LIT("127.0.0.1")) == 0);
	o->port = h->port;
	strcpy(o->host, "mx.example.test");
	strcpy(o->ehlo, "out.example.test");
	o->pipelining = o->chunking = true;
	client_timeouts_default(&o->timeouts);
	return o;
}

void connect_tls(struct outbound_connect *o, enum tls_mode mode)
{
	struct tls_client_params p = { .verify = mode == TLS_VERIFY, .ca_file = hop_files.ca };
	char error[256];

	o->tls = mode;
	if (tls_client_new(&o->tls_context, &p, error, sizeof(error)))
		fail_msg("%s", error);
}

struct message *message_make(struct rig *r, const char *content, size_t n, uint32_t recipients)
{
	static const char *const names[] = { "bob@example.net", "carl@example.net",
		"dora@example.net" };
	struct message *m = message_new();

	must(m && recipients <= 3);
	m->id = queue_new_id(r->queue);
	m->sender = "amy@example.com";
	m->arrived = clock_wall_ms();
	m->expires = m->arrived + 1000000;
	m->pool = "main";
	m->nrecipients = recipients;
	m->recipients = arena_alloc(&m->arena, recipients * sizeof(struct recipient));
	for (uint32_t i = 0; i < recipients; i++)
		m->recipients[i] = (struct recipient){
			.address = names[i], .domain = "example.net", .index = i
		};
	m->body = body_new();
	must(m->body && body_append(m->body, (struct slice){ content, n }) == 0);
	body_seal(m->body);
	m->size = n;
	return m;
}

/* Takes the reference. */
struct outbound_transact *transact_order(struct message *m, uint64_t number)
{
	struct outbound_transact *t = calloc(1, sizeof(*t));

	must(t);
	t->order.kind = OUTBOUND_TRANSACT;
	t->order.connection = number;
	t->message = m;
	t->n = m->nrecipients;
	t->recipients = calloc(t->n, sizeof(*t->recipients));
	t->results = calloc(t->n, sizeof(*t->results));
	must(t->recipients && t->results);
	for (uint32_t i = 0; i < t->n; i++)
		t->recipients[i] = &m->recipients[i];
	return t;
}

void order_message(struct rig *r, const char *content, uint64_t number)
{
	order_post(r, &transact_order(message_make(r, content, strlen(content), 1), number)->order);
}

void order_quit(struct rig *r, uint64_t number)
{
	struct outbound_order *o = calloc(1, sizeof(*o));

	must(o);
	o->kind = OUTBOUND_QUIT;
	o->connection = number;
	order_post(r, o);
}

void event_up(struct rig *r)
{
	struct outbound_event *e = event_next(r, OUTBOUND_UP);

	assert_non_null(e->info);
	assert_string_equal(e->info->banner, "mx.example.test ESMTP");
	outbound_event_free(e);
}

void event_down(struct rig *r, int error, const char *why)
{
	struct outbound_event *e = event_next(r, OUTBOUND_DOWN);

	if (e->error != error || !strstr(e->why, why))
		fail_msg("expected DOWN %d %s, got %d %s", error, why, e->error, e->why);
	outbound_event_free(e);
}

void event_result(struct rig *r, const struct expected *want)
{
	struct outbound_event *e = event_next(r, OUTBOUND_RESULT);
	struct outbound_transact *t = e->transact;

	for (uint32_t i = 0; i < t->n; i++) {
		const struct rcpt_result *got = &t->results[i];

		assert_int_equal(got->index, i);
		if (got->outcome != want[i].outcome)
			fail_msg("recipient %u: outcome %d, expected %d", i, got->outcome,
				want[i].outcome);
		if (got->outcome == RCPT_PENDING)
			continue;
		assert_true(got->reply < t->nreplies);
		assert_int_equal(t->replies[got->reply].code, want[i].code);
	}
	assert_true(t->at.queued > 0 && t->at.done >= t->at.queued);
	outbound_event_free(e);
}

int hop_setup(void **state)
{
	certificates_make(&hop_files);
	return 0;
}

int hop_teardown(void **state)
{
	certificates_remove(&hop_files);
	return 0;
}

void hop_start(struct rig *r, struct hop *h)
{
	rig_init(r);
	rig_start(r);
	hop_open(h);
}

void hop_greet(
	struct rig *r, struct hop *h, struct outbound_connect *o, const char *const *greeting)
{
	order_post(r, &o->order);
	hop_accept(h);
	hop_run(h, greeting);
	event_up(r);
}

void hop_up(struct rig *r, struct hop *h, const char *const *greeting)
{
	hop_start(r, h);
	hop_greet(r, h, connect_order(h, 1), greeting);
}

void hop_quit(struct rig *r, struct hop *h, uint64_t number)
{
	order_quit(r, number);
	hop_run(h, SCRIPT("<QUIT", ">221 bye"));
	event_down(r, 0, "");
}

void hop_down(struct rig *r, struct hop *h)
{
	hop_close(h);
	rig_stop(r);
}

void order_transact(struct rig *r, const char *content, uint32_t recipients)
{
	order_post(r,
		&transact_order(message_make(r, content, strlen(content), recipients), 1)->order);
}
