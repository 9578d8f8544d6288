/* Damage of every kind is found, told, set aside, and never a crash. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <lmdb.h>

#include "../../../queue/keys.h"
#include "postern/rawfile.h"

#define NOW 1700000000000

/* ---- a hand in the trees ---- */

struct hand {
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi main, mail, due, young, loose, damaged;
};

static void hand_in(struct fixture *f, struct hand *h)
{
	f->q = queue_close(f->q);
	fixture_drop_fresh(f);
	assert_int_equal(mdb_env_create(&h->env), 0);
	assert_int_equal(mdb_env_set_maxdbs(h->env, 8), 0);
	assert_int_equal(mdb_env_set_mapsize(h->env, 256 * MIB), 0);
	assert_int_equal(mdb_env_open(h->env, f->dir, 0, 0600), 0);
	assert_int_equal(mdb_txn_begin(h->env, NULL, 0, &h->txn), 0);
	assert_int_equal(mdb_dbi_open(h->txn, NULL, 0, &h->main), 0);
	assert_int_equal(mdb_dbi_open(h->txn, "mail", 0, &h->mail), 0);
	assert_int_equal(mdb_dbi_open(h->txn, "due", 0, &h->due), 0);
	assert_int_equal(mdb_dbi_open(h->txn, "young", 0, &h->young), 0);
	assert_int_equal(mdb_dbi_open(h->txn, "loose", 0, &h->loose), 0);
	assert_int_equal(mdb_dbi_open(h->txn, "damaged", 0, &h->damaged), 0);
}

static size_t hand_out(struct fixture *f, struct hand *h)
{
	MDB_stat st;

	assert_int_equal(mdb_stat(h->txn, h->damaged, &st), 0);
	assert_int_equal(mdb_txn_commit(h->txn), 0);
	mdb_env_close(h->env);
	fixture_reopen(f);
	return st.ms_entries;
}

static void flip_record(struct hand *h, uint64_t id, uint32_t sub)
{
	struct mail_key k = mail_key(id, sub);
	MDB_val key = { sizeof(k.b), k.b }, v;
	char copy[1024];

	assert_int_equal(mdb_get(h->txn, h->mail, &key, &v), 0);
	memcpy(copy, v.mv_data, v.mv_size);
	copy[v.mv_size / 2] ^= 4;
	v.mv_data = copy;
	assert_int_equal(mdb_put(h->txn, h->mail, &key, &v, 0), 0);
}

static void del(struct hand *h, MDB_dbi dbi, const void *k, size_t n)
{
	MDB_val key = { n, (void *)(uintptr_t)k };

	assert_int_equal(mdb_del(h->txn, dbi, &key, NULL), 0);
}

static void put(struct hand *h, MDB_dbi dbi, const void *k, size_t n, const char *value)
{
	MDB_val key = { n, (void *)(uintptr_t)k }, v = { strlen(value), (void *)(uintptr_t)value };

	assert_int_equal(mdb_put(h->txn, dbi, &key, &v, 0), 0);
}

static void del_chunk(struct hand *h, uint64_t id, uint32_t n)
{
	struct mail_key k = mail_key(id, MAIL_BODY + n);
	MDB_val key = { sizeof(k.b), k.b }, v;
	MDB_cursor *c;

	assert_int_equal(mdb_cursor_open(h->txn, h->mail, &c), 0);
	assert_int_equal(mdb_cursor_get(c, &key, &v, MDB_SET_RANGE), 0);
	assert_int_equal(mdb_cursor_del(c, 0), 0);
	mdb_cursor_close(c);
}

/* The one planted upon: two recipients, the first new, the second stored in the due index; 9,000
 * bytes. */
