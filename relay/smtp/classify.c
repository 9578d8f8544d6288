/* Reply → verdict: the first rule that fits, else what code and phase alone suggest. Called by the
 * dispatcher for each reply that is no plain success, and by `postern classify`. Pure; a
 * classifier is immutable once it is made. */
#include <errno.h>

#include "classify_rule.h"
#include "postern/smtp_client.h"

static const char *const verdict_names[] = {
#define X(name, text) [VERDICT_##name] = text,
	VERDICTS(X)
#undef X
};

const char *verdict_name(enum verdict v)
{
	return (unsigned)v < VERDICT_COUNT ? verdict_names[v] : "unknown";
}

int verdict_parse(enum verdict *ret, struct slice s)
{
	for (unsigned v = 0; v < VERDICT_COUNT; v++) {
		if (slice_eq(s, slice_of(verdict_names[v]))) {
			*ret = (enum verdict)v;
			return 0;
		}
	}
	return -EINVAL;
}

/* ---- rules ---- */

static bool code_fits(const struct rule *r, uint16_t code)
{
	for (unsigned i = 0; i < r->ncodes; i++) {
		const struct code_pattern *p = &r->code[i];

		/* digit by digit: "4x1" is 401..491 by tens */
		if (code >= p->low && code <= p->high && code / 10 % 10 >= p->low / 10 % 10 &&
			code / 10 % 10 <= p->high / 10 % 10 && code % 10 >= p->low % 10 &&
			code % 10 <= p->high % 10)
			return true;
	}
	return r->ncodes == 0;
}

static bool enhanced_fits(const struct rule *r, const struct reply_view *v)
{
	if (r->no_enhanced)
		return v->class == 0;
	for (unsigned i = 0; i < r->nenhanced && v->class; i++) {
		const struct enhanced_pattern *p = &r->enhanced[i];

		if ((p->class == 0 || p->class == v->class) &&
			(p->any_subject || p->subject == v->subject) && v->detail >= p->low &&
			v->detail <= p->high)
			return true;
	}
	return r->nenhanced == 0;
}

/* The token that fits; "" when none is asked for; NULL when it does not fit. */
static const char *token_fits(const struct rule *r, const struct reply_view *v)
{
	if (r->no_token)
		return v->ntokens == 0 ? "" : NULL;
	for (unsigned k = 0; k < r->ntokens; k++) {
		for (unsigned i = 0; i < v->ntokens; i++) {
			if (token_match(r->token[k], v->token[i]))
				return v->token[i];
		}
	}
	return r->ntokens == 0 ? "" : NULL;
}

static bool set_fits(const struct classifier *c, const struct set *s, const word_set *found)
{
	for (unsigned i = 0; i < s->nwords; i++) {
		if (!word_set_has(found, c->set_words[s->first_word + i]))
			return false;
	}
	return true;
}

static bool wording_fits(const struct classifier *c, const struct rule *r, const word_set *found)
{
	for (unsigned i = 0; i < r->nterms; i++) {
		const struct term *t = &c->terms[r->first_term + i];
		bool any = false;

		for (unsigned k = 0; k < t->nsets && !any; k++)
			any = set_fits(c, &c->sets[t->first_set + k], found);
		if (any == t->negated)
			return false;
	}
	return true;
}

/* ---- without a rule ---- */

/* 5xx with an enhanced code, RFC 3463. 0 when it says nothing: VERDICT_DELIVERED is never an
 * answer. */
static enum verdict permanent_by_enhanced(const struct reply_view *v, enum client_phase phase)
{
	switch (v->subject) {
	case 1:
		if (v->detail >= 7 && v->detail <= 9)
			return VERDICT_MESSAGE_REJECTED; /* the sender's address */
		return phase == PHASE_MAIL ? VERDICT_MESSAGE_REJECTED : VERDICT_RECIPIENT_INVALID;
	case 2:
		if (v->detail == 2)
			return VERDICT_DESTINATION_BUSY;
		return v->detail == 3 ? VERDICT_MESSAGE_REJECTED : VERDICT_RECIPIENT_INVALID;
	case 3:
		if (v->detail == 1)
			return VERDICT_DESTINATION_BUSY;
		return v->detail == 4 ? VERDICT_MESSAGE_REJECTED : VERDICT_DESTINATION_CONFIG;
	case 4:
		return VERDICT_DESTINATION_CONFIG;
	case 5:
		return v->detail == 3 ? VERDICT_SPLIT_RECIPIENTS : VERDICT_DELIVERED;
	case 6:
	case 7:
		return VERDICT_MESSAGE_REJECTED;
	default:
		return VERDICT_DELIVERED;
	}
}

static enum verdict permanent_by_phase(uint16_t code, enum client_phase phase)
{
	switch (phase) {
	case PHASE_RCPT:
		if (code == 552)
			return VERDICT_DESTINATION_BUSY;
		return code == 554 ? VERDICT_MESSAGE_REJECTED : VERDICT_RECIPIENT_INVALID;
	case PHASE_RSET:
	case PHASE_QUIT:
	case PHASE_READY:
		return VERDICT_TRANSIENT_OTHER;
	case PHASE_CONNECT:
	case PHASE_BANNER:
	case PHASE_EHLO:
	case PHASE_STARTTLS:
	case PHASE_TLS:
	case PHASE_MAIL:
	case PHASE_DATA:
	case PHASE_EOD:
	default:
		return VERDICT_MESSAGE_REJECTED;
	}
}

