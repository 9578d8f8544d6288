/* A reload: by the main thread (SIGHUP) or a thread of the control socket, one at a time.
 *
 *   read the files → bind → workers prepare → contexts of TLS → dispatcher adopts → workers commit
 *
 * Everything that can fail comes before the dispatcher adopts, which is the last thing that can; on
 * an error nothing has changed anywhere. What cannot be taken over while running is named. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "postern/must.h"
#include "service_private.h"

struct reload {
	struct dispatch_call call;
	struct dispatch_change change;
	int result;
	int done; /* eventfd */

	struct generation *next;
	struct listening listening;
	struct dispatch_endpoint *endpoints;
	struct dispatch_params params;
	struct worker_change *changes[WORKERS_MAX];
};

void service_number_listeners(struct service *s, struct config *next)
{
	const struct config *now = s->now ? s->now->config : NULL;

	for (unsigned i = 0; i < next->nlisteners; i++) {
		struct listener_params *p = &next->listeners[i];

		for (unsigned k = 0; now && k < now->nlisteners && !p->number; k++)
			if (!strcmp(now->listeners[k].name, p->name))
				p->number = now->listeners[k].number;
		if (!p->number)
			p->number = ++s->listener_seq;
	}
}

/* ---- what can fail ---- */

static int read_files(struct service *s, struct reload *x, struct buf *why)
{
	struct config *c = NULL;

	if (config_load(&c, s->first->config->path, why))
		return -EINVAL;
	if (generation_new(&x->next, c, why))
		return -EINVAL;
	service_number_listeners(s, x->next->config);
	return 0;
}

static void release(void *arg)
{
	generation_unref(arg);
}

static int prepare_worker(struct service *s, struct reload *x, unsigned w)
{
	const struct listening *l = &x->listening, *before = &s->listening;
	struct inbound_socket *all = calloc(l->n + before->n + 1, sizeof(*all));
	unsigned n = 0;
	int r;

	if (!all)
		return -ENOMEM;
	for (unsigned i = 0; i < l->n; i++) {
		struct bound *b = &l->bound[i];

		if (b->worker != w)
			continue;
		all[n++] = (struct inbound_socket){ .fd = b->fd,
			.added = b->ours,
			.p = &x->next->config->listeners[b->listener],
			.tls = x->next->credentials[b->listener].tls,
			.users = x->next->credentials[b->listener].users,
			.release = release,
			.arg = x->next };
		b->ours = false;
	}
	for (unsigned i = 0; i < before->n; i++)
		if (before->bound[i].worker == w && !listening_has(l, before->bound[i].fd))
			all[n++] = (struct inbound_socket){ .fd = before->bound[i].fd };
	r = worker_change_new(&x->changes[w], s->workers[w], all, n);
	free(all);
	return r;
}

static int reserve(struct service *s, struct reload *x, struct buf *why)
{
	const struct listening_from from = { &s->inherited, &s->listening, s->nworkers };
	struct config *c;
	char error[512] = "";
	int r = read_files(s, x, why);

	if (!r && listening_new(&x->listening, x->next, &from, error, sizeof(error)))
		r = -EADDRNOTAVAIL;
	for (unsigned w = 0; !r && w < s->nworkers; w++)
		r = prepare_worker(s, x, w);
	if (!r) {
		c = x->next->config;
		x->params = c->dispatch;
		x->endpoints = listening_endpoints(&x->listening, &x->params.nlistening);
		x->params.listening = x->endpoints;
		r = x->endpoints ? dispatch_change_init(&x->change, &x->params, &c->policy,
					   x->next->rules, error, sizeof(error))
				 : -ENOMEM;
	}
	if (r && error[0])
		buf_printf(why, "%s\n", error);
	else if (r && !buf_size(why))
		buf_printf(why, "%s\n", strerror(-r));
	return r;
}

static void on_dispatcher(struct dispatch *d, void *arg)
{
	struct reload *x = arg;
	uint64_t one = 1;

	x->result = dispatch_reload(d, &x->change);
	must(write(x->done, &one, sizeof(one)) == sizeof(one));
}

