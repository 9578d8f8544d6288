/* The thread that resolves names, and its two mailboxes. A question is one block of memory: it
 * carries the name there and the route back, and both ends of its life are at the asker's, so that
 * the asker alone counts what is out. */
#include "postern/resolver.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postern/must.h"

#define WAITING_MAX 100000u

struct question {
	struct mpsc_node node; /* first */
	struct resolver *resolver;
	void *of;
	struct dns_route *route; /* the answer */
	bool forget;		 /* no question: comes back without an answer */
	bool name;		 /* of an address is asked for */
	struct addr addr;
	char *answer; /* NULL: none */
	char domain[];
};

struct resolver {
	/* the asker's */
	struct loop_mailbox answers;
	struct mpsc_batch asked;
	unsigned out, out_max; /* questions that have not come back */
	void (*answered)(void *arg, void *of, struct dns_route *route);
	void (*named)(void *arg, void *of, const char *name);
	void *arg;
	/* the thread's own */
	struct loop *loop;
	struct loop_mailbox questions;
	struct loop_hook at_end;
	struct dns *dns; /* NULL: shutting down */
	struct mpsc_batch done;
	/* of both */
	pthread_mutex_t lock;
	struct dns_stats stats;
};

/* ---- on the resolver's thread ---- */

static void on_route(void *arg, struct dns_route *route)
{
	struct question *q = arg;

	q->route = route;
	mpsc_batch_add(&q->resolver->done, &q->node);
}

static void on_name(void *arg, const char *name)
{
	struct question *q = arg;

	q->answer = name ? strdup(name) : NULL;
	mpsc_batch_add(&q->resolver->done, &q->node);
}

static void on_questions(void *arg, struct mpsc_node *first)
{
	struct resolver *r = arg;

	while (first) {
		struct question *q = (struct question *)first;

		first = first->next;
		if (r->dns && q->name) {
			dns_ptr(r->dns, &q->addr, on_name, q);
			continue;
		}
		if (r->dns && !q->forget) {
			dns_resolve(r->dns, q->domain, on_route, q);
			continue;
		}
		if (r->dns && !q->name)
			dns_forget(r->dns, q->domain);
		mpsc_batch_add(&r->done, &q->node);
	}
}

static void on_end(void *arg)
{
	struct resolver *r = arg;
	struct dns_stats s;

	if (r->dns) { /* before the post: who has an answer finds it counted */
		dns_stats(r->dns, &s);
		pthread_mutex_lock(&r->lock);
		r->stats = s;
		pthread_mutex_unlock(&r->lock);
	}
	mpsc_batch_post(&r->done, &r->answers.mpsc);
}

/* What is being looked up is answered inside dns_free: into done. */
static void on_stopping(void *arg)
{
	struct resolver *r = arg;

	r->dns = dns_free(r->dns);
}

/* ---- on the asker's thread ---- */

static void on_answers(void *arg, struct mpsc_node *first)
{
	struct resolver *r = arg;

	while (first) {
		struct question *q = (struct question *)first;
		struct dns_route *route = q->route;
		bool forget = q->forget, name = q->name;
		char *answer = q->answer;
		void *of = q->of;

		first = first->next;
		free(q);
		r->out--;
		if (name)
			r->named(r->arg, of, answer);
		else if (!forget)
			r->answered(r->arg, of, route);
		free(answer);
	}
}

static int ask(struct resolver *r, const char *domain, void *of, bool forget)
{
	size_t n = strlen(domain) + 1;
	struct question *q;

	if (r->out >= r->out_max)
		return -ENOBUFS;
	q = malloc(sizeof(*q) + n);
	if (!q)
		return -ENOMEM;
	*q = (struct question){ .resolver = r, .of = of, .forget = forget };
	memcpy(q->domain, domain, n);
	r->out++;
	mpsc_batch_add(&r->asked, &q->node);
	return 0;
}

int resolver_resolve(struct resolver *r, const char *domain, void *of)
{
	return ask(r, domain, of, false);
}

void resolver_forget(struct resolver *r, const char *domain)
{
	ask(r, domain, NULL, true);
}

void resolver_on_name(struct resolver *r, void (*named)(void *arg, void *of, const char *name))
{
	r->named = named;
}

int resolver_name(struct resolver *r, const struct addr *a, void *of)
{
	struct question *q;

	if (r->out >= r->out_max)
		return -ENOBUFS;
	q = calloc(1, sizeof(*q) + 1);
	if (!q)
		return -ENOMEM;
	q->resolver = r;
	q->of = of;
	q->name = true;
	q->addr = *a;
	r->out++;
	mpsc_batch_add(&r->asked, &q->node);
	return 0;
}

void resolver_flush(struct resolver *r)
{
	mpsc_batch_post(&r->asked, &r->questions.mpsc);
}

/* ---- on any ---- */

void resolver_stats(struct resolver *r, struct dns_stats *ret)
{
	pthread_mutex_lock(&r->lock);
	*ret = r->stats;
	pthread_mutex_unlock(&r->lock);
}

int resolver_new(struct resolver **ret, const struct dns_params *p, struct loop *asker,
	void (*answered)(void *arg, void *of, struct dns_route *route), void *arg, char *error,
	size_t error_max)
{
	struct resolver *r = calloc(1, sizeof(*r));
	int e;

	if (!r) {
		snprintf(error, error_max, "name resolution: out of memory");
		return -ENOMEM;
	}
	e = loop_new(&r->loop, "resolver");
	if (e) {
		snprintf(error, error_max, "name resolution: %s", strerror(-e));
		free(r);
		return e;
	}
	e = dns_new(&r->dns, r->loop, p, error, error_max);
	if (e) {
		loop_free(r->loop);
		free(r);
		return e;
	}
	r->answered = answered;
	r->arg = arg;
	r->out_max = p->waiting_max ? p->waiting_max : WAITING_MAX;
	pthread_mutex_init(&r->lock, NULL);
	loop_mailbox_add(r->loop, &r->questions, on_questions, r);
	loop_at_end(r->loop, &r->at_end, on_end, r);
	loop_mailbox_add(asker, &r->answers, on_answers, r);
	*ret = r;
	return 0;
}

int resolver_start(struct resolver *r)
{
	return loop_start(r->loop, NULL, NULL);
}

static unsigned drop(struct mpsc_node *first)
{
	unsigned n = 0;

	for (; first; n++) {
		struct question *q = (struct question *)first;

		first = first->next;
		dns_route_unref(q->route);
		if (q->name)
			free(q->of);
		free(q->answer);
		free(q);
	}
	return n;
}

struct resolver *resolver_free(struct resolver *r)
{
	if (!r)
		return NULL;
	loop_stop(r->loop, on_stopping, r);
	dns_free(r->dns); /* when it never ran */
	/* all are somewhere on their way: nobody else touches them any more */
	r->out -= drop(r->asked.first);
	r->out -= drop(mpsc_take_all(&r->questions.mpsc));
	r->out -= drop(r->done.first);
	r->out -= drop(mpsc_take_all(&r->answers.mpsc));
	must(r->out == 0);
	loop_free(r->loop);
	pthread_mutex_destroy(&r->lock);
	free(r);
	return NULL;
}
