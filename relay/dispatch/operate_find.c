/* Whom an operator means: a walk over the queue in slices, or the ids that were named. Called by
 * operate.c on the dispatcher's thread, a slice a turn; a slice is one read transaction, and reads
 * of a message what its records say without copying it. What only the relay can tell, the cluster
 * and the reason, is asked for those that fit so far (fits of the task). */
#include <string.h>

#include "operation.h"

static struct slice text(const char *s)
{
	return s ? slice_of(s) : (struct slice){ NULL, 0 };
}

/* Only what is held can be let go. */
static bool may_change(
	const struct operation *o, const struct queue_brief *m, const struct queue_brief_rcpt *r)
{
	bool ordered = r->flags & RCPT_STATE_HELD;

	if (o->op == DISPATCH_FREE)
		return ordered;
	return o->op != DISPATCH_RELEASE || m->held || ordered;
}

static void look(void *arg, const struct queue_brief *m)
{
	struct operation *o = arg;
	bool meant = !o->which || selector_message(o->which, &m->who, clock_wall_ms());

	for (uint32_t i = 0; meant && i < m->n; i++) {
		if (!may_change(o, m, &m->rcpts[i]) ||
			(o->which && !selector_rcpt(o->which, &m->rcpts[i].who)))
			continue;
		o->found[o->nfound++] = m->who.id;
		return;
	}
}

void operation_find(struct dispatch *d, struct operation *o)
{
	size_t n = 0;
	const uint64_t *ids = o->which ? selector_ids(o->which, &n) : NULL;

	o->nfound = 0;
	while (n && o->cursor < n && o->nfound < FOUND_MAX)
		o->found[o->nfound++] = ids[o->cursor++];
	if (n) {
		o->walked = o->cursor >= n;
		return;
	}
	/* also after an error: what cannot be read cannot be changed, and check-queue tells of it */
	o->walked = queue_walk(d->queue, &o->cursor, FOUND_MAX, look, o) != 0;
}

/* Of "name[address]". */
static bool host_address(struct addr *ret, const char *host)
{
	const char *from = host ? strrchr(host, '[') : NULL, *to = from ? strchr(from, ']') : NULL;

	return to && !addr_parse(ret, (struct slice){ from + 1, (size_t)(to - from - 1) });
}

void dispatch_cluster(struct dispatch *d, const struct queue_rcpt_state *s, char out[40])
{
	struct addr a;

	out[0] = '\0';
	if (host_address(&a, s->host))
		policy_host_cluster(d->policy, &a, out);
}

void dispatch_who(const struct message *m, struct selector_message *ret)
{
	*ret = (struct selector_message){
		.id = m->id,
		.arrived = m->arrived,
		.sender = text(m->sender),
		.from_domain = text(m->from_domain),
		.user = text(m->user),
		.client = text(m->client),
		.listener = text(m->listener),
		.pool = text(m->pool),
		.class = text(m->class),
		.tag = text(m->tag),
	};
}

struct selector_rcpt dispatch_whom(const struct recipient *r, const struct queue_rcpt_state *s)
{
	return (struct selector_rcpt){
		.address = text(r->address),
		.domain = text(r->domain),
		.source = s ? text(s->source) : (struct slice){ NULL, 0 },
		.attempts = s ? s->attempts : 0,
	};
}

bool operation_means(struct dispatch *d, const struct operation *o, const struct message *m,
	uint32_t k, const struct queue_rcpt_state *s)
{
	const struct recipient *r = &m->recipients[k];
	struct selector_message who;
	struct selector_rcpt whom;

	if (!o->which)
		return true;
	dispatch_who(m, &who);
	whom = dispatch_whom(r, s);
	if (!selector_message(o->which, &who, loop_wall(d->loop)) ||
		!selector_rcpt(o->which, &whom))
		return false;
	return !selector_asks(o->which) || o->fits(d, m, k, s, o->which);
}
