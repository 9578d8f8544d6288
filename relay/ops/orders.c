/* Standing orders of operators: who gives one, and what each of them holds. Called on the threads of
 * control clients. What an order holds is counted from the queue, a slice in each read transaction,
 * by the same selectors that the dispatcher goes by. */
#include "orders.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>

#include "ask.h"

#define SLICE 256u

struct listed_order {
	struct selector *which;
	uint32_t number;
	bool ending;
	ms_t since, until;
	uint64_t messages, recipients;
	char who[64], reason[256];
};

struct listing {
	struct listed_order *list;
	size_t n, cap;
	bool failed;
};

static void take(void *arg, const struct dispatch_order *o, bool ending)
{
	struct listing *l = arg;
	struct listed_order *e;

	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 16;
		struct listed_order *list = realloc(l->list, cap * sizeof(*list));

		l->failed = l->failed || !list;
		if (!list)
			return;
		l->list = list;
		l->cap = cap;
	}
	e = &l->list[l->n];
	*e = (struct listed_order){
		.number = o->number, .ending = ending, .since = o->since, .until = o->until
	};
	if (selector_copy(&e->which, o->which)) {
		l->failed = true;
		return;
	}
	snprintf(e->who, sizeof(e->who), "%s", o->who);
	snprintf(e->reason, sizeof(e->reason), "%s", o->reason);
	l->n++;
}

static void take_all(struct dispatch *d, void *arg)
{
	dispatch_orders(d, take, arg);
}

/* The first that means it holds it. */
static struct listed_order *holder(
	struct listing *l, const struct queue_brief *m, const struct selector_rcpt *r)
{
	for (size_t i = 0; i < l->n; i++) {
		struct listed_order *e = &l->list[i];

		if (!e->ending && selector_message(e->which, &m->who, 0) &&
			selector_rcpt(e->which, r))
			return e;
	}
	return NULL;
}

static void count(void *arg, const struct queue_brief *m)
{
	struct listing *l = arg;
	struct listed_order *last = NULL;

	for (uint32_t i = 0; i < m->n; i++) {
		struct listed_order *e = holder(l, m, &m->rcpts[i].who);

		if (!e)
			continue;
		e->recipients++;
		e->messages += e != last;
		last = e;
	}
}

static json_t *terms(const struct selector *s)
{
	json_t *list = json_array();
	struct buf text;
	struct slice rest;

	buf_init(&text, 0);
	if (selector_text(s, &text)) {
		json_decref(list);
		list = NULL;
	}
	rest = buf_slice(&text);
	while (list && rest.n) {
		const char *end = memchr(rest.p, '\n', rest.n);
		size_t n = end ? (size_t)(end - rest.p) : rest.n;

		answers_add(list, json_slice((struct slice){ rest.p, n }));
		rest = slice_from(rest, end ? n + 1 : n);
	}
	buf_deinit(&text);
	return list;
}

static json_t *order_json(const struct listed_order *e)
{
	return json_pack("{sI so so so so so sb sI sI}", "order", (json_int_t)e->number, "selector",
		terms(e->which), "who", json_text(e->who), "reason", json_text(e->reason), "since",
		json_time(e->since), "until", json_time(e->until), "ending", e->ending, "messages",
		(json_int_t)e->messages, "recipients", (json_int_t)e->recipients);
}

void run_orders(struct control_client *c, const json_t *request)
{
	struct listing l = { 0 };
	uint64_t id = 1;
	int r = 0;

	(void)request;
	ask(c->ctx->dispatch, take_all, &l);
	while (l.n && !r && !c->broken)
		r = queue_walk(c->ctx->queue, &id, SLICE, count, &l);
	if (r && r != -ENOENT)
		control_fail(c, EX_TEMPFAIL, "the queue could not be counted: %s", strerror(-r));
	c->lost = c->lost || l.failed;
	for (size_t i = 0; i < l.n; i++) {
		control_say(c, order_json(&l.list[i]));
		selector_free(l.list[i].which);
	}
	free(l.list);
}

/* By the socket's own word; the tool's is added where that is root's. */
static void operator_name(const struct control_client *c, const json_t *request, char out[64])
{
	const char *said = request_str(request, "by");
	struct ucred peer = { .uid = (uid_t)-1 };
	socklen_t n = sizeof(peer);
	struct passwd pw, *found = NULL;
	char scratch[1024];

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &peer, &n))
		peer.uid = (uid_t)-1;
	(void)getpwuid_r(peer.uid, &pw, scratch, sizeof(scratch), &found);
	if (!found)
		snprintf(out, 64, "user %u", (unsigned)peer.uid);
	else if (peer.uid == 0 && said && *said)
		snprintf(out, 64, "%.32s (%.24s)", found->pw_name, said);
	else
		snprintf(out, 64, "%.40s", found->pw_name);
	for (char *p = out; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
}

bool order_given(struct control_client *c, const json_t *request, struct order_words *ret)
{
	const char *why = request_str(request, "reason"), *time = request_str(request, "for");
	ms_t duration = 0;

	*ret = (struct order_words){ .reason = why ? why : "" };
	operator_name(c, request, ret->who);
	for (const char *p = ret->reason; *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f) {
			control_fail(c, EX_USAGE, "a reason has no control characters");
			return false;
		}
	}
	if (strlen(ret->reason) > 200) {
		control_fail(c, EX_USAGE, "a reason has at most 200 bytes");
		return false;
	}
	if (time && (duration_parse(&duration, slice_of(time)) || duration <= 0)) {
		control_fail(
			c, EX_USAGE, "--for '%s' is not a duration such as 30m, 4h or 2d", time);
		return false;
	}
	ret->until = time ? clock_wall_ms() + duration : 0;
	return true;
}
