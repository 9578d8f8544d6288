/* The last good and the last refused session of each lane, for people who compare them. On the
 * dispatcher's thread; workers send copies of what they recorded, each connection a few at most.
 * Bounded in bytes: the lanes that had nothing new for longest go first. What of it outlives the
 * process: transcripts_saved.c. */
#include "dispatcher.h"
#include "past.h"
#include "shelf.h"

static size_t size_of(const struct transcript *t)
{
	return t ? sizeof(*t) + t->n : 0;
}

static void drop(struct shelf *s, struct shelf_lane *l)
{
	HASH_DEL(s->lanes, l);
	for (unsigned i = 0; i < 2; i++) {
		s->bytes -= size_of(l->kept[i].t);
		free(l->kept[i].t);
	}
	s->bytes -= sizeof(*l);
	free(l);
}

struct shelf_lane *shelf_lane(struct shelf *s, const struct shelf_lane *like)
{
	struct shelf_lane *l;

	HASH_FIND_STR(s->lanes, like->key, l);
	if (l) {
		HASH_DEL(s->lanes, l);
	} else {
		l = malloc(sizeof(*l));
		if (!l)
			return NULL;
		*l = *like;
		s->bytes += sizeof(*l);
	}
	HASH_ADD_STR(s->lanes, key, l);
	if (l->hh.tbl)
		return l;
	for (unsigned i = 0; i < 2; i++) {
		s->bytes -= size_of(l->kept[i].t);
		free(l->kept[i].t);
	}
	s->bytes -= sizeof(*l);
	free(l);
	return NULL;
}

void transcript_keep(
	struct dispatch *d, const struct connection *c, struct transcript **take, uint64_t message)
{
	struct transcript *t = *take;
	struct shelf_lane like = { .kept = { { 0 } } }, *l;
	struct policy_slot_info info;
	struct kept k;
	const struct kept *before;

	*take = NULL;
	if (!t)
		return;
	policy_slot(d->policy, c->match.slot, &info);
	snprintf(like.cluster, sizeof(like.cluster), "%.63s", info.cluster ? info.cluster : "");
	snprintf(like.source, sizeof(like.source), "%s", c->source_name);
	snprintf(like.subnet, sizeof(like.subnet), "%s", c->subnet);
	snprintf(like.provider, sizeof(like.provider), "%.63s",
		provider_of(d, c->match.provider)->name);
	snprintf(like.key, sizeof(like.key), "%s\n%s", like.source, like.cluster);
	l = d->past->shelf && d->p.transcript_memory ? shelf_lane(d->past->shelf, &like) : NULL;
	if (!l) {
		free(t);
		return;
	}
	before = &l->kept[t->refused];
	k = (struct kept){ .t = t,
		.at = loop_wall(d->loop),
		.message = message,
		.changed = true,
		.saved_at = before->saved_at };
	snprintf(k.session, sizeof(k.session), "%s", c->session);
	snprintf(k.address, sizeof(k.address), "%s", c->host->text);
	shelf_put(d->past->shelf, l, &k);
	shelf_fit(d->past->shelf, d->p.transcript_memory);
}

void shelf_fit(struct shelf *s, uint64_t max)
{
	while (s->bytes > max && s->lanes)
		drop(s, s->lanes);
}

void shelf_put(struct shelf *s, struct shelf_lane *l, struct kept *k)
{
	struct kept *at = &l->kept[k->t->refused];

	s->bytes += size_of(k->t);
	s->bytes -= size_of(at->t);
	free(at->t);
	*at = *k;
}

void dispatch_transcripts(
	struct dispatch *d, bool (*fn)(void *arg, const struct dispatch_transcript *t), void *arg)
{
	struct shelf_lane *l, *next;

	if (!d->past->shelf)
		return;
	HASH_ITER (hh, d->past->shelf->lanes, l, next)
		for (unsigned i = 0; i < 2; i++) {
			const struct kept *k = &l->kept[i];
			const struct dispatch_transcript t = { .source = l->source,
				.subnet = l->subnet,
				.cluster = l->cluster,
				.provider = l->provider,
				.session = k->session,
				.address = k->address,
				.message = k->message,
				.at = k->at,
				.said = k->t };

			if (k->t && !fn(arg, &t))
				return;
		}
}

void transcripts_free(struct dispatch *d)
{
	if (d->past->shelf) {
		shelf_fit(d->past->shelf, 0);
		shelf_stored_free(d->past->shelf);
	}
	free(d->past->shelf);
	d->past->shelf = NULL;
}
