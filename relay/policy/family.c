/* IPv6 refused where IPv4 would do: many receivers ask more of an address of IPv6 (a PTR name, SPF,
 * DKIM) or take nothing over it, whatever the message. Called by verdict.c with such a refusal; the
 * bans that it sets keep the domain's mail off our addresses of IPv6 for hours, are probed, and are
 * kept over restarts. */
#include "family.h"
#include "ban.h"
#include "policy_impl.h"
#include "source.h"
#include "tenant.h"
#include "warmup.h"

#define REST (2 * 3600 * 1000) /* ms; ban.c makes it longer when the probe is refused */

/* The words, or the codes that senders over IPv6 are refused with: no PTR name (25), neither SPF
 * nor DKIM (26), no mail over IPv6 at all (Microsoft's 510). */
static bool for_ipv6(const struct classification *c)
{
	return c->names_ipv6 ||
	       (c->enhanced[1] == 7 && (c->detail == 25 || c->detail == 26 || c->detail == 510));
}

static bool is_v6(const struct policy *p, unsigned source)
{
	return p->params->sources[source].address.family == ADDR_V6;
}

/* A source of IPv4 that may take it now or soon. */
static bool has_ipv4(struct policy *p, struct policy_now now, const struct slot *s,
	const char *domain, const struct policy_tried *tried)
{
	const struct pool_params *v = &p->params->pools[s->pool];
	const struct tenant *t = tenant_find(p, domain);

	for (unsigned i = 0; i < v->nmembers; i++) {
		unsigned source = v->members[i].source;
		ms_t until;

		if (!is_v6(p, source) && !source_tried(p, tried, source) &&
			source_obstacle(p, now, source, NULL, s->provider, &until) == HOLD_NONE &&
			!source_banned(p, now, ~0u, source, s->provider, t, &until) &&
			warmup_may(p, now, s->provider, source))
			return true;
	}
	return false;
}

static void leave(struct policy *p, struct policy_now now, const struct slot *s, unsigned source,
	const char *domain, struct policy_tried *tried)
{
	struct ban *b = ban_set(p, now,
		&(struct ban_what){ BAN_DOMAIN, s->provider, p->params->sources[source].name,
			domain, tried->message, 0 });

	if (b && b->length < REST) {
		b->length = REST;
		b->until = now.wall + REST + (ms_t)(rng_unit(&p->rng) * REST / 10);
	}
	if (!source_tried(p, tried, source) && tried->n < POLICY_TRIED_MAX)
		tried->source[tried->n++] = (uint16_t)source;
}

bool family_refused(struct policy *p, struct policy_now now, const struct slot *s,
	const char *domain, const struct classification *c, struct policy_tried *tried)
{
	const struct pool_params *v;

	if (!s->lane || s->pool == ~0u || !is_v6(p, s->source) ||
		!(tried->families & POLICY_FAMILY_V4) || !for_ipv6(c) ||
		!has_ipv4(p, now, s, domain, tried))
		return false;
	leave(p, now, s, s->source, domain, tried);
	v = &p->params->pools[s->pool];
	for (unsigned i = 0; i < v->nmembers; i++)
		if (is_v6(p, v->members[i].source) && v->members[i].source != s->source)
			leave(p, now, s, v->members[i].source, domain, tried);
	return true;
}
