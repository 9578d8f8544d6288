/* What a certificate says of its holder: a line for people, and the names that a client's
 * certificate gives it. Called by inbound and outbound sessions once their handshake is done, on the
 * loop's thread. All of it is the other side's text. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "stream_private.h"
#include "tls_private.h"

#define NAMES_MAX 64 /* of one certificate; further names are not looked at */

/* Names are the peer's: controls and bytes that are no ASCII come out escaped. */
void stream_tls_peer(const struct stream *s, char *out, size_t max)
{
	const unsigned long flags = XN_FLAG_ONELINE & ~(unsigned long)ASN1_STRFLGS_UTF8_CONVERT;
	X509 *x = tls_conn_certificate(s);
	BIO *b = x ? BIO_new(BIO_s_mem()) : NULL;
	int n = 0;

	if (b) {
		X509_NAME_print_ex(b, X509_get_subject_name(x), 0, flags);
		BIO_puts(b, ", issued by ");
		X509_NAME_print_ex(b, X509_get_issuer_name(x), 0, flags);
		BIO_puts(b, ", until ");
		ASN1_TIME_print(b, X509_get0_notAfter(x));
		n = BIO_read(b, out, (int)max - 1);
	}
	out[n > 0 ? n : 0] = '\0';
	BIO_free(b);
	ERR_clear_error();
}

/* In one piece, of visible ASCII: what is told in a log and compared with a list. */
static bool plain_name(const ASN1_STRING *a, char out[TLS_NAME_MAX + 1])
{
	int n = ASN1_STRING_length(a);
	const unsigned char *p = ASN1_STRING_get0_data(a);

	if (n <= 0 || n > TLS_NAME_MAX)
		return false;
	for (int i = 0; i < n; i++)
		if (p[i] <= ' ' || p[i] >= 0x7f)
			return false;
	memcpy(out, p, (size_t)n);
	out[n] = '\0';
	return true;
}

/* The subject's common name counts only where there is no name of the kinds made for it. */
static bool common_name(const X509 *x, char out[TLS_NAME_MAX + 1])
{
	X509_NAME *subject = X509_get_subject_name(x);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	X509_NAME_ENTRY *e = at >= 0 ? X509_NAME_get_entry(subject, at) : NULL;

	return e && plain_name(X509_NAME_ENTRY_get_data(e), out);
}

bool stream_tls_client_name(const struct stream *s, bool (*fits)(const void *arg, const char *name),
	const void *arg, char out[TLS_NAME_MAX + 1])
{
	X509 *x = stream_tls_proven(s) ? tls_conn_certificate(s) : NULL;
	GENERAL_NAMES *names = x ? X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL) : NULL;
	bool any = false, found = false;

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && i < NAMES_MAX && !found; i++) {
		int type;
		const ASN1_STRING *a =
			GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);

		if (type != GEN_DNS && type != GEN_EMAIL)
			continue;
		any = true;
		found = plain_name(a, out) && fits(arg, out);
	}
	if (x && !any)
		found = common_name(x, out) && fits(arg, out);
	GENERAL_NAMES_free(names);
	ERR_clear_error();
	return found;
}
