/* Classes: which mail each means, as a selector of the same words that the operator's commands have;
 * and what a class has of the queue's options where it says nothing itself. Called by check.c and
 * config.c on the thread that loads; and, for each message that is complete, by the listeners'
 * sessions on their workers' threads. */
#include "class.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "postern/dns.h"
#include "postern/selector.h"

/* One option's values as words of the selector. */
static int add_values(struct class_params *c, const char *word, char *const *values, unsigned n,
	struct class_mistake *m)
{
	int r = 0;

	for (unsigned k = 0; k < n && !r; k++) {
		r = selector_add(
			c->which, slice_of(word), slice_of(values[k]), m->why, sizeof(m->why));
		m->option = word;
		m->value = k;
	}
	return r;
}

int class_make(struct class_params *c, struct class_mistake *m)
{
	int r;

	if (!c->nfrom && !c->nuser && !c->nclient && !c->nlistener && !c->npool && !c->ntag)
		return 0;
	r = selector_new(&c->which, domain_to_ascii);
	if (!r)
		r = add_values(c, "from", c->from, c->nfrom, m);
	if (!r)
		r = add_values(c, "user", c->user, c->nuser, m);
	if (!r)
		r = add_values(c, "client", c->client, c->nclient, m);
	if (!r)
		r = add_values(c, "listener", c->listener, c->nlistener, m);
	if (!r)
		r = add_values(c, "pool", c->pool, c->npool, m);
	if (!r)
		r = add_values(c, "tag", c->tag, c->ntag, m);
	return r;
}

int class_derive(
	struct class_params *c, const struct retry_params *q, bool has_expire, bool has_notice)
{
	if (!has_expire)
		c->expire = q->expire;
	if (!has_notice)
		c->delay_notice = q->delay_notice;
	if (c->nschedule || !q->nschedule)
		return 0;
	c->schedule = calloc(q->nschedule, sizeof(*c->schedule));
	if (!c->schedule)
		return -ENOMEM;
	memcpy(c->schedule, q->schedule, q->nschedule * sizeof(*c->schedule));
	c->nschedule = q->nschedule;
	return 0;
}

void config_free_classes(struct policy_params *p)
{
	for (unsigned i = 0; i < p->nclasses; i++)
		p->classes[i].which = selector_free(p->classes[i].which);
}

/* ---- a message ---- */

static struct slice text(const char *s)
{
	return s ? slice_of(s) : (struct slice){ NULL, 0 };
}

static bool fits(const struct class_params *c, const struct message *m)
{
	const struct selector_message who = {
		.id = m->id,
		.arrived = m->arrived,
		.sender = text(m->sender),
		.from_domain = text(m->from_domain),
		.user = text(m->user),
		.client = text(m->client),
		.listener = text(m->listener),
		.pool = text(m->pool),
		.tag = text(m->tag),
	};

	return c->which && selector_message(c->which, &who, m->arrived);
}

bool config_class_of(
	void *config, const struct message *m, const char *wanted, struct smtp_class *ret)
{
	const struct policy_params *p = &((const struct config *)config)->policy;
	const struct class_params *c = policy_class(p, wanted);

	for (unsigned i = 0; i < p->nclasses && !wanted && !c; i++)
		if (fits(&p->classes[i], m))
			c = &p->classes[i];
	*ret = (struct smtp_class){ c ? c->name : NULL, class_expire(p, c) };
	return c || !wanted;
}
