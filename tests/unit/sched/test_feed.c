/* When a domain is read: each cell of state x event, and seeds of a domain whose mail must all be
 * read, whatever happens to it on the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "postern/feed.h"
#include "postern/must.h"
#include "postern/rng.h"

#define WALL 1700000000000
#define MONO 5000
#define DAY  86400000

/* ---- cells ---- */

/* '=' stays; '>' goes where it belongs; '!' must not be; else the first letter of where it goes. */
static const char *const cells[FEED_STATES_N] = {
	/*                   MAIL LOOK LEFT STOP STALE ASK NO_ROOM NO_MEMORY ASK_AHEAD FOUND DONE */
	[FEED_EMPTY] = ">>=>=!!!!!!",
	[FEED_LATER] = ">>=>=!!!!!!",
	[FEED_FULL] = ">>>>=!!!R!!",
	[FEED_STOPPED] = ">>>>=!!!!!!",
	[FEED_DUE] = "===>=RFL!!!",
	[FEED_READING] = "====S!!!!=>",
	[FEED_READING_STALE] = "=====!!!!!>",
};

static enum feed_state target(char c)
{
	switch (c) {
	case 'R':
		return FEED_READING;
	case 'F':
		return FEED_FULL;
	case 'L':
		return FEED_LATER;
	default:
		return FEED_READING_STALE;
	}
}

static enum feed_state belongs(ms_t next, const struct feed_in *in)
{
	if (!next)
		return FEED_EMPTY;
	if (in->stopped)
		return FEED_STOPPED;
	if (next > in->wall)
		return FEED_LATER;
	return in->room ? FEED_DUE : FEED_FULL;
}

/* What is known to be due after the event. */
static ms_t next_after(enum feed_state s, enum feed_event e, ms_t next, const struct feed_in *in)
{
	bool earlier = false;
	ms_t due = 0;

	if (e == FEED_ON_MAIL)
		due = in->due;
	else if (e == FEED_ON_DONE)
		due = s == FEED_READING_STALE || in->more ? in->wall : in->next_due;
	else if (e == FEED_ON_ASK || e == FEED_ON_ASK_AHEAD)
		return 0;
	earlier = due && (!next || due < next);
	return earlier ? due : next;
}

static void cell(enum feed_state s, enum feed_event e, ms_t next, const struct feed_in *in)
{
	struct feed f = { .state = s, .next = next, .at = MONO + 7 };
	ms_t after = next_after(s, e, next, in);
	char c = cells[s][e];

	assert_int_equal(feed_allows(s, e), c != '!');
	if (c == '!')
		return;
	feed_step(&f, e, in);
	if (f.state != (c == '=' ? s : c == '>' ? belongs(after, in) : target(c)))
		fail_msg("%s x %s (next %+d, %s, %s): %s", feed_state_name(s), feed_event_name(e),
			(int)(next ? next - WALL : 0), in->stopped ? "stopped" : "free",
			in->room ? "room" : "no room", feed_state_name(f.state));
	assert_int_equal(f.next, after);
	if (f.state == FEED_LATER && c == '>')
		assert_int_equal(f.at - MONO, after - WALL < 3600000 ? after - WALL : 3600000);
	if (c == 'L')
		assert_int_equal(f.at, MONO + 1000);
}

/* Empty is who has nothing due; only who is being read may be either. */
static bool exists(enum feed_state s, ms_t next)
{
	return s >= FEED_READING || (s == FEED_EMPTY) == !next;
}

static void all_cells(ms_t next, const struct feed_in *in)
{
	for (int s = 0; s < FEED_STATES_N; s++)
		for (int e = 0; e < FEED_EVENTS_N; e++)
			if (exists(s, next))
				cell(s, e, next, in);
}

static void test_each_cell(void **state)
{
	static const ms_t times[] = { 0, WALL - 10, WALL, WALL + 10, WALL + DAY };

	for (unsigned bits = 0; bits < 8; bits++)
		for (size_t next = 0; next < 5; next++)
			for (size_t due = 1; due < 5; due++) {
				const struct feed_in in = {
					.mono = MONO,
					.wall = WALL,
					.longest = 2 * DAY,
					.stopped = bits & 1,
					.room = bits & 2,
					.more = bits & 4,
					.due = times[due],
					.next_due = times[due],
				};

				all_cells(times[next], &in);
			}
}

/* ---- single rules ---- */

