/* check-queue: every record is read, every reference followed in both directions, all sums done
 * again. Called by the tool, in its own process; the relay may be writing meanwhile.
 *
 * A read transaction pins every page that the relay frees while it lasts, so a check of a queue in
 * use goes in short snapshots: pages in one of PAGES_US at most, then message by message and entry
 * by entry, each whole within one snapshot. Nothing is told while one is open: who reads what is
 * told may be slow. The sums need one snapshot for all: over more they are left out, and that is
 * told. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "../queue_impl.h"
#include "postern/must.h"
#include "postern/queue_check.h"
#include "postern/rawfile.h"
#include "postern/text.h"

/* Lines said at most: a queue that is damaged all over needs no more. */
#define LINES_MAX   1000u
#define PAGES_US    5000000u
#define SNAPSHOT_US 300000u
/* Repairs of one run at most; the next one goes on. */
#define FIXES_AT_ONCE 16384u

struct check {
	struct queue *q;
	MDB_txn *txn;
	MDB_cursor *mail;
	bool repair;
	void (*say)(void *arg, const char *line);
	void *arg;
	struct buf lines; /* not told yet, an LF behind each */
	uint64_t found;
	uint64_t since_us, snapshots, snapshot_us;
	struct totals count;
	struct fix *fixes;
	uint32_t nfixes, fixes_cap;
	int r; /* sticky: memory, reading */

	/* the message at hand */
	uint64_t id;
	bool any, envelope, bad, held, has_loose;
	uint64_t size, content;
	uint32_t recipients, chunks;
	bool hole, ended, flipped;
};

static void note(struct check *c, const char *line)
{
	if (c->say && (buf_add_str(&c->lines, line) || buf_add(&c->lines, "\n", 1)))
		c->r = -ENOMEM;
}

static void say_line(struct check *c, const char *line)
{
	if (c->found <= LINES_MAX)
		note(c, c->found < LINES_MAX ? line : "more was found; not listed");
	c->found++;
}

/* While no snapshot is open. */
static void tell(struct check *c)
{
	while (buf_size(&c->lines)) {
		char *p = c->lines.p + c->lines.off, *end = memchr(p, '\n', buf_size(&c->lines));

		*end = '\0';
		c->say(c->arg, p);
		buf_consume(&c->lines, (size_t)(end - p) + 1);
	}
}

static void begin_snapshot(struct check *c)
{
	c->since_us = clock_mono_us();
	c->snapshots++;
}

/* A repair has the queue for itself. */
static bool snapshot_old(const struct check *c)
{
	return !c->repair && clock_mono_us() - c->since_us >= c->snapshot_us;
}

/* Cursors are closed before it. */
static void next_snapshot(struct check *c)
{
	store_read_end(&c->q->store, c->txn);
	c->txn = NULL;
	tell(c);
	c->r = store_read(&c->q->store, &c->txn);
	begin_snapshot(c);
}

static void want_fix(struct check *c, enum fix_kind kind, struct slice key)
{
	if (!c->repair || c->nfixes == FIXES_AT_ONCE)
		return;
	if (c->nfixes == c->fixes_cap) {
		uint32_t cap = c->fixes_cap ? 2 * c->fixes_cap : 64;
		struct fix *f = realloc(c->fixes, cap * sizeof(*f));

		if (!f) {
			c->r = -ENOMEM;
			return;
		}
		c->fixes = f;
		c->fixes_cap = cap;
	}
	if (key.n > DUE_KEY_MAX)
		key.n = DUE_KEY_MAX;
	c->fixes[c->nfixes].kind = kind;
	c->fixes[c->nfixes].key.n = key.n;
	if (key.n > 0)
		memcpy(c->fixes[c->nfixes].key.b, key.p, key.n);
	c->nfixes++;
}

