/* Keys of session tickets. A ticket holds the state of a session, encrypted by a key that only the
 * server has: who learns the key reads what went over all sessions taken up again under it. So a
 * key makes tickets for TICKET_LIFE, opens them for as long again, and is wiped. Called by
 * OpenSSL's callback in the handshakes of all workers; the lock is held for a copy. */
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <uv.h>

#include "tls_private.h"

struct tickets {
	uv_mutex_t lock;
	struct ticket_key current, before;
	uint64_t made, before_ends; /* mono seconds; made: of current */
	bool has_current, has_before;
};

struct tickets *tickets_new(void)
{
	struct tickets *t = calloc(1, sizeof(*t));

	if (t && uv_mutex_init(&t->lock)) {
		free(t);
		t = NULL;
	}
	return t;
}

struct tickets *tickets_free(struct tickets *t)
{
	if (!t)
		return NULL;
	uv_mutex_destroy(&t->lock);
	OPENSSL_cleanse(t, sizeof(*t));
	free(t);
	return NULL;
}

/* With the lock held: keys that are past their time go. */
static void age(struct tickets *t, uint64_t now)
{
	if (t->has_current && now >= t->made + TICKET_LIFE) {
		t->before = t->current;
		t->has_before = true;
		t->has_current = false;
		t->before_ends = t->made + 2 * TICKET_LIFE;
	}
	if (t->has_before && now >= t->before_ends) {
		OPENSSL_cleanse(&t->before, sizeof(t->before));
		t->has_before = false;
	}
}

/* With the lock held. */
static bool renew(struct tickets *t, uint64_t now)
{
	if (RAND_bytes((unsigned char *)&t->current, sizeof(t->current)) != 1)
		return false;
	t->made = now;
	t->has_current = true;
	return true;
}

bool tickets_current(struct tickets *t, uint64_t now, struct ticket_key *ret)
{
	bool ok;

	uv_mutex_lock(&t->lock);
	age(t, now);
	ok = t->has_current || renew(t, now);
	*ret = t->current;
	uv_mutex_unlock(&t->lock);
	return ok;
}

bool tickets_find(struct tickets *t, uint64_t now, const unsigned char name[16],
	struct ticket_key *ret, bool *old)
{
	bool found = false;

	uv_mutex_lock(&t->lock);
	age(t, now);
	*old = false;
	if (t->has_current && !CRYPTO_memcmp(t->current.name, name, sizeof(t->current.name))) {
		*ret = t->current;
		found = true;
	} else if (t->has_before && !CRYPTO_memcmp(t->before.name, name, sizeof(t->before.name))) {
		*ret = t->before;
		found = *old = true;
	}
	uv_mutex_unlock(&t->lock);
	return found;
}

/* ---- OpenSSL's side ---- */

static bool set_mac(EVP_MAC_CTX *mac, struct ticket_key *k)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k->mac, sizeof(k->mac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};

	return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* 1: goes on; 2: goes on with a new ticket; 0: a full handshake; -1: none at all. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
	EVP_MAC_CTX *mac, int making)
{
	struct tls_context *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	uint64_t now = uv_hrtime() / 1000000000u;
	struct ticket_key k;
	bool old = false;
	int r = -1;

	if (making) {
		if (tickets_current(c->tickets, now, &k) &&
			RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 &&
			EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k.secret, iv) == 1 &&
			set_mac(mac, &k)) {
			memcpy(name, k.name, sizeof(k.name));
			r = 1;
		}
	} else if (!tickets_find(c->tickets, now, name, &k, &old)) {
		return 0;
	} else if (set_mac(mac, &k) &&
		   EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, k.secret, iv) == 1) {
		r = old ? 2 : 1;
	}
	OPENSSL_cleanse(&k, sizeof(k));
	return r;
}

void tickets_use(struct tls_context *c)
{
	SSL_CTX_set_app_data(c->ssl, c);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(c->ssl, on_ticket);
}
