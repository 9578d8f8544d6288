/* Certificates made on the spot for tests of TLS. */
#include "certificates.h"

#include "../temporary.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "postern/must.h"

#define DAY 86400

static void write_pem(const char *path, X509 *cert, EVP_PKEY *key)
{
	FILE *f = fopen(path, "w");

	must(f);
	if (cert)
		must(PEM_write_X509(f, cert) == 1);
	if (key)
		must(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1);
	must(fclose(f) == 0);
}

static void add_extension(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	must(e && X509_add_ext(cert, e, -1) == 1);
	X509_EXTENSION_free(e);
}

/* issuer NULL: signs itself. from, to: seconds from now. */
static X509 *make(
	const char *name, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, long from, long to)
{
	static long serial = 1;
	X509 *cert = X509_new();
	X509_NAME *subject;
	char names[120];

	must(cert);
	must(X509_set_version(cert, X509_VERSION_3) == 1);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
	X509_gmtime_adj(X509_getm_notBefore(cert), from);
	X509_gmtime_adj(X509_getm_notAfter(cert), to);
	X509_set_pubkey(cert, key);
	subject = X509_get_subject_name(cert);
	must(X509_NAME_add_entry_by_txt(
		     subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0) == 1);
	X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject);
	add_extension(cert, NID_basic_constraints, issuer ? "CA:FALSE" : "critical,CA:TRUE");
	snprintf(names, sizeof(names), "DNS:%s,IP:127.0.0.1", name);
	if (issuer)
		add_extension(cert, NID_subject_alt_name, names);
	must(X509_sign(cert, issuer ? issuer_key : key, EVP_sha256()) > 0);
	return cert;
}

static void issue(const char *path, EVP_PKEY *key, X509 *ca, EVP_PKEY *ca_key, long from, long to)
{
	X509 *cert = make("mx.example.test", key, ca, ca_key, from, to);

	write_pem(path, cert, NULL);
	X509_free(cert);
}

static void issue_other(const char *path, EVP_PKEY *key, X509 *ca, EVP_PKEY *ca_key)
{
	X509 *cert = make("other.example.test", key, ca, ca_key, -DAY, DAY);

	write_pem(path, cert, key);
	X509_free(cert);
}

void certificates_make(struct certificates *c)
{
	EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *other_key = EVP_EC_gen("P-256");
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *ca, *other;

	must(ca_key && other_key && key);
	temporary_name(c->dir, sizeof(c->dir), "certs");
	must(mkdtemp(c->dir));
	snprintf(c->ca, sizeof(c->ca), "%s/ca.pem", c->dir);
	snprintf(c->good, sizeof(c->good), "%s/good.pem", c->dir);
	snprintf(c->expired, sizeof(c->expired), "%s/expired.pem", c->dir);
	snprintf(c->foreign, sizeof(c->foreign), "%s/foreign.pem", c->dir);
	snprintf(c->other, sizeof(c->other), "%s/other.pem", c->dir);
	snprintf(c->key, sizeof(c->key), "%s/key.pem", c->dir);
	ca = make("Test root", ca_key, NULL, NULL, -30 * DAY, 30 * DAY);
	other = make("Other root", other_key, NULL, NULL, -30 * DAY, 30 * DAY);
	write_pem(c->ca, ca, NULL);
	write_pem(c->key, NULL, key);
	issue(c->good, key, ca, ca_key, -DAY, DAY);
	issue(c->expired, key, ca, ca_key, -2 * DAY, -DAY);
	issue_other(c->other, key, ca, ca_key);
	issue(c->foreign, key, other, other_key, -DAY, DAY);
	X509_free(ca);
	X509_free(other);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(other_key);
	EVP_PKEY_free(key);
}

void certificates_remove(struct certificates *c)
{
	unlink(c->ca);
	unlink(c->good);
	unlink(c->expired);
	unlink(c->foreign);
	unlink(c->other);
	unlink(c->key);
	rmdir(c->dir);
}
