/* Connections as they come and go in virtual time; what they carry is relay/sched/match.c's to
 * say. Called by assign.c and by the events of rehearse.c. */
#include <stdio.h>
#include <stdlib.h>

#include "state.h"

#define CONNECT_AFTER 30000 /* ms; when a host that does not answer is given up, at most */
#define FULL_WAIT     1000  /* ms; after a receiver that had no room */

ms_t link_about(struct rehearsal *r, ms_t t)
{
	double v = (double)t * (0.8 + 0.4 * rng_unit(&r->rng));

	return v < 1 ? 1 : (ms_t)v;
}

static bool grow(struct rehearsal *r)
{
	uint32_t cap = r->links_cap ? r->links_cap * 2 : 256;
	struct link **all = realloc(r->links, cap * sizeof(*all));

	if (!all)
		return false;
	r->links = all;
	r->links_cap = cap;
	return true;
}

static struct link *link_new(struct rehearsal *r)
{
	struct link *k;

	if (r->free_link != NONE) {
		k = r->links[r->free_link];
		r->free_link = k->free;
		return k;
	}
	if (r->nlinks == r->links_cap && !grow(r))
		return NULL;
	k = calloc(1, sizeof(*k));
	if (!k)
		return NULL;
	k->index = r->nlinks;
	r->links[r->nlinks++] = k;
	return k;
}

static void link_free(struct rehearsal *r, struct link *k)
{
	match_gone(&r->match, &k->match);
	k->generation++;
	k->free = r->free_link;
	r->free_link = k->index;
}

bool link_open(struct rehearsal *r, struct flow *f, const struct policy_choice *choice)
{
	const struct scenario_cluster *c = &r->s->clusters[f->cluster];
	struct link *k = link_new(r);
	ms_t t;

	if (!k) {
		r->no_memory = true; /* the run ends */
		return false;
	}
	*k = (struct link){ .index = k->index,
		.generation = k->generation + 1,
		.cluster = f->cluster,
		.host = choice->host };
	k->match.provider = c->provider_index;
	list_init(&k->running);
	match_opening(&r->match, &k->match, &f->match, &r->receivers[f->cluster].at[choice->host],
		choice);
	r->record.connects++;
	if (r->match.nconnections > r->record.most_connections)
		r->record.most_connections = r->match.nconnections;
	receiver_connect(r, k);
	t = k->unreachable ? CONNECT_AFTER : link_about(r, c->connect_time);
	post(r, r->now + t, EVENT_UP, k->index, k->generation);
	return true;
}

void link_close(struct rehearsal *r, struct link *k)
{
	ms_t t = link_about(r, r->s->clusters[k->cluster].connect_time / 3);

	post(r, r->now + t, EVENT_CLOSED, k->index, k->generation);
}

/* ---- what happens to it ---- */

static void banner(const struct rehearsal *r, const struct link *k, struct smtp_client_info *info)
{
	const char *name = r->s->clusters[k->cluster].name;

	memset(info, 0, sizeof(*info));
	/* front ends that name their cluster, as they used to; the others show a place only */
	if (receiver_named(name))
		snprintf(info->banner, sizeof(info->banner),
			"DB5%.5sFT%03u.mail.protection.outlook.com Microsoft ESMTP", name, k->host);
	else
		snprintf(info->banner, sizeof(info->banner),
			"DB5PEPF%04X%04X.mail.protection.outlook.com Microsoft ESMTP", k->cluster,
			k->host);
	info->ehlo.size_given = true;
	info->ehlo.size = 157286400;
}

/* No host of the cluster answers: all that waits there backs off. */
static void exhausted(struct rehearsal *r, struct flow *f)
{
	struct match_work *w;

	while ((w = match_first(&f->match)) && !r->no_memory) {
		match_remove(&r->match, &f->match, w);
		end_defer(r, letter_of(&w->in_flow));
	}
}

/* Whoever waits for a place learns where one is, as the policy knows the cluster while the
 * connection is still counted there. */
static void gone(struct rehearsal *r, struct link *k, const struct classification *refusal)
{
	struct match_host *h = k->match.host;
	struct policy_slot_info info;
	char where[32];

	policy_slot(r->policy, k->match.slot, &info);
	snprintf(where, sizeof(where), "%.31s", info.cluster);
	match_down(&k->match);
	policy_disconnected(r->policy, policy_time(r), k->match.slot, refusal, 0);
	link_free(r, k);
	match_freed(&r->match, h, where, 4);
}

static void never_up(struct rehearsal *r, struct link *k)
{
	struct flow *f = flow_of(k->match.asked_by);
	const struct policy_choice full = { .reason = HOLD_CAP,
		.until = policy_time(r).mono + FULL_WAIT };

	if (k->refused)
		mail_wait(r, f, &full);
	else
		exhausted(r, f);
	gone(r, k, k->refused ? &r->no_room.is : NULL);
}

void on_up(struct rehearsal *r, struct link *k)
{
	struct flow *f = flow_of(k->match.asked_by);
	struct smtp_client_info info;

	if (k->refused || k->unreachable) {
		never_up(r, k);
		return;
	}
	match_up(&k->match);
	banner(r, k, &info);
	policy_connected(r->policy, policy_time(r), k->match.slot, &info);
	match_sort(&r->match, policy_time(r), &k->match);
	match_assign(&r->match, policy_time(r), &k->match);
	if (f->match.nready)
		waiter_ask(&r->match.places, &f->match.waiter);
}

void on_done(struct rehearsal *r, struct link *k)
{
	bool told_to_quit = k->match.state == MATCH_QUITTING;

	k->match.nrunning--;
	k->group->match.in_flight -= k->count;
	end_step(r, k);
	if (told_to_quit)
		link_close(r, k);
	else
		match_assign(&r->match, policy_time(r), &k->match);
}

void on_closed(struct rehearsal *r, struct link *k)
{
	receiver_gone(r, k);
	gone(r, k, NULL);
}
