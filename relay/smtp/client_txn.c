/* Transactions of the outbound session: what is sent when, and which reply belongs to which
 * command.
 *
 * While a recipient's outcome is RCPT_PENDING its phase tells what is known: PHASE_READY nothing
 * yet, PHASE_EOD that its RCPT was accepted. */
#include "client_state.h"
#include "postern/must.h"

/* Content over this waits for the replies to RCPT even where it could go in the same flight: one
 * round trip is cheap beside sending megabytes to a host that has just refused them. */
#define FLIGHT_CONTENT_MAX (1u << 20)

static struct rcpt_result *result_at(const struct smtp_client *c, uint32_t i)
{
	return &c->t.txn->results[i];
}

static bool is_undecided(const struct rcpt_result *r)
{
	return r->outcome == RCPT_PENDING && r->phase == PHASE_READY;
}

static bool is_accepted(const struct rcpt_result *r)
{
	return r->outcome == RCPT_PENDING && r->phase == PHASE_EOD;
}

/* The number of a copy of r among the transaction's replies; one for a run of equal ones. */
static uint16_t reply_store(struct smtp_client_txn *t, const struct reply *r)
{
	const struct reply *last = t->nreplies > 0 ? &t->replies[t->nreplies - 1] : NULL;

	if (last && last->code == r->code && last->n == r->n &&
		memcmp(last->text, r->text, r->n) == 0)
		return (uint16_t)(t->nreplies - 1);
	if (t->nreplies == t->max_replies)
		return (uint16_t)(t->nreplies - 1);
	reply_copy(&t->replies[t->nreplies], r);
	return t->nreplies++;
}

static uint16_t reply_store_made(struct smtp_client_txn *t, uint16_t code, const char *text)
{
	struct reply *r;

	if (t->nreplies == t->max_replies)
		return (uint16_t)(t->nreplies - 1);
	r = &t->replies[t->nreplies];
	reply_make(r, code, text);
	if (t->nreplies > 0 && r[-1].code == code && r[-1].n == r->n &&
		!memcmp(r[-1].text, r->text, r->n))
		return (uint16_t)(t->nreplies - 1);
	return t->nreplies++;
}

static void settle(struct smtp_client *c, uint32_t i, enum rcpt_outcome outcome,
	enum client_phase phase, uint16_t reply)
{
	struct rcpt_result *r = result_at(c, i);

	if (is_undecided(r))
		c->t.undecided--;
	else if (is_accepted(r))
		c->t.accepted--;
	r->outcome = outcome;
	r->phase = phase;
	r->reply = reply;
}

/* All recipients of which `which` holds. */
static void settle_all(struct smtp_client *c, bool (*which)(const struct rcpt_result *),
	enum rcpt_outcome outcome, enum client_phase phase, uint16_t reply)
{
	for (uint32_t i = 0; i < c->t.txn->n; i++) {
		if (which(result_at(c, i)))
			settle(c, i, outcome, phase, reply);
	}
}

static bool is_open(const struct rcpt_result *r)
{
	return r->outcome == RCPT_PENDING;
}

/* ---- our own findings, before anything is sent ---- */

struct finding {
	uint16_t code;
	const char *text; /* NULL: none */
};

static bool has_control(const char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return true;
	}
	return false;
}

static struct finding message_finding(const struct smtp_client *c, const struct message *m)
{
	const struct ehlo *e = &c->info.ehlo;

	if (has_control(m->sender))
		return (struct finding){ 553, "5.1.7 Sender address has control characters" };
	if (e->size > 0 && m->size > e->size)
		return (struct finding){ 552,
			"5.3.4 Message is larger than the receiving host takes" };
	if (m->body_type == BODY_BINARYMIME && !(e->binarymime && c->chunking))
		return (struct finding){ 554, "5.6.1 Receiving host does not take binary content" };
	if (!e->smtputf8 && !text_is_ascii(m->sender))
		return (struct finding){ 553,
			"5.6.7 Receiving host does not take internationalized addresses" };
	return (struct finding){ 0, NULL };
}

