/* The dispatcher with queue, worker, resolver and receivers of the tests' own, and waits for what
 * it did. */
#include "rig.h"

#include "../temporary.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "postern/must.h"

enum { TYPE_A = 1, TYPE_MX = 15 };

static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

static void source(struct rig *r, unsigned i, const char *name, const char *address)
{
	r->sources[i] =
		(struct source_params){ .name = text(name), .ehlo = text("out.example.net") };
	must(addr_parse(&r->sources[i].address, slice_of(address)) == 0);
	r->sources[i].subnet = net_of(&r->sources[i].address, 24, 64);
}

void rig_row(struct rig *r, const char *name, unsigned type, unsigned rcode, const char *data,
	unsigned preference)
{
	struct dns_row *row = NULL;
	unsigned n = 0;

	for (unsigned i = 0; i < r->nrows; i++)
		if (r->rows[i].type == type && !strcmp(r->rows[i].name, name))
			row = &r->rows[i];
	if (!row) {
		must(r->nrows < COUNT(r->rows));
		row = &r->rows[r->nrows++];
		row->name = name;
		row->type = type;
		row->rcode = rcode;
	}
	while (row->records[n].type)
		n++;
	if (data)
		row->records[n] = (struct dns_record){ type, 60, preference, data, NULL };
}

static void zone(struct rig *r)
{
	rig_row(r, "a.test", TYPE_MX, 0, "mx1.test", 10);
	rig_row(r, "b.test", TYPE_MX, 0, "mx1.test", 10);
	rig_row(r, "sender.test", TYPE_MX, 0, "mx1.test", 10);
	rig_row(r, "c.test", TYPE_MX, 0, "mx2.test", 10);
	rig_row(r, "two.test", TYPE_MX, 0, "dead.test", 10);
	rig_row(r, "two.test", TYPE_MX, 0, "mx2.test", 20);
	rig_row(r, "gone.test", TYPE_MX, 0, "dead.test", 10);
	rig_row(r, "null.test", TYPE_MX, 0, ".", 0);
	rig_row(r, "broken.test", TYPE_MX, 2, NULL, 0);
	rig_row(r, "mx1.test", TYPE_A, 0, "127.0.9.1", 0);
	rig_row(r, "mx2.test", TYPE_A, 0, "127.0.9.2", 0);
	rig_row(r, "dead.test", TYPE_A, 0, "127.0.8.1", 0);
}

static const char rules_text[] = "* * * * * \"throttled\" -> source-throttle\n"
				 "* * * * * \"blocked\" -> source-block\n"
				 "* * * * * \"one at a time\" -> split-recipients\n"
				 "* * 55x * * \"no such user\" -> recipient-invalid\n"
				 "* * * * * * -> transient-other\n";

static void parameters(struct rig *r)
{
	static __typeof__(*((struct pool_params *)0)->members) members[] = { { 0, 1 }, { 1, 1 },
		{ 2, 1 } };

	source(r, 0, "s1", "127.0.1.1");
	source(r, 1, "s2", "127.0.2.1");
	source(r, 2, "s3", "192.0.2.1");
	r->pool = (struct pool_params){ text("main"), 2, (void *)members };
	r->providers[0] = (struct provider_params){
		.name = text("default"),
		.transport.pipelining = true,
		.recipients_per_transaction = 3,
		.connections_per_cluster = 8,
		.connections_per_lane = 4,
		.connection_age_max = 900000,
		.connection_idle_max = 30000,
		.transport.tls_failure_memory = 60000,
		.transport.extension_memory = 60000,
	};
	client_timeouts_default(&r->providers[0].transport.timeouts);
	r->schedule[0] = r->schedule[1] = 300;
	r->policy = (struct policy_params){
		.sources = r->sources,
		.nsources = 3,
		.pools = &r->pool,
		.npools = 1,
		.providers = r->providers,
		.nproviders = 1,
		.retry = { .schedule = r->schedule,
			.nschedule = 2,
			.expire = 3600000,
			.subnets_per_cycle = 3 },
	};
	r->dp = (struct dispatch_params){
		.hostname = "relay.test",
		.dns = { .servers = r->servers,
			.nservers = 1,
			.timeout = 500,
			.tries = 1,
			.ipv4 = true },
		.drain_deadline = 5000,
	};
}

