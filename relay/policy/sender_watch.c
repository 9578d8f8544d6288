/* Domains that send, and how their mail fares at a provider: what is refused from every address of
 * ours while other mail is taken there is the sender's trouble, whatever the words. Called by
 * cause.c for a refusal and by verdict.c for an acceptance, on the dispatcher's thread.
 *
 * A domain is watched from its first refusal on, and forgotten an hour after the last. What was
 * accepted before may have been its own, so it is nobody's: beside the domain stands only what
 * others sent since, and where it alone sends, nothing. The table is
 * bounded: the one that was refused longest ago makes room, and would be found out again. */
#include <stdlib.h>

#include "contrast.h"
#include "evidence.h"
#include "names.h"
#include "policy_impl.h"
#include "postern/hash.h"
#include "sender_watch.h"
#include "table.h"
#include "why.h"
#include "witness.h"

#define FORGET	  (3600 * 1000) /* ms */
#define WATCHED	  4000u
#define MESSAGES  4u
#define RECEIVERS 2u  /* unrelated ones that refuse it */
#define MOST	  0.6 /* of its mail */
#define OTHERS	  1.0 /* messages of others that were taken meanwhile */

struct watched {
	UT_hash_handle hh;
	struct watched_key {
		uint64_t name; /* hash */
		uint64_t provider;
	} key;
	struct evidence evidence;
	struct evidence own; /* all of its outcomes, and those of everybody before it was watched */
	uint64_t message;    /* that was refused last */
	uint32_t messages;
	ms_t seen; /* mono */
};

static struct watched_key key_of(const struct policy *p, unsigned provider, const char *name)
{
	return (struct watched_key){ hash_text(HASH_START, name), p->providers[provider].uid };
}

static struct watched *find(const struct policy *p, unsigned provider, const char *sender)
{
	char name[SENDER_NAME];
	struct watched_key k;
	struct watched *w = NULL;

	if (!p->watched || !sender_name(name, sender))
		return NULL;
	k = key_of(p, provider, name);
	HASH_FIND(hh, p->watched, &k, sizeof(k), w);
	return w;
}

static void forget(struct policy *p, struct watched *w)
{
	HASH_DEL(p->watched, w);
	free(w);
}

static struct watched *get(struct policy *p, unsigned provider, const char *sender, ms_t mono)
{
	struct watched *w = find(p, provider, sender);
	char name[SENDER_NAME];

	if (w || !sender_name(name, sender))
		return w;
	if (HASH_COUNT(p->watched) >= WATCHED)
		forget(p, p->watched);
	w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->key = key_of(p, provider, name);
	w->seen = mono;
	w->own = p->providers[provider].seen;
	HASH_ADD(hh, p->watched, key, sizeof(w->key), w);
	if (!w->hh.tbl) {
		free(w);
		return NULL;
	}
	return w;
}

void sender_good(struct policy *p, unsigned provider, const char *sender, ms_t mono)
{
	struct watched *w = find(p, provider, sender);

	evidence_note(&p->providers[provider].seen, mono, false);
	if (!w)
		return;
	evidence_good(&w->evidence, mono);
	evidence_note(&w->own, mono, false);
}

/* Its outcomes and the others'. */
static struct tally all_beside(
	const struct policy *p, unsigned provider, const struct watched *w, ms_t mono)
{
	struct tally all = tally_of(&p->providers[provider].seen, mono);
	struct tally own = tally_of(&w->own, mono), its = tally_of(&w->evidence, mono);

	return (struct tally){
		.good = its.good + (all.good > own.good ? all.good - own.good : 0),
		.bad = its.bad + (all.bad > own.bad ? all.bad - own.bad : 0),
	};
}

bool sender_explains(struct policy *p, struct policy_now now, const struct slot *s,
	const struct refusal *f, double otherwise)
{
	struct watched *w = get(p, s->provider, f->sender, now.mono);
	struct tally all, its;

	evidence_note(&p->providers[s->provider].seen, now.mono, true);
	if (!w)
		return false;
	evidence_note(&w->own, now.mono, true);
	w->seen = now.mono;
	HASH_TO_END(struct watched, p->watched, w);
	if (w->evidence.score <= 0)
		w->messages = 0;
	/* one message refused again is one piece of evidence */
	if (!f->tried && (!f->message || f->message != w->message)) {
		w->messages++;
		w->message = f->message;
		evidence_note(&w->evidence, now.mono, true);
		evidence_bad(&w->evidence, now.mono, f->domain ? organisation(f->domain) : 0, false,
			SCORE_BAD);
	}
	if (w->messages < MESSAGES || w->evidence.naccusers < RECEIVERS)
		return false;
	all = all_beside(p, s->provider, w, now.mono);
	its = tally_of(&w->evidence, now.mono);
	return all.good >= its.good + OTHERS && its.bad >= MOST * (its.bad + its.good) &&
	       contrast(&its, &all) > otherwise;
}

void why_of_sender(const struct policy *p, struct policy_now now, unsigned provider,
	const char *sender, struct why_rows *r)
{
	const struct watched *w = find(p, provider, sender);
	struct tally all, its;

	if (!w)
		return;
	all = all_beside(p, provider, w, now.mono);
	its = tally_of(&w->evidence, now.mono);
	why_row(r, &its, &all, "mail sent by %.80s", sender);
	all.good = all.good > its.good ? all.good - its.good : 0;
	all.bad = all.bad > its.bad ? all.bad - its.bad : 0;
	why_row(r, &all, NULL, "mail of other senders at %.31s",
		p->params->providers[provider].name);
}

void senders_sweep(struct policy *p, ms_t mono)
{
	while (p->watched && mono - p->watched->seen > FORGET)
		forget(p, p->watched);
}

void senders_free(struct policy *p)
{
	struct watched *w, *next;

	HASH_ITER (hh, p->watched, w, next)
		forget(p, w);
}