__attribute__((format(printf, 5, 6))) static void wrong(
	struct check *c, enum fix_kind kind, struct slice key, uint64_t id, const char *fmt, ...)
{
	char line[1024], text[QUEUE_ID_TEXT + 1];
	va_list ap;
	int n;

	queue_id_format(text, id);
	n = snprintf(line, sizeof(line), "message %s: ", text);
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	say_line(c, line);
	want_fix(c, kind, key);
}

static int get(struct check *c, MDB_dbi dbi, const void *k, size_t n, MDB_val *v)
{
	MDB_val key = val_of(k, n);

	return mdb_get(c->txn, dbi, &key, v);
}

static bool is_set_aside(struct check *c, char kind, uint64_t id)
{
	struct mail_key m = mail_key(id, 0);
	char k[1 + MAIL_KEY_LEN];
	MDB_val v;

	k[0] = kind;
	memcpy(k + 1, m.b, sizeof(m.b));
	return get(c, c->q->store.damaged, k, kind == 'b' ? 9 : sizeof(k), &v) == 0;
}

/* ---- mail, message by message ---- */

static void end_message(struct check *c)
{
	struct mail_key k = mail_key(c->id, 0);
	const struct slice key = { k.b, sizeof(k.b) };

	if (!c->any)
		return;
	if (!c->envelope) {
		if (c->recipients > 0)
			wrong(c, FIX_MESSAGE, key, c->id, "has recipients and no envelope");
		else if (!c->has_loose && !is_set_aside(c, 'm', c->id) &&
			 !is_set_aside(c, 'b', c->id))
			wrong(c, FIX_BODY, key, c->id,
				"a body of %" PRIu64 " bytes belongs to nothing", c->content);
	} else if (c->bad) {
		wrong(c, FIX_MESSAGE, key, c->id, "the envelope is damaged");
	} else if (c->recipients == 0) {
		wrong(c, FIX_MESSAGE, key, c->id, "has no recipients left and was not removed");
	} else if (c->flipped) {
		wrong(c, FIX_MESSAGE, key, c->id, "the body is damaged");
	} else if (c->hole || c->content != c->size) {
		wrong(c, FIX_MESSAGE, key, c->id,
			"the body is not complete: %" PRIu64 " of %" PRIu64 " bytes%s", c->content,
			c->size, c->hole ? ", with gaps" : "");
	} else if (c->has_loose) {
		wrong(c, FIX_LOOSE, key, c->id,
			"is marked as a body without an envelope, which the next start would "
			"remove");
	}
}

static void begin_message(struct check *c, uint64_t id)
{
	char k[8];
	MDB_val v;

	put_be64(k, id);
	c->id = id;
	c->any = true;
	c->envelope = c->bad = c->held = c->hole = c->ended = c->flipped = false;
	c->size = c->content = 0;
	c->recipients = c->chunks = 0;
	c->has_loose = get(c, c->q->store.loose, k, sizeof(k), &v) == 0;
}

static void check_envelope(struct check *c, struct slice rec)
{
	struct message *m = message_new();
	int r = m ? envelope_decode(m, rec, &m->arena) : -ENOMEM;

	c->envelope = true;
	c->count.messages++;
	if (r == -ENOMEM) {
		c->r = r;
	} else if (r) {
		c->bad = true;
	} else {
		c->size = m->size;
		c->count.bytes += m->size;
		c->held = m->flags & MESSAGE_HELD;
	}
	message_unref(m);
}

