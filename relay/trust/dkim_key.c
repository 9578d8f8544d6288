/* Private keys of signatures, and what is published of them. Called when a configuration is read,
 * by the commands of `postern dkim`, and (dkim_key_sign alone) for each message, on any thread:
 * a key is immutable, and OpenSSL keeps what it changes inside under a lock of its own. */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#include "dkim_private.h"
#include "postern/text.h"

#define SIGNATURE_MAX (DKIM_RSA_MOST / 8)
#define ED25519_RAW   32u

static int refuse(char *why, size_t max, const char *text)
{
	ERR_clear_error();
	snprintf(why, max, "%s", text);
	return -EINVAL;
}

/* Nobody is asked for a pass phrase: a relay starts alone. */
static int no_phrase(char *out, int max, int rw, void *arg)
{
	bool *asked = arg;

	(void)out, (void)max, (void)rw;
	*asked = true;
	return -1;
}

static int judge_key(struct dkim_key *k, char *why, size_t why_max)
{
	int type = EVP_PKEY_get_base_id(k->pkey), bits = EVP_PKEY_get_bits(k->pkey);
	EVP_PKEY_CTX *c;
	bool sound;

	k->bits = bits > 0 ? (unsigned)bits : 0;
	if (type != EVP_PKEY_RSA && type != EVP_PKEY_ED25519)
		return refuse(why, why_max, "is neither an RSA nor an Ed25519 key");
	k->algorithm = type == EVP_PKEY_RSA ? DKIM_RSA : DKIM_ED25519;
	if (k->algorithm == DKIM_RSA && (k->bits < DKIM_RSA_LEAST || k->bits > DKIM_RSA_MOST)) {
		snprintf(why, why_max,
			"is an RSA key of %u bits: receivers take %u to %u; 2048 are usual",
			k->bits, DKIM_RSA_LEAST, DKIM_RSA_MOST);
		return -EINVAL;
	}
	c = EVP_PKEY_CTX_new(k->pkey, NULL);
	sound = c && EVP_PKEY_pairwise_check(c) == 1;
	EVP_PKEY_CTX_free(c);
	return sound ? 0 : refuse(why, why_max, "is damaged: its two halves do not fit");
}

static struct dkim_key *key_of(EVP_PKEY *pkey)
{
	struct dkim_key *k = calloc(1, sizeof(*k));

	if (k)
		k->pkey = pkey;
	else
		EVP_PKEY_free(pkey);
	return k;
}

int dkim_key_parse(struct dkim_key **ret, struct slice pem, char *why, size_t why_max)
{
	BIO *bio = pem.n > 0 && pem.n < 1u << 20 ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
	struct dkim_key *k;
	bool asked = false;
	EVP_PKEY *pkey;
	int r;

	if (!bio)
		return refuse(why, why_max, "has no private key in PEM form");
	ERR_clear_error();
	pkey = PEM_read_bio_PrivateKey(bio, NULL, no_phrase, &asked);
	BIO_free(bio);
	if (!pkey && asked)
		return refuse(why, why_max,
			"is encrypted, and nobody is there to give its pass phrase: store it without");
	if (!pkey)
		return refuse(why, why_max, "has no private key in PEM form");
	k = key_of(pkey);
	if (!k)
		return -ENOMEM;
	r = judge_key(k, why, why_max);
	if (r)
		dkim_key_free(k);
	else
		*ret = k;
	return r;
}

int dkim_key_generate(struct dkim_key **ret, enum dkim_algorithm a, unsigned bits)
{
	struct dkim_key *k;
	EVP_PKEY *pkey;

	if (a == DKIM_RSA && (bits < DKIM_RSA_LEAST || bits > DKIM_RSA_MOST))
		return -EINVAL;
	pkey = a == DKIM_RSA ? EVP_RSA_gen(bits) : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	if (!pkey) {
		ERR_clear_error();
		return -EIO;
	}
	k = key_of(pkey);
	if (!k)
		return -ENOMEM;
	k->algorithm = a;
	k->bits = (unsigned)EVP_PKEY_get_bits(pkey);
	*ret = k;
	return 0;
}

struct dkim_key *dkim_key_free(struct dkim_key *k)
{
	if (k)
		EVP_PKEY_free(k->pkey);
	free(k);
	return NULL;
}

enum dkim_algorithm dkim_key_algorithm(const struct dkim_key *k)
{
	return k->algorithm;
}

unsigned dkim_key_bits(const struct dkim_key *k)
{
	return k->bits;
}

int dkim_key_pem(const struct dkim_key *k, struct buf *out)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p = NULL;
	long n;
	int r = -ENOMEM;

	if (bio && PEM_write_bio_PKCS8PrivateKey(bio, k->pkey, NULL, NULL, 0, NULL, NULL) == 1) {
		n = BIO_get_mem_data(bio, &p);
		r = n > 0 ? buf_add(out, p, (size_t)n) : -EIO;
		if (n > 0)
			explicit_bzero(p, (size_t)n);
	}
	BIO_free(bio);
	return r;
}

/* ---- what is published ---- */

/* RSA: a SubjectPublicKeyInfo, as verifiers expect (RFC 6376 errata 3017 and section 3.6.1);
 * Ed25519: the bare 32 bytes (RFC 8463 section 4). */
static int public_bytes(const struct dkim_key *k, struct buf *out)
{
	unsigned char *der = NULL, raw[ED25519_RAW];
	size_t n = sizeof(raw);
	int len, r;

	if (k->algorithm == DKIM_ED25519) {
		if (EVP_PKEY_get_raw_public_key(k->pkey, raw, &n) != 1)
			return -EIO;
		return buf_add(out, raw, n);
	}
	len = i2d_PUBKEY(k->pkey, &der);
	if (len <= 0)
		return -EIO;
	r = buf_add(out, der, (size_t)len);
	OPENSSL_free(der);
	return r;
}

