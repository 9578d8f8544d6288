/* TLS contexts of listeners: certificates, which of them a client is shown, whether a client is
 * asked for one, keys of tickets. Made by whoever loads the configuration, then shared by
 * reference; any thread. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "postern/must.h"
#include "tls_private.h"

static int set_version(
	struct tls_context *c, const struct tls_server_params *p, char *error, size_t error_max)
{
	if (!p->min_version || strcmp(p->min_version, "1.2") == 0)
		return 0;
	if (strcmp(p->min_version, "1.3") != 0) {
		snprintf(error, error_max, "TLS version %s: only 1.2 and 1.3 are known",
			p->min_version);
		return -EINVAL;
	}
	SSL_CTX_set_min_proto_version(c->ssl, TLS1_3_VERSION);
	return 0;
}

/* ---- which certificate ---- */

static bool shows(SSL_CTX *ssl, const char *name)
{
	X509 *x = SSL_CTX_get0_certificate(ssl);

	return x && X509_check_host(x, name, 0, 0, NULL) == 1;
}

/* The first whose certificate has the name; without one, the listener's own: a client that minds
 * says so itself. */
static int on_server_name(SSL *ssl, int *alert, void *arg)
{
	struct tls_context *c = arg;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	if (!name || shows(c->ssl, name))
		return SSL_TLSEXT_ERR_OK;
	for (unsigned i = 0; i < c->nothers; i++) {
		if (shows(c->others[i], name)) {
			SSL_set_SSL_CTX(ssl, c->others[i]);
			break;
		}
	}
	return SSL_TLSEXT_ERR_OK;
}

/* What a session switches to is its certificate: versions, tickets and whether it is asked for its own
 * stay those of the listener, but not the authorities (below). */
static int load_others(
	struct tls_context *c, const struct tls_server_params *p, char *error, size_t error_max)
{
	if (p->ncertificates == 0)
		return 0;
	c->others = calloc(p->ncertificates, sizeof(*c->others));
	if (!c->others)
		return -ENOMEM;
	for (unsigned i = 0; i < p->ncertificates; i++) {
		SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());
		int r;

		if (!ssl)
			return -ENOMEM;
		c->others[c->nothers++] = ssl;
		SSL_CTX_set_app_data(ssl, c);
		r = tls_load_certificate(
			ssl, p->certificates[i], p->certificates[i], error, error_max);
		if (r)
			return r;
	}
	SSL_CTX_set_tlsext_servername_callback(c->ssl, on_server_name);
	SSL_CTX_set_tlsext_servername_arg(c->ssl, c);
	return 0;
}

/* ---- certificates of clients ---- */

/* The handshake goes on with a certificate that does not verify: such a client is like one that
 * has none, and may relay if its network may. stream_tls_verified tells. */
static int on_verified(int ok, X509_STORE_CTX *store)
{
	return 1;
}

static int ask_clients(
	struct tls_context *c, const struct tls_server_params *p, char *error, size_t error_max)
{
	static const unsigned char sessions_of[] = "postern";
	STACK_OF(X509_NAME) * names;

	if (!p->client_ca)
		return 0;
	ERR_clear_error();
	names = SSL_load_client_CA_file(p->client_ca);
	if (!names || SSL_CTX_load_verify_file(c->ssl, p->client_ca) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return tls_file_error(error, error_max, "client CA file", p->client_ca);
	}
	SSL_CTX_set_client_CA_list(c->ssl, names);
	/* OpenSSL looks for the authorities where the session's certificate is from. */
	for (unsigned i = 0; i < c->nothers; i++)
		SSL_CTX_set1_cert_store(c->others[i], SSL_CTX_get_cert_store(c->ssl));
	SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER, on_verified);
	SSL_CTX_set_session_id_context(c->ssl, sessions_of, sizeof(sessions_of) - 1);
	c->verify = true;
	return 0;
}

/* ---- */

/* 0, -ENOMEM, or another with the reason in error. */
static int set_up(
	struct tls_context *c, const struct tls_server_params *p, char *error, size_t error_max)
{
	int r = set_version(c, p, error, error_max);

	if (!r)
		r = tls_load_certificate(c->ssl, p->certificate, p->key, error, error_max);
	if (!r)
		r = load_others(c, p, error, error_max);
	if (!r)
		r = ask_clients(c, p, error, error_max);
	if (r)
		return r;
	c->tickets = tickets_new();
	if (!c->tickets)
		return -ENOMEM;
	tickets_use(c);
	/* Tickets hold the state, so nothing is kept here. One is enough: clients of a relay reuse
	 * it. */
	SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(c->ssl, 1);
	SSL_CTX_set_timeout(c->ssl, TICKET_LIFE);
	SSL_CTX_set_options(c->ssl, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	return 0;
}

int tls_server_new(
	struct tls_context **ret, const struct tls_server_params *p, char *error, size_t error_max)
{
	struct tls_context *c = NULL;
	int r = tls_context_new(&c, TLS_server_method());

	if (!r) {
		c->server = true;
		r = set_up(c, p, error, error_max);
	}
	if (r == -ENOMEM)
		snprintf(error, error_max, "out of memory");
	if (r)
		tls_context_unref(c);
	else
		*ret = c;
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

static ms_t sooner(ms_t a, ms_t b)
{
	return !a || (b && b < a) ? b : a;
}

static ms_t chain_expires(SSL_CTX *ssl)
{
	STACK_OF(X509) *chain = NULL;
	ms_t first = expires(SSL_CTX_get0_certificate(ssl));

	SSL_CTX_get0_chain_certs(ssl, &chain);
	for (int i = 0; i < sk_X509_num(chain); i++)
		first = sooner(first, expires(sk_X509_value(chain, i)));
	return first;
}

ms_t tls_server_expires(const struct tls_context *c)
{
	ms_t first = chain_expires(c->ssl);

	for (unsigned i = 0; i < c->nothers; i++)
		first = sooner(first, chain_expires(c->others[i]));
	return first;
}
