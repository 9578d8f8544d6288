/* Control commands about waiting messages: queue, show, and what operators do to them. On a
 * control client's thread: the queue is read there in short read transactions; what the dispatcher
 * knows or does is asked of it (ask.c), a bounded slice a time. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "ask.h"
#include "control.h"

#define LIST_BATCH                                                                                 \
	64 /* messages read and explained together: one question to the dispatcher for all */

struct listed {
	struct message *message;
	struct queue_rcpt_state *states;
	struct reason {
		char text[640]; /* a reply of 512 bytes, and words before it */
		ms_t until;
	} * reasons;
};

static void listed_clear(struct listed *l, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		message_unref(l[i].message);
		free(l[i].reasons);
	}
}

struct explain {
	struct listed *list;
	unsigned n;
};

static void explain_all(struct dispatch *d, void *arg)
{
	struct explain *e = arg;

	for (unsigned i = 0; i < e->n; i++) {
		struct listed *l = &e->list[i];

		for (uint32_t k = 0; k < l->message->nrecipients; k++) {
			struct reason *why = &l->reasons[k];

			dispatch_reason(d, l->message->id, &l->message->recipients[k],
				l->message->pool, &l->states[k], why->text, sizeof(why->text),
				&why->until);
			/* what ran when it was held goes on: "being delivered" is the truth then */
			if ((l->message->flags & MESSAGE_HELD) && strncmp(why->text, "being ", 6))
				*why = (struct reason){
					.text = "held by the operator until it is released"
				};
		}
	}
}

static json_t *recipient_json(
	const struct recipient *r, const struct queue_rcpt_state *s, const struct reason *why)
{
	return json_pack("{so so si sI so so so si so so so so}", "address", json_text(r->address),
		"domain", json_text(r->domain), "attempts", (int)s->attempts, "index",
		(json_int_t)r->index, "due", json_time(s->due), "last_attempt",
		json_time(s->last_attempt), "reply", json_text(s->reply), "code", (int)s->code,
		"host", json_text(s->host), "source", json_text(s->source), "reason",
		json_text(why->text), "until", json_time(why->until));
}

static json_t *message_json(const struct listed *l)
{
	const struct message *m = l->message;
	json_t *recipients = json_array();
	char id[QUEUE_ID_TEXT + 1];

	for (uint32_t i = 0; recipients && i < m->nrecipients; i++)
		answers_add(recipients,
			recipient_json(&m->recipients[i], &l->states[i], &l->reasons[i]));
	queue_id_format(id, m->id);
	return json_pack("{so so so so sI so so so so so so so so sb so}", "id", json_text(id),
		"arrived", json_time(m->arrived), "expires", json_time(m->expires), "from",
		json_text(m->sender), "size", (json_int_t)m->size, "pool", json_text(m->pool),
		"client", json_text(m->client), "user", json_text(m->user), "listener",
		json_text(m->listener), "from_domain", json_text(m->from_domain), "class",
		json_text(m->class), "tag", json_text(m->tag), "message_id",
		json_text(m->message_id), "held", (m->flags & MESSAGE_HELD) != 0, "recipients",
		recipients);
}

static bool matches(const struct message *m, const char *domain)
{
	if (!domain)
		return true;
	for (uint32_t i = 0; i < m->nrecipients; i++)
		if (slice_case_eq(slice_of(m->recipients[i].domain), slice_of(domain)))
			return true;
	return false;
}

/* Fills at most max entries from *id on; 0 at the end of the queue. */
static unsigned read_batch(
	struct queue *q, const char *domain, uint64_t *id, struct listed *list, unsigned max)
{
	unsigned n = 0;

	while (n < max && queue_next_message(q, id) == 0) {
		struct listed *l = &list[n];

		if (queue_load(q, *id, &l->message, &l->states) == 0) {
			l->reasons =
				matches(l->message, domain)
					? calloc(l->message->nrecipients + 1, sizeof(*l->reasons))
					: NULL;
			if (l->reasons)
				n++;
			else
				l->message = message_unref(l->message);
		} /* gone meanwhile, or damaged: check-queue tells about the latter */
		(*id)++;
	}
	return n;
}

static void list_messages(struct control_client *c, const char *domain, uint64_t limit)
{
	struct listed list[LIST_BATCH];
	struct explain e = { .list = list };
	uint64_t id = 1, said = 0;

	do {
		uint64_t want = limit - said < LIST_BATCH ? limit - said : LIST_BATCH;

		e.n = read_batch(c->ctx->queue, domain, &id, list, (unsigned)want);
		if (e.n)
			ask(c->ctx->dispatch, explain_all, &e);
		for (unsigned i = 0; i < e.n; i++)
			control_say(c, message_json(&list[i]));
		said += e.n;
		listed_clear(list, e.n);
	} while (e.n && said < limit && control_flush(c));
}

static json_t *queue_summary(struct queue *q)
{
	struct queue_stats s;

	queue_stats(q, &s);
	return json_pack("{s{sI sI sI sI sI sb}}", "summary", "messages", (json_int_t)s.messages,
		"recipients", (json_int_t)s.recipients, "bytes", (json_int_t)s.content_bytes,
		"used", (json_int_t)s.bytes_used, "max", (json_int_t)s.bytes_max, "full",
		health_full(&s));
}

