/* A reload, as one worker sees it: sockets that go on under new parameters, new ones, and some that
 * close. Asked by the reloading thread in two steps (worker.h); both are done on the worker's
 * thread, by the inbound room (relay/inbound/listeners.c). */
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>

#include "postern/must.h"
#include "worker_impl.h"

struct part {
	struct inbound_socket s;
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

static void prepare(struct worker *w, struct worker_change *c)
{
	c->result = inbound_is_ending(w->inbound) ? -ESHUTDOWN : 0;
	for (unsigned i = 0; i < c->n && !c->result; i++)
		c->result = inbound_socket_prepare(w->inbound, &c->parts[i].s, &c->parts[i].ln);
}

void change_on_worker(struct worker *w, struct control *c)
{
	struct worker_change *change = c->change;
	void (*done)(void *arg) = c->done;
	void *arg = c->arg;

	if (c->kind == CONTROL_PREPARE)
		prepare(w, change);
	else if (c->kind == CONTROL_ABANDON)
		for (unsigned i = 0; i < change->n; i++)
			inbound_socket_abandon(&change->parts[i].s, change->parts[i].ln);
	else
		for (unsigned i = 0; i < change->n; i++)
			inbound_socket_commit(w->inbound, &change->parts[i].s, change->parts[i].ln);
	done(arg);
}

/* ---- the reloading thread ---- */

int worker_change_new(struct worker_change **ret, struct worker *w,
	const struct inbound_socket *sockets, unsigned n)
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
