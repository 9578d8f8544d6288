/* A transaction's handle, from policy_admit to policy_txn_end. Called by admit.c, which begins one, by
 * verdict.c before each result, and by whoever drives the policy, at the end; on the policy's thread.
 *
 * States and legal jumps stand at struct policy_txn. They are held here alone: every entry asks
 * txn_slot, which ends the process for a handle that is not under way, whose connection is gone, or
 * whose results come between those of another transaction of the same connection. */
#include "txn.h"

#include "paces.h"
#include "policy_impl.h"
#include "postern/must.h"
#include "rate.h"
#include "slot.h"
#include "warmup.h"

/* A number for each transaction; 0 is none. */
static uint32_t next_serial(struct policy *p)
{
	if (!++p->txns.last)
		p->txns.last = 1;
	return p->txns.last;
}

static struct slot *txn_slot(struct policy *p, const struct policy_txn *t)
{
	struct slot *s;

	must(t->state != TXN_NONE);
	s = slot_get(p, t->slot);
	must((int32_t)(t->serial - s->first_serial) >= 0 && s->outstanding > 0);
	must(!s->telling || s->telling == t->serial);
	return s;
}

void transaction_begin(struct policy *p, struct policy_now now, struct policy_txn *t)
{
	struct slot *s = slot_get(p, t->slot);

	must(t->state == TXN_NONE);
	warmup_admitted(p, now, s, t->count);
	paces_take(s->lane, now.mono, t->count);
	s->began[1] = s->began[0];
	s->began[0] = now.mono;
	s->messages += t->count;
	slot_transaction(p, s, true);
	t->serial = next_serial(p);
	t->state = TXN_ADMITTED;
}

struct slot *transaction_heard(struct policy *p, struct policy_txn *t)
{
	struct slot *s = txn_slot(p, t);

	if (t->state == TXN_ADMITTED) {
		s->told = (struct txn_told){ 0 };
		s->telling = t->serial;
		s->weight = t->count;
		s->pool = (int32_t)(t->serial - p->txns.before_reload) > 0 ? t->pool : ~0u;
		t->state = TXN_HEARD;
	}
	return s;
}

/* As if it had not been asked for. */
static void take_back(struct policy *p, struct slot *s, uint32_t n)
{
	s->messages -= s->messages < n ? s->messages : n;
	if (s->lane && s->provider != ~0u)
		bucket_give_back(&s->lane->messages,
			&p->params->providers[s->provider].lane_message_rate, n);
	if (s->lane)
		paces_give_back(s->lane, n);
	warmup_not_begun(p, s, n);
}

void policy_txn_end(struct policy *p, struct policy_txn *t, enum policy_txn_end how)
{
	struct slot *s = txn_slot(p, t);

	must(how != TXN_NOT_BEGUN || t->state == TXN_ADMITTED);
	if (t->state == TXN_ADMITTED)
		s->told = (struct txn_told){ 0 };
	if (how == TXN_NOT_BEGUN)
		take_back(p, s, t->count);
	else
		warmup_ended(p, s, t->count, how == TXN_SENT);
	slot_transaction(p, s, false);
	s->told = (struct txn_told){ 0 };
	s->telling = 0;
	t->state = TXN_NONE;
}