static const char *algorithm_name(const struct dkim_key *k)
{
	return k->algorithm == DKIM_RSA ? "rsa" : "ed25519";
}

int dkim_key_record(const struct dkim_key *k, struct buf *out)
{
	struct buf raw;
	int r;

	buf_init(&raw, 0);
	r = public_bytes(k, &raw);
	if (!r)
		r = buf_printf(out, "v=DKIM1; k=%s; p=", algorithm_name(k));
	if (!r)
		r = base64_encode(out, buf_slice(&raw));
	buf_deinit(&raw);
	return r;
}

/* The value of a tag (section 3.2); false: it is not there. */
static bool find_tag(struct slice record, const char *tag, struct slice *ret)
{
	while (record.n > 0) {
		const char *semi = memchr(record.p, ';', record.n);
		struct slice part = { record.p, semi ? (size_t)(semi - record.p) : record.n };
		const char *eq = part.n > 0 ? memchr(part.p, '=', part.n) : NULL;

		record = slice_from(record, part.n + 1);
		if (!eq || !slice_eq(slice_trim((struct slice){ part.p, (size_t)(eq - part.p) }),
				   slice_of(tag)))
			continue;
		*ret = slice_trim(slice_from(part, (size_t)(eq + 1 - part.p)));
		return true;
	}
	return false;
}

static bool has_word(struct slice list, const char *word)
{
	while (list.n > 0) {
		const char *colon = memchr(list.p, ':', list.n);
		struct slice item = { list.p, colon ? (size_t)(colon - list.p) : list.n };

		list = slice_from(list, item.n + 1);
		item = slice_trim(item);
		if (slice_case_eq(item, slice_of(word)) || slice_eq(item, SLICE_LIT("*")))
			return true;
	}
	return false;
}

/* 0, -EINVAL another key, -ENOMEM. */
static int same_key(struct slice p, const struct dkim_key *k)
{
	struct buf text, got, want;
	int r;

	buf_init(&text, 0);
	buf_init(&got, 0);
	buf_init(&want, 0);
	r = public_bytes(k, &want);
	for (size_t i = 0; i < p.n && !r; i++)
		if (p.p[i] != ' ' && p.p[i] != '\t')
			r = buf_add(&text, p.p + i, 1);
	if (!r)
		r = base64_decode(&got, buf_slice(&text));
	if (!r && !slice_eq(buf_slice(&got), buf_slice(&want)))
		r = -EINVAL;
	buf_deinit(&text);
	buf_deinit(&got);
	buf_deinit(&want);
	return r;
}

int dkim_record_fits(struct slice record, const struct dkim_key *k, char *why, size_t why_max)
{
	struct slice v;
	int r;

	if (find_tag(record, "v", &v) && !slice_eq(v, SLICE_LIT("DKIM1")))
		return refuse(why, why_max, "the record has another version than v=DKIM1");
	if (!find_tag(record, "k", &v))
		v = SLICE_LIT("rsa");
	if (!slice_eq(v, slice_of(algorithm_name(k))))
		return refuse(why, why_max, "the record is for a key of another kind (k=)");
	if (find_tag(record, "h", &v) && !has_word(v, "sha256"))
		return refuse(why, why_max, "the record does not allow sha256 (h=)");
	if (find_tag(record, "s", &v) && !has_word(v, "email"))
		return refuse(why, why_max, "the record is not for mail (s=)");
	if (!find_tag(record, "p", &v))
		return refuse(why, why_max, "the record has no key (p=)");
	if (v.n == 0)
		return refuse(why, why_max, "the key was revoked: p= is empty");
	r = same_key(v, k);
	if (r == -EINVAL)
		return refuse(why, why_max, "the record has another key than the file");
	return r;
}

/* ---- signing ---- */

static int sign_rsa(const struct dkim_key *k, EVP_MD *md, const uint8_t hash[DKIM_HASH],
	uint8_t *out, size_t *n)
{
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(k->pkey, NULL);
	bool ok = c && EVP_PKEY_sign_init(c) == 1 &&
		  EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PADDING) == 1 &&
		  EVP_PKEY_CTX_set_signature_md(c, md) == 1 &&
		  EVP_PKEY_sign(c, out, n, hash, DKIM_HASH) == 1;

	EVP_PKEY_CTX_free(c);
	return ok ? 0 : -EIO;
}

/* RFC 8463 section 3: what is signed is the hash, as a text. */
static int sign_ed25519(
	const struct dkim_key *k, const uint8_t hash[DKIM_HASH], uint8_t *out, size_t *n)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	bool ok = c && EVP_DigestSignInit(c, NULL, NULL, NULL, k->pkey) == 1 &&
		  EVP_DigestSign(c, out, n, hash, DKIM_HASH) == 1;

	EVP_MD_CTX_free(c);
	return ok ? 0 : -EIO;
}

int dkim_key_sign(
	const struct dkim_key *k, EVP_MD *md, const uint8_t hash[DKIM_HASH], struct buf *out)
{
	uint8_t raw[SIGNATURE_MAX];
	size_t n = sizeof(raw);
	int r;

	r = k->algorithm == DKIM_RSA ? sign_rsa(k, md, hash, raw, &n)
				     : sign_ed25519(k, hash, raw, &n);
	if (r) {
		ERR_clear_error();
		return r;
	}
	return base64_encode(out, (struct slice){ (const char *)raw, n });
}