static void check_recipient(struct check *c, uint32_t index, struct slice rec)
{
	struct mail_key k = mail_key(c->id, index + 1), yk = mail_key(c->id, index);
	struct queue_rcpt_state st;
	struct recipient rc;
	struct due_key dk;
	struct arena a;
	MDB_val v;
	bool young, due = false;
	int r;

	arena_init(&a, 0);
	c->recipients++;
	c->count.recipients++;
	r = recipient_decode(&rc, &st, rec, &a);
	if (r == -ENOMEM) {
		c->r = r;
		goto out;
	}
	if (r || strlen(rc.domain) > DOMAIN_MAX) {
		wrong(c, FIX_RECIPIENT, (struct slice){ k.b, sizeof(k.b) }, c->id,
			"recipient %u: the record is damaged", index);
		goto out;
	}
	due_key_make(&dk, slice_of(rc.domain), st.due, c->id, index);
	young = get(c, c->q->store.young, yk.b, sizeof(yk.b), &v) == 0;
	due = get(c, c->q->store.due, dk.b, dk.n, &v) == 0;
	if (young && due)
		wrong(c, FIX_YOUNG, (struct slice){ yk.b, sizeof(yk.b) }, c->id,
			"recipient %u is in both indexes", index);
	else if (!young && !due && !c->held && !c->bad && !(st.flags & RCPT_STATE_HELD))
		wrong(c, FIX_INDEX, (struct slice){ k.b, sizeof(k.b) }, c->id,
			"recipient %u is in no index: it would never be tried", index);
out:
	arena_deinit(&a);
}

static void check_chunk(struct check *c, MDB_val key, uint32_t n, struct slice v)
{
	if (crc32c(0, v.p, v.n) != get_be32((char *)key.mv_data + MAIL_KEY_LEN))
		c->flipped = true;
	c->content += v.n;
	if (n == MAIL_HEAD)
		return; /* one that is missing, or too many, shows in the size */
	/* only the last may be short, and none empty */
	if (n != c->chunks || c->ended || v.n == 0 || v.n > BODY_CHUNK)
		c->hole = true;
	c->ended = v.n < BODY_CHUNK;
	c->chunks = n + 1;
}

static int open_mail(struct check *c)
{
	return mdb_cursor_open(c->txn, c->q->store.mail, &c->mail);
}

/* In another snapshot: that message, or the next one there is. */
static int find_mail(struct check *c, uint64_t id, MDB_val *key, MDB_val *v)
{
	struct mail_key k = mail_key(id, 0);
	int rc;

	mdb_cursor_close(c->mail);
	c->mail = NULL;
	next_snapshot(c);
	rc = c->r ? 0 : open_mail(c);
	*key = val_of(k.b, sizeof(k.b));
	return rc || c->r ? rc : mdb_cursor_get(c->mail, key, v, MDB_SET_RANGE);
}

static void check_mail(struct check *c)
{
	MDB_val key, v;
	int rc;

	rc = open_mail(c);
	for (rc = rc ? rc : mdb_cursor_get(c->mail, &key, &v, MDB_FIRST); !rc && !c->r;
		rc = mdb_cursor_get(c->mail, &key, &v, MDB_NEXT)) {
		uint64_t id;
		uint32_t sub;

		if (!mail_key_parse(key.mv_data, key.mv_size, &id, &sub)) {
			say_line(c, "mail: a key makes no sense");
			continue;
		}
		if (!c->any || id != c->id) {
			end_message(c);
			c->any = false;
			rc = snapshot_old(c) ? find_mail(c, id, &key, &v) : 0;
			if (rc || c->r)
				break;
			if (!mail_key_parse(key.mv_data, key.mv_size, &id, &sub))
				continue;
			begin_message(c, id);
		}
		if (sub == 0)
			check_envelope(c, slice_of_val(v));
		else if (sub < MAIL_BODY)
			check_recipient(c, sub - 1, slice_of_val(v));
		else
			check_chunk(c, key, sub - MAIL_BODY, slice_of_val(v));
	}
	end_message(c);
	if (c->mail)
		mdb_cursor_close(c->mail);
	c->mail = NULL;
	if (rc && rc != MDB_NOTFOUND)
		c->r = lmdb_errno(rc);
}

/* ---- the indexes, back to mail ---- */

static bool get_brief(
	struct check *c, uint64_t id, uint32_t index, struct recipient_brief *b, bool *bad)
{
	struct mail_key k = mail_key(id, index + 1);
	MDB_val v;
	int rc = get(c, c->q->store.mail, k.b, sizeof(k.b), &v);

