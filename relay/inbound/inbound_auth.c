/* AUTH: whether, when and how a password is checked. Runs on the worker's thread; the hash, which
 * takes milliseconds by intent, is made on libuv's pool.
 *
 * A client's failures of late delay the next check, and end in 421 (guesses.h). One password of a
 * client is checked at a time, and a few in all, so that guesses never take the processor from
 * mail: others wait their turn, in inbound->auth_waiting, until one is done or their timer fires.
 * A log-in that succeeded a moment ago is known again without a hash (logins.h). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "inbound.h"

#define USER_MAX     256u
#define PASSWORD_MAX 512u /* crypt(3) takes no longer ones */
#define WAIT_STEP    250
#define TURN_TRIES   4
#define TURN_SEEN    32
#define WAIT_MAX     60000 /* for a turn, beyond the delay */

struct auth_check {
	uv_work_t work;
	struct session *s;
	struct users *users;
	enum smtp_auth_result result;
	char user[USER_MAX], password[PASSWORD_MAX], pool[64];
};

/* On a thread of the pool: touches nothing but the check. */
static void on_work(uv_work_t *work)
{
	struct auth_check *a = work->data;

	a->result = users_check(a->users, a->user, a->password, a->pool);
}

static void auth_answer(struct session *s, enum smtp_auth_result result, const char *pool)
{
	struct inbound *ib = s->ib;

	if (result == AUTH_BAD || result == AUTH_LIMITED)
		count_add(&ib->count.auth_failures, 1);
	if (!s->ln->p->pool_by_user || !pool || !pool[0])
		pool = NULL;
	if (session_is_closed(s))
		return;
	if (result == AUTH_OK)
		stress_leave(s);
	if (smtp_server_authenticated(s->server, result, pool, &ib->out))
		session_close(s, 0, "out of memory");
	else
		session_send(s);
}

/* ---- whose turn it is ---- */

static void turn_leave(struct session *s)
{
	if (!s->login.begun)
		return;
	s->login.begun = 0;
	loop_timer_disarm(s->ib->loop, &s->login.timer);
	DL_DELETE2(s->ib->auth_waiting, s, login.prev, login.next);
}

/* Who is known stands before who is not: however many guess, each from an address of his own, those
 * that log in every day do not wait behind them. */
static void turn_wait(struct session *s, ms_t delay)
{
	s->login.begun = loop_mono(s->ib->loop);
	s->login.from = s->login.begun + delay;
	s->waits |= WAIT_AUTH;
	if (s->login.known)
		DL_PREPEND2(s->ib->auth_waiting, s, login.prev, login.next);
	else
		DL_APPEND2(s->ib->auth_waiting, s, login.prev, login.next);
	loop_timer_arm(s->ib->loop, &s->login.timer, delay > 0 ? delay : WAIT_STEP);
}

/* Somebody was there before, and waits for nothing but a place. */
static bool must_queue(const struct session *s)
{
	ms_t now = loop_mono(s->ib->loop);
	unsigned seen = 0;
	const struct session *other;

	if (s->login.known || s->login.begun)
		return false;
	DL_FOREACH2(s->ib->auth_waiting, other, login.next)
	{
		if (other->login.from <= now || ++seen == TURN_SEEN)
			return true;
	}
	return false;
}

static bool place_take(struct session *s)
{
	struct session_limits *l = s->ib->p.limits;
	bool taken;

	pthread_mutex_lock(&l->lock);
	taken = !s->known->checking && l->checking < l->checking_max;
	if (taken) {
		s->known->checking = true;
		l->checking++;
	}
	pthread_mutex_unlock(&l->lock);
	return taken;
}

static void place_leave(struct session *s)
{
	struct session_limits *l = s->ib->p.limits;

	pthread_mutex_lock(&l->lock);
	s->known->checking = false;
	l->checking--;
	pthread_mutex_unlock(&l->lock);
}

/* ---- one check ---- */

static void auth_free(struct auth_check *a)
{
	users_unref(a->users);
	explicit_bzero(a->password, sizeof(a->password));
	free(a);
}

static void learn(struct auth_check *a)
{
	struct session *s = a->s;
	struct session_limits *l = s->ib->p.limits;
	ms_t now = loop_mono(s->ib->loop);
	struct login_key key;
	bool keyed =
		a->result == AUTH_OK && logins_key(l->logins, &key, a->users, a->user, a->password);

	pthread_mutex_lock(&l->lock);
	if (a->result == AUTH_BAD)
		guesses_failed(l->guesses, now, &s->client, a->user);
	if (a->result == AUTH_OK)
		guesses_passed(l->guesses, now, &s->client, a->user);
	if (keyed)
		logins_add(l->logins, now, &key, a->pool);
	pthread_mutex_unlock(&l->lock);
}

static void auth_try(struct session *s);

/* An answer can be the session's last, and the end of it. */
static bool still_waits(struct session *s)
{
	bool stays;

	session_hold(s);
	auth_try(s);
	stays = s->login.begun != 0;
	session_release(s);
	return stays;
}

/* Gives back the hold. */
static bool waits_held(struct session *s)
{
	bool waits = s->login.begun != 0;

	session_release(s);
	return waits;
}

/* A place is free, perhaps: those that wait try whether it is theirs. A few that cannot have it do
 * not keep those behind them from it. */
