/* Inside of the classifier: rules as read, and a reply as the rules see it. */
#pragma once

#include "postern/classify.h"

/* ---- a reply as the rules see it (classify_text.c) ---- */

#define TOKENS_MAX    8
#define TOKEN_MAX     32
#define VIEW_TEXT_MAX 1600

/* Lower case, accents off, each run of anything else one blank; starts and ends with a blank.
 * Addresses read "ipaddr" and "mailaddr"; with a quotation it begins "quotedtext"; the servers' own
 * names at the end of Microsoft's replies are left out, since they say nothing about the cause. */
struct reply_view {
	uint32_t n;
	unsigned ntokens;
	uint8_t class; /* enhanced code; class 0: none */
	uint16_t subject, detail;
	char token[TOKENS_MAX][TOKEN_MAX]; /* upper case, without brackets: AS1450 */
	char text[VIEW_TEXT_MAX + 8];
};
void reply_view_make(struct reply_view *v, const struct reply *r);
/* Normalizes s alone; out has max bytes. Returns the length, without blanks at both ends. */
size_t words_normalize(char *out, size_t max, struct slice s);

/* ---- vocabulary (classify_words.c) ---- */

#define WORDS_MAX 2048
typedef struct {
	uint64_t bits[WORDS_MAX / 64];
} word_set;

static inline bool word_set_has(const word_set *s, uint16_t id)
{
	return s->bits[id / 64] >> (id % 64) & 1u;
}

/* All words of all rules, found in a text in one pass (Aho and Corasick's automaton). Words of up
 * to three letters count only as whole words, longer ones also as a part of one. */
struct vocabulary {
	char **word;
	uint16_t *length;
	uint16_t nwords;
	uint16_t *next; /* node × class */
	uint16_t *out;	/* node: word ending here + 1, 0 for none */
	uint16_t *link; /* node: next shorter one with an out, 0 for none */
	uint16_t nnodes, nclasses;
	uint8_t class_of[256];
};
/* The word's number, or -ENOMEM, -ENOSPC. Before vocabulary_build only. */
int vocabulary_add(struct vocabulary *v, struct slice word);
int vocabulary_build(struct vocabulary *v); /* 0, -ENOMEM, -ENOSPC */
void vocabulary_find(const struct vocabulary *v, const struct reply_view *text, word_set *found);
void vocabulary_deinit(struct vocabulary *v);

/* ---- rules (classify_rules.c) ---- */

#define RULE_PATTERNS_MAX 12
#define PROVIDERS_MAX	  31

struct code_pattern {
	uint16_t low, high;
};
struct enhanced_pattern {
	uint8_t class; /* 0: any */
	bool any_subject;
	uint16_t subject, low, high;
};
/* Wording is a list of terms that must all hold. A term is a list of sets of which one must be
 * there (negated: none). A set is words which must all be there, in any order. */
struct term {
	bool negated;
	uint16_t first_set, nsets;
};
struct set {
	uint32_t first_word;
	uint16_t nwords;
};
struct rule {
	uint32_t providers, phases; /* bits; all: any */
	uint8_t ncodes, nenhanced, ntokens;
	bool no_enhanced, no_token; /* "-" */
	struct code_pattern code[RULE_PATTERNS_MAX];
	struct enhanced_pattern enhanced[RULE_PATTERNS_MAX];
	char token[RULE_PATTERNS_MAX][TOKEN_MAX];
	uint16_t first_term, nterms;
	enum verdict verdict;
	enum verdict_scope scope;
	enum voice voice;
	ms_t cooldown;
	uint32_t line;
	uint8_t text; /* of which text */
};

struct classifier {
	char *provider[PROVIDERS_MAX]; /* names that rules speak of; [0] is "default" */
	unsigned nproviders;
	struct rule *rules;
	struct term *terms;
	struct set *sets;
	uint16_t *set_words;
	size_t nrules, nterms, nsets, nset_words;
	size_t cap_rules, cap_terms, cap_sets, cap_set_words;
	struct vocabulary words;
	struct rules_about text[RULES_TEXTS_MAX]; /* names are owned */
	size_t ntexts;
};
#define PHASE_BIT_UNKNOWN 31
/* The bit of a phase's name; PHASE_BIT_UNKNOWN for names that are none. */
unsigned phase_bit(struct slice name);
/* '#' one or more digits, '*' any run; upper case both. */
bool token_match(const char *pattern, const char *token);

/* ---- reading (classify_rules.c a rule, classify_file.c everything else) ---- */

struct reader {
	struct classifier *c;
	const char *name;
	struct buf *errors;
	uint32_t line;
	bool failed, last; /* last: no text behind this one */
};
/* Notes an error at the line and goes on: all of them are wanted. s: what is wrong, when it can be
 * shown; remedy: what to write instead, or NULL. Returns -EINVAL, or -ENOMEM for that alone. */
int reader_complain(struct reader *rd, const char *what, struct slice s, const char *remedy);
/* The next field of the line: up to a blank that is not within quotes. */
struct slice rule_field(struct slice *rest);
/* The bit of a provider's name, which is added when new; -EINVAL told, -ENOMEM. */
int rule_provider(struct reader *rd, struct slice name);
int rule_parse(struct reader *rd, struct slice line);
