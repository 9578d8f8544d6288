/* Name resolution on a thread of its own, for one loop that asks: the thread "resolver" owns c-ares
 * and the cache (dns.h). Questions and answers pass through mailboxes in batches, one wake each
 * way.
 *
 * All functions are the asking loop's thread's own unless they say otherwise. */
#pragma once

#include "postern/dns.h"

struct resolver;
/* answered(arg, of, route) runs on the asker's thread, once for each question that was taken, never
 * inside a call of this room, in any order; the reference of the route is the callee's. It may ask
 * on. The parameters are copied. Before the asker's loop_start; any thread. error says what is
 * wrong with the parameters (-EINVAL), or -ENOMEM and what libuv returns. */
int resolver_new(struct resolver **ret, const struct dns_params *p, struct loop *asker,
	void (*answered)(void *arg, void *of, struct dns_route *route), void *arg, char *error,
	size_t error_max);
/* Starts the thread. Before it questions wait. Any thread. */
int resolver_start(struct resolver *r);
/* Ends the thread; what was not answered is dropped without a call. When the asker's thread does
 * not run (any more), and before its loop_free. NULL-safe, returns NULL. */
struct resolver *resolver_free(struct resolver *r);

/* Asks for a mail domain, as dns_resolve; `of` is handed to answered. Nothing was taken with
 * -ENOBUFS (waiting_max of the parameters are not answered yet) and -ENOMEM. */
int resolver_resolve(struct resolver *r, const char *domain, void *of);
/* Asks for the PTR name of an address; as resolver_resolve, but named(arg, of, name) is called: name
 * NULL when there is none, and only valid in the call. What was not answered at the end is freed. */
void resolver_on_name(struct resolver *r,
	void (*named)(void *arg, void *of, const char *name));	       /* before start */
int resolver_name(struct resolver *r, const struct addr *a, void *of); /* of: heap memory */
/* As dns_forget, before the questions that are asked later. Lost for want of memory or room: then
 * the old answer lives out its time. */
void resolver_forget(struct resolver *r, const char *domain);
/* Hands over what was asked: once at the end of an iteration that asked. */
void resolver_flush(struct resolver *r);
/* As of the resolver's last iteration; with at least all that was answered. Any thread. */
void resolver_stats(struct resolver *r, struct dns_stats *ret);