static void turns_go_on(struct inbound *ib)
{
	struct session *s = ib->auth_waiting, *next;
	unsigned failed = 0;

	while (s && failed < TURN_TRIES) {
		next = s->login.next;
		if (s->login.from <= loop_mono(ib->loop)) {
			if (next)
				session_hold(next);
			failed += still_waits(s);
			/* who is behind one that left meanwhile tries by its own timer */
			if (next && !waits_held(next))
				break;
		}
		s = next;
	}
}

static void on_checked(uv_work_t *work, int status)
{
	struct auth_check *a = work->data;
	struct session *s = a->s;
	struct inbound *ib = s->ib;

	if (status)
		a->result = AUTH_TEMPORARY;
	place_leave(s);
	learn(a);
	auth_answer(s, a->result, a->pool);
	auth_free(a);
	session_ready(s, WAIT_AUTH);
	session_release(s);
	turns_go_on(ib);
}

/* False when there is no memory, or no thread to do it. */
static bool start_check(struct session *s, const struct smtp_credentials *c)
{
	struct auth_check *a = calloc(1, sizeof(*a));

	if (!a)
		return false;
	a->work.data = a;
	a->s = s;
	a->users = users_ref(s->ln->users);
	memcpy(a->user, c->user, strlen(c->user) + 1);
	memcpy(a->password, c->password, strlen(c->password) + 1);
	if (uv_queue_work(loop_uv(s->ib->loop), &a->work, on_work, on_checked)) {
		auth_free(a);
		return false;
	}
	session_hold(s);
	s->waits |= WAIT_AUTH;
	return true;
}

static bool known_login(struct session *s, const struct smtp_credentials *c, char pool[64])
{
	struct session_limits *l = s->ib->p.limits;
	struct login_key key;
	bool found;

	if (!logins_key(l->logins, &key, s->ln->users, c->user, c->password))
		return false;
	pthread_mutex_lock(&l->lock);
	found = logins_find(l->logins, loop_mono(s->ib->loop), &key, pool);
	pthread_mutex_unlock(&l->lock);
	return found;
}

/* The answer, and what came behind it. */
static void answer_now(struct session *s, enum smtp_auth_result result, const char *pool)
{
	bool waited = s->login.begun != 0;

	turn_leave(s);
	session_hold(s);
	auth_answer(s, result, pool);
	if (waited)
		session_ready(s, WAIT_AUTH);
	session_release(s);
}

/* Failures decide anew whenever it is this password's turn: more may have come while it waited. */
static bool ask(struct session *s, const char *user, ms_t *delay)
{
	struct session_limits *l = s->ib->p.limits;
	bool may;

	pthread_mutex_lock(&l->lock);
	s->login.known = client_is_proven(s->known, loop_mono(s->ib->loop)) ||
			 guesses_know(l->guesses, loop_mono(s->ib->loop), &s->client, user);
	may = guesses_ask(l->guesses, loop_mono(s->ib->loop), &s->client, user,
		s->ln->p->auth_failures_max, delay);
	pthread_mutex_unlock(&l->lock);
	return may;
}

static bool must_wait(struct session *s, ms_t delay)
{
	ms_t left;

	if (delay == 0)
		return false;
	if (!s->login.begun)
		turn_wait(s, delay);
	left = s->login.begun + delay - loop_mono(s->ib->loop);
	if (left <= 0)
		return false;
	s->login.from = s->login.begun + delay;
	loop_timer_arm(s->ib->loop, &s->login.timer, left);
	return true;
}

static void auth_try(struct session *s)
{
	struct smtp_credentials c;
	char pool[64];
	ms_t delay;

	smtp_server_credentials(s->server, &c);
	if (!ask(s, c.user, &delay)) {
		answer_now(s, AUTH_LIMITED, NULL);
	} else if (must_wait(s, delay)) {
		/* its timer tries again */
	} else if (known_login(s, &c, pool)) {
		answer_now(s, AUTH_OK, pool);
	} else if (must_queue(s) || !place_take(s)) {
		if (!s->login.begun)
			turn_wait(s, 0);
	} else if (!start_check(s, &c)) {
		place_leave(s);
		answer_now(s, AUTH_TEMPORARY, NULL);
	} else {
		turn_leave(s);
	}
}

static ms_t next_try(const struct session *s)
{
	ms_t left = s->login.from - loop_mono(s->ib->loop);

	return left > WAIT_STEP ? left : WAIT_STEP;
}

static void on_auth_timer(void *arg)
{
	struct session *s = arg;

	session_hold(s);
	turns_go_on(s->ib);
	if (s->login.begun && loop_mono(s->ib->loop) - s->login.from > WAIT_MAX)
		answer_now(s, AUTH_TEMPORARY, NULL);
	else if (s->login.begun)
		loop_timer_arm(s->ib->loop, &s->login.timer, next_try(s));
	session_release(s);
}

void inbound_auth_init(struct session *s)
{
	loop_timer_init(&s->login.timer, on_auth_timer, s);
}

void inbound_auth_stop(struct session *s)
{
	turn_leave(s);
}

void inbound_auth(struct session *s)
{
	struct smtp_credentials c;

	smtp_server_credentials(s->server, &c);
	if (strlen(c.user) >= USER_MAX || strlen(c.password) >= PASSWORD_MAX)
		auth_answer(s, AUTH_BAD, NULL);
	else
		auth_try(s);
}
