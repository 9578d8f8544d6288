/* Control commands about waiting messages: queue, show, and what operators do to them. On a
 * control client's thread: the queue is read there in short read transactions; what the dispatcher
 * knows or does is asked of it (ask.c), a bounded slice a time. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "ask.h"
#include "control.h"
#include "groups.h"
#include "orders.h"

#define LIST_BATCH                                                                                 \
	64 /* messages read and explained together: one question to the dispatcher for all */

struct listed {
	struct message *message;
	struct queue_rcpt_state *states;
	struct reason {
		char text[640]; /* a reply of 512 bytes, and words before it */
		ms_t until;
		char cluster[40]; /* of the host of the last attempt */
		uint32_t order;	  /* that holds it; 0: none */
		char provider[64];
		bool meant;
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
	const struct selector *which; /* NULL: all */
};

static void explain_one(struct dispatch *d, struct listed *l, const struct selector *which)
{
	struct selector_message who;

	dispatch_who(l->message, &who);
	for (uint32_t k = 0; k < l->message->nrecipients; k++) {
		struct reason *why = &l->reasons[k];
		struct selector_rcpt whom =
			dispatch_whom(&l->message->recipients[k], &l->states[k]);

		dispatch_reason(
			d, l->message, k, &l->states[k], why->text, sizeof(why->text), &why->until);
		dispatch_cluster(d, &l->states[k], why->cluster);
		dispatch_provider(
			d, l->message->recipients[k].domain, why->provider, sizeof(why->provider));
		why->order = dispatch_order_of(d, l->message, k);
		why->meant = !which || (selector_message(which, &who, clock_wall_ms()) &&
					       selector_rcpt(which, &whom) &&
					       selector_found(which, slice_of(why->cluster),
						       slice_of(why->text)));
	}
}

static void explain_all(struct dispatch *d, void *arg)
{
	struct explain *e = arg;

	for (unsigned i = 0; i < e->n; i++)
		explain_one(d, &e->list[i], e->which);
}

static json_t *recipient_json(
	const struct recipient *r, const struct queue_rcpt_state *s, const struct reason *why)
{
	return json_pack("{so so si sI so so so si so so so so so so}", "address",
		json_text(r->address), "domain", json_text(r->domain), "attempts", (int)s->attempts,
		"index", (json_int_t)r->index, "due", json_time(s->due), "last_attempt",
		json_time(s->last_attempt), "reply", json_text(s->reply), "code", (int)s->code,
		"host", json_text(s->host), "source", json_text(s->source), "cluster",
		json_text(why->cluster[0] ? why->cluster : NULL), "reason", json_text(why->text),
		"until", json_time(why->until), "order",
		why->order ? json_integer(why->order) : json_null());
}

static json_t *message_json(const struct listed *l)
{
	const struct message *m = l->message;
	json_t *recipients = json_array();
	bool held = m->flags & MESSAGE_HELD;
	char id[QUEUE_ID_TEXT + 1];

	for (uint32_t i = 0; i < m->nrecipients; i++)
		held = held || l->reasons[i].order;
	for (uint32_t i = 0; recipients && i < m->nrecipients; i++) {
		if (!l->reasons[i].meant)
			continue;
		answers_add(recipients,
			recipient_json(&m->recipients[i], &l->states[i], &l->reasons[i]));
	}
	queue_id_format(id, m->id);
	return json_pack("{so so so so sI so so so so so so so so sb so}", "id", json_text(id),
		"arrived", json_time(m->arrived), "expires", json_time(m->expires), "from",
		json_text(m->sender), "size", (json_int_t)m->size, "pool", json_text(m->pool),
		"client", json_text(m->client), "user", json_text(m->user), "listener",
		json_text(m->listener), "from_domain", json_text(m->from_domain), "class",
		json_text(m->class), "tag", json_text(m->tag), "message_id",
		json_text(m->message_id), "held", held, "recipients", recipients);
}

static bool any_meant(const struct listed *l)
{
	for (uint32_t k = 0; k < l->message->nrecipients; k++)
		if (l->reasons[k].meant)
			return true;
	return false;
}

struct search {
	const struct selector *which;
	uint64_t id[LIST_BATCH];
	unsigned n;
};

static void search_one(void *arg, const struct queue_brief *m)
{
	struct search *s = arg;

	if (s->which && !selector_message(s->which, &m->who, clock_wall_ms()))
		return;
	for (uint32_t i = 0; i < m->n; i++) {
		if (s->which && !selector_rcpt(s->which, &m->rcpts[i].who))
			continue;
		s->id[s->n++] = m->who.id;
		return;
	}
}

/* Loads what was found; what went meanwhile, or is damaged, is left out: check-queue tells about
 * the latter. */
static unsigned load_found(struct queue *q, const struct search *s, struct listed *list)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->n; i++) {
		struct listed *l = &list[n];

		if (queue_load(q, s->id[i], &l->message, &l->states))
			continue;
		l->reasons = calloc(l->message->nrecipients + 1, sizeof(*l->reasons));
		if (l->reasons)
			n++;
		else
			l->message = message_unref(l->message);
	}
	return n;
}

