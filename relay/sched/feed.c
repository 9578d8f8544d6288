/* When a domain's due mail is read: see the header for states and legal jumps. Called by the
 * drivers (relay/dispatch/domain.c; tests), each with events of its own domains. */
#include "postern/feed.h"

#include "postern/must.h"

#define LATER_MAX      3600000 /* ms; the wall clock may be set: looked at again within the hour */
#define FAILED_WAIT    10000   /* ms until a reading that failed is tried again */
#define NO_MEMORY_WAIT 1000    /* ms */

const char *feed_state_name(enum feed_state s)
{
	static const char *const names[] = {
#define X(name) #name,
		FEED_STATES(X)
#undef X
	};

	return names[s];
}

const char *feed_event_name(enum feed_event e)
{
	static const char *const names[] = {
#define X(name) #name,
		FEED_EVENTS(X)
#undef X
	};

	return names[e];
}

bool feed_allows(enum feed_state s, enum feed_event e)
{
	switch (e) {
	case FEED_ON_ASK:
	case FEED_ON_NO_ROOM:
	case FEED_ON_NO_MEMORY:
		return s == FEED_DUE;
	case FEED_ON_ASK_AHEAD:
		return s == FEED_FULL;
	case FEED_ON_FOUND:
		return s == FEED_READING;
	case FEED_ON_DONE:
		return s == FEED_READING || s == FEED_READING_STALE;
	case FEED_ON_MAIL:
	case FEED_ON_LOOK:
	case FEED_ON_LEFT:
	case FEED_ON_STOP:
	case FEED_ON_STALE:
	case FEED_EVENTS_N:
		break;
	}
	return true;
}

static void later(struct feed *f, ms_t at)
{
	f->state = FEED_LATER;
	f->at = at;
}

/* Where it belongs, as things stand. */
static void decide(struct feed *f, const struct feed_in *in)
{
	bool come = f->next <= in->wall || f->far.id ||
		    feed_by_other_clock(f->next, in->wall, in->longest);

	if (!f->next) {
		f->state = FEED_EMPTY;
	} else if (in->stopped) {
		f->state = FEED_STOPPED;
	} else if (!come) {
		ms_t wait = f->next - in->wall;

		later(f, in->mono + (wait < LATER_MAX ? wait : LATER_MAX));
	} else {
		f->state = in->room ? FEED_DUE : FEED_FULL;
	}
}

static bool is_waiting(const struct feed *f)
{
	return f->state != FEED_DUE && !feed_reading(f);
}

/* Something is due then. */
static void note(struct feed *f, ms_t due)
{
	if (due >= f->ahead.due && due < f->ahead_from)
		f->ahead_from = due;
	if (!f->next || due < f->next)
		f->next = due;
}

static void mail(struct feed *f, const struct feed_in *in)
{
	/* what is parked need not be found again */
	if (f->cursor.id && in->due <= f->cursor.due && !in->parked)
		f->cursor = (struct feed_place){ 0 };
	note(f, in->due);
	if (is_waiting(f))
		decide(f, in);
}

static void ask(struct feed *f, const struct feed_in *in, bool ahead)
{
	f->kind = ahead ? FEED_BEHIND : f->far.id ? FEED_FAR : FEED_WINDOW;
	f->whatever_time = f->kind == FEED_FAR ||
			   (!ahead && feed_by_other_clock(f->next, in->wall, in->longest));
	f->resume = f->kind == FEED_WINDOW ? 0 : f->next;
	f->next = 0;
	f->state = FEED_READING;
}

/* First: entries of it that cannot be taken set the places back. */
static void found(struct feed *f, const struct feed_in *in)
{
	switch (f->kind) {
	case FEED_WINDOW:
		if (in->some_parked && in->last.id)
			f->cursor = in->last;
		break;
	case FEED_FAR:
		f->far = in->more ? in->last : (struct feed_place){ 0 };
		break;
	case FEED_BEHIND:
		if (in->last.id)
			f->ahead = in->last;
		if (!in->more)
			f->ahead_from = in->next_due ? in->next_due : INT64_MAX;
		break;
	}
}

static void done(struct feed *f, const struct feed_in *in)
{
	ms_t next;

	if (in->use == FEED_FAILED)
		next = in->wall + FAILED_WAIT;
	else if (in->use == FEED_UNUSED || f->state == FEED_READING_STALE)
		next = in->wall;
	else if (f->kind != FEED_WINDOW)
		next = f->resume;
	else
		next = in->more ? in->wall : in->next_due;
	if (next)
		note(f, next);
	decide(f, in);
	if (in->pause && (f->state == FEED_DUE || f->state == FEED_FULL))
		later(f, in->mono + in->pause);
}

void feed_step(struct feed *f, enum feed_event e, const struct feed_in *in)
{
	must(feed_allows(f->state, e));
	switch (e) {
	case FEED_ON_MAIL:
		mail(f, in);
		break;
	case FEED_ON_LOOK:
		if (is_waiting(f))
			decide(f, in);
		break;
	case FEED_ON_LEFT:
		if (feed_waits_for_room(f))
			decide(f, in);
		break;
	case FEED_ON_STOP:
		if (!feed_reading(f))
			decide(f, in);
		break;
	case FEED_ON_STALE:
		if (f->state == FEED_READING)
			f->state = FEED_READING_STALE;
		break;
	case FEED_ON_ASK:
		ask(f, in, false);
		break;
	case FEED_ON_NO_ROOM:
		f->state = FEED_FULL;
		break;
	case FEED_ON_NO_MEMORY:
		later(f, in->mono + NO_MEMORY_WAIT);
		break;
	case FEED_ON_ASK_AHEAD:
		ask(f, in, true);
		break;
	case FEED_ON_FOUND:
		found(f, in);
		break;
	case FEED_ON_DONE:
		done(f, in);
		break;
	case FEED_EVENTS_N:
		break;
	}
}