static struct feed_in facts(void)
{
	return (struct feed_in){
		.mono = MONO, .wall = WALL, .longest = DAY, .room = true, .use = FEED_USED
	};
}

static void mail(struct feed *f, struct feed_in *in, ms_t due)
{
	in->due = due;
	feed_step(f, FEED_ON_MAIL, in);
}

/* A domain in line for its own window is not looked at ahead of it: two readings at once. */
static void test_one_reading(void **state)
{
	struct feed_in in = facts();
	struct feed f = { 0 };

	mail(&f, &in, WALL);
	assert_int_equal(f.state, FEED_DUE);
	assert_false(feed_allows(f.state, FEED_ON_ASK_AHEAD));
	feed_step(&f, FEED_ON_ASK, &in);
	mail(&f, &in, WALL);
	assert_int_equal(f.state, FEED_READING);
	feed_step(&f, FEED_ON_DONE, &in);
	assert_int_equal(f.state, FEED_DUE); /* what came meanwhile */
}

/* What is read behind the window does not change when the window itself is due. */
static void test_ahead_resumes(void **state)
{
	struct feed_in in = facts();
	struct feed f = { 0 };

	in.room = false;
	mail(&f, &in, WALL - 50);
	assert_int_equal(f.state, FEED_FULL);
	feed_step(&f, FEED_ON_ASK_AHEAD, &in);
	in.last = (struct feed_place){ WALL - 5, 9, 1 };
	feed_step(&f, FEED_ON_FOUND, &in);
	in.use = FEED_USED;
	feed_step(&f, FEED_ON_DONE, &in);
	assert_int_equal(f.state, FEED_FULL);
	assert_int_equal(f.next, WALL - 50);
	assert_int_equal(f.ahead.id, 9);
	assert_int_equal(f.ahead_from, INT64_MAX);
	mail(&f, &in, WALL + 3); /* comes behind that place */
	assert_int_equal(f.ahead_from, WALL + 3);
}

/* Beside parked pools the others' mail is looked for once: from where the last reading ended, and
 * again from the first when something before it comes. Parked mail is not what is looked for. */
static void test_cursor(void **state)
{
	struct feed_in in = facts();
	struct feed f = { 0 };

	mail(&f, &in, WALL - 50);
	feed_step(&f, FEED_ON_ASK, &in);
	in.last = (struct feed_place){ WALL - 20, 5, 0 };
	in.some_parked = in.more = true;
	in.pause = 20;
	feed_step(&f, FEED_ON_FOUND, &in);
	feed_step(&f, FEED_ON_DONE, &in);
	assert_int_equal(f.cursor.id, 5);
	assert_int_equal(f.state, FEED_LATER); /* much may have to be gone through: not in one go */
	assert_int_equal(f.at, MONO + 20);
	in.parked = true;
	mail(&f, &in, WALL - 30);
	assert_int_equal(f.cursor.id, 5);
	in.parked = false;
	mail(&f, &in, WALL - 10);
	assert_int_equal(f.cursor.id, 5);
	mail(&f, &in, WALL - 30);
	assert_int_equal(f.cursor.id, 0);
}

/* The clock was set back: what is due later than any retry can be is due now, and what lies behind
 * that place is read once. */
static void test_other_clock(void **state)
{
	struct feed_in in = facts();
	struct feed f = { 0 };

	mail(&f, &in, WALL + DAY + 1);
	assert_int_equal(f.state, FEED_DUE);
	feed_step(&f, FEED_ON_ASK, &in);
	assert_true(f.whatever_time);
	feed_step(&f, FEED_ON_DONE, &in);

	f = (struct feed){ 0 };
	mail(&f, &in, WALL + 1000);
	assert_int_equal(f.state, FEED_LATER);
	f.far = (struct feed_place){ WALL + DAY, UINT64_MAX, 0 };
	feed_step(&f, FEED_ON_LOOK, &in);
	assert_int_equal(f.state, FEED_DUE);
	feed_step(&f, FEED_ON_ASK, &in);
	assert_true(f.whatever_time && f.kind == FEED_FAR);
	feed_step(&f, FEED_ON_FOUND, &in);
	feed_step(&f, FEED_ON_DONE, &in);
	assert_int_equal(f.far.id, 0);
	assert_int_equal(f.state, FEED_LATER);
	assert_int_equal(f.next, WALL + 1000);
}