/* Each message of which something is meant, with all that the relay tells of it; each says whether
 * to go on. */
static void each_listed(struct control_client *c, const struct selector *which,
	bool (*each)(void *arg, const struct listed *l), void *arg)
{
	struct search s = { .which = which };
	struct listed list[LIST_BATCH];
	struct explain e = { .list = list, .which = which };
	uint64_t id = 1;
	bool on = true;
	int r = 0;

	while (!r && on && control_flush(c)) {
		s.n = 0;
		r = queue_walk(c->ctx->queue, &id, LIST_BATCH, search_one, &s);
		e.n = load_found(c->ctx->queue, &s, list);
		if (e.n)
			ask(c->ctx->dispatch, explain_all, &e);
		for (unsigned i = 0; i < e.n && on; i++)
			if (any_meant(&list[i]))
				on = each(arg, &list[i]);
		listed_clear(list, e.n);
	}
}

struct list_to {
	struct control_client *c;
	uint64_t left;
};

static bool list_one(void *arg, const struct listed *l)
{
	struct list_to *to = arg;

	control_say(to->c, message_json(l));
	return --to->left > 0;
}

static void list_messages(struct control_client *c, const struct selector *which, uint64_t limit)
{
	struct list_to to = { c, limit };

	each_listed(c, which, list_one, &to);
}

/* ---- in groups ---- */

/* Of the records; then of what only the relay tells. */
#define BYS(X)                                                                                     \
	X(DOMAIN, "domain")                                                                        \
	X(POOL, "pool")                                                                            \
	X(USER, "user")                                                                            \
	X(FROM, "from")                                                                            \
	X(CLASS, "class")                                                                          \
	X(TAG, "tag")                                                                              \
	X(CLIENT, "client")                                                                        \
	X(LISTENER, "listener")                                                                    \
	X(SOURCE, "source")                                                                        \
	X(REASON, "reason")                                                                        \
	X(PROVIDER, "provider")                                                                    \
	X(CLUSTER, "cluster")
enum by {
#define X(name, text) BY_##name,
	BYS(X)
#undef X
		BY_COUNT
};
static const char *const by_names[] = {
#define X(name, text) text,
	BYS(X)
#undef X
};

struct grouping {
	const struct selector *which;
	enum by by;
	struct groups *groups;
};

static struct slice sender_domain(struct slice sender)
{
	const char *at = sender.n ? memrchr(sender.p, '@', sender.n) : NULL;

	return at ? slice_from(sender, (size_t)(at + 1 - sender.p)) : SLICE_LIT("<>");
}

