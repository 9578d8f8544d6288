/* Domains that send and that a provider refuses, whoever carries their mail: the tenant that sends
 * has passed a limit, is not registered, or is held for spam. Another source would be told the
 * same, and no source is to blame; the domain's mail is held there and one message of it tried now
 * and then, while other mail goes on.
 *
 * One receiver's words hold it at that receiver. What the provider's own transport says, or several
 * unrelated receivers, holds it at the whole provider. Called by verdict.c, choose.c and admit.c.
 */
#include <ctype.h>

#include "ban.h"
#include "names.h"
#include "policy_impl.h"
#include "sender.h"
#include "times.h"
#include "witness.h"

#define SENDER_WITNESSES 4u

/* Does everybody at the provider say it? */
static bool of_provider(struct policy *p, struct policy_now now, const struct slot *s,
	const struct classification *c, const char *sender, const char *domain)
{
	struct ban *b;

	if (!named(p, s->provider) || s->foreign || c->voice == VOICE_TENANT)
		return false;
	if (c->voice == VOICE_PROVIDER)
		return true;
	b = ban_suspect(p, now, BAN_SENDER_ALL, s->provider, sender, "");
	return b && (b->until || (domain && witness_add(&b->said_by, organisation(domain), 0) >=
						    SENDER_WITNESSES));
}

bool sender_refused(struct policy *p, struct policy_now now, const struct slot *s,
	const char *domain, const struct classification *c, const struct policy_tried *tried,
	ms_t *until)
{
	struct ban_what w = {
		.provider = s->provider, .message = tried->message, .cooldown = c->cooldown
	};
	char sender[SENDER_NAME];
	const struct ban *b;
	bool all;

	if (!sender_name(sender, tried->sender))
		return false;
	all = of_provider(p, now, s, c, sender, domain);
	w.kind = all ? BAN_SENDER_ALL : BAN_SENDER;
	w.who = sender;
	w.place = all || !domain ? "" : domain;
	if (!all && !domain)
		return false;
	b = ban_set(p, now, &w);
	if (!b)
		return false;
	*until = b->until;
	return true;
}

ms_t sender_found(struct policy *p, struct policy_now now, const struct slot *s,
	const struct policy_tried *tried)
{
	char sender[SENDER_NAME];
	struct ban_what w = { BAN_SENDER_ALL, s->provider, sender, "", tried->message, 0 };
	const struct ban *b;

	if (!sender_name(sender, tried->sender))
		return 0;
	b = ban_set(p, now, &w);
	return b && b->until > now.wall ? b->until - now.wall : 0;
}

bool sender_held(const struct policy *p, unsigned provider, const char *domain)
{
	char sender[SENDER_NAME];
	const struct ban *b;

	if (!p->nbans[BAN_SENDER_ALL] || !sender_name(sender, domain))
		return false;
	b = ban_find(p, BAN_SENDER_ALL, provider, sender, "");
	return b && b->until;
}

/* The bans that concern this mail; false: none. */
static bool bans_of(const struct policy *p, const struct policy_want *w, struct ban *ret[2])
{
	char sender[SENDER_NAME];

	if (!(p->nbans[BAN_SENDER] || p->nbans[BAN_SENDER_ALL]) || !sender_name(sender, w->sender))
		return false;
	ret[0] = ban_find(p, BAN_SENDER_ALL, w->provider, sender, "");
	ret[1] = ban_find(p, BAN_SENDER, w->provider, sender, w->domain);
	return ret[0] || ret[1];
}

bool sender_waits(struct policy *p, struct policy_now now, uint32_t slot,
	const struct policy_want *w, ms_t *until)
{
	struct ban *b[2];

	return bans_of(p, w, b) &&
	       (ban_holds(b[0], now, slot, until) || ban_holds(b[1], now, slot, until));
}

enum sender_state policy_sender(
	struct policy *p, struct policy_now now, const struct policy_want *w, ms_t *until)
{
	struct ban *b[2];
	ms_t wall;

	*until = now.mono;
	if (!bans_of(p, w, b))
		return SENDER_FREE;
	for (unsigned i = 0; i < 2; i++)
		if (ban_holds(b[i], now, ~0u, &wall)) {
			*until = mono_at(now, wall);
			return SENDER_HELD;
		}
	*until = now.mono + 1000;
	return (b[0] && b[0]->until) || (b[1] && b[1]->until) ? SENDER_DUE : SENDER_FREE;
}