static void test_failed_reading(void **state)
{
	struct feed_in in = facts();
	struct feed f = { 0 };

	mail(&f, &in, WALL);
	feed_step(&f, FEED_ON_ASK, &in);
	in.use = FEED_FAILED;
	feed_step(&f, FEED_ON_DONE, &in);
	assert_int_equal(f.state, FEED_LATER);
	assert_int_equal(f.at, MONO + 10000);
}

/* ---- a domain that lives ---- */

enum { WINDOW = 6, MAILS = 40, READ_MAX = 3 };

struct world {
	struct feed f;
	struct rng rng;
	ms_t mono, wall, timer; /* timer 0: not set */
	bool in_line, held, put_off;
	struct {
		ms_t due;
		bool queued, memory, read;
	} all[MAILS];
	unsigned n, memory;
	/* the window under way */
	unsigned window[READ_MAX], nwindow;
	bool more;
	ms_t next_due, back_at;
};

static void step(struct world *w, enum feed_event e, struct feed_in *in)
{
	in->mono = w->mono;
	in->wall = w->wall;
	in->longest = DAY;
	in->stopped = w->held || w->put_off;
	in->room = w->memory <= WINDOW / 2;
	feed_step(&w->f, e, in);
	w->in_line = w->f.state == FEED_DUE;
	w->timer = w->f.state == FEED_LATER ? w->f.at : 0;
	if (w->f.state == FEED_LATER)
		must(w->f.at - w->mono <= 3600000);
}

static void queue_has(struct world *w, ms_t due)
{
	step(w, FEED_ON_MAIL, &(struct feed_in){ .due = due });
}

static void arrives(struct world *w)
{
	unsigned i = w->n;

	if (i == MAILS)
		return;
	w->n++;
	w->all[i].queued = true;
	w->all[i].due = w->wall + (rng_below(&w->rng, 3) ? 0 : (ms_t)rng_below(&w->rng, 100000));
	if (w->all[i].due <= w->wall && w->memory < WINDOW && !w->held && !w->put_off) {
		w->all[i].memory = true;
		w->memory++;
	} else {
		queue_has(w, w->all[i].due);
	}
}

/* As the reading thread sees the index when it is asked. */
static void read_index(struct world *w)
{
	w->nwindow = 0;
	w->more = false;
	w->next_due = 0;
	for (unsigned i = 0; i < w->n; i++) {
		if (!w->all[i].queued || w->all[i].memory)
			continue;
		if (w->all[i].due > w->wall && !w->f.whatever_time) {
			if (!w->next_due || w->all[i].due < w->next_due)
				w->next_due = w->all[i].due;
		} else if (w->nwindow < READ_MAX && w->memory + w->nwindow < WINDOW) {
			w->window[w->nwindow++] = i;
		} else {
			w->more = true;
		}
	}
	w->back_at = w->mono + (ms_t)rng_below(&w->rng, 50);
}

static void turn(struct world *w)
{
	if (!w->in_line)
		return;
	if (w->memory >= WINDOW) {
		step(w, FEED_ON_NO_ROOM, &(struct feed_in){ 0 });
	} else if (!rng_below(&w->rng, 8)) {
		step(w, FEED_ON_NO_MEMORY, &(struct feed_in){ 0 });
	} else {
		step(w, FEED_ON_ASK, &(struct feed_in){ 0 });
		read_index(w);
	}
}

static void ahead(struct world *w)
{
	if (w->f.state != FEED_FULL)
		return;
	step(w, FEED_ON_ASK_AHEAD, &(struct feed_in){ 0 });
	read_index(w);
}

static void comes_back(struct world *w)
{
	struct feed_in in = { .more = w->more, .next_due = w->next_due };
	bool used = w->f.state == FEED_READING && rng_below(&w->rng, 10);

	in.use = used ? FEED_USED : rng_below(&w->rng, 2) ? FEED_UNUSED : FEED_FAILED;
	if (used) {
		if (w->nwindow)
			in.last = (struct feed_place){ w->all[w->window[w->nwindow - 1]].due,
				w->window[w->nwindow - 1] + 1, 0 };
		step(w, FEED_ON_FOUND, &in);
		for (unsigned k = 0; k < w->nwindow; k++) {
			unsigned i = w->window[k];

			if (!w->all[i].queued || w->all[i].memory)
				continue;
			if (!rng_below(&w->rng, 10)) { /* no memory for it */
				queue_has(w, w->all[i].due);
				continue;
			}
			w->all[i].memory = true;
			w->memory++;
		}
	}
	step(w, FEED_ON_DONE, &in);
}