static struct slice name_by(
	enum by by, const struct selector_message *m, const struct selector_rcpt *r)
{
	switch ((int)by) {
	case BY_DOMAIN:
		return r->domain;
	case BY_POOL:
		return m->pool;
	case BY_USER:
		return m->user;
	case BY_FROM:
		return sender_domain(m->sender);
	case BY_CLASS:
		return m->class;
	case BY_TAG:
		return m->tag;
	case BY_CLIENT:
		return m->client;
	case BY_LISTENER:
		return m->listener;
	default:
		return r->source;
	}
}

static void group_brief(void *arg, const struct queue_brief *m)
{
	const struct grouping *g = arg;

	if (!selector_message(g->which, &m->who, clock_wall_ms()))
		return;
	for (uint32_t i = 0; i < m->n; i++)
		if (selector_rcpt(g->which, &m->rcpts[i].who))
			groups_add(g->groups, name_by(g->by, &m->who, &m->rcpts[i].who), m->who.id,
				m->who.arrived);
}

/* A reason without what differs from one recipient to the next. */
static struct slice kind_of_reason(const char *text)
{
	const char *delivered = "being delivered";
	size_t n = strcspn(text, ":");

	return !strncmp(text, delivered, strlen(delivered)) ? slice_of(delivered)
							    : (struct slice){ text, n };
}

static bool group_listed(void *arg, const struct listed *l)
{
	const struct grouping *g = arg;
	struct selector_message who;

	dispatch_who(l->message, &who);
	for (uint32_t k = 0; k < l->message->nrecipients; k++) {
		const struct reason *why = &l->reasons[k];
		struct selector_rcpt whom =
			dispatch_whom(&l->message->recipients[k], &l->states[k]);
		struct slice name = g->by == BY_REASON	   ? kind_of_reason(why->text)
				    : g->by == BY_PROVIDER ? slice_of(why->provider)
				    : g->by == BY_CLUSTER  ? slice_of(why->cluster)
							   : name_by(g->by, &who, &whom);

		if (why->meant)
			groups_add(g->groups, name, who.id, who.arrived);
	}
	return true;
}

static int by_of(const char *text)
{
	for (unsigned i = 0; i < BY_COUNT; i++)
		if (!strcmp(by_names[i], text))
			return (int)i;
	return -1;
}

static void say_groups(
	struct control_client *c, const struct selector *which, const char *text, uint64_t limit)
{
	struct grouping g = { .which = which };
	int by = by_of(text), r = 0;
	uint64_t id = 1;

	if (by < 0) {
		control_fail(c, EX_USAGE,
			"--by is domain, pool, user, from, class, tag, client, listener, source, "
			"reason, provider or cluster");
		return;
	}
	g.by = (enum by)by;
	g.groups = groups_new(clock_wall_ms());
	if (!g.groups) {
		control_fail(c, EX_TEMPFAIL, "out of memory");
		return;
	}
	if (g.by >= BY_REASON || selector_asks(which))
		each_listed(c, which, group_listed, &g);
	else
		while (!r && !c->broken)
			r = queue_walk(c->ctx->queue, &id, 4 * LIST_BATCH, group_brief, &g);
	groups_say(c, g.groups, text, limit);
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

static struct selector *selector_of(struct control_client *c, const json_t *request, bool no_reason)
{
	struct selector *s = NULL;
	char why[REQUEST_WHY];
	size_t n;
	int r = request_selector(request, no_reason, &s, why);

