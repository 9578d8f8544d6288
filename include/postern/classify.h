/* Reply → verdict: a rule table from a data file (conf/replies.rules). Pure: the text comes as
 * memory. */
#pragma once

#include "postern/buf.h"
#include "postern/clock.h"
#include "postern/smtp_reply.h"

#define VERDICTS(X)                                                                                \
	X(DELIVERED, "delivered")                                                                  \
	X(SOURCE_THROTTLE, "source-throttle")                                                      \
	X(SOURCE_BLOCK, "source-block")                                                            \
	X(DESTINATION_BUSY, "destination-busy")                                                    \
	X(DESTINATION_CONFIG, "destination-config")                                                \
	X(SPLIT_RECIPIENTS, "split-recipients")                                                    \
	X(RECIPIENT_INVALID, "recipient-invalid")                                                  \
	X(MESSAGE_REJECTED, "message-rejected") X(TRANSIENT_OTHER, "transient-other")
enum verdict {
#define X(name, text) VERDICT_##name,
	VERDICTS(X)
#undef X
		VERDICT_COUNT
};
const char *verdict_name(enum verdict v);
int verdict_parse(enum verdict *ret, struct slice s); /* 0, -EINVAL */

enum verdict_scope {
	SCOPE_DEFAULT,
	SCOPE_MESSAGE,
	SCOPE_RECIPIENT,
	SCOPE_DOMAIN,
	SCOPE_SOURCE,
	SCOPE_SUBNET,
	SCOPE_CLUSTER,
	SCOPE_PROVIDER,
	SCOPE_SENDER /* the domain or tenant that sends: no source, no receiver is at fault */
};

/* Whose words the reply is made of, which bounds how far they reach. */
enum voice {
	VOICE_RECEIVER, /* the host that answered, as far as one can tell */
	VOICE_PROVIDER, /* a constant of the provider's own transport, which no tenant can write */
	VOICE_TENANT	/* an organisation's own rule, text or list */
};

struct classification {
	enum verdict verdict;
	enum verdict_scope scope;
	enum voice voice;
	ms_t cooldown;	    /* 0: the policy's own */
	uint32_t rule_line; /* line of the rule in its text; 0: no rule, code and phase decided */
	uint8_t rule_text;  /* which text that is: classifier_text */
	char token[32];	    /* S77719, ATTR3, PRX8 …; "" when none */
	/* What was found in a refusal, so that nobody reads it again. A success: all 0. */
	uint16_t code;	     /* 400..599 */
	uint8_t enhanced[3]; /* class, subject, detail as far as it fits; 0: none */
	uint16_t detail;     /* the third number: 606 of 5.7.606 */
	bool names_ipv6;     /* it speaks of IPv6 */
	/* The receiver's server that the reply names, and the label behind it, which is its cluster's:
	 * letters, digits and '-' as they stand there; both "" when it names none. */
	char server[32], server_cluster[40];
};
/* Sets these alone; classify does it for every refusal. Of several servers the last is the front
 * end: those before it are servers that it asked. */
void classify_facts(const struct reply *r, struct classification *ret);

/* The words of the rule file: "sender", "tenant". */
const char *verdict_scope_name(enum verdict_scope s);
const char *voice_name(enum voice v);

/* A text of rules, and what it is called in errors and answers. Borrowed for the call. */
struct rules_text {
	struct slice text;
	const char *name;
};
#define RULES_TEXTS_MAX 4
struct rules_about {
	char *name;
	char dated[11]; /* "2026-11-28"; "" when the text does not say */
	size_t nrules;
};

struct classifier;
/* Parses texts of rules, of which the first are asked first; behind one that says "builtin off"
 * none is read. On errors returns -EINVAL and appends "name:line: what; remedy" lines to errors. */
int classifier_new_of(
	struct classifier **ret, const struct rules_text *texts, size_t n, struct buf *errors);
int classifier_new(
	struct classifier **ret, struct slice text, const char *name, struct buf *errors);
struct classifier *classifier_free(struct classifier *c);
/* The i-th text that was read, NULL beyond the last. Lives as long as the classifier. */
const struct rules_about *classifier_text(const struct classifier *c, size_t i);
/* "mine.rules (12 rules, dated 2026-11-28), then ...": of one line, for people. 0, -ENOMEM. */
int classifier_describe(const struct classifier *c, struct buf *out);
/* provider: "microsoft365", "outlook", "default" or any other name; phase: client_phase_name.
 * Immutable after new: may be shared by threads. */
void classify(const struct classifier *c, struct slice provider, struct slice phase,
	const struct reply *r, struct classification *ret);
