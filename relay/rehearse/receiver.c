/* The modelled receiver: connections it takes, what it is used to from each source, incidents,
 * noise; and what it says. Asked by link.c and settle.c. Randomness is the rehearsal's seed. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "state.h"

#define CAREFUL (5 * 60 * 1000) /* ms after a refusal in which a step is one message */

/* As Microsoft says them; read by the relay's own rules. */
const char *const incident_replies[INCIDENT_COUNT] = {
	[INCIDENT_THROTTLE] = "451 4.7.500 Server busy. Please try again later. (S77719)",
	[INCIDENT_BUSY] = "451 4.7.0 Temporary server error. Please try again later. PRX2",
	[INCIDENT_BAN] = "550 5.7.606 Access denied, banned sending IP. (AS16012609)",
	[INCIDENT_TENANT] = "450 4.7.3 Organization queue quota exceeded.",
	[INCIDENT_UNREACHABLE] = "",
};
static const char noise[] = "451 4.7.500 Server busy. Please try again later. (S77714)";
static const char invalid[] = "550 5.1.10 Recipient not found";
static const char too_much[] =
	"451 4.7.650 The mail server has been temporarily rate limited due to IP reputation. "
	"(S775)";

/* ---- words ---- */

bool receiver_named(const char *name)
{
	return strlen(name) == 5 && isalpha((unsigned char)name[0]) &&
	       isalpha((unsigned char)name[1]) && isalpha((unsigned char)name[2]) &&
	       isdigit((unsigned char)name[3]) && isdigit((unsigned char)name[4]);
}

void answer_make(const struct rehearsal *r, struct answer *a, unsigned cluster, uint16_t code,
	const char *text)
{
	const struct scenario_cluster *c = &r->s->clusters[cluster];
	char all[REPLY_TEXT_MAX];

	if (r->params->providers[c->provider_index].clusters != CLUSTERS_MICROSOFT)
		snprintf(all, sizeof(all), "%.1000s", text);
	else if (receiver_named(c->name))
		snprintf(all, sizeof(all),
			"%.1000s [DB5%sFT000.eop-%s.prod.protection.outlook.com]", text, c->name,
			c->name);
	else
		snprintf(all, sizeof(all),
			"%.1000s [DB5PEPF%04X0000.%.31s.prod.outlook.com 2026-01-01T00:00:00.000Z "
			"08DD]",
			text, cluster, c->name);
	reply_make(&a->reply, code, all);
	classify(r->rules, slice_of(r->params->providers[c->provider_index].name),
		slice_of(client_phase_name(PHASE_RCPT)), &a->reply, &a->is);
}

static void answer_from(struct rehearsal *r, struct answer *a, unsigned cluster, const char *text)
{
	char *end;
	unsigned long code = strtoul(text, &end, 10);

	answer_make(r, a, cluster, (uint16_t)code, *end ? end + 1 : end);
}

const struct answer *receiver_answer(struct rehearsal *r, const struct link *k)
{
	struct answer **a = &r->answers[k->cluster * (SAYS_INCIDENT + r->s->nincidents) + k->says];
	const struct scenario_incident *x;

	if (*a)
		return *a;
	*a = calloc(1, sizeof(**a));
	if (!*a) {
		r->no_memory = true;
		return NULL;
	}
	switch (k->says) {
	case SAYS_YES:
		reply_make(&(*a)->reply, 250, "2.6.0 Queued mail for delivery");
		(*a)->is.verdict = VERDICT_DELIVERED;
		break;
	case SAYS_NOISE:
		answer_from(r, *a, k->cluster, noise);
		break;
	case SAYS_INVALID:
		answer_from(r, *a, k->cluster, invalid);
		break;
	case SAYS_TOO_MUCH:
		answer_from(r, *a, k->cluster, too_much);
		break;
	default:
		x = &r->s->incidents[k->says - SAYS_INCIDENT];
		answer_from(r, *a, k->cluster, x->reply ? x->reply : incident_replies[x->kind]);
		break;
	}
	return *a;
}

/* ---- incidents ---- */

