/* The client session cache: sessions by receiver, so that the next connection's handshake is
 * short. Called by tls.c and stream_tls.c of all workers; its lock is held for a look-up once a
 * connection, never per message. The least recently used goes first. */
#include <errno.h>
#include <stdlib.h>
#include <uv.h>

#include "tls_private.h"

#define HASH_NONFATAL_OOM      1
#define uthash_nonfatal_oom(e) ((e)->lost = true)
#include <uthash.h>

struct cached_session {
	UT_hash_handle hh; /* the hash keeps order of insertion: the oldest use is first */
	SSL_SESSION *session;
	bool lost; /* not in the hash: memory was out */
	char key[];
};

struct session_cache {
	uv_mutex_t lock;
	struct cached_session *all;
	unsigned max;
};

int session_cache_new(struct session_cache **ret, unsigned max)
{
	struct session_cache *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->max = max;
	r = uv_mutex_init(&c->lock);
	if (r) {
		free(c);
		return r;
	}
	*ret = c;
	return 0;
}

static void entry_free(struct cached_session *e)
{
	SSL_SESSION_free(e->session);
	free(e);
}

struct session_cache *session_cache_free(struct session_cache *c)
{
	struct cached_session *e, *next;

	if (!c)
		return NULL;
	HASH_ITER (hh, c->all, e, next) {
		HASH_DEL(c->all, e);
		entry_free(e);
	}
	uv_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}

static struct cached_session *take(struct session_cache *c, const char *key)
{
	struct cached_session *e;

	HASH_FIND_STR(c->all, key, e);
	if (e)
		HASH_DEL(c->all, e);
	return e;
}

/* To the end of the order; false when memory is out (then e is gone). */
static bool insert(struct session_cache *c, struct cached_session *e)
{
	e->lost = false;
	HASH_ADD_STR(c->all, key, e);
	if (!e->lost)
		return true;
	entry_free(e);
	return false;
}

void session_cache_put(struct session_cache *c, const char *key, SSL_SESSION *s)
{
	size_t len = strlen(key) + 1;
	struct cached_session *e = calloc(1, sizeof(*e) + len), *old;

	if (!e)
		return;
	memcpy(e->key, key, len);
	e->session = SSL_SESSION_dup(s);
	if (!e->session) {
		free(e);
		return;
	}
	uv_mutex_lock(&c->lock);
	old = take(c, key);
	if (!old && HASH_COUNT(c->all) >= c->max && c->all) {
		old = c->all;
		HASH_DEL(c->all, old);
	}
	insert(c, e);
	uv_mutex_unlock(&c->lock);
	if (old)
		entry_free(old);
}

SSL_SESSION *session_cache_get(struct session_cache *c, const char *key)
{
	struct cached_session *e;
	SSL_SESSION *s = NULL;

	uv_mutex_lock(&c->lock);
	e = take(c, key);
	if (e && insert(c, e) && SSL_SESSION_is_resumable(e->session))
		s = SSL_SESSION_dup(e->session);
	uv_mutex_unlock(&c->lock);
	return s;
}

void session_cache_drop(struct session_cache *c, const char *key)
{
	struct cached_session *e;

	uv_mutex_lock(&c->lock);
	e = take(c, key);
	uv_mutex_unlock(&c->lock);
	if (e)
		entry_free(e);
}
