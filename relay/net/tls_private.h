/* The inside of TLS contexts, shared by the files tls*.c and stream_tls.c. */
#pragma once

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "postern/stream.h"

struct session_cache;
struct tickets;

struct tls_context {
	atomic_uint refs;
	SSL_CTX *ssl;
	BIO_METHOD *bio; /* of stream_tls.c */
	bool server;
	bool verify;			/* the other side's certificate */
	struct session_cache *sessions; /* clients */
	struct tickets *tickets;	/* servers */
	SSL_CTX **others;		/* servers: further certificates, by SNI */
	unsigned nothers;
};

/* With its reference; NULL-safe ends are tls_context_unref's. */
int tls_context_new(struct tls_context **ret, const SSL_METHOD *method);
int tls_load_certificate(
	SSL_CTX *ssl, const char *certificate, const char *key, char *error, size_t error_max);
/* -EINVAL, with what OpenSSL says of the file in error. */
int tls_file_error(char *error, size_t max, const char *what, const char *file);

/* ---- keys of session tickets: tls_tickets.c ---- */

#define TICKET_LIFE 7200 /* seconds that a session may be taken up again */

struct ticket_key {
	unsigned char name[16], secret[32], mac[32];
};
struct tickets *tickets_new(void); /* NULL: no memory, or no randomness */
struct tickets *tickets_free(struct tickets *t);
/* The key that new tickets get at this moment (mono seconds): another every TICKET_LIFE. False: no
 * randomness for a new one. */
bool tickets_current(struct tickets *t, uint64_t now, struct ticket_key *ret);
/* The key of this name, if it is the current one or the one before. *old: the one before, so that
 * the client needs a new ticket. */
bool tickets_find(struct tickets *t, uint64_t now, const unsigned char name[16],
	struct ticket_key *ret, bool *old);
void tickets_use(struct tls_context *c); /* for what c->ssl serves; c->tickets stands */

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

X509 *tls_conn_certificate(const struct stream *s); /* the other side's, borrowed; NULL: none */
BIO_METHOD *stream_bio_method(void);		    /* NULL when memory is out */