static struct finding recipient_finding(const struct smtp_client *c, const struct recipient *r)
{
	if (has_control(r->address))
		return (struct finding){ 553, "5.1.3 Recipient address has control characters" };
	if (!c->info.ehlo.smtputf8 && !text_is_ascii(r->address))
		return (struct finding){ 553,
			"5.6.7 Receiving host does not take internationalized addresses" };
	return (struct finding){ 0, NULL };
}

static void findings_apply(struct smtp_client *c)
{
	struct smtp_client_txn *t = c->t.txn;
	struct finding whole = message_finding(c, t->message);

	for (uint32_t i = 0; i < t->n; i++) {
		struct finding f = whole.text ? whole : recipient_finding(c, t->recipients[i]);

		if (f.text)
			settle(c, i, RCPT_LOCAL, PHASE_MAIL, reply_store_made(t, f.code, f.text));
	}
}

/* SMTPUTF8 is asked for only by a message that cannot do without (RFC 6531 section 3.4). */
static bool needs_utf8(const struct smtp_client_txn *t)
{
	const struct message *m = t->message;

	if ((m->flags & MESSAGE_SMTPUTF8) && (m->flags & MESSAGE_8BIT_CONTENT))
		return true;
	if (!text_is_ascii(m->sender))
		return true;
	for (uint32_t i = 0; i < t->n; i++) {
		if (t->results[i].outcome == RCPT_PENDING &&
			!text_is_ascii(t->recipients[i]->address))
			return true;
	}
	return false;
}

/* ---- sending ---- */

static bool in_flight(const struct txn_state *t)
{
	if (t->expect.step != t->send.step)
		return t->expect.step < t->send.step;
	return t->expect.step == STEP_RCPT && t->expect.rcpt < t->send.rcpt;
}

/* The place after p; recipients that are not sent have no command. */
static void place_next(const struct smtp_client *c, struct txn_place *p)
{
	uint32_t i = p->step == STEP_RCPT ? p->rcpt + 1 : 0;

	if (p->step == STEP_MAIL || p->step == STEP_RCPT) {
		while (i < c->t.txn->n && result_at(c, i)->outcome == RCPT_LOCAL)
			i++;
		*p = i < c->t.txn->n ? (struct txn_place){ STEP_RCPT, i }
				     : (struct txn_place){ STEP_DATA, 0 };
		return;
	}
	p->step++;
}

static int send_data(struct smtp_client *c, struct buf *out, enum smtp_client_want *want)
{
	struct txn_state *t = &c->t;
	uint64_t size = t->txn->message->size;
	int r;

	t->behind |= in_flight(t) && (!t->bdat || size <= FLIGHT_CONTENT_MAX);
	if (!t->bdat) {
		t->send.step = STEP_EOD;
		return buf_add_slice(out, SLICE_LIT("DATA\r\n"));
	}
	if (size > FLIGHT_CONTENT_MAX && in_flight(t))
		return 0;
	r = cmd_bdat(out, size);
	if (r)
		return r;
	t->send.step = STEP_END;
	t->body_open = true;
	t->content = true;
	*want = CLIENT_BODY_RAW;
	return 0;
}

/* Sends what may be sent now. */
static int txn_pump(struct smtp_client *c, struct buf *out, enum smtp_client_want *want)
{
	struct txn_state *t = &c->t;
	int r = 0;

	while (!r && t->send.step < STEP_DATA && (c->pipelining || !in_flight(t))) {
		t->behind |= in_flight(t);
		if (t->send.step == STEP_RSET)
			r = buf_add_slice(out, SLICE_LIT("RSET\r\n"));
		else if (t->send.step == STEP_MAIL)
			r = cmd_mail(out, c);
		else
			r = cmd_rcpt(out, c, t->txn->recipients[t->send.rcpt]);
		place_next(c, &t->send);
	}
	if (!r && t->send.step == STEP_DATA && (c->pipelining || !in_flight(t)))
		r = send_data(c, out, want);
	return r;
}

