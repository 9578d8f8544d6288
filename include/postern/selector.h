/* Selectors: which mail an operator means. Words with a value each, such as "user" and "app17"; all
 * words must fit, and of several values of one word any. Pure: bytes in, truth out.
 *
 * A selector is made once and not changed while it is in use; any thread may then match with it.
 * Matching goes from what is cheap to what is not: what the message says by itself, what each
 * recipient's record says, and what only the running relay can tell (selector_found). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "postern/authors.h"
#include "postern/buf.h"
#include "postern/clock.h"

/* name, what its value is called, and what it selects */
#define SELECTOR_WORDS(X)                                                                          \
	X(ID, "id", "ID", "this message; again for more, - reads ids from standard input")         \
	X(FROM, "from", "ADDR|@DOMAIN",                                                            \
		"of this sender; of a domain also by the From field; <> for none")                 \
	X(USER, "user", "NAME", "of who authenticated so")                                         \
	X(CLIENT, "client", "NET", "of clients at this address or network")                        \
	X(LISTENER, "listener", "NAME", "taken by this listener")                                  \
	X(POOL, "pool", "NAME", "of this pool")                                                    \
	X(CLASS, "class", "NAME", "of this class")                                                 \
	X(TAG, "tag", "TEXT", "with this X-Postern-Tag")                                           \
	X(OLDER, "older-than", "DURATION", "taken longer ago than that")                           \
	X(TO, "to", "ADDR|@DOMAIN", "to this recipient, or recipient domain")                      \
	X(SOURCE, "source", "NAME", "tried last from this source")                                 \
	X(ATTEMPTS, "attempts", "N", "tried at least N times")                                     \
	X(CLUSTER, "cluster", "NAME", "tried last at a host of this cluster")                      \
	X(REASON, "reason", "TEXT", "with this in the reason why it waits")
enum selector_word {
#define X(name, text, value, help) SELECT_##name,
	SELECTOR_WORDS(X)
#undef X
		SELECT_COUNT
};
const char *selector_word_name(enum selector_word w);

#define SELECTOR_VALUE_MAX 400u /* bytes of one value */
#define SELECTOR_TERMS_MAX 256u /* values of one selector, ids apart */
#define SELECTOR_IDS_MAX   4096u

struct selector;
/* to_ascii: A-labels of a domain with other bytes; NULL: there are none. 0, -ENOMEM. */
int selector_new(struct selector **ret, authors_to_ascii_fn to_ascii);
struct selector *selector_free(struct selector *s);		    /* NULL-safe, returns NULL */
int selector_copy(struct selector **ret, const struct selector *s); /* 0, -ENOMEM */
/* In text values '*' stands for any run of bytes. 0; -EINVAL, -E2BIG with a sentence for people in
 * why; -ENOMEM. */
int selector_add(
	struct selector *s, struct slice word, struct slice value, char *why, size_t why_max);
/* The same from "word=value". */
int selector_add_text(struct selector *s, struct slice text, char *why, size_t why_max);

uint32_t selector_words(const struct selector *s); /* bits 1 << enum selector_word; 0: everything */
/* New mail can match it: none of its words is about what happened since. */
bool selector_standing(const struct selector *s);
/* "user=app17" and the like, one a line, in an order of its own: equal selectors have equal texts.
 * 0, -ENOMEM. */
int selector_text(const struct selector *s, struct buf *out);
bool selector_same(const struct selector *a, const struct selector *b);
/* It is nothing but one recipient domain, without '*': its name. p NULL: it is not. */
struct slice selector_one_domain(const struct selector *s);
/* Sorted, each once; n 0: any. Before the selector is shared. */
const uint64_t *selector_ids(struct selector *s, size_t *n);

struct selector_message {
	uint64_t id;
	ms_t arrived;
	struct slice sender, from_domain, user, client, listener, pool, class,
		tag; /* p may be NULL */
};
struct selector_rcpt {
	struct slice address, domain, source;
	uint32_t attempts;
};
bool selector_message(const struct selector *s, const struct selector_message *m, ms_t wall);
bool selector_rcpt(const struct selector *s, const struct selector_rcpt *r);
/* Words that only the relay can tell about are in it. */
bool selector_asks(const struct selector *s);
bool selector_found(const struct selector *s, struct slice cluster, struct slice reason);