/* One of those in memory is delivered, deferred, or put back as it is. */
static void leaves(struct world *w)
{
	unsigned k = w->memory ? (unsigned)rng_below(&w->rng, w->memory) : 0, i = 0;

	if (!w->memory)
		return;
	for (;; i++)
		if (w->all[i].memory && !k--)
			break;
	w->all[i].memory = false;
	w->memory--;
	if (feed_reading(
		    &w->f)) /* what is being read may have it still: the driver knows it as gone */
		step(w, FEED_ON_STALE, &(struct feed_in){ 0 });
	switch (rng_below(&w->rng, 4)) {
	case 0:
		w->all[i].due = w->wall + (ms_t)rng_below(&w->rng, 50000);
		queue_has(w, w->all[i].due);
		break;
	case 1:
		queue_has(w, w->all[i].due);
		break;
	default:
		w->all[i].queued = false;
		break;
	}
	step(w, FEED_ON_LEFT, &(struct feed_in){ 0 });
}

static void stop_or_go(struct world *w, bool *what, bool on)
{
	*what = on;
	if (on)
		step(w, FEED_ON_STALE, &(struct feed_in){ 0 });
	step(w, on ? FEED_ON_STOP : FEED_ON_LOOK, &(struct feed_in){ 0 });
}

static void time_goes(struct world *w, ms_t ms)
{
	w->mono += ms;
	w->wall += ms;
	if (feed_reading(&w->f) && w->mono >= w->back_at)
		comes_back(w);
	if (w->timer && w->mono >= w->timer)
		step(w, FEED_ON_LOOK, &(struct feed_in){ 0 });
}

static void clock_set(struct world *w)
{
	ms_t by = (ms_t)rng_below(&w->rng, 400000) - 200000;

	w->wall += by;
	if (by < 0)
		w->f.far = (struct feed_place){ w->wall + DAY, UINT64_MAX, 0 };
	step(w, FEED_ON_LOOK, &(struct feed_in){ 0 });
}

static void anything(struct world *w)
{
	switch (rng_below(&w->rng, 12)) {
	case 0:
	case 1:
		arrives(w);
		break;
	case 2:
	case 3:
		leaves(w);
		break;
	case 4:
	case 5:
	case 6:
		turn(w);
		break;
	case 7:
		ahead(w);
		break;
	case 8:
		stop_or_go(w, &w->held, !rng_below(&w->rng, 3));
		break;
	case 9:
		stop_or_go(w, &w->put_off, !rng_below(&w->rng, 3));
		break;
	case 10:
		if (!rng_below(&w->rng, 8))
			clock_set(w);
		break;
	default:
		time_goes(w, (ms_t)rng_below(&w->rng, 2000));
		break;
	}
}

static unsigned left(const struct world *w)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w->n; i++)
		n += w->all[i].queued;
	return n;
}

static void test_all_is_read(void **state)
{
	const char *s = getenv("SCHED_SEEDS");
	unsigned seeds = s ? (unsigned)atoi(s) : 5000;

	for (unsigned seed = 1; seed <= seeds; seed++) {
		struct world w = { .mono = MONO, .wall = WALL };
		unsigned n = 0;

		rng_seed(&w.rng, seed);
		for (unsigned k = 0; k < 400; k++)
			anything(&w);
		stop_or_go(&w, &w.held, false);
		stop_or_go(&w, &w.put_off, false);
		while (left(&w) && n++ < 4000) {
			turn(&w);
			leaves(&w);
			time_goes(&w, 1000);
		}
		if (left(&w))
			fail_msg("seed %u: %u are never read; state %s, next %+d", seed, left(&w),
				feed_state_name(w.f.state), (int)(w.f.next - w.wall));
		while (feed_reading(&w.f) || w.timer || w.in_line) {
			turn(&w);
			time_goes(&w, 10000);
			assert_true(n++ < 20000);
		}
		assert_int_equal(w.f.state, FEED_EMPTY);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_cell),
		cmocka_unit_test(test_one_reading),
		cmocka_unit_test(test_ahead_resumes),
		cmocka_unit_test(test_cursor),
		cmocka_unit_test(test_other_clock),
		cmocka_unit_test(test_failed_reading),
		cmocka_unit_test(test_all_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
