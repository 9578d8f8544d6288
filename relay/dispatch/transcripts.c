/* The last good and the last refused session of each lane, for people who compare them. On the
 * dispatcher's thread; workers send copies of what they recorded, each connection a few at most.
 * Bounded in bytes: the lanes that had nothing new for longest go first. */
#include "dispatcher.h"
#include "past.h"
#include "postern/transcript.h"

struct shelf_lane {
	UT_hash_handle hh; /* in the order of what came last */
	struct kept {
		struct transcript *t;
		ms_t at; /* wall */
		uint64_t message;
		char session[20], address[ADDR_TEXT_MAX];
	} kept[2]; /* good, refused */
	char provider[64], source[64], subnet[ADDR_TEXT_MAX + 4], cluster[64];
	char key[140];
};
struct shelf {
	struct shelf_lane *lanes;
	size_t bytes;
};

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

/* The lane's place, which is the newest now. NULL: no memory. */
static struct shelf_lane *lane_of(struct shelf *s, const struct shelf_lane *like)
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
	struct kept *k;

	*take = NULL;
	if (!t)
		return;
	if (!d->past->shelf)
		d->past->shelf = calloc(1, sizeof(*d->past->shelf));
	policy_slot(d->policy, c->match.slot, &info);
	snprintf(like.cluster, sizeof(like.cluster), "%.63s", info.cluster ? info.cluster : "");
	snprintf(like.source, sizeof(like.source), "%s", c->source_name);
	snprintf(like.subnet, sizeof(like.subnet), "%s", c->subnet);
	snprintf(like.provider, sizeof(like.provider), "%.63s",
		provider_of(d, c->match.provider)->name);
	snprintf(like.key, sizeof(like.key), "%s\n%s", like.source, like.cluster);
	l = d->past->shelf && d->p.transcript_memory ? lane_of(d->past->shelf, &like) : NULL;
	if (!l) {
		free(t);
		return;
	}
	k = &l->kept[t->refused];
	d->past->shelf->bytes += size_of(t);
	d->past->shelf->bytes -= size_of(k->t);
	free(k->t);
	*k = (struct kept){ .t = t, .at = loop_wall(d->loop), .message = message };
	snprintf(k->session, sizeof(k->session), "%s", c->session);
	snprintf(k->address, sizeof(k->address), "%s", c->host->text);
	while (d->past->shelf->bytes > d->p.transcript_memory && d->past->shelf->lanes)
		drop(d->past->shelf, d->past->shelf->lanes);
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
	while (d->past->shelf && d->past->shelf->lanes)
		drop(d->past->shelf, d->past->shelf->lanes);
	free(d->past->shelf);
	d->past->shelf = NULL;
}
