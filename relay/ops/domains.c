/* What waits, by recipient domain: counted from the queue on the asking client's thread, a slice
 * of messages in each read transaction, then joined with what the dispatcher knows about each
 * domain. Memory grows with the number of domains, of which there are DOMAINS_MAX at most; all
 * others are told as one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "ask.h"
#include "control.h"

#define SLICE	    256u
#define DOMAINS_MAX 1000000u

struct entry {
	UT_hash_handle hh;
	uint64_t messages, recipients, held, bytes, last; /* last: message counted already */
	ms_t first_due;
	/* of the dispatcher */
	char provider[64], reason[96];
	uint32_t ready, in_flight;
	bool standing; /* what comes is held, too */
	ms_t next_due, until;
	size_t n;
	char name[];
};

struct tally {
	struct entry *all, *others; /* others: of those beyond the bound */
	const char *only;
	bool failed;
};

static struct entry *add_entry(struct tally *t, struct slice name)
{
	struct entry *e = calloc(1, sizeof(*e) + name.n + 1);

	if (!e)
		return NULL;
	memcpy(e->name, name.p, name.n);
	e->n = name.n;
	HASH_ADD_KEYPTR(hh, t->all, e->name, e->n, e);
	if (!e->hh.tbl) {
		free(e);
		return NULL;
	}
	return e;
}

static struct entry *entry_of(struct tally *t, struct slice name)
{
	struct entry *e;

	HASH_FIND(hh, t->all, name.p, name.n, e);
	if (e)
		return e;
	if (HASH_COUNT(t->all) < DOMAINS_MAX)
		return add_entry(t, name);
	if (!t->others)
		t->others = add_entry(t, SLICE_LIT("(others)"));
	return t->others;
}

static void count(void *arg, const struct queue_brief *m)
{
	struct tally *t = arg;

	for (uint32_t i = 0; i < m->n; i++) {
		struct slice name = m->rcpts[i].who.domain;
		struct entry *e;

		if (t->only && !slice_case_eq(name, slice_of(t->only)))
			continue;
		e = entry_of(t, name);
		if (!e) {
			t->failed = true;
			return;
		}
		e->recipients++;
		e->held += m->held;
		if (!e->first_due || m->rcpts[i].due < e->first_due)
			e->first_due = m->rcpts[i].due;
		if (e->last != m->who.id) {
			e->last = m->who.id;
			e->messages++;
			e->bytes += m->size;
		}
	}
}

static void join_one(void *arg, const struct dispatch_domain_info *i)
{
	struct tally *t = arg;
	struct entry *e;

	HASH_FIND(hh, t->all, i->domain, strlen(i->domain), e);
	if (!e && i->held && (!t->only || slice_case_eq(slice_of(i->domain), slice_of(t->only))))
		e = add_entry(t, slice_of(i->domain));
	if (!e)
		return;
	e->standing = i->held;
	snprintf(e->provider, sizeof(e->provider), "%s", i->provider);
	snprintf(e->reason, sizeof(e->reason), "%s", i->reason);
	e->ready = i->ready;
	e->in_flight = i->in_flight;
	e->next_due = i->next_due;
	e->until = i->until;
}

static void join(struct dispatch *d, void *arg)
{
	dispatch_domains(d, join_one, arg);
}

static int by_count(const struct entry *a, const struct entry *b)
{
	if (a->recipients != b->recipients)
		return a->recipients < b->recipients ? 1 : -1;
	return strcmp(a->name, b->name);
}

static json_t *entry_json(const struct entry *e)
{
	ms_t wall = clock_wall_ms();
	const char *reason = e->reason;
	ms_t next = e->next_due;

	/* the dispatcher's own finding first; else what the queue says by itself */
	if (!*reason && e->held && e->held == e->recipients)
		reason = "held by the operator until it is released";
	else if (!*reason && !e->ready && !e->in_flight && e->first_due > wall)
		reason = "backing off";
	if (e->standing)
		next = 0; /* until somebody acts */
	else if (!next && e->held < e->recipients)
		next = e->first_due;
	return json_pack("{s{so so sI sI sI sI si si so so so sb}}", "domain", "domain",
		json_text(e->name), "provider", json_text(e->provider), "recipients",
		(json_int_t)e->recipients, "messages", (json_int_t)e->messages, "held",
		(json_int_t)e->held, "bytes", (json_int_t)e->bytes, "ready", (int)e->ready,
		"in_flight", (int)e->in_flight, "next_due", json_time(next), "reason",
		json_text(reason), "until", json_time(e->until), "holds", e->standing);
}

static int tally(struct control_client *c, struct tally *t)
{
	uint64_t id = 1;
	int r = 0;

	while (!r && !t->failed && !c->broken)
		r = queue_walk(c->ctx->queue, &id, SLICE, count, t);
	if (t->failed)
		r = -ENOMEM;
	return r == -ENOENT ? 0 : r;
}

void domains_say(struct control_client *c, const char *only, uint64_t limit)
{
	struct tally t = { .only = only };
	struct entry *e, *next;
	uint64_t said = 0;
	int r = tally(c, &t);

	if (r)
		control_fail(c, EX_TEMPFAIL, "the queue could not be counted: %s", strerror(-r));
	if (!r)
		ask(c->ctx->dispatch, join, &t);
	if (!r)
		HASH_SORT(t.all, by_count);
	if (!r && only && !t.all)
		control_say(c, json_pack("{s{so si si si si si si}}", "domain", "domain",
				       json_text(only), "recipients", 0, "messages", 0, "held", 0,
				       "bytes", 0, "ready", 0, "in_flight", 0));
	HASH_ITER (hh, t.all, e, next) {
		if (!r && said++ < limit && !control_say(c, entry_json(e)))
			said = limit; /* the client is gone */
		HASH_DEL(t.all, e);
		free(e);
	}
}
