/* A reload, as one worker sees it: sockets that go on under new parameters, new ones, and some that
 * close. Asked by the reloading thread in two steps (worker.h); both are done on the worker's
 * thread.
 *
 *   NEW --prepare--> READY --commit--> gone        (nothing in it can fail)
 *                        \--abandon--> gone        (nothing has changed)
 *
 * A socket's old parameters stay with the sessions that began under them, and are released with the
 * last of these. */
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#include "postern/must.h"
#include "worker_impl.h"

struct part {
	struct worker_socket s;
	struct inbound_listener *ln; /* what will have the socket; NULL: it closes */
};

struct worker_change {
	struct control control;
	struct worker *w;
	int result;
	sem_t done;
	unsigned n;
	struct part parts[];
};

static void on_done(void *arg)
{
	sem_post(arg);
}

/* Asks, and waits. */
static void ask(struct worker_change *c, enum control_kind kind)
{
	c->control = (struct control){ .kind = kind,
		.embedded = true,
		.fd = -1,
		.change = c,
		.done = on_done,
		.arg = &c->done };
	worker_ask(c->w, &c->control);
	while (sem_wait(&c->done) < 0)
		must(errno == EINTR);
}

/* ---- on the worker's thread ---- */

static int prepare_part(struct worker *w, struct part *p)
{
	struct inbound_listener *ln;
	int r = 0;

	if (!p->s.p)
		return 0;
	ln = calloc(1, sizeof(*ln));
	if (!ln)
		return -ENOMEM;
	ln->w = w;
	ln->p = p->s.p;
	ln->fd = p->s.fd;
	ln->rejects = reject_counts_of(w->p.limits, ln->p->name);
	if (p->s.added)
		r = listener_new(&ln->socket, w->loop, p->s.fd, inbound_accepted, ln);
	if (r) {
		free(ln);
		return r;
	}
	p->s.added = false; /* its descriptor is ln's now */
	ln->tls = tls_context_ref(p->s.tls);
	ln->users = users_ref(p->s.users);
	p->ln = ln;
	return 0;
}

static void prepare(struct worker *w, struct worker_change *c)
{
	c->result = w->draining || w->stopping ? -ESHUTDOWN : 0;
	for (unsigned i = 0; i < c->n && !c->result; i++)
		c->result = prepare_part(w, &c->parts[i]);
}

static void abandon(struct worker_change *c)
{
	for (unsigned i = 0; i < c->n; i++) {
		struct inbound_listener *ln = c->parts[i].ln;

		if (c->parts[i].s.added)
			close(c->parts[i].s.fd);
		if (!ln)
			continue;
		if (ln->socket)
			listener_stop(ln->socket);
		tls_context_unref(ln->tls);
		users_unref(ln->users);
		free(ln);
	}
}

static struct inbound_listener *holder_of(struct worker *w, int fd)
{
	struct inbound_listener *ln;

	DL_FOREACH (w->listeners, ln)
		if (ln->socket && ln->fd == fd)
			return ln;
	return NULL;
}

static void retire(struct inbound_listener *ln)
{
	worker_close_listener(ln);
	ln->removed = true;
	if (ln->sessions == 0)
		worker_delete_listener(ln);
}

static void commit_part(struct worker *w, struct part *p)
{
	struct inbound_listener *ln = p->ln, *old = NULL;

	if (!ln || !ln->socket)
		old = holder_of(w, p->s.fd);
	if (ln) {
		ln->release = p->s.release;
		ln->arg = p->s.arg;
		DL_APPEND(w->listeners, ln);
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
	if (ln && (w->draining || w->stopping || !ln->socket))
		retire(ln);
}

void change_on_worker(struct worker *w, struct control *c)
{
	struct worker_change *change = c->change;
	void (*done)(void *arg) = c->done;
	void *arg = c->arg;

	if (c->kind == CONTROL_PREPARE)
		prepare(w, change);
	else if (c->kind == CONTROL_ABANDON)
		abandon(change);
	else
		for (unsigned i = 0; i < change->n; i++)
			commit_part(w, &change->parts[i]);
	done(arg);
}

/* ---- the reloading thread ---- */

int worker_change_new(struct worker_change **ret, struct worker *w,
	const struct worker_socket *sockets, unsigned n)
{
	struct worker_change *c = calloc(1, sizeof(*c) + n * sizeof(c->parts[0]));
	int r;

	if (!c) {
		for (unsigned i = 0; i < n; i++)
			if (sockets[i].added)
				close(sockets[i].fd);
		return -ENOMEM;
	}
	must(sem_init(&c->done, 0, 0) == 0);
	c->w = w;
	c->n = n;
	for (unsigned i = 0; i < n; i++)
		c->parts[i].s = sockets[i];
	ask(c, CONTROL_PREPARE);
	r = c->result;
	if (r)
		worker_change_free(c);
	else
		*ret = c;
	return r;
}

void worker_change_commit(struct worker_change *c)
{
	ask(c, CONTROL_COMMIT);
	sem_destroy(&c->done);
	free(c);
}

struct worker_change *worker_change_free(struct worker_change *c)
{
	if (!c)
		return NULL;
	ask(c, CONTROL_ABANDON);
	sem_destroy(&c->done);
	free(c);
	return NULL;
}