	*bad = !rc && recipient_brief(b, slice_of_val(v));
	return !rc;
}

static void check_due_entry(struct check *c, struct slice key)
{
	struct recipient_brief b;
	struct due_ref d;
	bool bad;

	if (!due_key_parse(&d, key)) {
		say_line(c, "due: an entry makes no sense");
		want_fix(c, FIX_DUE, key);
	} else if (!get_brief(c, d.id, d.index, &b, &bad)) {
		wrong(c, FIX_DUE, key, d.id, "recipient %u is in the due index and not in the mail",
			d.index);
	} else if (bad) {
		want_fix(c, FIX_DUE, key); /* said already */
	} else if (b.due != d.due || !slice_eq(b.domain, d.domain)) {
		wrong(c, FIX_DUE, key, d.id, "recipient %u has an index entry that is not its own",
			d.index);
	}
}

static void check_young_entry(struct check *c, struct slice key)
{
	struct recipient_brief b;
	bool bad;

	if (key.n != MAIL_KEY_LEN)
		say_line(c, "young: an entry makes no sense");
	else if (!get_brief(c, get_be64(key.p), get_be32(key.p + 8), &b, &bad))
		wrong(c, FIX_YOUNG, key, get_be64(key.p),
			"recipient %u is in the index of new ones and not in the mail",
			get_be32(key.p + 8));
}

static void check_keys(struct check *c, MDB_dbi dbi, void (*fn)(struct check *c, struct slice key))
{
	MDB_cursor *cur = NULL;
	struct due_key last;
	MDB_val key;
	int rc = mdb_cursor_open(c->txn, dbi, &cur);

	for (rc = rc ? rc : mdb_cursor_get(cur, &key, NULL, MDB_FIRST); !rc && !c->r;
		rc = mdb_cursor_get(cur, &key, NULL, MDB_NEXT)) {
		if (snapshot_old(c) && key.mv_size <= sizeof(last.b)) {
			memcpy(last.b, key.mv_data, key.mv_size);
			key.mv_data = last.b;
			mdb_cursor_close(cur);
			cur = NULL;
			next_snapshot(c);
			rc = c->r ? 0 : mdb_cursor_open(c->txn, dbi, &cur);
			if (!rc && !c->r) /* that one, or the next there is */
				rc = mdb_cursor_get(cur, &key, NULL, MDB_SET_RANGE);
			if (rc || c->r)
				break;
		}
		fn(c, slice_of_val(key));
	}
	if (cur)
		mdb_cursor_close(cur);
	if (rc && rc != MDB_NOTFOUND)
		c->r = lmdb_errno(rc);
}

static void check_totals(struct check *c)
{
	const struct totals *n = &c->count;
	struct totals t;
	char line[256];
	int r;

	if (c->snapshots > 1) {
		snprintf(line, sizeof(line),
			"note: the queue is large: read in %" PRIu64
			" snapshots, so the sums were not compared",
			c->snapshots);
		note(c, line);
		return;
	}
	r = store_totals(&c->q->store, c->txn, &t);

	if (!r && t.messages == n->messages && t.recipients == n->recipients &&
		t.bytes == n->bytes) {
		/* what repairs take away, they also count */
		return;
	}
	if (r)
		t = (struct totals){ 0 };
	snprintf(line, sizeof(line),
		"totals: %" PRIu64 " messages, %" PRIu64 " recipients, %" PRIu64
		" bytes noted; %" PRIu64 ", %" PRIu64 ", %" PRIu64 " counted",
		t.messages, t.recipients, t.bytes, n->messages, n->recipients, n->bytes);
	say_line(c, line);
	want_fix(c, FIX_COUNT, (struct slice){ NULL, 0 });
}

/* ---- repair ---- */

struct waiter {
	struct mpsc box;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static void waiter_wake(void *arg)
{
	struct waiter *w = arg;

