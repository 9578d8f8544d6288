/* DKIM (RFC 6376, RFC 8463): signatures of messages on their way in. The room knows text, hashes
 * and keys, and neither files nor sockets: who calls it reads the files, and looks names up.
 *
 * A set of signers is made once, from the configuration, and is immutable then: any thread may use
 * it. A signer is made for one message, fed its content as it comes, and asked for the fields at the
 * end. Feeding costs a hash of the content; only dkim_sign_fields costs the signature itself, and
 * may run on another thread than what was fed on (one at a time). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "postern/buf.h"
#include "postern/clock.h"

enum dkim_form { DKIM_RELAXED, DKIM_SIMPLE };

/* ---- keys ---- */

enum dkim_algorithm { DKIM_RSA, DKIM_ED25519 };
struct dkim_key;
#define DKIM_RSA_LEAST 1024 /* bits; RFC 8301: verifiers take none below */
#define DKIM_RSA_MOST  4096 /* and need not take any above */
/* A private key from PEM text. 0, -EINVAL with the reason in why, -ENOMEM. */
int dkim_key_parse(struct dkim_key **ret, struct slice pem, char *why, size_t why_max);
/* A new one; bits for RSA. 0, -EINVAL, -EIO. */
int dkim_key_generate(struct dkim_key **ret, enum dkim_algorithm a, unsigned bits);
struct dkim_key *dkim_key_free(struct dkim_key *k); /* NULL-safe */
enum dkim_algorithm dkim_key_algorithm(const struct dkim_key *k);
unsigned dkim_key_bits(const struct dkim_key *k);
int dkim_key_pem(const struct dkim_key *k, struct buf *out); /* PKCS #8, not encrypted */
/* The text of its record in DNS, "v=DKIM1; k=rsa; p=...". */
int dkim_key_record(const struct dkim_key *k, struct buf *out);
/* Does a record of DNS (its strings put together) allow what the key signs? 0, or -EINVAL with the
 * reason in why. */
int dkim_record_fits(struct slice record, const struct dkim_key *k, char *why, size_t why_max);

/* ---- the set ---- */

struct dkim_set;
typedef int (*dkim_to_ascii_fn)(struct slice in, char *out, size_t out_max);
/* to_ascii: A-labels of a domain that has other bytes; NULL: there are none. */
struct dkim_set *dkim_set_new(dkim_to_ascii_fn to_ascii); /* one reference; NULL: no memory */
struct dkim_set *dkim_set_ref(struct dkim_set *s);
struct dkim_set *dkim_set_unref(struct dkim_set *s); /* NULL-safe, returns NULL */

/* What signs mail of which From domains. Texts are copied. */
struct dkim_rule {
	const char *domain; /* lower case, A-labels */
	const char *selector;
	const char *sign_as;	 /* d=; NULL: domain */
	const char *const *from; /* patterns of From domains; nfrom 0: domain and what is below */
	unsigned nfrom;
	enum dkim_form header, body;
};
/* Takes key, also on failure. 0, -ENOMEM. */
int dkim_set_add(struct dkim_set *s, const struct dkim_rule *r, struct dkim_key *key);
unsigned dkim_set_count(const struct dkim_set *s);

/* ---- one message ---- */

#define DKIM_SIGNATURES_MAX 8		/* of a message; further rules do not sign it */
#define DKIM_FIELDS_MAX	    (32u << 10) /* bytes of all signature fields of a message */

struct dkim_signer;
/* Takes a reference of its own to the set. wall: time of the signatures. 0, -ENOMEM. */
int dkim_signer_new(struct dkim_signer **ret, struct dkim_set *set, ms_t wall);
struct dkim_signer *dkim_signer_free(struct dkim_signer *s); /* NULL-safe */
/* Bytes of the header section that it keeps; they count in body_memory. */
size_t dkim_signer_held(const struct dkim_signer *s);
/* Content in pieces of any size: fields that end with CRLF, a blank line, the body. 0, -ENOMEM,
 * -EIO. */
int dkim_signer_feed(struct dkim_signer *s, struct slice in);
/* No more comes. How many signatures will be made; 0: nobody signs for this message. -ENOMEM,
 * -EIO, -EMSGSIZE: its header section is too long. */
int dkim_signer_end(struct dkim_signer *s);
/* The fields, each with its CRLF, to be put above the message's first. After dkim_signer_end gave
 * more than 0. -EMSGSIZE: the message repeats its fields so often that they cannot be listed. */
int dkim_sign_fields(struct dkim_signer *s, struct buf *out);