static void bad_envelope(struct hand *h, uint64_t id)
{
	flip_record(h, id, 0);
}
static void no_envelope(struct hand *h, uint64_t id)
{
	struct mail_key k = mail_key(id, 0);

	del(h, h->mail, k.b, sizeof(k.b));
}
static void bad_new_recipient(struct hand *h, uint64_t id)
{
	flip_record(h, id, 1);
}
static void bad_stored_recipient(struct hand *h, uint64_t id)
{
	flip_record(h, id, 2);
}
static void no_recipient(struct hand *h, uint64_t id)
{
	struct mail_key k = mail_key(id, 2);

	del(h, h->mail, k.b, sizeof(k.b));
}
static void no_recipients(struct hand *h, uint64_t id)
{
	struct mail_key k = mail_key(id, 1);

	no_recipient(h, id);
	del(h, h->mail, k.b, sizeof(k.b));
}
static void no_due_entry(struct hand *h, uint64_t id)
{
	struct due_key k;

	due_key_make(&k, SLICE_LIT("y.example"), NOW + 7, id, 1);
	del(h, h->due, k.b, k.n);
}
static void no_young_entry(struct hand *h, uint64_t id)
{
	struct mail_key k = mail_key(id, 0);

	del(h, h->young, k.b, sizeof(k.b));
}
static void in_both(struct hand *h, uint64_t id)
{
	struct due_key k;

	due_key_make(&k, SLICE_LIT("x.example"), NOW, id, 0);
	put(h, h->due, k.b, k.n, "");
}
static void stale_due_entry(struct hand *h, uint64_t id)
{
	struct due_key k;

	due_key_make(&k, SLICE_LIT("y.example"), NOW + 5, id, 1);
	put(h, h->due, k.b, k.n, "");
}
static void due_nonsense(struct hand *h, uint64_t id)
{
	put(h, h->due, "nonsense", 8, "");
}
static void chunk_missing(struct hand *h, uint64_t id)
{
	del_chunk(h, id, 1);
}
static void tail_missing(struct hand *h, uint64_t id)
{
	del_chunk(h, id, 2);
}
static void chunk_short(struct hand *h, uint64_t id)
{
	struct chunk_key k = chunk_key(id, 1, 0x00000000); /* of nothing */

	del_chunk(h, id, 1);
	put(h, h->mail, k.b, sizeof(k.b), "");
}
static void chunk_other(struct hand *h, uint64_t id)
{
	struct chunk_key k = chunk_key(id, 2, 12345);

	del_chunk(h, id, 2);
	put(h, h->mail, k.b, sizeof(k.b), "other content than that of its CRC");
}
static void lone_body(struct hand *h, uint64_t id)
{
	struct chunk_key k = chunk_key(id + 1, 0, 0xe3069283u);

	put(h, h->mail, k.b, sizeof(k.b), "123456789");
}
static void wrong_totals(struct hand *h, uint64_t id)
{
	put(h, h->main, "totals", 6, "12345678123456781234567812345678");
}

static const struct plant {
	const char *what;
	void (*plant)(struct hand *h, uint64_t id);
	const char *line;
	bool survives; /* both recipients can be delivered after the repair */
	bool aside;    /* something lies in `damaged` after it */
} plants[] = {
	{ "bad envelope", bad_envelope, "the envelope is damaged", false, true },
	{ "no envelope", no_envelope, "no envelope", false, true },
	{ "bad new recipient", bad_new_recipient, "recipient 0: the record is damaged", false,
		true },
	{ "bad stored recipient", bad_stored_recipient, "recipient 1: the record is damaged", false,
		true },
	{ "no recipient", no_recipient, "recipient 1 is in the due index and not", false, true },
	{ "no recipients", no_recipients, "no recipients left", false, true },
	{ "no due entry", no_due_entry, "recipient 1 is in no index", true, false },
	{ "no young entry", no_young_entry, "recipient 0 is in no index", true, false },
	{ "in both indexes", in_both, "recipient 0 is in both indexes", true, false },
	{ "stale due entry", stale_due_entry, "an index entry that is not its own", true, true },
	{ "nonsense in the due index", due_nonsense, "an entry makes no sense", true, true },
	{ "chunk missing", chunk_missing, "not complete", false, true },
	{ "tail missing", tail_missing, "not complete", false, true },
	{ "chunk short", chunk_short, "not complete", false, true },
	{ "chunk is another", chunk_other, "the body is damaged", false, true },
	{ "lone body", lone_body, "belongs to nothing", true, true },
	{ "wrong totals", wrong_totals, "totals: ", true, false },
};