	if (r) {
		control_fail(c, r == -ENOMEM ? EX_TEMPFAIL : EX_USAGE, "%s", why);
		return NULL;
	}
	selector_ids(s, &n); /* sorted before others look at it */
	return s;
}

static void run_queue(struct control_client *c, const json_t *request)
{
	json_int_t given = json_integer_value(json_object_get(request, "limit"));
	uint64_t limit = given > 0 ? (uint64_t)given : UINT64_MAX;
	struct selector *which = selector_of(c, request, false);
	const char *by = request_str(request, "by");
	bool messages = request_bool(request, "messages");
	struct slice domain;

	if (!which)
		return;
	domain = selector_one_domain(which);
	if (by) {
		say_groups(c, which, by, limit);
		selector_free(which);
		return;
	}
	if (selector_words(which) && !domain.p)
		messages = true;
	control_say(c, queue_summary(c->ctx->queue));
	if (request_bool(request, "domains") || (domain.p && !messages))
		domains_say(c, domain.p, limit);
	if (messages)
		list_messages(c, selector_words(which) ? which : NULL, limit);
	selector_free(which);
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

static bool fits(struct dispatch *d, const struct message *m, uint32_t k,
	const struct queue_rcpt_state *s, const struct selector *which)
{
	struct reason why;

	dispatch_reason(d, m, k, s, why.text, sizeof(why.text), &why.until);
	dispatch_cluster(d, s, why.cluster);
	return selector_found(which, slice_of(why.cluster), slice_of(why.text));
}

static void answer_operated(struct control_client *c, const struct dispatch_task *t)
{
	uint64_t changed = 0;
	int r = ask_operate(c->ctx->dispatch, t, &changed, say_so_far, c);

	if (r == -ENOENT && t->number)
		control_fail(c, EX_DATAERR,
			"there is no order %" PRIu32 ": `postern orders` lists them", t->number);
	else if (r == -ENOENT)
		control_fail(c, EX_DATAERR, "nothing like that is in the queue");
	else if (r == -ENOSPC && t->op == DISPATCH_HOLD)
		control_fail(c, EX_TEMPFAIL,
			"not done: there are too many orders; `postern orders` lists them");
	else if (r)
		control_fail(c, EX_TEMPFAIL, "not done: %s", strerror(-r));
	else
		control_say(c, json_pack("{sIsb}", t->dry ? "selected" : "changed",
				       (json_int_t)changed, "dry_run", t->dry));
}

/* What the selector means, or with all: everything. */
static void operate(struct control_client *c, const json_t *request, enum dispatch_op op)
{
	struct dispatch_task t = {
		.op = op, .fits = fits, .dry = request_bool(request, "dry_run")
	};
	json_int_t number = json_integer_value(json_object_get(request, "order"));

	t.which = selector_of(c, request, false);
	if (!t.which)
		return;
	if (op == DISPATCH_RELEASE && number > 0 && number <= UINT32_MAX)
		t.number = (uint32_t)number;
	if ((selector_words(t.which) != 0) + request_bool(request, "all") + (t.number != 0) == 1)
		answer_operated(c, &t);
	else
		control_fail(c, EX_USAGE, "say which: a selector, or else --all");
	selector_free(t.which);
}

/* By words that new mail can match, it is an order, and --reason tells why it is given. */
static void run_hold(struct control_client *c, const json_t *request)
{
	struct dispatch_task t = { .op = DISPATCH_HOLD, .fits = fits };
	struct dispatch_order o = { 0 };
	struct order_words words;

	t.dry = request_bool(request, "dry_run");
	t.which = selector_of(c, request, true);
	if (!t.which)
		return;
	if (selector_standing(t.which) && !request_bool(request, "all")) {
		if (order_given(c, request, &words)) {
			o = (struct dispatch_order){ .which = t.which,
				.who = words.who,
				.reason = words.reason,
				.until = words.until };
			t.order = t.dry ? NULL : &o;
			answer_operated(c, &t);
		}
	} else if (request_str(request, "for")) {
		control_fail(c, EX_USAGE,
			"--for is for orders: by sender, user, client, listener, pool, class, tag or "
			"recipient alone, which new mail can match, too");
	} else {
		operate(c, request, DISPATCH_HOLD);
	}
	selector_free(t.which);
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
	{ "orders", run_orders },
	{ "release", run_release },
	{ 0 },
};
