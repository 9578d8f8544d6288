/* Sessions over restarts: the newest of those kept in memory are in the queue's file, too, as far as
 * its part of it goes. On the dispatcher's thread: read at the start, written with the minutes of the
 * history, so that no commit is made for them alone.
 *
 * A minute writes few: a refused session once a minute a lane, a good one every ten; the end writes
 * all that changed. What the file has is listed by age, whatever memory still has: when its part is
 * used up, the oldest go. Local parts of addresses are hashed on the way, unless they are shown in
 * clear anyway: a file outlives the mail that it speaks of. */
#include <inttypes.h>

#include "past.h"
#include "postern/hash.h"
#include "shelf.h"

#define PREFIX	     "transcript/"
#define A_MINUTE_MAX 64u
#define GOOD_EVERY   600000
#define KEY_MAX	     32

struct stored {
	UT_hash_handle hh;
	uint64_t key;
	uint32_t bytes;
	bool damaged; /* is to go */
};

static uint64_t key_of(const struct shelf_lane *l, bool refused)
{
	return hash_text(HASH_START ^ refused, l->key);
}

static struct slice key_text(char out[KEY_MAX], uint64_t key)
{
	int n = snprintf(out, KEY_MAX, PREFIX "%016" PRIx64, key);

	return (struct slice){ out, (size_t)n };
}

static void forget(struct shelf *s, struct stored *e)
{
	HASH_DEL(s->stored, e);
	s->stored_bytes -= e->bytes;
	free(e);
}

/* It is the newest of them now. False: no memory; the file may have one that nobody knows of until the
 * next start. */
static bool note(struct shelf *s, uint64_t key, size_t bytes, bool damaged)
{
	struct stored *e;

	HASH_FIND(hh, s->stored, &key, sizeof(key), e);
	if (e)
		forget(s, e);
	e = malloc(sizeof(*e));
	if (!e)
		return false;
	*e = (struct stored){ .key = key, .bytes = (uint32_t)bytes, .damaged = damaged };
	HASH_ADD(hh, s->stored, key, sizeof(e->key), e);
	if (!e->hh.tbl) {
		free(e);
		return false;
	}
	s->stored_bytes += bytes;
	return true;
}

void shelf_stored_free(struct shelf *s)
{
	while (s->stored)
		forget(s, s->stored);
}

/* ---- the record: a line of numbers, a line for each name, then the session's lines ---- */

static int encode(
	const struct dispatch *d, struct buf *b, const struct shelf_lane *l, const struct kept *k)
{
	bool hide = !d->p.transcript_addresses;
	int r = buf_printf(b, "1 %d %d %d %" PRId64 " %" PRIx64 "\n%s\n%s\n%s\n%s\n%s\n%s\n",
		k->t->refused, k->t->cut, hide || k->t->hidden, k->at, k->message, l->source,
		l->subnet, l->cluster, l->provider, k->session, k->address);

	return r ? r : transcript_pack(b, k->t, hide, d->p.transcript_secret);
}

/* The next line as a text of its own. */
static bool take_line(struct slice *in, char *out, size_t max)
{
	const char *end = memchr(in->p, '\n', in->n);
	size_t n = end ? (size_t)(end - in->p) : 0;

	if (!end || n >= max || memchr(in->p, '\0', n))
		return false;
	memcpy(out, in->p, n);
	out[n] = '\0';
	*in = slice_from(*in, n + 1);
	return true;
}

static int decode(struct slice in, struct shelf_lane *l, struct kept *k)
{
	int refused, cut, hidden, used = 0, r;
	char numbers[120];

	*l = (struct shelf_lane){ .kept = { { 0 } } };
	*k = (struct kept){ 0 };
	if (!take_line(&in, numbers, sizeof(numbers)) ||
		sscanf(numbers, "1 %d %d %d %" SCNd64 " %" SCNx64 "%n", &refused, &cut, &hidden,
			&k->at, &k->message, &used) != 5 ||
		numbers[used] || k->at < 0 || !take_line(&in, l->source, sizeof(l->source)) ||
		!take_line(&in, l->subnet, sizeof(l->subnet)) ||
		!take_line(&in, l->cluster, sizeof(l->cluster)) ||
		!take_line(&in, l->provider, sizeof(l->provider)) ||
		!take_line(&in, k->session, sizeof(k->session)) ||
		!take_line(&in, k->address, sizeof(k->address)))
		return -EBADMSG;
	r = transcript_unpack(&k->t, in);
	if (r)
		return r;
	k->t->refused = refused != 0;
	k->t->cut = cut != 0;
	k->t->hidden = hidden != 0;
	k->saved_at = k->at;
	snprintf(l->key, sizeof(l->key), "%s\n%s", l->source, l->cluster);
	return 0;
}