struct lines {
	char text[4096];
};

static void keep_line(void *arg, const char *line)
{
	struct lines *l = arg;
	size_t n = strlen(l->text);

	snprintf(l->text + n, sizeof(l->text) - n, "%s\n", line);
}

static void no_lines(void *arg, const char *line)
{
	fail_msg("after the repair: %s", line);
}

static void plant_one(struct fixture *f, const struct plant *p)
{
	struct queue_rcpt_state later = { .due = NOW + 7 };
	uint64_t good = put_message(f, "g@good.example", 5000, NOW), id, other;
	struct lines l = { "" };
	struct hand h;
	size_t before, after;
	unsigned due;

	id = put_message(f, "a@x.example b@y.example", 9000, NOW);
	assert_int_equal(settle_defer(f, id, 1, "y.example", NOW, &later), 0);
	assert_int_equal(queue_check(f->q, false, no_lines, NULL), 0);
	hand_in(f, &h);
	p->plant(&h, id);
	before = hand_out(f, &h);
	other = put_message(f, "h@good.example", 5000, NOW);

	if (queue_check(f->q, false, keep_line, &l) != 1 || !strstr(l.text, p->line))
		fail_msg("%s: told: %s", p->what, l.text);
	/* telling changes nothing; reading around it neither crashes nor blocks */
	count_due(f, "x.example", NOW + 10);
	count_due(f, "y.example", NOW + 10);
	if (queue_check(f->q, true, keep_line, &l) != 1 &&
		strcmp(p->what, "bad stored recipient") && strcmp(p->what, "bad new recipient") &&
		strcmp(p->what, "no recipient"))
		fail_msg("%s: gone before the repair", p->what);
	/* what a repair uncovers (a message that lost its last recipient) the next one mends */
	for (int i = 0; i < 3 && queue_check(f->q, true, keep_line, &l) == 1; i++)
		;
	assert_int_equal(queue_check(f->q, false, no_lines, NULL), 0);
	due = count_due(f, "x.example", NOW + 10) + count_due(f, "y.example", NOW + 10);
	if (p->survives ? due != 2 : due > 1)
		fail_msg("%s: %u recipients left", p->what, due);
	/* the others are as they were */
	assert_int_equal(count_due(f, "good.example", NOW), 2);
	check_body(f, good, 5000);
	check_body(f, other, 5000);
	hand_in(f, &h);
	after = hand_out(f, &h);
	if ((after > before) != p->aside)
		fail_msg("%s: %zu set aside", p->what, after - before);
}

static void test_planted(void **state)
{
	for (size_t i = 0; i < COUNT(plants); i++) {
		void *f;

		assert_int_equal(fixture_setup(&f), 0);
		plant_one(f, &plants[i]);
		fixture_teardown(&f);
	}
}

/* A body that is not what was stored is an error, not another mail. */
static void test_body_read_tells(void **state)
{
	struct fixture *f = *state;
	uint64_t id = put_message(f, "a@x.example", 9000, NOW);
	char piece[4096];
	struct hand h;
	size_t n;

	hand_in(f, &h);
	chunk_other(&h, id);
	hand_out(f, &h);
	assert_int_equal(queue_body_read(f->q, id, 0, piece, sizeof(piece), &n), 0);
	assert_int_equal(
		queue_body_read(f->q, id, 2 * BODY_CHUNK, piece, sizeof(piece), &n), -EBADMSG);
	hand_in(f, &h);
	del_chunk(&h, id, 2);
	hand_out(f, &h);
	assert_int_equal(
		queue_body_read(f->q, id, 2 * BODY_CHUNK, piece, sizeof(piece), &n), -EBADMSG);
	assert_int_equal(queue_body_read(f->q, id, 0, piece, sizeof(piece), &n), 0);
	assert_int_equal(queue_body_read(f->q, id + 1, 0, piece, sizeof(piece), &n), -ENOENT);
}

/* ---- flipped bits ---- */