int txn_begin(struct smtp_client *c, struct smtp_client_txn *txn, struct buf *out,
	enum smtp_client_want *want)
{
	struct txn_state *t = &c->t;

	must(txn->n > 0 && txn->max_replies > 0);
	*t = (struct txn_state){ .txn = txn, .undecided = txn->n, .bdat = c->chunking };
	txn->nreplies = 0;
	txn->answers = 0;
	txn->worked = txn->suspect = 0;
	txn->refused = false;
	for (uint32_t i = 0; i < txn->n; i++)
		txn->results[i] = (struct rcpt_result){ .index = txn->recipients[i]->index,
			.outcome = RCPT_PENDING,
			.phase = PHASE_READY };
	findings_apply(c);
	if (t->undecided == 0) {
		t->txn = NULL;
		*want = CLIENT_DONE;
		return 0;
	}
	t->utf8 = c->info.ehlo.smtputf8 && needs_utf8(txn);
	t->send.step = c->rset_due ? STEP_RSET : STEP_MAIL;
	t->expect = t->send;
	c->rset_due = false;
	client_set_state(c, STATE_TXN);
	*want = CLIENT_READ;
	return txn_pump(c, out, want);
}

/* ---- ends ---- */

/* clean: the host holds nothing of this transaction any more. */
static void txn_finish(struct smtp_client *c, bool clean, enum smtp_client_want *want)
{
	c->rset_due = !clean && (c->t.mail_accepted || (c->t.bdat && c->t.send.step == STEP_END));
	c->t.txn = NULL;
	c->info.transactions++;
	client_set_state(c, c->quit_sent ? STATE_QUIT : STATE_READY);
	*want = CLIENT_DONE;
}

/* The host fell silent, hung up or made no sense: what, of that which it offered, may be to blame?
 */
static unsigned suspect_of(const struct smtp_client *c)
{
	const struct txn_state *t = &c->t;
	enum client_phase phase = txn_phase(c);

	if (c->ours || phase == PHASE_RSET)
		return 0;
	/* only content that somebody was to get has been judged by itself */
	if (phase == PHASE_EOD && t->bdat)
		return t->accepted > 0 ? EXT_CHUNKING : 0;
	return t->behind || c->quit_sent ? EXT_PIPELINING : 0;
}

void txn_abandon(struct smtp_client *c, const char *why)
{
	struct txn_state *t = &c->t;
	enum client_phase phase = txn_phase(c);
	/* before a recipient is accepted a host has nothing to keep the content for, even when all
	 * of the flight has reached it */
	bool doubt = t->content && t->body_sent && t->accepted > 0;

	if (!t->txn->suspect)
		t->txn->suspect = suspect_of(c);
	/* when not even MAIL went out, nothing was said about these recipients */
	if (t->send.step > STEP_MAIL && t->undecided + t->accepted > 0)
		settle_all(c, is_open, doubt ? RCPT_IN_DOUBT : RCPT_LOST, phase,
			reply_store_made(t->txn, 0, why));
	else
		settle_all(c, is_open, RCPT_PENDING, PHASE_READY, 0);
	t->txn = NULL;
}

/* The host answers what we cannot credit: from here on nothing it says has a sure meaning. */
static int txn_break(struct smtp_client *c, const char *why, enum smtp_client_want *want)
{
	enum client_phase phase = txn_phase(c);

	txn_abandon(c, why);
	client_fail(c, phase, NULL, why);
	*want = CLIENT_DONE;
	return 0;
}

