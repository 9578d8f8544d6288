/* Scripted rules and the receiver's limits. */
#include <string.h>

#include "conn.h"
#include "postern/text.h"

static bool sources_match(const struct filter *f, const struct conn *c)
{
	for (size_t i = 0; i < f->nsources; i++) {
		if (net_contains(&f->sources[i], &c->peer))
			return true;
	}
	return f->nsources == 0;
}

static bool recipients_match(const struct filter *f, const struct conn *c, const char *rcpt)
{
	if (!f->recipients.n)
		return true;
	if (rcpt)
		return strings_match(&f->recipients, rcpt);
	for (uint32_t i = 0; i < c->nrcpts; i++) {
		if (strings_match(&f->recipients, c->rcpt_text.p + c->rcpts[i].at))
			return true;
	}
	return false;
}

static bool filter_match(const struct filter *f, const struct conn *c, const char *rcpt)
{
	return sources_match(f, c) && strings_match(&f->clusters, c->cluster->name) &&
	       (!f->tenants.n || strings_match(&f->tenants, c->domain)) &&
	       (!f->senders.n || strings_match(&f->senders, c->from)) &&
	       recipients_match(f, c, rcpt);
}

static bool fires(struct rule *r, struct conn *c, const char *rcpt)
{
	uint64_t now = sim_time(c->loop);

	if (!r->enabled || now < r->from_us || now >= r->until_us ||
		!filter_match(&r->filter, c, rcpt))
		return false;
	r->seen++;
	if (r->seen <= r->after || (r->limit && r->hits >= r->limit))
		return false;
	if ((r->seen - r->after) % r->every != 0)
		return false;
	if (r->share < 1 && rng_unit(&c->loop->sim->rng) >= r->share)
		return false;
	r->hits++;
	return true;
}

static void closes_if_421(struct conn *c, const char *tmpl)
{
	if (strncmp(tmpl, "421", 3) == 0 && c->cluster->close_on_421)
		c->closing = true;
}

void refuse(struct conn *c, enum phase ph, const char *by, const char *tmpl, const char *rcpt)
{
	size_t at = c->reply.len;

	reply_template(c, tmpl, rcpt);
	if (tmpl[0] >= '4')
		ledger_refuse(&c->loop->sim->ledger, c, by, ph, c->reply.p + at, c->reply.len - at);
	closes_if_421(c, tmpl);
	if (ph == PH_CONNECT && tmpl[0] != '2')
		c->closing = true;
}

static void note(struct conn *c, const struct rule *r, enum phase ph, const char *what)
{
	ledger_refuse(&c->loop->sim->ledger, c, r->name, ph, what, strlen(what));
}

/* The normal course goes on after a delay: the command is looked at again then, without this rule.
 */
static bool delayed(struct conn *c, const struct rule *r)
{
	c->skip_rules = true;
	c->hold_until = c->loop->now + r->delay_us;
	return true;
}

static bool carry_out(struct conn *c, const struct rule *r, enum phase ph, const char *rcpt)
{
	static const char junk[] =
		"\x80\xff garbage without a code\r\n\r\n0x250 not a reply at all\r\n";

	switch (r->action) {
	case ACT_REPLY:
		refuse(c, ph, r->name, r->reply, rcpt);
		return true;
	case ACT_CLOSE:
		refuse(c, ph, r->name, r->reply, rcpt);
		c->closing = true;
		return true;
	case ACT_RAW:
		note(c, r, ph, r->reply);
		reply(c, r->reply);
		return true;
	case ACT_GARBAGE:
		note(c, r, ph, "garbage");
		put(&c->reply, junk, sizeof(junk) - 1);
		return true;
	case ACT_DROP:
		note(c, r, ph, "dropped");
		c->closing = c->no_goodbye = true;
		return true;
	case ACT_RESET:
		note(c, r, ph, "reset");
		c->abort = true;
		return true;
	case ACT_STALL:
		note(c, r, ph, "stalled");
		c->stalled = true;
		return true;
	case ACT_SLOW:
		/* the reply, its own or the normal one, byte by byte */
		c->trickle_us = r->delay_us ? r->delay_us : 1;
		c->trickle_next = c->loop->now + c->trickle_us;
		if (!r->reply)
			return false;
		refuse(c, ph, r->name, r->reply, rcpt);
		return true;
	case ACT_DELAY:
		return delayed(c, r);
	case ACT_ACCEPT_DROP:
	case ACT_ACCEPT_STALL:
		c->messages++;
		ledger_accept(&c->loop->sim->ledger, c);
		note(c, r, ph,
			r->action == ACT_ACCEPT_DROP ? "accepted, then dropped"
						     : "accepted, then stalled");
		c->closing = c->no_goodbye = r->action == ACT_ACCEPT_DROP;
		c->stalled = r->action == ACT_ACCEPT_STALL;
		return true;
	case ACT_N:
		break;
	}
	return false;
}

