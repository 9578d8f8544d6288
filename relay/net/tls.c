/* TLS contexts: what is the same for all connections of a listener (made in tls_server.c), or of a
 * provider: what is accepted, the cache of sessions. Made by whoever loads the configuration, then
 * shared by reference; any thread. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>

#include "postern/must.h"
#include "tls_private.h"

#define SESSIONS_MAX 4096u

static const char *last_error(void)
{
	unsigned long e = ERR_peek_last_error();
	const char *reason = NULL;

	if (ERR_SYSTEM_ERROR(e))
		reason = strerror(ERR_GET_REASON(e));
	else if (e)
		reason = ERR_reason_error_string(e);
	return reason ? reason : "unknown TLS error";
}

/* The first entry of OpenSSL's queue names the file's own trouble, the later ones what came of it.
 */
int tls_file_error(char *error, size_t max, const char *what, const char *file)
{
	unsigned long e = ERR_peek_error();
	const char *reason = last_error();

	if (ERR_SYSTEM_ERROR(e))
		reason = strerror(ERR_GET_REASON(e));
	snprintf(error, max, "%s %s: %s", what, file, reason);
	ERR_clear_error();
	return -EINVAL;
}

int tls_load_certificate(
	SSL_CTX *ssl, const char *certificate, const char *key, char *error, size_t error_max)
{
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(ssl, certificate) != 1)
		return tls_file_error(error, error_max, "certificate", certificate);
	if (SSL_CTX_use_PrivateKey_file(ssl, key, SSL_FILETYPE_PEM) != 1)
		return tls_file_error(error, error_max, "key", key);
	if (SSL_CTX_check_private_key(ssl) != 1)
		return tls_file_error(error, error_max, "key", key);
	return 0;
}

int tls_context_new(struct tls_context **ret, const SSL_METHOD *method)
{
	struct tls_context *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	atomic_init(&c->refs, 1);
	c->ssl = SSL_CTX_new(method);
	c->bio = stream_bio_method();
	if (!c->ssl || !c->bio) {
		tls_context_unref(c);
		return -ENOMEM;
	}
	SSL_CTX_set_min_proto_version(c->ssl, TLS1_2_VERSION);
	SSL_CTX_set_options(c->ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	/* idle connections give their buffers back: 16 KiB and more for each */
	SSL_CTX_set_mode(c->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS |
					 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	*ret = c;
	return 0;
}

static int on_new_session(SSL *ssl, SSL_SESSION *s)
{
	struct tls_context *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	const char *key = tls_session_key(ssl);

	if (key)
		session_cache_put(c->sessions, key, s);
	return 0; /* the cache took a copy */
}

/* Without verification the chain is not even built: that would cost, and say nothing. */
static int take_any_certificate(X509_STORE_CTX *store, void *arg)
{
	X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
	return 1;
}

static int set_verification(
	struct tls_context *c, const struct tls_client_params *p, char *error, size_t error_max)
{
	if (!p->verify) {
		SSL_CTX_set_cert_verify_callback(c->ssl, take_any_certificate, NULL);
		SSL_CTX_set_verify(c->ssl, SSL_VERIFY_NONE, NULL);
		/* any encryption is better here than the clear text that would follow a refusal */
		SSL_CTX_set_security_level(c->ssl, 1);
		return 0;
	}
	ERR_clear_error();
	SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER, NULL);
	if (p->ca_file && SSL_CTX_load_verify_file(c->ssl, p->ca_file) != 1)
		return tls_file_error(error, error_max, "CA file", p->ca_file);
	if (!p->ca_file && SSL_CTX_set_default_verify_paths(c->ssl) != 1)
		return tls_file_error(error, error_max, "CA files", "of the system");
	return 0;
}

int tls_client_new(
	struct tls_context **ret, const struct tls_client_params *p, char *error, size_t error_max)
{
	struct tls_context *c = NULL;
	int r;

	r = tls_context_new(&c, TLS_client_method());
	if (!r)
		r = session_cache_new(
			&c->sessions, p->sessions_max ? p->sessions_max : SESSIONS_MAX);
	if (r) {
		snprintf(error, error_max, "out of memory");
		goto out;
	}
	c->verify = p->verify;
	r = set_verification(c, p, error, error_max);
	if (!r && p->certificate)
		r = tls_load_certificate(c->ssl, p->certificate, p->key, error, error_max);
	if (r)
		goto out;
	SSL_CTX_set_app_data(c->ssl, c);
	SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(c->ssl, on_new_session);
	*ret = c;
	c = NULL;
out:
	tls_context_unref(c);
	return r;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
	if (c)
		atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

struct tls_context *tls_context_unref(struct tls_context *c)
{
	if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	SSL_CTX_free(c->ssl);
	for (unsigned i = 0; i < c->nothers; i++)
		SSL_CTX_free(c->others[i]);
	free(c->others);
	tickets_free(c->tickets);
	BIO_meth_free(c->bio);
	session_cache_free(c->sessions);
	free(c);
	return NULL;
}

void tls_set_session_key(SSL *ssl, const char *key)
{
	SSL_set_app_data(ssl, (void *)(uintptr_t)key);
}

const char *tls_session_key(const SSL *ssl)
{
	return SSL_get_app_data(ssl);
}

bool tls_keyed_hash(unsigned char out[32], const unsigned char key[32], struct slice in)
{
	unsigned int n = 32;

	return HMAC(EVP_sha256(), key, 32, (const unsigned char *)in.p, in.n, out, &n) != NULL;
}