void rig_reload(struct dispatch *d, const struct policy_params *policy, struct classifier *rules)
{
	static const struct dispatch_params same = { .hostname = "relay.test" };
	struct dispatch_change c;
	char error[256];

	assert_int_equal(dispatch_change_init(&c, &same, policy, rules, error, sizeof(error)), 0);
	assert_int_equal(dispatch_reload(d, &c), 0);
	dispatch_change_deinit(&c);
}

void rig_init(struct rig *r, struct mx_rule *rules, unsigned nrules)
{
	struct queue_params qp = { .max_size = 64u << 20 };
	char error[256] = "", path[256];

	memset(r, 0, sizeof(*r));
	temporary_name(r->dir, sizeof(r->dir), "dispatch");
	assert_non_null(mkdtemp(r->dir));
	snprintf(r->log_path, sizeof(r->log_path), "%s/log", r->dir);
	snprintf(path, sizeof(path), "%s/queue", r->dir);
	mx_start(&r->mx, rules, nrules);
	zone(r);
	parameters(r);
	qp.path = path;
	if (queue_open(&r->queue, &qp, error, sizeof(error)))
		fail_msg("%s", error);
	mpsc_init(&r->answers, NULL, NULL);
}

void rig_start(struct rig *r)
{
	struct worker_params wp = {
		.queue = r->queue, .outbound_max = 100, .body_memory_max = 64u << 20
	};
	struct log_params lp = { .file = r->log_path, .level = LOG_INFO };
	char error[256] = "";
	struct buf errors;

	if (!r->dns.address[0])
		dns_server_start(&r->dns, r->rows, r->nrows);
	r->servers[0] = r->dns.address;
	for (unsigned i = 0; i < 2; i++)
		r->providers[i].transport.port = r->mx.port;
	buf_init(&errors, 0);
	assert_int_equal(log_open(&r->log, &lp), 0);
	assert_int_equal(classifier_new(&r->rules, slice_of(rules_text), "test", &errors), 0);
	buf_deinit(&errors);
	if (dispatch_new(&r->dispatch, &r->dp, &r->policy, r->rules, r->queue, r->log, error,
		    sizeof(error)))
		fail_msg("%s", error);
	wp.log = r->log;
	wp.events = dispatch_events(r->dispatch);
	assert_int_equal(worker_new(&r->worker, &wp), 0);
	assert_int_equal(worker_start(r->worker), 0);
	assert_int_equal(dispatch_start(r->dispatch, &r->worker, 1), 0);
}

static void post(void *arg)
{
	sem_post(arg);
}

void rig_stop_dispatch(struct rig *r)
{
	sem_t done;

	if (!r->dispatch)
		return;
	sem_init(&done, 0, 0);
	dispatch_drain(r->dispatch, post, &done);
	while (sem_wait(&done))
		;
	r->worker = worker_free(r->worker);
	r->dispatch = dispatch_free(r->dispatch);
	r->rules = classifier_free(r->rules);
	r->log = log_close(r->log);
	sem_destroy(&done);
}

void rig_stop(struct rig *r)
{
	char command[256];

	rig_stop_dispatch(r);
	r->queue = queue_close(r->queue);
	if (r->dns.address[0])
		dns_server_stop(&r->dns);
	mx_stop(&r->mx);
	snprintf(command, sizeof(command), "rm -rf %s", r->dir);
	assert_int_equal(system(command), 0);
}

char *rig_log(struct rig *r)
{
	FILE *f = fopen(r->log_path, "r");
	char *p = calloc(1, 1u << 20);

	assert_non_null(f);
	assert_non_null(p);
	assert_true(fread(p, 1, (1u << 20) - 1, f) > 0);
	fclose(f);
	return p;
}

struct message *rig_message(
	struct rig *r, const char *sender, const char *const *recipients, size_t size)
{
	struct message *m = message_new();
	uint32_t n = 0;

