/* TLS contexts: what is the same for all connections of a listener, or of a provider:
 * certificates, what is accepted, the cache of sessions. Made by whoever loads the configuration,
 * then shared by reference; any thread. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "postern/must.h"
#include "tls_private.h"

#define SESSIONS_MAX 4096u
#define TICKET_LIFE  7200 /* seconds */

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
static int file_error(char *error, size_t max, const char *what, const char *file)
{
	unsigned long e = ERR_peek_error();
	const char *reason = last_error();

	if (ERR_SYSTEM_ERROR(e))
		reason = strerror(ERR_GET_REASON(e));
	snprintf(error, max, "%s %s: %s", what, file, reason);
	ERR_clear_error();
	return -EINVAL;
}

static int context_new(struct tls_context **ret, const SSL_METHOD *method)
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

static int load_certificate(
	struct tls_context *c, const struct tls_server_params *p, char *error, size_t error_max)
{
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(c->ssl, p->certificate) != 1)
		return file_error(error, error_max, "certificate", p->certificate);
	if (SSL_CTX_use_PrivateKey_file(c->ssl, p->key, SSL_FILETYPE_PEM) != 1)
		return file_error(error, error_max, "key", p->key);
	if (SSL_CTX_check_private_key(c->ssl) != 1)
		return file_error(error, error_max, "key", p->key);
	return 0;
}

int tls_server_new(
	struct tls_context **ret, const struct tls_server_params *p, char *error, size_t error_max)
{
	struct tls_context *c = NULL;
	int r;

	r = context_new(&c, TLS_server_method());
	if (r) {
		snprintf(error, error_max, "out of memory");
		return r;
	}
	c->server = true;
	if (p->min_version && strcmp(p->min_version, "1.3") == 0) {
		SSL_CTX_set_min_proto_version(c->ssl, TLS1_3_VERSION);
	} else if (p->min_version && strcmp(p->min_version, "1.2") != 0) {
		snprintf(error, error_max, "TLS version %s: only 1.2 and 1.3 are known",
			p->min_version);
		r = -EINVAL;
		goto out;
	}
	r = load_certificate(c, p, error, error_max);
	if (r)
		goto out;
	/* Tickets hold the state, so nothing is kept here. One is enough: clients of a relay reuse
	 * it. */
	SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(c->ssl, 1);
	SSL_CTX_set_timeout(c->ssl, TICKET_LIFE);
	SSL_CTX_set_options(c->ssl, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	*ret = c;
	c = NULL;
out:
	tls_context_unref(c);
	return r;
}

static ms_t expires(const X509 *x)
{
	struct tm t;
	time_t end;

	if (!x || ASN1_TIME_to_tm(X509_get0_notAfter(x), &t) != 1)
		return 0;
	end = timegm(&t);
	return end > 0 ? (ms_t)end * 1000 : 0;
}

ms_t tls_server_expires(const struct tls_context *c)
{
	STACK_OF(X509) *chain = NULL;
	ms_t first = expires(SSL_CTX_get0_certificate(c->ssl)), t;

	SSL_CTX_get0_chain_certs(c->ssl, &chain);
	for (int i = 0; i < sk_X509_num(chain); i++) {
		t = expires(sk_X509_value(chain, i));
		if (t && (!first || t < first))
			first = t;
	}
	return first;
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
		return file_error(error, error_max, "CA file", p->ca_file);
	if (!p->ca_file && SSL_CTX_set_default_verify_paths(c->ssl) != 1)
		return file_error(error, error_max, "CA files", "of the system");
	return 0;
}

int tls_client_new(
	struct tls_context **ret, const struct tls_client_params *p, char *error, size_t error_max)
{
	struct tls_context *c = NULL;
	int r;

	r = context_new(&c, TLS_client_method());
	if (!r)
		r = session_cache_new(
			&c->sessions, p->sessions_max ? p->sessions_max : SESSIONS_MAX);
	if (r) {
		snprintf(error, error_max, "out of memory");
		goto out;
	}
	c->verify = p->verify;
	r = set_verification(c, p, error, error_max);
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