static uint64_t limit_key(const struct limit *l, const struct conn *c)
{
	uint64_t cluster = (uint64_t)c->cluster->id + 1;

	switch (l->per) {
	case PER_SOURCE:
		return c->peer_ip;
	case PER_SUBNET:
		return c->peer_ip >> 8;
	case PER_CLUSTER:
		return cluster;
	case PER_FOREST:
		return hash_str(c->cluster->forest);
	case PER_LANE:
		return (uint64_t)c->peer_ip << 24 ^ cluster;
	case PER_SUBNET_CLUSTER:
		return (uint64_t)(c->peer_ip >> 8) << 24 ^ cluster;
	case PER_TENANT:
		return hash_str(c->domain);
	case PER_ALL:
	case PER_N:
		break;
	}
	return 1;
}

static bool limit_applies(const struct limit *l, const struct conn *c, const char *rcpt)
{
	return filter_match(&l->filter, c, rcpt);
}

/* Moves a counter to the present window; the allowance grows where the last one was used. */
static uint64_t limit_allowance(struct limit *l, uint64_t key, uint64_t now)
{
	uint64_t *allowed = map64_at(&l->allowance, key), *count = map64_at(&l->count, key);
	uint64_t *window = map64_at(&l->window, key), current = now / l->window_us + 1;

	if (!*allowed)
		*allowed = l->max;
	if (*window == current)
		return *allowed;
	if (*window && l->grow > 1 && (double)*count >= l->grow_at * (double)*allowed) {
		*allowed = (uint64_t)((double)*allowed * l->grow + 0.5);
		if (l->ceiling && *allowed > l->ceiling)
			*allowed = l->ceiling;
	}
	*window = current;
	*count = 0;
	return *allowed;
}

static bool limit_refuses(struct limit *l, struct conn *c, enum phase ph, const char *rcpt)
{
	uint64_t key, *count;
	bool over;

	if (l->phase != ph || !limit_applies(l, c, rcpt))
		return false;
	key = limit_key(l, c);
	if (l->kind == LIMIT_CONNECTIONS) {
		over = map64_get(&l->count, key) > l->max;
	} else {
		uint64_t allowed = limit_allowance(l, key, sim_time(c->loop));

		count = map64_at(&l->count, key);
		over = *count >= allowed;
		if (!over)
			(*count)++;
	}
	if (over)
		l->hits++;
	return over;
}

static bool limits_apply(struct conn *c, enum phase ph, const char *rcpt)
{
	for (size_t i = 0; i < c->sc->nlimits; i++) {
		struct limit *l = &c->sc->limits[i];

		if (limit_refuses(l, c, ph, rcpt)) {
			refuse(c, ph, l->name, l->reply, rcpt);
			return true;
		}
	}
	return false;
}

bool rules_apply(struct conn *c, enum phase ph, const char *rcpt)
{
	if (c->skip_rules) {
		c->skip_rules = false;
		return limits_apply(c, ph, rcpt);
	}
	for (struct rule *r = c->loop->sim->sc->rules; r; r = r->next) {
		if (r->phase == ph && fires(r, c, rcpt) && carry_out(c, r, ph, rcpt))
			return true;
	}
	return limits_apply(c, ph, rcpt);
}

/* Simultaneous connections are counted from accept to close, whatever was said in between. */
static void limits_count(struct conn *c, int step)
{
	for (size_t i = 0; i < c->sc->nlimits; i++) {
		struct limit *l = &c->sc->limits[i];

		if (l->kind == LIMIT_CONNECTIONS && sources_match(&l->filter, c) &&
			strings_match(&l->filter.clusters, c->cluster->name))
			*map64_at(&l->count, limit_key(l, c)) += (uint64_t)(int64_t)step;
	}
}

void limits_opened(struct conn *c)
{
	limits_count(c, 1);
}

void limits_closed(struct conn *c)
{
	limits_count(c, -1);
}
