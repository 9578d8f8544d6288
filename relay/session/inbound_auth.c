/* AUTH: the password is checked on libuv's pool, because a crypt hash takes milliseconds by intent.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "inbound.h"

#define USER_MAX     256u
#define PASSWORD_MAX 512u /* crypt(3) takes no longer ones */

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

static void auth_answer(
	struct session *s, enum smtp_auth_result result, const char *user, const char *pool)
{
	struct worker *w = s->w;
	char client[ADDR_TEXT_MAX];

	if (result == AUTH_BAD) {
		count_add(&w->count.auth_failures, 1);
		addr_format(client, &s->client);
		log_event(w->p.log, LOG_WARN, "auth-failed",
			"session %" PRIx64 " listener %s client %s user %s: wrong user or password",
			s->number, s->ln->p->name, client, user);
	}
	if (!s->ln->p->pool_by_user || !pool || !pool[0])
		pool = NULL;
	if (s->closed)
		return;
	if (smtp_server_authenticated(s->server, result, pool, &w->out))
		session_close(s, 0, "out of memory");
	else
		session_send(s);
}

static void auth_free(struct auth_check *a)
{
	users_unref(a->users);
	explicit_bzero(a->password, sizeof(a->password));
	free(a);
}

static void on_checked(uv_work_t *work, int status)
{
	struct auth_check *a = work->data;
	struct session *s = a->s;

	auth_answer(s, status ? AUTH_TEMPORARY : a->result, a->user, a->pool);
	auth_free(a);
	session_ready(s, WAIT_AUTH);
	session_release(s);
}

void inbound_auth(struct session *s)
{
	struct smtp_credentials c;
	struct auth_check *a;
	size_t nu, np;

	smtp_server_credentials(s->server, &c);
	nu = strlen(c.user);
	np = strlen(c.password);
	if (nu >= USER_MAX || np >= PASSWORD_MAX) {
		auth_answer(s, AUTH_BAD, "(too long)", NULL);
		return;
	}
	a = calloc(1, sizeof(*a));
	if (!a) {
		auth_answer(s, AUTH_TEMPORARY, c.user, NULL);
		return;
	}
	a->work.data = a;
	a->s = s;
	a->users = users_ref(s->ln->users);
	memcpy(a->user, c.user, nu + 1);
	memcpy(a->password, c.password, np + 1);
	if (uv_queue_work(loop_uv(s->w->loop), &a->work, on_work, on_checked)) {
		auth_answer(s, AUTH_TEMPORARY, a->user, NULL);
		auth_free(a);
		return;
	}
	session_hold(s);
	s->waits |= WAIT_AUTH;
}
