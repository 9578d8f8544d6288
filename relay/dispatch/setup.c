/* What the dispatcher sets up and takes down: TLS contexts, memory. Called by
 * dispatch.c and reload.c; before its thread starts, on it, and after its end. */
#include "setup.h"

#include <errno.h>
#include <stdlib.h>

#include "backlog.h"
#include "candidate.h"
#include "domain.h"
#include "hold.h"
#include "host_memory.h"
#include "item.h"
#include "notify.h"
#include "operate.h"
#include "orders.h"
#include "own.h"
#include "party.h"
#include "past.h"
#include "reader.h"
#include "settle.h"

/* ---- TLS ---- */

void setup_tls_free(struct tls_context **all, unsigned n)
{
	for (unsigned i = 0; all && i < n; i++)
		if (all[i])
			tls_context_unref(all[i]);
	free(all);
}

int setup_tls(
	struct tls_context ***ret, const struct policy_params *p, char *error, size_t error_max)
{
	struct tls_context **all = calloc(p->nproviders, sizeof(struct tls_context *));
	struct tls_context *plain = NULL;
	int r = 0;

	if (!all)
		return -ENOMEM;
	for (unsigned i = 0; i < p->nproviders && !r; i++) {
		const struct provider_params *v = &p->providers[i];
		struct tls_client_params t = { .verify = v->transport.tls == TLS_VERIFY,
			.ca_file = v->transport.ca_file,
			.certificate = v->transport.certificate,
			.key = v->transport.key };

		if (v->transport.tls == TLS_NONE)
			continue;
		if (v->transport.tls == TLS_VERIFY || t.certificate) {
			r = tls_client_new(&all[i], &t, error, error_max);
			continue;
		}
		t.ca_file = NULL;
		if (!plain)
			r = tls_client_new(&plain, &t, error, error_max);
		if (!r)
			all[i] = tls_context_ref(plain);
	}
	if (plain)
		tls_context_unref(plain);
	if (r) {
		setup_tls_free(all, p->nproviders);
		return r;
	}
	*ret = all;
	return 0;
}

/* ---- memory ---- */

static void free_work(struct dispatch *d, struct work *w)
{
	struct item *next;

	for (struct item *i = w->items; i; i = next) {
		next = i->next;
		item_drop(d, i);
	}
	work_free(w);
}

static void free_waiting(struct dispatch *d)
{
	struct domain *m, *next;

	HASH_ITER (hh, d->domains, m, next)
		for (struct flow *f = m->flows; f; f = f->next)
			while (!list_empty(&f->match.ready)) {
				struct work *w =
					container(f->match.ready.next, struct work, match.in_flow);

				match_remove(&d->match, &f->match, &w->match);
				free_work(d, w);
			}
}

static void free_connections(struct dispatch *d)
{
	for (uint32_t i = 0; i < d->table.cap; i++) {
		struct connection *c = d->table.all[i];

		if (!c)
			continue;
		for (unsigned k = 0; k < c->match.nrunning; k++)
			free_work(d, c->running[k]);
		party_unref(d, c->place_of);
		match_gone(&d->match, &c->match);
		wake_clear(&d->wakes, &c->wake);
		host_unref(d, c->host);
		free(c);
	}
	free(d->table.all);
	opening_deinit(&d->opening);
	free(d->table.unused);
}

static void free_mail(struct dispatch *d)
{
	struct mpsc_node *n = d->boxes.fresh.mpsc.wake ? mpsc_take_all(&d->boxes.fresh.mpsc) : NULL;

	while (n) {
		struct message *m = container(n, struct message, fresh_node);

		n = n->next;
		message_unref(m);
	}
	n = d->boxes.events.mpsc.wake ? mpsc_take_all(&d->boxes.events.mpsc) : NULL;
	while (n) {
		struct outbound_event *e = container(n, struct outbound_event, node);

		n = n->next;
		outbound_event_free(e);
	}
}

static void free_stalled(struct dispatch *d)
{
	struct wake *w;

	while ((w = wake_first(&d->wakes))) {
		wake_clear(&d->wakes, w);
		if (w->kind == WAKE_SETTLE)
			settle_free(d, container(w, struct settle, wake));
	}
}

/* After the thread has ended; what is here is in the queue still. Also half made ones. */
void dispatch_free_memory(struct dispatch *d)
{
	free_mail(d);
	resolver_free(d->resolver);
	operate_free_all(d);
	holds_free(d);
	orders_free(d);
	free_waiting(d);
	free_connections(d);
	notify_free(d);
	free_stalled(d);
	if (d->loop)
		domains_free(d);
	hosts_retire(d);
	host_memory_free(d);
	waits_deinit(&d->waits);
	match_deinit(&d->match);
	wake_heap_deinit(&d->wakes);
	for (unsigned i = 0; i < d->fair.npools; i++) {
		free(d->fair.pools[i]->name);
		free(d->fair.pools[i]->has);
		free(d->fair.pools[i]);
	}
	free(d->fair.pools);
	setup_tls_free(d->tls, d->params->nproviders);
	own_free(d->own);
	policy_free(d->policy);
	chronicle_free(d);
	loop_free(d->loop);
	reader_free(d->reads.reader);
	log_line_deinit(&d->line);
	pthread_mutex_destroy(&d->shown.lock);
	uv_sem_destroy(&d->life.stopped);
	free(d->out.workers);
	free(d->out.orders);
	free(d->out.load);
	backlog_reset(d);
}
