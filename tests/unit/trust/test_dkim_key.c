/* Keys: the signatures of RFC 8463 appendix A.3 come out byte for byte; weak, foreign, encrypted and
 * broken ones are told; what a record of DNS allows. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/pem.h>

#include "dkim_private.h"
#include "postern/text.h"
#include "rfc8463.h"

static struct dkim_key *key_from(const char *pem)
{
	struct dkim_key *k = NULL;
	char why[200] = "";

	assert_int_equal(dkim_key_parse(&k, slice_of(pem), why, sizeof(why)), 0);
	return k;
}

static const struct {
	const char *key, *field, *signature;
} vectors[] = {
	{ RFC_ED_KEY,
		"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
		" d=football.example.com; i=@football.example.com;\r\n"
		" q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
		" subject : date : message-id : from : subject : date;\r\n"
		" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
		" b=",
		"/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp"
		"1Q1Dw==" },
	{ RFC_RSA_KEY,
		"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n"
		" d=football.example.com; i=@football.example.com;\r\n"
		" q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n"
		" date : message-id : from : subject : date;\r\n"
		" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
		" b=",
		"F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3DhCVlUrSjV4BwcVcOF6+FF3Zo"
		"9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2JzdA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUx"
		"ZQ4FADY+8=" },
};

static void test_rfc8463(void **state)
{
	static const char *const fields[] = { RFC_FROM, RFC_TO, RFC_SUBJECT, RFC_DATE, RFC_ID };
	EVP_MD *sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct dkim_key *key = key_from(vectors[i].key);
		EVP_MD_CTX *md = EVP_MD_CTX_new();
		struct dkim_sink k = { .md = md };
		uint8_t hash[DKIM_HASH];
		struct buf out;

		buf_init(&out, 0);
		EVP_DigestInit_ex2(md, sha256, NULL);
		for (size_t f = 0; f < 5; f++)
			dkim_field(&k, DKIM_RELAXED, slice_of(fields[f]));
		dkim_field(&k, DKIM_RELAXED, slice_of(vectors[i].field));
		k.n -= 2;
		dkim_sink_flush(&k);
		assert_int_equal(EVP_DigestFinal_ex(md, hash, NULL), 1);
		assert_int_equal(dkim_key_sign(key, sha256, hash, &out), 0);
		assert_int_equal(buf_size(&out), strlen(vectors[i].signature));
		assert_memory_equal(buf_slice(&out).p, vectors[i].signature, buf_size(&out));
		buf_deinit(&out);
		EVP_MD_CTX_free(md);
		dkim_key_free(key);
	}
	EVP_MD_free(sha256);
}

static void test_body_hash(void **state)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	struct dkim_body b;
	uint8_t hash[DKIM_HASH];
	struct buf out;

	(void)state;
	buf_init(&out, 0);
	EVP_DigestInit_ex(md, EVP_sha256(), NULL);
	dkim_body_init(&b, DKIM_RELAXED, md);
	dkim_body_feed(&b, slice_of(RFC_BODY));
	dkim_body_end(&b);
	EVP_DigestFinal_ex(md, hash, NULL);
	base64_encode(&out, (struct slice){ (char *)hash, sizeof(hash) });
	assert_memory_equal(
		buf_slice(&out).p, "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=", buf_size(&out));
	buf_deinit(&out);
	EVP_MD_CTX_free(md);
}

static void pem_of(EVP_PKEY *k, const char *phrase, struct buf *out)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *p;
	long n;

	assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, k, phrase ? EVP_aes_128_cbc() : NULL,
				 phrase, phrase ? (int)strlen(phrase) : 0, NULL, NULL),
		1);
	n = BIO_get_mem_data(bio, &p);
	assert_int_equal(buf_add(out, p, (size_t)n), 0);
	BIO_free(bio);
	EVP_PKEY_free(k);
}

static void refused(EVP_PKEY *pkey, const char *phrase, const char *what)
{
	struct dkim_key *k = NULL;
	char why[200] = "";
	struct buf pem;

	buf_init(&pem, 0);
	pem_of(pkey, phrase, &pem);
	assert_int_equal(dkim_key_parse(&k, buf_slice(&pem), why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, what));
	buf_deinit(&pem);
}

static void test_refused(void **state)
{
	struct dkim_key *k = NULL;
	char why[200];

	(void)state;
	refused(EVP_RSA_gen(768), NULL, "768 bits");
	refused(EVP_EC_gen("P-256"), NULL, "neither");
	refused(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), "secret", "encrypted");
	assert_int_equal(dkim_key_parse(&k, slice_of(""), why, sizeof(why)), -EINVAL);
	assert_int_equal(dkim_key_parse(&k, slice_of("hello\n"), why, sizeof(why)), -EINVAL);
	assert_int_equal(dkim_key_parse(&k,
				 slice_of("-----BEGIN PRIVATE KEY-----\nAAAA\n"
					  "-----END PRIVATE KEY-----\n"),
				 why, sizeof(why)),
		-EINVAL);
	assert_int_equal(dkim_key_generate(&k, DKIM_RSA, 512), -EINVAL);
	assert_int_equal(dkim_key_generate(&k, DKIM_RSA, 65536), -EINVAL);
}

static void test_generated(void **state)
{
	static const struct {
		enum dkim_algorithm a;
		unsigned bits;
	} rows[] = { { DKIM_RSA, 1024 }, { DKIM_RSA, 2048 }, { DKIM_ED25519, 0 } };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct dkim_key *k = NULL, *again = NULL;
		struct buf pem, one, two;
		char why[200] = "";

		buf_init(&pem, 0);
		buf_init(&one, 0);
		buf_init(&two, 0);
		assert_int_equal(dkim_key_generate(&k, rows[i].a, rows[i].bits), 0);
		assert_int_equal(dkim_key_pem(k, &pem), 0);
		assert_int_equal(dkim_key_parse(&again, buf_slice(&pem), why, sizeof(why)), 0);
		assert_int_equal(dkim_key_algorithm(again), rows[i].a);
		if (rows[i].bits)
			assert_int_equal(dkim_key_bits(again), rows[i].bits);
		assert_int_equal(dkim_key_record(k, &one), 0);
		assert_int_equal(dkim_key_record(again, &two), 0);
		assert_true(slice_eq(buf_slice(&one), buf_slice(&two)));
		assert_int_equal(dkim_record_fits(buf_slice(&one), again, why, sizeof(why)), 0);
		buf_deinit(&pem);
		buf_deinit(&one);
		buf_deinit(&two);
		dkim_key_free(k);
		dkim_key_free(again);
	}
}

static const struct {
	const char *record, *why; /* NULL: it fits */
} records[] = {
	{ RFC_ED_RECORD, NULL },
	{ "v=DKIM1;k=ed25519;p=11qYAYKxCrfVS/7TyWQ HOg7hcvPapiMlrwIaaPcHURo= ;", NULL },
	{ "k=ed25519; h=sha1:sha256; s=email; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
		NULL },
	{ "v=DKIM1; k=ed25519; s=*; t=y; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", NULL },
	{ "v=DKIM2; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "version" },
	{ "v=DKIM1; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "kind" },
	{ "v=DKIM1; k=ed25519; h=sha1; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "sha256" },
	{ "v=DKIM1; k=ed25519; s=tlsrpt; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "mail" },
	{ "v=DKIM1; k=ed25519", "no key" },
	{ "v=DKIM1; k=ed25519; p=", "revoked" },
	{ "v=DKIM1; k=ed25519; p=21qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "another key" },
	{ "v=DKIM1; k=ed25519; p=!!", "another key" },
	{ "", "kind" },
};

static void test_records(void **state)
{
	struct dkim_key *k = key_from(RFC_ED_KEY);

	(void)state;
	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		char why[200] = "";
		int r = dkim_record_fits(slice_of(records[i].record), k, why, sizeof(why));

		assert_int_equal(r, records[i].why ? -EINVAL : 0);
		if (records[i].why)
			assert_non_null(strstr(why, records[i].why));
	}
	dkim_key_free(k);
	k = key_from(RFC_RSA_KEY);
	{
		struct buf b;

		buf_init(&b, 0);
		assert_int_equal(dkim_key_record(k, &b), 0);
		assert_memory_equal(buf_slice(&b).p, RFC_RSA_RECORD, 100);
		buf_deinit(&b);
	}
	dkim_key_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc8463),
		cmocka_unit_test(test_body_hash),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_generated),
		cmocka_unit_test(test_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
