/* Keys and certificates, made at start: an authority of our own, and what it signs or does not. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "conn.h"

struct identity {
	EVP_PKEY *key;
	X509 *cert;
};

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	if (!ext || X509_add_ext(cert, ext, -1) != 1)
		die("cannot make a certificate");
	X509_EXTENSION_free(ext);
}

/* issuer NULL: signed by itself. days: valid from 30 days ago until then. */
static struct identity make_identity(const char *name, const struct identity *issuer,
	const char *names, long days, bool authority)
{
	struct identity id = { .key = EVP_EC_gen("P-256"), .cert = X509_new() };
	const struct identity *by = issuer ? issuer : &id;
	X509_NAME *subject;
	static long serial = 1000;

	if (!id.key || !id.cert)
		die("cannot make a key");
	X509_set_version(id.cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(id.cert), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(id.cert), -30L * 86400);
	X509_gmtime_adj(X509_getm_notAfter(id.cert), days * 86400);
	X509_set_pubkey(id.cert, id.key);
	subject = X509_get_subject_name(id.cert);
	X509_NAME_add_entry_by_txt(
		subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(id.cert, X509_get_subject_name(by->cert));
	add_extension(id.cert, by->cert, NID_basic_constraints,
		authority ? "critical,CA:TRUE" : "CA:FALSE");
	if (authority)
		add_extension(id.cert, by->cert, NID_key_usage, "critical,keyCertSign,cRLSign");
	if (names)
		add_extension(id.cert, by->cert, NID_subject_alt_name, names);
	if (!X509_sign(id.cert, by->key, EVP_sha256()))
		die("cannot sign a certificate");
	return id;
}

static void free_identity(struct identity *id)
{
	EVP_PKEY_free(id->key);
	X509_free(id->cert);
}

/* The names of Microsoft's MX hosts, and the suffixes that the scenario's own MX names have. */
static void put_names(struct buf *b, const struct scenario *sc)
{
	PUT_LIT(b, "DNS:mail.protection.outlook.com,DNS:*.mail.protection.outlook.com,DNS:*.mail."
		   "eo.outlook.com,"
		   "DNS:*.olc.protection.outlook.com,DNS:*.pamx1.hotmail.com,DNS:*.mx.microsoft");
	for (const char *p = "dhlmop"; *p; p++)
		put_fmt(b, ",DNS:*.%c-v1.mx.microsoft", *p);
	for (size_t i = 0; i < sc->ntenants; i++) {
		const struct tenant *t = &sc->tenants[i];

		for (size_t j = 0; j < t->nmx; j++) {
			const struct mx_name *mx = &t->mx[j];

			if (mx->kind == MX_FIXED)
				put_fmt(b, ",DNS:%s", mx->prefix);
			else if (mx->kind == MX_DASH && !mx->prefix[0])
				put_fmt(b, ",DNS:*%s", mx->suffix);
			else if (mx->kind == MX_DOMAIN && t->domain.kind == PATTERN_EXACT)
				put_fmt(b, ",DNS:%s%s%s", mx->prefix, t->domain.prefix, mx->suffix);
			else if (mx->kind == MX_DOMAIN && !t->domain.prefix[0] && mx->prefix[0])
				put_fmt(b, ",DNS:*%s", t->domain.suffix);
		}
	}
	put(b, "", 1);
}

static SSL_CTX *make_ctx(
	const struct identity *id, const struct identity *ca, enum certificate kind)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	unsigned char sid = (unsigned char)kind;

	if (!ctx || SSL_CTX_use_certificate(ctx, id->cert) != 1 ||
		SSL_CTX_use_PrivateKey(ctx, id->key) != 1)
		die("cannot set up TLS");
	if (kind != CERT_SELF)
		SSL_CTX_add1_chain_cert(ctx, ca->cert);
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_session_id_context(ctx, &sid, 1);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_num_tickets(ctx, 1);
	/* a client that closes without close_notify has closed */
	SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
	return ctx;
}

static void spki_hash(X509 *cert, unsigned char out[32])
{
	unsigned char *der = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
	unsigned len = 32;

	if (n <= 0 || EVP_Digest(der, (size_t)n, out, &len, EVP_sha256(), NULL) != 1)
		die("cannot hash a key");
	OPENSSL_free(der);
}

int tls_init(struct sim *s)
{
	struct identity ca = make_identity("m365sim authority", NULL, NULL, 3650, true),
			id[CERT_KINDS];
	struct buf names;
	int r = 0;

	buf_init(&names, 0);
	put_names(&names, s->sc);
	id[CERT_TRUSTED] = make_identity("mail.protection.outlook.com", &ca, names.p, 365, false);
	id[CERT_SELF] = make_identity("mail.protection.outlook.com", NULL, names.p, 365, false);
	id[CERT_EXPIRED] = make_identity("mail.protection.outlook.com", &ca, names.p, -1, false);
	id[CERT_WRONG_NAME] = make_identity("wrong.invalid", &ca, "DNS:wrong.invalid", 365, false);
	spki_hash(id[CERT_TRUSTED].cert, s->spki_sha256);
	for (int i = 0; i < CERT_KINDS; i++) {
		s->ctx[i] = make_ctx(&id[i], &ca, (enum certificate)i);
		free_identity(&id[i]);
	}
	if (s->opt.ca_file) {
		FILE *f = fopen(s->opt.ca_file, "we");

		if (!f || PEM_write_X509(f, ca.cert) != 1 || fclose(f))
			r = -1;
	}
	free_identity(&ca);
	buf_deinit(&names);
	s->bio = conn_bio_method();
	return r;
}

void tls_deinit(struct sim *s)
{
	for (int i = 0; i < CERT_KINDS; i++)
		SSL_CTX_free(s->ctx[i]);
	BIO_meth_free(s->bio);
}