/* ---- over restarts ---- */

static int load(void *arg, struct slice key, struct slice value)
{
	struct dispatch *d = arg;
	struct shelf *s = d->past->shelf;
	struct shelf_lane like, *l = NULL;
	char text[KEY_MAX];
	struct kept k;
	uint64_t number;
	int used = 0, r = decode(value, &like, &k);
	bool decoded = r == 0;

	snprintf(text, sizeof(text), "%.*s", (int)key.n, key.p);
	if (sscanf(text, PREFIX "%16" SCNx64 "%n", &number, &used) != 1 || text[used])
		r = -EBADMSG;
	else
		note(s, number, value.n, r != 0);
	if (!r && d->p.transcript_memory)
		l = shelf_lane(s, &like);
	if (l)
		shelf_put(s, l, &k);
	else if (decoded)
		free(k.t);
	return 0;
}

static ms_t newest(const struct shelf_lane *l)
{
	return l->kept[0].at > l->kept[1].at ? l->kept[0].at : l->kept[1].at;
}

static int by_age(const struct shelf_lane *a, const struct shelf_lane *b)
{
	return (newest(a) > newest(b)) - (newest(a) < newest(b));
}

void transcripts_load(struct dispatch *d)
{
	struct shelf *s = d->past->shelf;

	if (queue_state_scan(d->queue, SLICE_LIT(PREFIX), load, d))
		log_event(d->log, LOG_ERR, EVENT_STATE_UNREAD,
			"the transcripts that were kept cannot be read");
	HASH_SORT(s->lanes, by_age);
	shelf_fit(s, d->p.transcript_memory);
}

static bool is_due(const struct kept *k, ms_t wall, bool all)
{
	return k->t && k->changed &&
	       (all || k->t->refused || !k->saved_at || wall - k->saved_at >= GOOD_EVERY ||
		       k->saved_at > wall);
}

static void save(
	struct dispatch *d, struct shelf_lane *l, struct kept *k, history_put *put, void *arg)
{
	uint64_t key = key_of(l, k->t->refused);
	char text[KEY_MAX];
	struct buf b;

	buf_init(&b, 256 * 1024);
	if (!encode(d, &b, l, k) && note(d->past->shelf, key, buf_size(&b), false)) {
		put(arg, key_text(text, key), buf_slice(&b));
		k->changed = false;
		k->saved_at = loop_wall(d->loop);
	}
	buf_deinit(&b);
}

/* From the oldest on, as long as there is more than their part; what cannot be read goes in any case. */
static void make_room(struct dispatch *d, history_put *put, void *arg)
{
	struct shelf *s = d->past->shelf;
	struct stored *e, *next;
	char text[KEY_MAX];

	HASH_ITER (hh, s->stored, e, next) {
		if (!e->damaged && s->stored_bytes <= d->p.transcript_disk)
			continue;
		put(arg, key_text(text, e->key), (struct slice){ NULL, 0 });
		forget(s, e);
	}
}

void transcripts_save(struct dispatch *d, history_put *put, void *arg)
{
	struct shelf *s = d->past->shelf;
	bool all = d->life.quiet;
	uint64_t before = 0;
	unsigned n = 0;
	struct shelf_lane *l =
		s->lanes ? ELMT_FROM_HH(s->lanes->hh.tbl, s->lanes->hh.tbl->tail) : NULL;

	/* the newest lanes first; as many bytes as there is place for */
	for (; l && (all || n < A_MINUTE_MAX) && before < d->p.transcript_disk; l = l->hh.prev)
		for (unsigned i = 0; i < 2; i++) {
			if (!is_due(&l->kept[i], loop_wall(d->loop), all))
				continue;
			save(d, l, &l->kept[i], put, arg);
			before += l->kept[i].t->n;
			n++;
		}
	make_room(d, put, arg);
}
