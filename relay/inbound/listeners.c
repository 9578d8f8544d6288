/* Listening sockets of one worker, and their change while it runs. Called by relay/worker on the
 * worker's thread (inbound_free_listeners also after its end).
 *
 *   NEW --prepare--> READY --commit--> listens     (nothing in it can fail)
 *                        \--abandon--> gone        (nothing has changed)
 *
 * A socket's old parameters stay with the sessions that began under them, and are released with the
 * last of these. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "inbound.h"
#include "postern/must.h"

static void delete_listener(struct inbound_listener *ln)
{
	void (*release)(void *arg) = ln->release;
	void *arg = ln->arg;

	DL_DELETE(ln->ib->listeners, ln);
	tls_context_unref(ln->tls);
	users_unref(ln->users);
	free(ln);
	if (release)
		release(arg);
}

static void close_listener(struct inbound_listener *ln)
{
	if (ln->socket)
		listener_stop(ln->socket);
	ln->socket = NULL;
}

void inbound_listener_unref(struct inbound_listener *ln)
{
	must(ln->sessions > 0);
	if (--ln->sessions == 0 && ln->removed)
		delete_listener(ln);
}

void inbound_close_listeners(struct inbound *ib)
{
	struct inbound_listener *ln;

	DL_FOREACH (ib->listeners, ln)
		close_listener(ln);
}

void inbound_free_listeners(struct inbound *ib)
{
	struct inbound_listener *ln, *next;

	DL_FOREACH_SAFE (ib->listeners, ln, next)
		delete_listener(ln);
}

/* Not yet in the list. NULL when memory is out. */
static struct inbound_listener *listener_for(struct inbound *ib, const struct listener_params *p,
	int fd, struct tls_context *tls, struct users *users)
{
	struct inbound_listener *ln = calloc(1, sizeof(*ln));

	if (!ln)
		return NULL;
	ln->ib = ib;
	ln->p = p;
	ln->fd = fd;
	ln->rejects = reject_counts_of(ib->p.limits, p->name);
	ln->tls = tls ? tls_context_ref(tls) : NULL;
	ln->users = users_ref(users);
	return ln;
}

static void listener_drop(struct inbound_listener *ln)
{
	tls_context_unref(ln->tls);
	users_unref(ln->users);
	free(ln);
}

int inbound_listen(struct inbound *ib, const struct listener_params *p, int fd,
	struct tls_context *tls, struct users *users)
{
	struct inbound_listener *ln;
	int r = -ENOMEM;

	if (inbound_is_ending(ib))
		return -ESHUTDOWN;
	ln = listener_for(ib, p, fd, tls, users);
	if (ln)
		r = listener_new(&ln->socket, ib->loop, fd, inbound_accepted, ln);
	if (r) {
		log_event(ib->p.log, LOG_ERR, EVENT_LISTEN_FAILED, "listener %s: %s", p->name,
			strerror(-r));
		if (ln)
			listener_drop(ln);
		return r;
	}
	DL_APPEND(ib->listeners, ln);
	listener_accept(ln->socket);
	return 0;
}

/* ---- a change ---- */

int inbound_socket_prepare(
	struct inbound *ib, struct inbound_socket *s, struct inbound_listener **ret)
{
	struct inbound_listener *ln;
	int r = 0;

	*ret = NULL;
	if (!s->p)
		return 0;
	ln = listener_for(ib, s->p, s->fd, s->tls, s->users);
	if (!ln)
		return -ENOMEM;
	if (s->added)
		r = listener_new(&ln->socket, ib->loop, s->fd, inbound_accepted, ln);
	if (r) {
		listener_drop(ln);
		return r;
	}
	s->added = false; /* its descriptor is ln's now */
	*ret = ln;
	return 0;
}

void inbound_socket_abandon(struct inbound_socket *s, struct inbound_listener *ln)
{
	if (s->added)
		close(s->fd);
	if (!ln)
		return;
	if (ln->socket)
		listener_stop(ln->socket);
	listener_drop(ln);
}

static struct inbound_listener *holder_of(struct inbound *ib, int fd)
{
	struct inbound_listener *ln;

	DL_FOREACH (ib->listeners, ln)
		if (ln->socket && ln->fd == fd)
			return ln;
	return NULL;
}

static void retire(struct inbound_listener *ln)
{
	close_listener(ln);
	ln->removed = true;
	if (ln->sessions == 0)
		delete_listener(ln);
}

void inbound_socket_commit(
	struct inbound *ib, const struct inbound_socket *s, struct inbound_listener *ln)
{
	struct inbound_listener *old = NULL;

	if (!ln || !ln->socket)
		old = holder_of(ib, s->fd);
	if (ln) {
		ln->release = s->release;
		ln->arg = s->arg;
		DL_APPEND(ib->listeners, ln);
	}
	if (ln && ln->socket) {
		listener_accept(ln->socket);
	} else if (ln && old) {
		ln->socket = old->socket;
		old->socket = NULL;
		listener_hand_over(ln->socket, ln);
	}
	if (old)
		retire(old);
	/* the relay ends: it has closed what it had, and takes on nothing more */
	if (ln && (inbound_is_ending(ib) || !ln->socket))
		retire(ln);
}