	pthread_mutex_lock(&w->lock);
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

/* The fixes asked for so far are in the fence's transaction, or in an earlier one. */
static int wait_fence(struct queue *q)
{
	struct waiter w = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };
	struct queue_job job = { .kind = QUEUE_FENCE, .reply_to = &w.box };

	mpsc_init(&w.box, waiter_wake, &w);
	queue_post(q, &job);
	pthread_mutex_lock(&w.lock);
	while (!w.done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	pthread_mutex_destroy(&w.lock);
	pthread_cond_destroy(&w.cond);
	return job.result;
}

static int repair(struct check *c)
{
	const struct fix count = { .kind = FIX_COUNT };
	int r = 0;

	for (uint32_t i = 0; i < c->nfixes && !r;) {
		if (queue_ask_fix(c->q, &c->fixes[i]))
			i++;
		else
			r = wait_fence(c->q);
	}
	/* a damaged envelope took its size along: the sums are done again after all else */
	while (!r && c->nfixes > 0 && !queue_ask_fix(c->q, &count))
		r = wait_fence(c->q);
	return r ? r : wait_fence(c->q);
}

static void say_page(void *arg, const char *line)
{
	say_line(arg, line);
}

/* The pages first: while they are not sound, what LMDB makes of them is no use, and may crash. The
 * snapshot stays as it is as long as our read transaction lasts. 0 sound, 1 not, -ENOENT: its meta page was written over
 * meanwhile, or the errno of reading. */
static int check_pages(struct check *c)
{
	struct raw_meta m;
	int fd, r = lmdb_errno(mdb_env_get_fd(c->q->store.env, &fd));
	uint64_t deadline = c->repair ? 0 : clock_mono_us() + PAGES_US;

	if (!r)
		r = raw_meta_of(fd, mdb_txn_id(c->txn), &m);
	if (!r)
		r = raw_walk(fd, &m, deadline, say_page, c);
	if (!r && deadline && clock_mono_us() >= deadline)
		note(c, "note: not all pages of records were looked at one by one: that would keep "
			"freed pages for long. With the relay stopped, --repair looks at all");
	return r;
}

/* A snapshot whose meta page is still there: the writer has two of them to write to. */
static int begin_check(struct check *c)
{
	int r;

	for (unsigned i = 0; i < 100; i++) {
		r = store_read(&c->q->store, &c->txn);
		if (r)
			return r;
		begin_snapshot(c);
		c->snapshots = 1;
		r = check_pages(c);
		if (r >= 0)
			return r;
		store_read_end(&c->q->store, c->txn);
		c->txn = NULL;
		if (r != -ENOENT)
			return r;
	}
	return r;
}

int queue_check(
	struct queue *q, bool repairing, void (*say)(void *arg, const char *line), void *arg)
{
	struct check c = { .q = q, .repair = repairing, .say = say, .arg = arg };
	bool pages_only;
	int r;

	if (repairing && q->params.read_only)
		return -EROFS;
	c.snapshot_us = q->params.snapshot_us ? q->params.snapshot_us : SNAPSHOT_US;
	buf_init(&c.lines, 0); /* bounded by LINES_MAX */
	r = begin_check(&c);
	if (r < 0)
		goto out;
	pages_only = r > 0;
	if (!pages_only)
		check_mail(&c);
	if (!pages_only && !c.r)
		check_keys(&c, q->store.due, check_due_entry);
	if (!pages_only && !c.r)
		check_keys(&c, q->store.young, check_young_entry);
	if (!pages_only && !c.r)
		check_totals(&c);
	if (c.txn)
		store_read_end(&q->store, c.txn);
	tell(&c);
	if (!c.r && c.nfixes > 0)
		c.r = repair(&c);
	r = c.r ? c.r : c.found > 0;
out:
	free(c.fixes);
	buf_deinit(&c.lines);
	return r;
}
