/* Standing orders: selectors under which mail is held that waits, and that still comes, until they
 * end. The dispatcher's own, one thread. This is the set of them: adding, matching, and the form
 * in which they are recorded among the learned state. What follows from an order is done where mail
 * comes into memory (intake.c), and when one begins or ends (standing.c).
 *
 *   set → ending → gone. An order that ends holds nothing any more, but stays recorded until all
 *   that it held was let go: after a kill that is begun again.
 *
 * One that is about a whole recipient domain and nothing else is not matched with mail: its domain
 * is not read at all (hold.c). Costs nothing while there is none; with orders, a comparison of each
 * of them with each recipient that comes into memory, ORDERS_MAX at most. */
#include "orders.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "postern/foreign.h"

#define ORDERS_MAX 1000u
#define FORM	   1 /* of the record */

void order_key(const struct order *o, char key[ORDER_KEY])
{
	snprintf(key, ORDER_KEY, ORDERS_PREFIX "%010" PRIu32, o->number);
}

int order_record(const struct order *o, struct buf *out)
{
	int r = buf_printf(out, "%d\n%s\n%s\n%" PRId64 "\n%" PRId64 "\n%d\n", FORM, o->who,
		o->reason, (int64_t)o->since, (int64_t)o->until, o->ending);

	return r ? r : selector_text(o->which, out);
}

static struct slice take_line(struct slice *in)
{
	const char *end = in->n ? memchr(in->p, '\n', in->n) : NULL;
	struct slice line = { in->p, end ? (size_t)(end - in->p) : in->n };

	*in = slice_from(*in, end ? line.n + 1 : line.n);
	return line;
}

static void take_text(struct slice *in, char *out, size_t max)
{
	struct slice line = take_line(in);

	snprintf(out, max, "%.*s", (int)(line.n < max ? line.n : max - 1), line.n ? line.p : "");
}

static ms_t take_time(struct slice *in)
{
	char text[32];

	take_text(in, text, sizeof(text));
	return strtoll(text, NULL, 10);
}

static void order_free(struct order *o)
{
	selector_free(o->which);
	free(o);
}

/* NULL: the record makes no sense, or there is no memory. */
static struct order *decode(struct slice value)
{
	struct order *o = calloc(1, sizeof(*o));
	char why[600];
	int r = o ? selector_new(&o->which, domain_to_ascii) : -ENOMEM;

	if (!r && take_time(&value) != FORM)
		r = -EBADMSG;
	if (!r) {
		take_text(&value, o->who, sizeof(o->who));
		take_text(&value, o->reason, sizeof(o->reason));
		o->since = take_time(&value);
		o->until = take_time(&value);
		o->ending = take_time(&value) != 0;
	}
	while (!r && value.n)
		r = selector_add_text(o->which, take_line(&value), why, sizeof(why));
	if (!r && selector_standing(o->which))
		return o;
	if (o)
		order_free(o);
	return NULL;
}

static void add(struct dispatch *d, struct order *o)
{
	struct order **last = &d->orders.first;

	while (*last)
		last = &(*last)->next;
	*last = o;
	d->orders.n++;
	o->of_domain = selector_one_domain(o->which).p != NULL;
	d->orders.matched += !o->of_domain;
	if (o->number > d->orders.last)
		d->orders.last = o->number;
}

int order_load(void *dispatch, struct slice key, struct slice value)
{
	struct dispatch *d = dispatch;
	struct slice number = slice_from(key, sizeof(ORDERS_PREFIX) - 1);
	struct order *o = decode(value);
	char text[16];

	if (!o) {
		log_event(d->log, LOG_ERR, EVENT_STATE_IGNORED, "the order %.*s cannot be read",
			(int)number.n, number.p);
		return 0;
	}
	take_text(&number, text, sizeof(text));
	o->number = (uint32_t)strtoul(text, NULL, 10);
	add(d, o);
	return 0;
}

/* The same order again has a new reason and end. */
int order_set(struct dispatch *d, const struct dispatch_order *given, struct order **ret)
{
	struct order *o = order_same(d, given->which), *fresh = NULL;
	int r;

	if (!o && d->orders.n >= ORDERS_MAX)
		return -ENOSPC;
	if (!o) {
		o = fresh = calloc(1, sizeof(*o));
		r = o ? selector_copy(&o->which, given->which) : -ENOMEM;
		if (r) {
			free(o);
			return r;
		}
	}
	if (fresh) {
		o->number = d->orders.last + 1;
		o->since = loop_wall(d->loop);
		add(d, o);
	}
	snprintf(o->who, sizeof(o->who), "%s", given->who ? given->who : "");
	snprintf(o->reason, sizeof(o->reason), "%s", given->reason ? given->reason : "");
	foreign_end(o->reason);
	o->until = given->until;
	o->ending = false;
	*ret = o;
	return 0;
}

void order_drop(struct dispatch *d, struct order *o)
{
	struct order **p = &d->orders.first;

	while (*p && *p != o)
		p = &(*p)->next;
	if (!*p)
		return;
	*p = o->next;
	d->orders.n--;
	d->orders.matched -= !o->of_domain;
	order_free(o);
}

void orders_free(struct dispatch *d)
{
	while (d->orders.first)
		order_drop(d, d->orders.first);
}

struct order *order_same(const struct dispatch *d, const struct selector *which)
{
	for (struct order *o = d->orders.first; o; o = o->next)
		if (selector_same(o->which, which))
			return o;
	return NULL;
}

struct order *order_numbered(const struct dispatch *d, uint32_t number)
{
	for (struct order *o = d->orders.first; o; o = o->next)
		if (o->number == number)
			return o;
	return NULL;
}

const struct order *order_of(
	const struct dispatch *d, const struct message *m, const struct recipient *r)
{
	struct selector_message who;
	struct selector_rcpt whom;

	if (!d->orders.matched)
		return NULL;
	dispatch_who(m, &who);
	whom = dispatch_whom(r, NULL);
	for (const struct order *o = d->orders.first; o; o = o->next) {
		if (o->ending || o->of_domain)
			continue;
		if (selector_message(o->which, &who, 0) && selector_rcpt(o->which, &whom))
			return o;
	}
	return NULL;
}

void dispatch_orders(struct dispatch *d,
	void (*fn)(void *arg, const struct dispatch_order *o, bool ending), void *arg)
{
	for (const struct order *o = d->orders.first; o; o = o->next) {
		const struct dispatch_order info = {
			.number = o->number,
			.which = o->which,
			.who = o->who,
			.reason = o->reason,
			.since = o->since,
			.until = o->until,
		};

		fn(arg, &info, o->ending);
	}
}
