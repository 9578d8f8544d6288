/* Mail that comes in: by the day's volume, the hour and the day of the week. An event of its own
 * (heap.c), each of which posts the next. */
#include <math.h>

#include "state.h"

#define HOUR  3600000
#define BURST 60000	       /* ms at the full hour in which an hour's mail comes */
#define IDLE  (10 * 60 * 1000) /* ms; how soon an hour without mail is looked at again */

static const uint8_t shapes[][24] = {
	[SHAPE_EVEN] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 },
	[SHAPE_HOURLY] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 },
	[SHAPE_OFFICE] = { 2, 2, 2, 2, 2, 3, 5, 9, 14, 16, 15, 13, 11, 13, 14, 13, 11, 9, 6, 5, 4,
		4, 3, 2 },
	[SHAPE_EVENING] = { 3, 2, 2, 2, 2, 2, 3, 4, 5, 6, 6, 6, 6, 6, 6, 7, 9, 12, 15, 16, 15, 12,
		8, 5 },
	[SHAPE_NIGHT] = { 14, 16, 16, 15, 13, 10, 6, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 4, 5, 7,
		10 },
};

static double hour_weight(const struct scenario_traffic *t, unsigned hour)
{
	double sum = 0, own = t->nhours ? t->hours[hour] : shapes[t->shape][hour];

	for (unsigned i = 0; i < 24; i++)
		sum += t->nhours ? t->hours[i] : shapes[t->shape][i];
	return sum > 0 ? own / sum : 0;
}

/* Against the mean of a week, so that daily stays the mean of the days. */
static double weekday_weight(const struct scenario_traffic *t, int32_t day)
{
	double sum = 0;

	if (!t->nweekdays)
		return 1;
	for (unsigned i = 0; i < 7; i++)
		sum += t->weekdays[i];
	/* day 0, 1970-01-01, was a Thursday; the first weight is Monday's */
	return sum > 0 ? t->weekdays[((day + 3) % 7 + 7) % 7] * 7 / sum : 0;
}

static double daily_at(const struct scenario_traffic *t, ms_t wall)
{
	double daily = t->daily;

	if (wall < t->from || (t->until && wall >= t->until))
		return 0;
	for (unsigned i = 0; i < t->nchanges && t->steps[i].at <= wall; i++)
		daily = t->steps[i].daily;
	return daily;
}

bool traffic_reaches(const struct scenario_traffic *t, const char *cluster)
{
	for (unsigned i = 0; i < t->nclusters; i++)
		if (!strcmp(t->clusters[i], cluster))
			return true;
	return !t->nclusters;
}

static double share_of(const struct rehearsal *r, const struct feed *f)
{
	const struct scenario_traffic *t = &r->s->traffic[f->traffic];
	double sum = 0;

	for (unsigned i = 0; i < r->s->nclusters; i++)
		if (traffic_reaches(t, r->s->clusters[i].name))
			sum += r->s->clusters[i].share;
	return sum > 0 ? r->s->clusters[f->cluster].share / sum : 0;
}

/* Messages a millisecond at that moment, and until when. */
static double rate_at(const struct rehearsal *r, const struct feed *f, ms_t wall, ms_t *until)
{
	const struct scenario_traffic *t = &r->s->traffic[f->traffic];
	ms_t local = wall + (ms_t)zone_offset(r->params->zone, wall) * 1000;
	int32_t day = (int32_t)(local / (24 * (ms_t)HOUR));
	unsigned hour = (unsigned)(local / HOUR % 24);

	ms_t span = HOUR;

	*until = wall + HOUR - local % HOUR;
	if (t->shape == SHAPE_HOURLY && !t->nhours) {
		if (local % HOUR >= BURST)
			return 0;
		*until = wall + BURST - local % HOUR;
		span = BURST;
	}
	return daily_at(t, wall) * weekday_weight(t, day) * hour_weight(t, hour) * share_of(r, f) /
	       (double)span;
}

static void place(
	struct rehearsal *r, const struct feed *f, unsigned group, uint32_t tenant, uint32_t n)
{
	const struct receiver *v = &r->receivers[f->cluster];
	struct letter like = {
		.arrived = r->now, .tenant = tenant, .traffic = f->traffic, .id = r->ids + 1
	};
	struct letter *g;

	like.flow = v->first_flow + group * r->kinds.n * 2 + r->kinds.of[f->traffic] * 2;
	g = letter_new(r, &like, n);
	if (!g)
		return;
	r->ids += n;
	record_arrived(r, g);
	mail_push(r, &r->flows[like.flow], g, false);
}

static void arrive(struct rehearsal *r, const struct feed *f, uint32_t n)
{
	const struct receiver *v = &r->receivers[f->cluster];
	uint32_t tenants = r->s->clusters[f->cluster].tenants, alone = v->ngroups - v->nshared;
	uint32_t tenant, left = n;
	unsigned g = 0;

	/* the first tenants have queues of their own */
	for (uint32_t i = 0; i < n && alone; i++) {
		tenant = (uint32_t)rng_below(&r->rng, tenants);
		if (tenant >= alone)
			continue;
		place(r, f, tenant, tenant, 1);
		left--;
	}
	if (!left)
		return;
	tenant = alone + (uint32_t)rng_below(&r->rng, tenants - alone);
	for (g = alone; tenant >= v->groups[g].first + v->groups[g].n;)
		g++;
	place(r, f, g, tenant, left);
}

/* A letter is made when its last message has come in: none is early. */
void on_traffic(struct rehearsal *r, uint32_t number)
{
	struct feed *f = &r->feeds[number];
	ms_t end, wall = wall_of(r), next;
	double rate = rate_at(r, f, wall, &end), want;
	uint32_t n = (uint32_t)f->owed;

	if (n) {
		f->owed -= n;
		arrive(r, f, n);
	}
	if (rate <= 0) {
		next = end - wall < IDLE ? r->now + (end - wall) : r->now + IDLE;
		f->owed = f->owed < 1 ? f->owed : 0;
	} else {
		/* as many as come within a minute, at most a step's worth */
		want = floor(rate * 60000);
		want = want < 1 ? 1 : want > r->match.batch ? r->match.batch : want;
		want *= 0.5 + rng_unit(&r->rng);
		want = want < 1 ? 1 : floor(want);
		next = r->now + (ms_t)ceil((want - f->owed) / rate);
		if (next - r->now > end - wall)
			next = r->now + (end - wall);
		if (next <= r->now)
			next = r->now + 1;
		f->owed += rate * (double)(next - r->now);
	}
	if (next < r->s->duration)
		post(r, next, EVENT_TRAFFIC, number, 0);
}

void traffic_start(struct rehearsal *r)
{
	/* all begin at once, each with a part of its first message behind it: not in step */
	for (unsigned i = 0; i < r->nfeeds; i++) {
		r->feeds[i].owed = rng_unit(&r->rng);
		post(r, 0, EVENT_TRAFFIC, i, 0);
	}
}
