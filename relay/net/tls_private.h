/* The inside of TLS contexts, shared by tls.c, tls_sessions.c and stream_tls.c. */
#pragma once

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "postern/stream.h"

struct session_cache;

struct tls_context {
	atomic_uint refs;
	SSL_CTX *ssl;
	BIO_METHOD *bio; /* of stream_tls.c */
	bool server, verify;
	struct session_cache *sessions; /* clients */
};

/* What OpenSSL's connection hands to its callbacks. */
void tls_set_session_key(SSL *ssl, const char *key);
const char *tls_session_key(const SSL *ssl);

/* Client sessions by key, least recently used go first; any thread. All functions copy sessions, so
 * that no two connections ever share one. */
int session_cache_new(struct session_cache **ret, unsigned max);
struct session_cache *session_cache_free(struct session_cache *c);
void session_cache_put(struct session_cache *c, const char *key, SSL_SESSION *s);
SSL_SESSION *session_cache_get(struct session_cache *c, const char *key); /* the caller's; NULL */
void session_cache_drop(struct session_cache *c, const char *key);

BIO_METHOD *stream_bio_method(void); /* NULL when memory is out */