/* 421: the host closes. It is the answer to the oldest command; what was not asked yet is lost. */
static int txn_closing(struct smtp_client *c, enum smtp_client_want *want)
{
	const struct reply *r = &c->parser.reply;
	struct txn_state *t = &c->t;
	enum client_phase phase = txn_phase(c);

	if (phase != PHASE_RSET && t->undecided + t->accepted > 0) {
		uint16_t reply = reply_store(t->txn, r);

		if (phase == PHASE_MAIL)
			settle_all(c, is_open, RCPT_REPLIED, phase, reply);
		else if (phase != PHASE_RCPT)
			settle_all(c, is_accepted, RCPT_REPLIED, phase, reply);
		else if (is_undecided(result_at(c, t->expect.rcpt)))
			settle(c, t->expect.rcpt, RCPT_REPLIED, phase, reply);
		settle_all(c, is_open, RCPT_LOST, phase, reply);
	}
	t->txn = NULL;
	client_fail(c, phase, r, "receiver closes");
	*want = CLIENT_DONE;
	return 0;
}

/* ---- crediting ---- */

static bool positive(const struct reply *r)
{
	return r->code / 100 == 2;
}

/* A reply that says that a command, or something about it, is not known: no word about the message,
 * when it answers what the host itself offered. Its enhanced code, where it has one, tells. */
static bool not_understood(const struct reply *r)
{
	if (r->has_enhanced && !(r->enhanced[0] == 5 && r->enhanced[1] == 5) &&
		!(r->enhanced[0] == 5 && r->enhanced[1] == 3 && r->detail == 3))
		return false;
	return r->code == 500 || r->code == 501 || r->code == 502 || r->code == 503 ||
	       r->code == 504 || r->code == 555;
}

static void suspect(struct smtp_client *c, unsigned extension, uint16_t reply)
{
	struct smtp_client_txn *t = c->t.txn;

	if (!extension || t->refused)
		return;
	t->suspect = extension;
	t->refused = true;
	t->suspect_reply = reply;
}

static void mail_replied(struct smtp_client *c, const struct reply *r)
{
	bool params = cmd_mail_has_params(c);
	uint16_t reply;

	if (positive(r)) {
		c->t.mail_accepted = true;
		c->t.txn->worked |= (params ? EXT_PARAMS : 0) | (c->t.utf8 ? EXT_SMTPUTF8 : 0);
		return;
	}
	reply = reply_store(c->t.txn, r);
	if (not_understood(r) && r->code != 503)
		suspect(c, params ? EXT_PARAMS : c->t.utf8 ? EXT_SMTPUTF8 : 0, reply);
	settle_all(c, is_open, RCPT_REPLIED, PHASE_MAIL, reply);
}

static void rcpt_replied(struct smtp_client *c, const struct reply *r)
{
	struct rcpt_result *result = result_at(c, c->t.expect.rcpt);

	if (!is_undecided(result))
		return; /* an echo of the refused MAIL */
	if (!positive(r)) {
		uint16_t reply = reply_store(c->t.txn, r);

		if (not_understood(r) && r->code != 503 &&
			cmd_rcpt_has_params(c, c->t.txn->recipients[c->t.expect.rcpt]))
			suspect(c, EXT_PARAMS, reply);
		settle(c, c->t.expect.rcpt, RCPT_REPLIED, PHASE_RCPT, reply);
		return;
	}
	result->phase = PHASE_EOD;
	c->t.undecided--;
	c->t.accepted++;
}

static int data_replied(
	struct smtp_client *c, const struct reply *r, struct buf *out, enum smtp_client_want *want)
{
	struct txn_state *t = &c->t;

	if (positive(r))
		return txn_break(c, "DATA answered like another command", want);
	if (r->code / 100 != 3) {
		if (t->accepted > 0)
			settle_all(
				c, is_accepted, RCPT_REPLIED, PHASE_DATA, reply_store(t->txn, r));
		txn_finish(c, false, want);
		return 0;
	}
	t->expect.step = STEP_EOD;
	t->send.step = STEP_END;
	if (t->behind)
		t->txn->worked |= EXT_PIPELINING;
	t->behind = false;
	if (t->accepted ==
		0) /* content without recipients is owed to nobody: an empty one ends it */
		return buf_add_slice(out, SLICE_LIT(".\r\n"));
	t->content = true;
	t->body_open = true;
	*want = CLIENT_BODY_DOTS;
	return 0;
}