static void run_queue(struct control_client *c, const json_t *request)
{
	const char *domain = request_str(request, "domain");
	json_int_t given = json_integer_value(json_object_get(request, "limit"));
	uint64_t limit = given > 0 ? (uint64_t)given : UINT64_MAX;
	bool messages = request_bool(request, "messages");

	control_say(c, queue_summary(c->ctx->queue));
	if (request_bool(request, "domains") || (domain && !messages))
		domains_say(c, domain, limit);
	if (messages)
		list_messages(c, domain, limit);
}

/* Content as it will be sent, in pieces of valid JSON text where it is UTF-8, else base64. */
static void say_content(struct control_client *c, uint64_t id, uint64_t max)
{
	static const size_t piece = BODY_CHUNK * 4;
	char *data = malloc(piece);
	uint64_t offset = 0;
	size_t n = 0;
	struct buf b64;

	buf_init(&b64, 0);
	while (data && offset < max &&
		queue_body_read(c->ctx->queue, id, offset, data, piece, &n) == 0 && n) {
		if (n > max - offset)
			n = (size_t)(max - offset);
		buf_reset(&b64);
		if (base64_encode(&b64, (struct slice){ data, n }))
			break;
		if (!control_say(c, json_pack("{so}", "content", json_slice(buf_slice(&b64)))))
			break;
		offset += n;
	}
	buf_deinit(&b64);
	free(data);
}

static void run_show(struct control_client *c, const json_t *request)
{
	struct listed l = { 0 };
	struct explain e = { .list = &l, .n = 1 };
	uint64_t id;

	if (request_id(request, "id", &id)) {
		control_fail(c, EX_USAGE,
			"show needs a queue id: %d characters, as in the log and in `postern "
			"queue`",
			QUEUE_ID_TEXT);
		return;
	}
	if (queue_load(c->ctx->queue, id, &l.message, &l.states)) {
		control_fail(c, EX_DATAERR,
			"no message %s in the queue: delivered, bounced or removed? the delivery "
			"log knows",
			request_str(request, "id"));
		return;
	}
	l.reasons = calloc(l.message->nrecipients + 1, sizeof(*l.reasons));
	if (l.reasons) {
		ask(c->ctx->dispatch, explain_all, &e);
		control_say(c, message_json(&l));
		if (request_bool(request, "content"))
			say_content(c, id, UINT64_MAX);
	} else {
		c->lost = true;
	}
	listed_clear(&l, 1);
}

static void say_so_far(void *arg, uint64_t so_far)
{
	control_say(arg, json_pack("{sI}", "so_far", (json_int_t)so_far));
}

/* One message by id, or all of a domain, or with all: everything. */
static void operate(struct control_client *c, const json_t *request, enum dispatch_op op)
{
	char name[REQUEST_DOMAIN], *domain = NULL;
	uint64_t id = 0, changed = 0;
	int r = request_domain(request, "domain", name);

	if (r == -EINVAL) {
		control_fail(c, EX_USAGE, "a domain has 1 to %d bytes", REQUEST_DOMAIN - 1);
		return;
	}
	domain = r ? NULL : name;
	r = request_id(request, "id", &id);

	if (r == -EINVAL) {
		control_fail(c, EX_USAGE, "'%s' is not a queue id", request_str(request, "id"));
		return;
	}
	if (r == -ENOENT && !domain && !request_bool(request, "all")) {
		control_fail(c, EX_USAGE, "say which: a queue id, --domain NAME, or --all");
		return;
	}
	r = ask_operate(c->ctx->dispatch, op, id, domain, &changed, say_so_far, c);
	if (r == -ENOENT)
		control_fail(c, EX_DATAERR, "nothing like that is in the queue");
	else if (r == -ENOSPC && op == DISPATCH_HOLD)
		control_fail(c, EX_TEMPFAIL,
			"not done: too many domains are held; `postern queue --domains` shows "
			"them");
	else if (r)
		control_fail(c, EX_TEMPFAIL, "not done: %s", strerror(-r));
	else
		control_say(c, json_pack("{sI}", "changed", (json_int_t)changed));
}

static void run_retry(struct control_client *c, const json_t *request)
{
	operate(c, request, DISPATCH_RETRY);
}
static void run_remove(struct control_client *c, const json_t *request)
{
	operate(c, request, DISPATCH_REMOVE);
}
static void run_bounce(struct control_client *c, const json_t *request)
{
	operate(c, request, DISPATCH_BOUNCE);
}
static void run_hold(struct control_client *c, const json_t *request)
{
	operate(c, request, DISPATCH_HOLD);
}
static void run_release(struct control_client *c, const json_t *request)
{
	operate(c, request, DISPATCH_RELEASE);
}

const struct control_command commands_queue[] = {
	{ "queue", run_queue },
	{ "show", run_show },
	{ "retry", run_retry },
	{ "remove", run_remove },
	{ "bounce", run_bounce },
	{ "hold", run_hold },
	{ "release", run_release },
	{ 0 },
};