static bool concerns(const struct rehearsal *r, const struct scenario_incident *x,
	const struct link *k, uint32_t tenant)
{
	ms_t wall = wall_of(r);

	if (wall < x->from || wall >= x->until)
		return false;
	if (x->cluster_index >= 0 && (unsigned)x->cluster_index != k->cluster)
		return false;
	if (x->provider_index >= 0 &&
		(unsigned)x->provider_index != r->s->clusters[k->cluster].provider_index)
		return false;
	if (x->source_index >= 0 && (unsigned)x->source_index != k->match.source)
		return false;
	if (x->subnet.addr.family != ADDR_NONE &&
		!net_contains(&x->subnet, &r->params->sources[k->match.source].address))
		return false;
	return x->kind != INCIDENT_TENANT || tenant < x->tenants;
}

void receiver_edges(struct rehearsal *r)
{
	ms_t wall = wall_of(r);

	r->next_edge = INT64_MAX;
	for (unsigned i = 0; i < r->s->nincidents; i++) {
		const struct scenario_incident *x = &r->s->incidents[i];
		ms_t at = x->from > wall ? x->from : x->until;

		if (at > wall && at - r->s->start < r->next_edge)
			r->next_edge = at - r->s->start;
	}
}

/* ---- what it is used to ---- */

static const struct scenario_reputation *reputation_of(const struct rehearsal *r, unsigned provider)
{
	for (unsigned i = 0; i < r->s->nreputations; i++)
		if (r->s->reputations[i].provider_index == provider)
			return &r->s->reputations[i];
	return NULL;
}

static struct standing *standing_of(struct rehearsal *r, const struct link *k)
{
	return &r->standings[r->s->clusters[k->cluster].provider_index * r->params->nsources +
			     k->match.source];
}

static uint32_t left_of(struct rehearsal *r, const struct link *k)
{
	unsigned provider = r->s->clusters[k->cluster].provider_index;
	const struct scenario_reputation *p = reputation_of(r, provider);
	struct standing *s = standing_of(r, k);
	double day, hour;

	if (!p || (p->trusted && s->allowed >= p->trusted))
		return UINT32_MAX;
	if (s->hour_number != wall_of(r) / 3600000) {
		s->hour_number = wall_of(r) / 3600000;
		s->hour = 0;
	}
	day = s->allowed - s->day;
	hour = ceil(s->allowed * p->hourly) - s->hour;
	if (hour < day)
		day = hour;
	return day < 1 ? 0 : day > UINT32_MAX ? UINT32_MAX : (uint32_t)day;
}

/* A day has ended: tomorrow it takes more from those who sent what it took today. */
void receiver_day(struct rehearsal *r)
{
	for (unsigned i = 0; i < r->s->nreputations; i++) {
		const struct scenario_reputation *p = &r->s->reputations[i];

		for (unsigned k = 0; k < r->params->nsources; k++) {
			struct standing *s =
				&r->standings[p->provider_index * r->params->nsources + k];
			double sent = (double)s->day + s->refused;

			s->idle = sent > 0 ? 0 : s->idle + 1;
			if (sent > 0 && s->refused <= p->tolerance * sent &&
				s->day * p->growth > s->allowed)
				s->allowed = s->day * p->growth;
			if (p->idle_days && s->idle >= p->idle_days && s->idle % p->idle_days == 0)
				s->allowed = s->allowed / 2 > p->first ? s->allowed / 2 : p->first;
			s->day = s->hour = s->refused = 0;
		}
	}
}

/* ---- connections ---- */

void receiver_connect(struct rehearsal *r, struct link *k)
{
	const struct scenario_cluster *c = &r->s->clusters[k->cluster];
	struct receiver *v = &r->receivers[k->cluster];
	uint32_t *source = &v->by_source[k->match.source],
		 *subnet = &v->by_subnet[r->subnet_of[k->match.source]];

	for (unsigned i = 0; i < r->s->nincidents; i++) {
		const struct scenario_incident *x = &r->s->incidents[i];

		if (x->kind == INCIDENT_UNREACHABLE && concerns(r, x, k, 0) &&
			rng_unit(&r->receiver_rng) < x->share) {
			k->unreachable = true;
			return;
		}
	}
	k->refused = (c->connections && v->connections >= c->connections) ||
		     (c->connections_per_source && *source >= c->connections_per_source) ||
		     (c->connections_per_subnet && *subnet >= c->connections_per_subnet);
	if (k->refused)
		return;
	k->counted = true;
	v->connections++;
	(*source)++;
	(*subnet)++;
}

void receiver_gone(struct rehearsal *r, struct link *k)
{
	struct receiver *v = &r->receivers[k->cluster];

	if (!k->counted)
		return;
	k->counted = false;
	v->connections--;
	v->by_source[k->match.source]--;
	v->by_subnet[r->subnet_of[k->match.source]]--;
}