	assert_non_null(m);
	while (recipients[n])
		n++;
	m->id = queue_new_id(r->queue);
	m->arrived = clock_wall_ms();
	m->expires = m->arrived + 3600000;
	m->sender = arena_strdup(&m->arena, slice_of(sender));
	m->pool = "main";
	m->nrecipients = n;
	m->recipients = arena_alloc(&m->arena, n * sizeof(*m->recipients));
	for (uint32_t i = 0; i < n; i++) {
		const char *copy = arena_strdup(&m->arena, slice_of(recipients[i]));

		m->recipients[i] = (struct recipient){
			.address = copy, .domain = strrchr(copy, '@') + 1, .index = i
		};
	}
	m->body = body_new();
	assert_non_null(m->body);
	body_append(m->body, SLICE_LIT("Subject: test\r\n\r\n"));
	for (size_t k = 0; k < size; k += 64)
		body_append(m->body, SLICE_LIT("012345678901234567890123456789012345678901234567890"
					       "1234567890\r\n"));
	body_append(m->body, SLICE_LIT("end\r\n"));
	body_seal(m->body);
	m->size = m->body->size;
	return m;
}

void rig_commit(struct rig *r, struct message *m, ms_t due)
{
	struct queue_accept a = { .job = { .kind = QUEUE_ACCEPT, .reply_to = &r->answers },
		.message = m,
		.due = due ? due : clock_wall_ms() };

	queue_post(r->queue, &a.job);
	WAIT_UNTIL(mpsc_take_all(&r->answers));
	assert_int_equal(a.job.result, 0);
	message_unref(m);
}

uint64_t rig_send(struct rig *r, const char *sender, const char *const *recipients)
{
	struct message *m = rig_message(r, sender, recipients, 100);
	uint64_t id = m->id;

	rig_commit(r, m, 0);
	return id;
}

uint64_t rig_send_to(struct rig *r, const char *recipient)
{
	const char *const all[] = { recipient, NULL };

	return rig_send(r, "me@sender.test", all);
}

struct dispatch_stats rig_stats(struct rig *r)
{
	struct dispatch_stats s;

	dispatch_stats(r->dispatch, &s);
	return s;
}

uint64_t rig_waiting(struct rig *r)
{
	struct queue_stats s;

	queue_stats(r->queue, &s);
	return s.recipients;
}

struct queue_rcpt_state rig_state(struct rig *r, uint64_t id, struct message **m)
{
	struct queue_rcpt_state *states;

	assert_int_equal(queue_load(r->queue, id, m, &states), 0);
	return states[0];
}

struct calling {
	struct dispatch_call call;
	void (*fn)(struct dispatch *d, void *arg);
	void *arg;
	sem_t done;
};

static void called(struct dispatch *d, void *arg)
{
	struct calling *c = arg;

	c->fn(d, c->arg);
	sem_post(&c->done);
}

void rig_call(struct rig *r, void (*fn)(struct dispatch *d, void *arg), void *arg)
{
	struct calling c = { .call = { .fn = called }, .fn = fn, .arg = arg };

	c.call.arg = &c;
	sem_init(&c.done, 0, 0);
	dispatch_call(r->dispatch, &c.call);
	while (sem_wait(&c.done))
		;
	sem_destroy(&c.done);
}

struct operating {
	struct dispatch_call call;
	enum dispatch_op op;
	uint64_t changed;
	struct selector *which;
	int result;
	sem_t done;
};

static void operated(void *arg, int result, uint64_t changed)
{
	struct operating *o = arg;

	o->result = result;
	o->changed = changed;
	sem_post(&o->done);
}

static void operate(struct dispatch *d, void *arg)
{
	struct operating *o = arg;
	const struct dispatch_task t = { .op = o->op, .which = o->which };

	assert_int_equal(dispatch_operate(d, &t, operated, o, NULL), 0);
}

int rig_operate(
	struct rig *r, enum dispatch_op op, uint64_t id, const char *domain, uint64_t *changed)
{
	struct operating o = { .op = op, .call = { .fn = operate } };
	char text[QUEUE_ID_TEXT + 1], why[200];

	assert_int_equal(selector_new(&o.which, NULL), 0);
	queue_id_format(text, id);
	if (id)
		assert_int_equal(
			selector_add(o.which, SLICE_LIT("id"), slice_of(text), why, sizeof(why)),
			0);
	if (domain) {
		char to[256];

		snprintf(to, sizeof(to), "@%s", domain);
		assert_int_equal(
			selector_add(o.which, SLICE_LIT("to"), slice_of(to), why, sizeof(why)), 0);
	}
	o.call.arg = &o;
	sem_init(&o.done, 0, 0);
	dispatch_call(r->dispatch, &o.call);
	while (sem_wait(&o.done))
		;
	sem_destroy(&o.done);
	selector_free(o.which);
	*changed = o.changed;
	return o.result;
}