/* RFC 5321 4.2.4, 4.3.2, RFC 3463 3.6: the command was not understood or came out of turn. Nothing
 * is said about the mail in it; that is for the wording to say, which the rules have seen. */
static bool out_of_step(const struct reply_view *v, uint16_t code, enum client_phase phase)
{
	bool command = phase == PHASE_MAIL || phase == PHASE_RCPT || phase == PHASE_DATA;

	/* of the protocol, but too many recipients and contents that are refused */
	if (v->class && (v->subject != 5 || v->detail == 3 || v->detail == 6))
		return code == 503 || (command && v->subject == 3 && v->detail == 3);
	if (code == 500 || code == 502 || code == 503 || code == 504 || code == 555)
		return true;
	if (code == 501)
		return v->class || command;
	return command && v->class && v->detail != 0; /* 5.5.0 is said of anything */
}

/* Before MAIL nothing is known of the message: whatever is refused for good, it is the source,
 * unless the code names the system. */
static enum verdict permanent(const struct reply_view *v, uint16_t code, enum client_phase phase)
{
	enum verdict verdict;

	if (phase == PHASE_CONNECT || phase == PHASE_BANNER || phase == PHASE_EHLO) {
		if (v->class && v->subject == 3)
			return VERDICT_DESTINATION_BUSY; /* its system's state, it says */
		return code == 521 || code == 502 ? VERDICT_DESTINATION_CONFIG
						  : VERDICT_SOURCE_BLOCK;
	}
	if (code == 503)
		return VERDICT_TRANSIENT_OTHER;
	if (phase == PHASE_STARTTLS || phase == PHASE_TLS)
		return VERDICT_DESTINATION_CONFIG;
	if (out_of_step(v, code, phase))
		return VERDICT_TRANSIENT_OTHER;
	verdict = permanent_by_enhanced(v, phase);
	return verdict == VERDICT_DELIVERED ? permanent_by_phase(code, phase) : verdict;
}

static enum verdict temporary(const struct reply_view *v)
{
	if ((v->subject == 2 && v->detail == 2) || (v->class && v->subject == 3 && v->detail != 0))
		return VERDICT_DESTINATION_BUSY; /* x.3.0 says nothing but "something" */
	if (v->subject == 4 && v->detail == 5)
		return VERDICT_DESTINATION_BUSY; /* RFC 3463: mail system congestion */
	if (v->subject == 5 && v->detail == 3)
		return VERDICT_SPLIT_RECIPIENTS;
	return VERDICT_TRANSIENT_OTHER;
}

static enum verdict by_code(const struct reply_view *v, uint16_t code, unsigned phase)
{
	if (code >= 500)
		return permanent(v, code, (enum client_phase)phase);
	return temporary(v);
}

/* ---- */

static unsigned provider_of(const struct classifier *c, struct slice name)
{
	for (unsigned i = 1; i < c->nproviders; i++) {
		if (slice_eq(slice_of(c->provider[i]), name))
			return i;
	}
	return 0; /* what no rule speaks of is like the default */
}

static void token_keep(struct classification *ret, const char *token, const struct reply_view *v)
{
	if (!*token && v->ntokens > 0)
		token = v->token[0];
	memcpy(ret->token, token, strlen(token) + 1);
}

void classify(const struct classifier *c, struct slice provider, struct slice phase,
	const struct reply *r, struct classification *ret)
{
	unsigned phase_no = phase_bit(phase);
	uint32_t provider_mask, phase_mask = 1u << phase_no;
	struct reply_view v;
	word_set found;

	*ret = (struct classification){ .verdict = VERDICT_TRANSIENT_OTHER };
	if (r->code < 400) {
		if (r->code / 100 == 2)
			ret->verdict = VERDICT_DELIVERED;
		return;
	}
	provider_mask = 1u << provider_of(c, provider);
	classify_facts(r, ret);
	reply_view_make(&v, r);
	vocabulary_find(&c->words, &v, &found);
	for (size_t i = 0; i < c->nrules; i++) {
		const struct rule *rule = &c->rules[i];
		const char *token;

		if (!(rule->providers & provider_mask) || !(rule->phases & phase_mask))
			continue;
		if (!code_fits(rule, r->code) || !enhanced_fits(rule, &v) ||
			!wording_fits(c, rule, &found))
			continue;
		token = token_fits(rule, &v);
		if (!token)
			continue;
		ret->verdict = rule->verdict;
		ret->scope = rule->scope;
		ret->voice = rule->voice;
		ret->cooldown = rule->cooldown;
		ret->rule_line = rule->line;
		ret->rule_text = rule->text;
		token_keep(ret, token, &v);
		return;
	}
	ret->verdict = by_code(&v, r->code, phase_no);
	token_keep(ret, "", &v);
}