static int adopt(struct service *s, struct reload *x, struct buf *why)
{
	uint64_t n;

	x->done = eventfd(0, EFD_CLOEXEC);
	if (x->done < 0) {
		x->result = -errno;
	} else {
		x->call = (struct dispatch_call){ .fn = on_dispatcher, .arg = x };
		dispatch_call(s->dispatch, &x->call);
		while (read(x->done, &n, sizeof(n)) < 0 && errno == EINTR)
			;
		close(x->done);
	}
	if (x->result)
		buf_printf(why, "%s\n", strerror(-x->result));
	return x->result;
}

/* ---- what cannot ---- */

static void commit(struct service *s, struct reload *x)
{
	struct generation *before = s->now;

	for (unsigned i = 0; i < x->listening.n; i++)
		generation_ref(x->next);
	for (unsigned w = 0; w < s->nworkers; w++) {
		worker_change_commit(x->changes[w]);
		x->changes[w] = NULL;
	}
	listening_say(&x->listening, x->next, s->log, &s->listening);
	listening_close(&s->listening);
	s->listening = x->listening;
	x->listening = (struct listening){ 0 };
	s->now = x->next;
	x->next = NULL;
	log_set_level(s->log, s->now->config->log.level);
	generation_unref(before);
}

static void finish(struct service *s, struct reload *x)
{
	for (unsigned w = 0; w < s->nworkers; w++)
		worker_change_free(x->changes[w]);
	dispatch_change_deinit(&x->change);
	listening_close(&x->listening);
	free(x->endpoints);
	generation_unref(x->next);
}

static void tell(struct service *s, int r, const struct buf *why, const struct buf *restart)
{
	int n = (int)buf_size(restart);

	if (r)
		log_event(s->log, LOG_ERR, EVENT_RELOAD_FAILED, "the old configuration stays: %.*s",
			(int)buf_size(why), buf_slice(why).p);
	else
		log_event(s->log, n ? LOG_WARN : LOG_NOTICE, EVENT_RELOADED, "%s%s%.*s",
			s->first->config->path, n ? "; not taken over until a restart: " : "", n,
			n ? buf_slice(restart).p : "");
}

int service_reload(struct service *s, struct buf *why, struct buf *restart)
{
	struct reload *x = calloc(1, sizeof(*x));
	int r;

	if (!x)
		return -ENOMEM;
	pthread_mutex_lock(&s->reload_lock);
	r = reserve(s, x, why);
	if (!r)
		config_reloadable(s->first->config, x->next->config, restart);
	if (!r)
		r = adopt(s, x, why);
	if (!r)
		commit(s, x);
	finish(s, x);
	s->reload_failed = r != 0;
	if (!r)
		s->reloaded = clock_wall_ms();
	tell(s, r, why, restart);
	pthread_mutex_unlock(&s->reload_lock);
	free(x);
	return r;
}

int service_running(struct service *s, struct buf *out)
{
	int r;

	pthread_mutex_lock(&s->reload_lock);
	r = config_dump_running(out, s->first->config, s->now->config);
	pthread_mutex_unlock(&s->reload_lock);
	return r;
}

void service_files(struct service *s, struct ops_files *ret)
{
	const struct config *c;

	pthread_mutex_lock(&s->reload_lock);
	c = s->now->config;
	*ret = (struct ops_files){ .reload_failed = s->reload_failed, .reloaded = s->reloaded };
	for (unsigned i = 0; i < c->nlisteners && ret->ncertificates < OPS_CERTIFICATES; i++) {
		const struct tls_context *tls = s->now->credentials[i].tls;
		struct ops_certificate *k = &ret->certificates[ret->ncertificates];

		if (!tls)
			continue;
		snprintf(k->listener, sizeof(k->listener), "%.63s", c->listeners[i].name);
		k->expires = tls_server_expires(tls);
		ret->ncertificates += k->expires != 0;
	}
	pthread_mutex_unlock(&s->reload_lock);
}
