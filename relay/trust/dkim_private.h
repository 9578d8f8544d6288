/* Inside the room: canonical forms, From domains, rules. */
#pragma once

#include <openssl/evp.h>
#include <stdatomic.h>

#include "postern/authors.h"
#include "postern/dkim.h"

#define DKIM_HASH 32u

/* ---- dkim_canon.c ---- */

/* Bytes on their way into a hash, gathered so that it is asked seldom. */
struct dkim_sink {
	EVP_MD_CTX *md;
	int r; /* sticky: -EIO */
	size_t n;
	char bytes[2048];
};
void dkim_sink_add(struct dkim_sink *k, const char *p, size_t n);
void dkim_sink_flush(struct dkim_sink *k);

/* The body, in pieces (RFC 6376 section 3.4.3 and 3.4.4). */
struct dkim_body {
	struct dkim_sink sink;
	enum dkim_form form;
	bool cr;       /* a CR was the last byte, and what it is is not known */
	bool blank;    /* white space since the last byte that was not; relaxed alone */
	bool any;      /* something was hashed */
	uint64_t ends; /* line ends that count only if something follows them */
};
void dkim_body_init(struct dkim_body *b, enum dkim_form form, EVP_MD_CTX *md);
void dkim_body_feed(struct dkim_body *b, struct slice in);
void dkim_body_end(struct dkim_body *b);

/* One field, with its CRLF (sections 3.4.1 and 3.4.2). */
void dkim_field(struct dkim_sink *k, enum dkim_form form, struct slice field);

/* ---- dkim_key.c ---- */

struct dkim_key {
	EVP_PKEY *pkey;
	enum dkim_algorithm algorithm;
	unsigned bits;
};
/* Signature of a SHA-256 hash, in base64. 0, -EIO, -ENOMEM. */
int dkim_key_sign(
	const struct dkim_key *k, EVP_MD *md, const uint8_t hash[DKIM_HASH], struct buf *out);

/* ---- dkim_set.c ---- */

struct dkim_signs {
	char *domain, *selector, *sign_as;
	char **from;
	unsigned nfrom;
	enum dkim_form header, body;
	struct dkim_key *key;
};
struct dkim_set {
	atomic_uint refs;
	dkim_to_ascii_fn to_ascii;
	EVP_MD *sha256;
	/* Without a list of From domains, in order of domain, so that tens of thousands cost a few
	 * comparisons; and those with one, each of which is asked. */
	struct dkim_signs **named, **listed;
	unsigned nnamed, nlisted;
};
/* Those that sign for these authors, at most max. */
unsigned dkim_set_choose(const struct dkim_set *s, const struct authors *a,
	const struct dkim_signs **out, unsigned max);
