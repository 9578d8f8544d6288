/* What the scheduler decides (relay/sched/match.c) is carried out here, as relay/dispatch/assign.c
 * does it for the relay: letters become steps of a connection, a choice a connection. A step stands
 * for up to a batch of messages, as far as the receiver says the same to all of them. */
#include "state.h"

static struct letter *letter_in(struct match_work *w)
{
	return letter_of(&w->in_flow);
}

/* Of a connection's step it is found out here how many messages it will be. */
static void want(void *rehearsal, struct match_flow *mf, struct match_work *w,
	struct match_connection *c, struct policy_want *ret)
{
	struct rehearsal *r = rehearsal;
	const struct flow *f = flow_of(mf);
	const struct receiver *v = &r->receivers[f->cluster];
	uint32_t most = mf->diverted		    ? 1
			: mf->messages < UINT32_MAX ? (uint32_t)mf->messages
						    : UINT32_MAX;

	*ret = (struct policy_want){
		.provider = r->s->clusters[f->cluster].provider_index,
		.pool = f->pool,
		.domain = v->domains[letter_in(w)->tenant],
		.hosts = v->hosts,
		.nhosts = r->s->clusters[f->cluster].hosts,
		.tried = w->tried.n ? &w->tried : NULL,
	};
	if (c)
		ret->count = receiver_judge(r, link_of(c), &mf->ready, most, &r->says);
}

static struct match_host *host(void *rehearsal, struct match_flow *f, unsigned i)
{
	struct rehearsal *r = rehearsal;

	return &r->receivers[flow_of(f)->cluster].at[i];
}

static bool serves(const void *source, const void *pool)
{
	return ((const bool *)pool)[*(const unsigned *)source];
}

static bool open_one(
	void *rehearsal, struct match_flow *f, struct match_work *w, const struct policy_choice *c)
{
	return link_open(rehearsal, flow_of(f), c);
}

static bool transact(void *rehearsal, struct match_connection *c, struct match_flow *mf,
	struct match_work *w, uint32_t n)
{
	struct rehearsal *r = rehearsal;
	struct link *k = link_of(c);
	struct flow *f = flow_of(mf);
	ms_t t = r->s->clusters[k->cluster].message_time * n;

	k->says = r->says;
	k->next_bad = k->says == SAYS_YES && k->then && n == k->then_after;
	if (!mail_take(r, f, n, &k->running))
		return false; /* no_memory is set: the run ends */
	k->group = &r->receivers[f->cluster].groups[f->group];
	k->group->match.in_flight += n;
	k->count = n;
	/* a refused one's content, too: it is sent in one flight with the commands */
	t += link_sending(r, k, mail_bytes(r, &k->running, n));
	r->record.steps++;
	receiver_saw(r, k, n, k->says);
	post(r, r->now + link_about(r, t), EVENT_DONE, k->index, k->generation);
	return true;
}

static bool quit(void *rehearsal, struct match_connection *c)
{
	if (!c->nrunning) /* else on_done does */
		link_close(rehearsal, link_of(c));
	return true;
}

static void pause_until(void *rehearsal, struct match_connection *c, ms_t until)
{
	struct link *k = link_of(c);

	post(rehearsal, until - MONO, EVENT_LINK, k->index, k->generation);
}

static void wait_for(void *rehearsal, struct match_flow *f, const struct policy_choice *why)
{
	mail_wait(rehearsal, flow_of(f), why);
}

/* One tenant waits: in a flow of many only its own mail does. */
static void domain_waits(void *rehearsal, struct match_flow *mf, const struct policy_choice *why)
{
	struct rehearsal *r = rehearsal;
	struct flow *f = flow_of(mf);
	const struct receiver *v = &r->receivers[f->cluster];
	struct list one;

	if (f->group < v->ngroups - v->nshared) {
		match_unlink(&r->match, mf);
		mail_wait(r, f, why);
		return;
	}
	list_init(&one);
	if (mail_take(r, f, 1, &one))
		post(r, why->until - MONO, EVENT_RETRY, letter_of(one.next)->index, 0);
}

static void aside(void *rehearsal, struct match_flow *f, struct match_work *w, ms_t until)
{
	struct rehearsal *r = rehearsal;

	match_remove(&r->match, f, w);
	end_hold(r, letter_in(w), until - MONO);
}

static void rejoin(void *rehearsal, struct match_flow *f, struct match_work *w)
{
	struct rehearsal *r = rehearsal;

	match_remove(&r->match, f, w);
	w->tried.n = 0;
	mail_push(r, flow_of(f) - 1, letter_in(w), false); /* each is beside its diverted one */
}

static void give_up(
	void *rehearsal, struct match_flow *f, struct match_work *w, enum hold_reason why)
{
	struct rehearsal *r = rehearsal;

	match_remove(&r->match, f, w);
	end_defer(r, letter_in(w));
}

const struct match_driver rehearsal_driver = {
	.want = want,
	.host = host,
	.serves = serves,
	.open = open_one,
	.transact = transact,
	.quit = quit,
	.pause = pause_until,
	.wait = wait_for,
	.domain_waits = domain_waits,
	.aside = aside,
	.rejoin = rejoin,
	.give_up = give_up,
};
