/* Clients by network: who has proved to be one, what they hold, and how often they are told of in
 * the log. Called by the inbound sessions of all workers.
 *
 * A client is there while it has a session. Without one it stays as long as it is proven, in a list
 * whose oldest goes when it is full: strangers, however many addresses they have, push nobody out.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "limits.h"
#include "postern/must.h"

#define PROVEN_FOR   3600000 /* ms after the last message that was accepted */
#define PROVEN_STEP  60000   /* is written anew at most so often */
#define IDLE_MAX     16384u
#define TELL_WINDOW  60000
#define TELL_MAX     10u
#define SHARE_CLIENT 4u /* a client's part of what envelopes may hold: a fourth … */
#define SHARE_ALL    2u /* … and what all the unproven together may: half */

static struct addr network_of(const struct addr *a)
{
	return net_of(a, 32, 64).addr;
}

static struct client *find(struct session_limits *l, const struct addr *net)
{
	struct client *c;

	HASH_FIND(hh, l->clients, net, sizeof(*net), c);
	return c;
}

static void forget(struct session_limits *l, struct client *c)
{
	HASH_DEL(l->clients, c);
	free(c);
}

static struct client *client_new(struct session_limits *l, const struct addr *net)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->net = *net;
	HASH_ADD(hh, l->clients, net, sizeof(c->net), c);
	if (c->hh.tbl)
		return c;
	free(c);
	return NULL;
}

struct client *client_enter(struct session_limits *l, const struct addr *a)
{
	struct addr net = network_of(a);
	struct client *c;

	pthread_mutex_lock(&l->lock);
	c = find(l, &net);
	if (!c) {
		c = client_new(l, &net);
	} else if (c->sessions == 0) {
		DL_DELETE(l->idle, c);
		l->nidle--;
	}
	if (c)
		c->sessions++;
	pthread_mutex_unlock(&l->lock);
	return c;
}

void client_leave(struct session_limits *l, struct client *c, ms_t now)
{
	if (!c)
		return;
	pthread_mutex_lock(&l->lock);
	must(c->sessions > 0);
	if (--c->sessions == 0) {
		if (!client_is_proven(c, now)) {
			forget(l, c);
		} else {
			DL_APPEND(l->idle, c);
			if (++l->nidle > IDLE_MAX) {
				struct client *oldest = l->idle;

				DL_DELETE(l->idle, oldest);
				l->nidle--;
				forget(l, oldest);
			}
		}
	}
	pthread_mutex_unlock(&l->lock);
}

void clients_free(struct session_limits *l)
{
	struct client *c, *next;

	HASH_ITER (hh, l->clients, c, next)
		forget(l, c);
}

bool client_is_proven(const struct client *c, ms_t now)
{
	return c && atomic_load_explicit(&c->proven_until, memory_order_relaxed) > now;
}

void client_prove(struct client *c, ms_t now)
{
	if (c && atomic_load_explicit(&c->proven_until, memory_order_relaxed) <
			 now + PROVEN_FOR - PROVEN_STEP)
		atomic_store_explicit(&c->proven_until, now + PROVEN_FOR, memory_order_relaxed);
}

bool client_was_proven(struct session_limits *l, const struct addr *a, ms_t now)
{
	struct addr net = network_of(a);
	bool proven;

	pthread_mutex_lock(&l->lock);
	proven = client_is_proven(find(l, &net), now);
	pthread_mutex_unlock(&l->lock);
	return proven;
}

bool client_has_room(const struct session_limits *l, const struct client *c, size_t more, ms_t now)
{
	size_t all = atomic_load_explicit(&l->envelope, memory_order_relaxed);
	size_t own = atomic_load_explicit(&c->envelope, memory_order_relaxed);
	size_t max = client_is_proven(c, now) ? l->envelope_max : l->envelope_max / SHARE_ALL;

	return l->envelope_max == 0 ||
	       (own + more <= l->envelope_max / SHARE_CLIENT && all + more <= max);
}

void client_charge(
	struct session_limits *l, struct client *c, ptrdiff_t content, ptrdiff_t envelope)
{
	if (content)
		atomic_fetch_add_explicit(&c->content, (size_t)content, memory_order_relaxed);
	if (!envelope)
		return;
	atomic_fetch_add_explicit(&c->envelope, (size_t)envelope, memory_order_relaxed);
	atomic_fetch_add_explicit(&l->envelope, (size_t)envelope, memory_order_relaxed);
}

static struct telling *telling_of(struct session_limits *l, const struct addr *net, ms_t now)
{
	struct telling *set = l->tellings[addr_hash(net) % TELLING_SETS], *oldest = &set[0];

	for (unsigned i = 0; i < TELLING_WAYS; i++) {
		if (set[i].told > 0 && addr_eq(&set[i].net, net))
			return &set[i];
		if (set[i].told == 0 || (oldest->told > 0 && set[i].since < oldest->since))
			oldest = &set[i];
	}
	*oldest = (struct telling){ .net = *net, .since = now };
	return oldest;
}

bool client_may_tell(struct session_limits *l, const struct addr *a, ms_t now, uint64_t *untold)
{
	struct addr net = network_of(a);
	struct telling *t;
	bool may;

	pthread_mutex_lock(&l->lock);
	t = telling_of(l, &net, now);
	if (now - t->since >= TELL_WINDOW) {
		t->told = 0;
		t->since = now;
	}
	may = t->told < TELL_MAX;
	*untold = may ? t->untold : 0;
	t->told += may;
	t->untold = may ? 0 : t->untold + 1;
	pthread_mutex_unlock(&l->lock);
	return may;
}