static void deliver_all(struct smtp_client *c, const struct reply *r)
{
	uint16_t reply = reply_store(c->t.txn, r);

	for (uint32_t i = 0; i < c->t.txn->n; i++) {
		struct rcpt_result *result = result_at(c, i);

		if (!is_accepted(result))
			continue;
		settle(c, i, RCPT_DELIVERED, PHASE_EOD, reply);
		result->dsn_passed_on =
			c->info.ehlo.dsn && c->t.txn->recipients[i]->notify != NOTIFY_DEFAULT;
	}
}

/* BDAT itself was refused: what follows it was read as commands, so the session is of no use. */
static int bdat_refused(struct smtp_client *c, const struct reply *r, enum smtp_client_want *want)
{
	uint16_t reply = reply_store(c->t.txn, r);

	suspect(c, EXT_CHUNKING, reply);
	settle_all(c, is_accepted, RCPT_REPLIED, PHASE_EOD, reply);
	c->t.txn = NULL;
	client_fail(c, PHASE_EOD, NULL, "BDAT is offered and refused");
	*want = CLIENT_DONE;
	return 0;
}

static int end_replied(struct smtp_client *c, const struct reply *r, enum smtp_client_want *want)
{
	struct txn_state *t = &c->t;

	if (t->body_open && positive(r))
		return txn_break(c, "content answered before it was sent", want);
	if (t->bdat && t->accepted > 0 && not_understood(r))
		return bdat_refused(c, r, want);
	if (t->bdat && t->accepted > 0)
		t->txn->worked |= EXT_CHUNKING;
	if (t->behind)
		t->txn->worked |= EXT_PIPELINING;
	if (t->accepted > 0) {
		if (positive(r))
			deliver_all(c, r);
		else
			settle_all(c, is_accepted, RCPT_REPLIED, PHASE_EOD, reply_store(t->txn, r));
	}
	if (!t->body_open) {
		txn_finish(c, !t->bdat || positive(r), want);
		return 0;
	}
	/* refused in the middle: what follows of the content can no longer be told from commands */
	t->txn = NULL;
	client_fail(c, PHASE_EOD, NULL, "content refused before it was sent");
	*want = CLIENT_DONE;
	return 0;
}

int txn_reply(struct smtp_client *c, struct buf *out, enum smtp_client_want *want)
{
	const struct reply *r = &c->parser.reply;
	struct txn_state *t = &c->t;
	enum client_phase phase = txn_phase(c);

	t->txn->answers += phase != PHASE_RSET;
	if (r->code == 421)
		return txn_closing(c, want);
	if (r->code / 100 == 3 && phase != PHASE_DATA)
		return txn_break(c, "command answered like DATA", want);
	/* RFC 5321 section 4.2.2: of QUIT, and of nothing else. Never to be taken for a message's
	 */
	if (r->code == 221)
		return txn_break(c, "command answered like QUIT", want);
	if (phase == PHASE_EOD)
		return end_replied(c, r, want);
	if (phase == PHASE_DATA)
		return data_replied(c, r, out, want);
	if (phase == PHASE_MAIL)
		mail_replied(c, r);
	else if (phase == PHASE_RCPT)
		rcpt_replied(c, r);
	place_next(c, &t->expect);
	t->behind &= in_flight(t);
	if (t->undecided + t->accepted == 0 && !in_flight(t)) {
		txn_finish(c, false, want);
		return 0;
	}
	if (t->undecided + t->accepted == 0)
		return 0; /* echoes to come; nothing more is sent */
	return txn_pump(c, out, want);
}

enum client_phase txn_phase(const struct smtp_client *c)
{
	switch (c->t.expect.step) {
	case STEP_RSET:
		return PHASE_RSET;
	case STEP_MAIL:
		return PHASE_MAIL;
	case STEP_RCPT:
		return PHASE_RCPT;
	case STEP_DATA:
		return c->t.bdat ? PHASE_EOD : PHASE_DATA;
	case STEP_EOD:
	case STEP_END:
	default:
		return PHASE_EOD;
	}
}