/* ---- messages ---- */

/* Chances to be refused, one for each reason. */
struct chances {
	double none; /* that no reason applies */
	double sum;
	double p[2];
};

static struct chances chances_of(const struct rehearsal *r, const struct link *k, uint32_t tenant)
{
	const struct scenario_cluster *c = &r->s->clusters[k->cluster];
	struct chances h = { .none = (1 - c->noise) * (1 - c->invalid),
		.sum = c->noise + c->invalid,
		.p = { c->noise, c->invalid } };

	for (unsigned i = 0; i < r->s->nincidents; i++) {
		const struct scenario_incident *x = &r->s->incidents[i];

		if (x->kind == INCIDENT_UNREACHABLE || !concerns(r, x, k, tenant))
			continue;
		h.none *= 1 - x->share;
		h.sum += x->share;
	}
	return h;
}

static unsigned reason_of(
	struct rehearsal *r, const struct link *k, uint32_t tenant, const struct chances *h)
{
	double at = rng_unit(&r->receiver_rng) * h->sum;
	unsigned last = SAYS_NOISE;

	/* incidents first: rounding must not turn one into noise where there is none */
	for (unsigned i = 0; i < r->s->nincidents; i++) {
		const struct scenario_incident *x = &r->s->incidents[i];

		if (x->kind == INCIDENT_UNREACHABLE || !concerns(r, x, k, tenant))
			continue;
		last = SAYS_INCIDENT + i;
		if (at < x->share)
			return last;
		at -= x->share;
	}
	if (at < h->p[0])
		return SAYS_NOISE;
	return h->p[1] > 0 ? SAYS_INVALID : last;
}

/* How many in a row it takes, as it stands: a step does not reach over a change. */
static uint32_t step_max(
	struct rehearsal *r, const struct link *k, const struct list *letters, uint32_t max)
{
	ms_t left = r->next_edge - r->now, all;
	const ms_t *bad = &r->receivers[k->cluster].bad_at[k->match.source];
	uint32_t standing = left_of(r, k);

	if (max > r->match.batch)
		max = r->match.batch;
	if (*bad && r->now - *bad < CAREFUL)
		max = 1;
	if (r->next_edge != INT64_MAX && max > 1) {
		all = r->s->clusters[k->cluster].message_time * max +
		      link_sending(r, k, mail_bytes(r, letters, max));
		if (all > left)
			max = left * max < all ? 1 : (uint32_t)(left * max / all);
	}
	return standing < max ? standing : max;
}

uint32_t receiver_judge(struct rehearsal *r, struct link *k, const struct list *letters,
	uint32_t max, unsigned *says)
{
	uint32_t tenant = letter_of(letters->next)->tenant;
	struct chances h;
	double u, n;

	*says = k->then;
	if (k->next_bad)
		return 1;
	k->then = SAYS_YES;
	*says = SAYS_YES;
	h = chances_of(r, k, tenant);
	max = step_max(r, k, letters, max);
	u = h.none < 1 ? 1 - rng_unit(&r->receiver_rng) : 0;
	/* messages until one is refused: as many as single draws would give */
	n = h.none >= 1 ? INFINITY : h.none <= 0 ? 0 : floor(log(u) / log(h.none));
	if (n >= 1 && !max) {
		*says = SAYS_TOO_MUCH;
		return 1;
	}
	if (n < 1) {
		*says = reason_of(r, k, tenant, &h);
		return 1;
	}
	if (n >= max)
		return max;
	k->then = reason_of(r, k, tenant, &h);
	k->then_after = (uint32_t)n;
	return (uint32_t)n;
}

void receiver_saw(struct rehearsal *r, const struct link *k, uint32_t count, unsigned says)
{
	struct standing *s = standing_of(r, k);

	r->record.total.attempts += count;
	if (says == SAYS_YES) {
		s->day += count;
		s->hour += count;
	}
	if (says == SAYS_TOO_MUCH)
		s->refused += count;
	if (says == SAYS_TOO_MUCH || says >= SAYS_INCIDENT)
		r->receivers[k->cluster].bad_at[k->match.source] = r->now > 0 ? r->now : 1;
}

ms_t link_sending(const struct rehearsal *r, const struct link *k, uint64_t bytes)
{
	return (ms_t)((double)bytes * 1000 / (double)r->s->clusters[k->cluster].bandwidth);
}