static int see_domain(void *arg, const char *domain, ms_t due)
{
	struct fixture *f = arg;

	strncpy(f->dir + 48, domain, 15); /* any use of it */
	return 0;
}

/* Does with the queue what the relay does, and what check-queue does. Exits, or crashes. */
static _Noreturn void use_queue(struct fixture *f)
{
	static char piece[100000];
	struct queue_rcpt_state *st;
	struct queue_reading w;
	struct message *m;
	char error[512] = "";
	uint64_t id = 0;
	size_t n;
	int found;

	if (queue_open(&f->q, &f->params, error, sizeof(error)))
		_exit(strstr(error, f->dir) ? 10 : 20); /* told, and it names the file */
	found = queue_check(f->q, false, NULL, NULL);
	queue_domains(f->q, see_domain, f);
	queue_reading_init(&w);
	for (unsigned i = 0; i < 20; i++) {
		char domain[32];

		snprintf(domain, sizeof(domain), "d%u.example", i);
		queue_read_due(
			f->q, domain, &(struct queue_look){ .now = INT64_MAX, .limit = 1000 }, &w);
	}
	queue_reading_deinit(&w);
	for (; queue_next_message(f->q, &id) == 0; id++) {
		if (queue_load(f->q, id, &m, &st) == 0)
			message_unref(m);
		if (queue_body_read(f->q, id, 0, piece, sizeof(piece), &n) == 0) {
			for (size_t i = 0; i < n; i++) {
				if (piece[i] != body_byte(id, i))
					_exit(21); /* other content than was stored */
			}
		}
	}
	queue_close(f->q);
	_exit(found == 0 ? 0 : found > 0 ? 11 : 12);
}

static void test_flipped_bits(void **state)
{
	struct fixture *f = *state;
	struct queue_rcpt_state later = { .due = NOW + 7 };
	unsigned counts[32] = { 0 };
	uint64_t seed = 20261122;
	char file[256];
	unsigned char *sound;
	struct raw_meta meta;
	enum raw_state st;
	size_t size;
	int fd;

	for (unsigned i = 0; i < 200; i++) {
		char rcpt[64], domain[32];
		uint64_t id;

		snprintf(domain, sizeof(domain), "d%u.example", i % 20);
		snprintf(rcpt, sizeof(rcpt), "u%u@%s", i, domain);
		id = put_message(f, rcpt, i % 3 ? 500 : 6000, NOW);
		if (i % 2)
			assert_int_equal(settle_defer(f, id, 0, domain, NOW, &later), 0);
	}
	f->q = queue_close(f->q);
	snprintf(file, sizeof(file), "%s/data.mdb", f->dir);
	fd = open(file, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(raw_meta_read(fd, &meta, &st), 0);
	size = (meta.last_page + 1) * meta.page_size;
	sound = malloc(size);
	assert_non_null(sound);
	assert_int_equal(pread(fd, sound, size, 0), size);
	for (unsigned i = 0; i < 300; i++) {
		unsigned char byte;
		uint64_t at;
		int status;
		pid_t pid;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		at = (seed >> 20) % size;
		/* headers and offsets of a page are where most hangs on a bit */
		if (i % 2)
			at = at / 4096 * 4096 + at % 64;
		byte = sound[at] ^ (unsigned char)(1 << (seed >> 60) % 8);
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			use_queue(f);
		waitpid(pid, &status, 0);
		if (!WIFEXITED(status) || WEXITSTATUS(status) >= 20)
			fail_msg("bit at %llu: status %x", (unsigned long long)at, status);
		counts[WEXITSTATUS(status)]++;
		/* using it has written: back to what it was */
		assert_int_equal(pwrite(fd, sound, size, 0), size);
	}
	free(sound);
	close(fd);
	print_message("opened and sound %u, refused %u, found by check %u, check failed %u\n",
		counts[0], counts[10], counts[11], counts[12]);
	assert_true(counts[10] > 20 && counts[11] > 5);
	fixture_reopen(f);
	check_clean(f, 200, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
		cmocka_unit_test(test_planted),
		T(test_body_read_tells),
		T(test_flipped_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
