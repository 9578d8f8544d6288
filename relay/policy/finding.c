/* The figures behind a diagnosis, as they were when it was made: whoever is found guilty has its
 * evidence cleared, so that they are gone afterwards. Called by events.c when something begins to
 * rest, and by why.c when somebody asks; on the dispatcher's thread.
 *
 * A ring: the oldest finding makes room. Something that rests for so long that its finding is gone
 * is shown with the figures of now. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contrast.h"
#include "evidence.h"
#include "finding.h"
#include "health.h"
#include "host.h"
#include "learn.h"
#include "params.h"
#include "policy_impl.h"
#include "postern/hash.h"
#include "table.h"
#include "why.h"

#define FINDINGS      256u
#define CLUSTERS_SEEN 256u /* of the provider, for "at other clusters" */

struct finding {
	uint64_t what; /* hash of cause, cluster and unit; 0: free */
	ms_t at;       /* wall */
	double score;
	unsigned nrows;
	struct policy_why_row rows[POLICY_WHY_ROWS];
};
struct findings {
	unsigned next;
	struct finding ring[FINDINGS];
};

/* With its end: "ab", "c" is not "a", "bc". */
static uint64_t hash(uint64_t h, const char *text)
{
	return hash_bytes(h, text, strlen(text) + 1);
}

/* By names: numbers of sources and subnets change with a reload. */
static uint64_t what_of(const struct policy *p, enum cause cause, const struct cluster *c,
	unsigned source, unsigned subnet, const char *domain)
{
	uint64_t h = HASH_START + (uint64_t)cause;
	char net[ADDR_TEXT_MAX + 4] = "";

	if (domain)
		return hash(h, domain) | 1;
	if (subnet != ~0u)
		path_subnet_text(p, subnet, net);
	h = hash(h, c ? c->key.name : "");
	h = hash(h, c ? p->params->providers[c->provider].name : "");
	h = hash(h, cause == CAUSE_SOURCE && source != ~0u ? p->params->sources[source].name : "");
	return hash(h, cause == CAUSE_CLUSTER ? "" : net) | 1;
}

/* ---- rows ---- */

void why_row(
	struct why_rows *r, const struct tally *v, const struct tally *all, const char *fmt, ...)
{
	struct policy_why_row *row;
	va_list ap;

	if (r->n == POLICY_WHY_ROWS || v->good + v->bad < 0.05)
		return;
	row = &r->rows[r->n++];
	va_start(ap, fmt);
	vsnprintf(row->what, sizeof(row->what), fmt, ap);
	va_end(ap);
	row->accepted = v->good;
	row->refused = v->bad;
	row->ratio = all ? contrast(v, all) : 0;
}

static void subnet_elsewhere(const struct policy *p, struct policy_now now, const struct cluster *c,
	unsigned subnet, struct why_rows *r)
{
	struct tally sum = { 0 };
	char net[ADDR_TEXT_MAX + 4];
	unsigned seen = 0;

	for (const struct cluster *k = p->providers[c->provider].clusters;
		k && seen < CLUSTERS_SEEN; k = k->next, seen++) {
		struct tally t;

		if (k == c || !k->paths[subnet])
			continue;
		t = tally_of(&k->paths[subnet]->evidence, now.mono);
		sum.good += t.good;
		sum.bad += t.bad;
	}
	path_subnet_text(p, subnet, net);
	why_row(r, &sum, NULL, "subnet %s at other clusters", net);
}

/* Hosts of the cluster that differ: not more than two, the worst. */
static void worst_hosts(const struct policy *p, struct policy_now now, const struct cluster *c,
	const struct tally *all, struct why_rows *r)
{
	const struct host *worst = NULL;
	struct tally best = { 0 };
	double most = 0;
	struct host *h, *next;
	unsigned seen = 0;
	char text[ADDR_TEXT_MAX];

	HASH_ITER (hh, p->hosts, h, next) {
		struct tally t;
		double ratio;

		if (++seen > CLUSTERS_SEEN * 16)
			break;
		if (host_place(h) != c)
			continue;
		t = host_tally(h, now.mono);
		ratio = contrast(&t, all);
		if (ratio <= most)
			continue;
		most = ratio;
		worst = h;
		best = t;
	}
	if (!worst)
		return;
	addr_format(text, &worst->key.addr);
	why_row(r, &best, all, "host %s, of its hosts the most refused", text);
}

void why_at_cluster(const struct policy *p, struct policy_now now, const struct cluster *c,
	unsigned source, unsigned subnet, struct why_rows *r)
{
	struct tally all = tally_of(&c->evidence, now.mono), t;
	char net[ADDR_TEXT_MAX + 4];

	if (source != ~0u && c->lanes[source]) {
		t = tally_of(&c->lanes[source]->evidence, now.mono);
		why_row(r, &t, &all, "source %.40s at %s", p->params->sources[source].name,
			c->key.name);
	}
	if (subnet != ~0u && c->paths[subnet]) {
		t = tally_of(&c->paths[subnet]->evidence, now.mono);
		path_subnet_text(p, subnet, net);
		why_row(r, &t, &all, "subnet %s at %s", net, c->key.name);
	}
	for (unsigned i = 0; i < p->params->nsources && r->n + 3 < POLICY_WHY_ROWS; i++) {
		const struct lane *l = c->lanes[i];

		if (!l || i == source || source == ~0u || p->sources[i].subnet != subnet)
			continue;
		t = tally_of(&l->evidence, now.mono);
		why_row(r, &t, &all, "source %.40s of the same subnet", p->params->sources[i].name);
	}
	for (unsigned i = 0; i < p->nsubnets && r->n + 3 < POLICY_WHY_ROWS; i++) {
		if (!c->paths[i] || i == subnet)
			continue;
		t = tally_of(&c->paths[i]->evidence, now.mono);
		path_subnet_text(p, i, net);
		why_row(r, &t, &all, "subnet %s at %s", net, c->key.name);
	}
	why_row(r, &all, NULL, "all mail at %s", c->key.name);
	if (subnet != ~0u)
		subnet_elsewhere(p, now, c, subnet, r);
	worst_hosts(p, now, c, &all, r);
}

void why_of_tenant(const struct policy *p, struct policy_now now, const struct cluster *c,
	const struct evidence *e, const char *domain, struct why_rows *r)
{
	struct tally its = tally_of(e, now.mono);
	struct tally all = c ? tally_of(&c->evidence, now.mono) : (struct tally){ 0 };

	why_row(r, &its, c ? &all : NULL, "mail for %.80s", domain);
	if (!c)
		return;
	all.good = all.good > its.good ? all.good - its.good : 0;
	all.bad = all.bad > its.bad ? all.bad - its.bad : 0;
	why_row(r, &all, NULL, "mail for others at %s", c->key.name);
}

/* ---- the ring ---- */

void finding_note(struct policy *p, struct policy_now now, const struct cluster *c, unsigned source,
	unsigned subnet, enum cause cause, const struct evidence *e, const char *domain)
{
	struct why_rows r = { 0 };
	struct finding *f;

	if (!p->findings)
		p->findings = calloc(1, sizeof(*p->findings));
	if (!p->findings || (!c && !domain))
		return;
	if (domain)
		why_of_tenant(p, now, c, e, domain, &r);
	else
		why_at_cluster(p, now, c, source, subnet, &r);
	f = &p->findings->ring[p->findings->next++ % FINDINGS];
	f->what = what_of(p, cause, c, source, subnet, domain);
	f->at = now.wall;
	f->score = evidence_score(e, now.mono);
	f->nrows = r.n;
	memcpy(f->rows, r.rows, sizeof(f->rows));
}

/* The newest. */
bool finding_tell(const struct policy *p, const struct cluster *c, unsigned source, unsigned subnet,
	enum cause cause, const char *domain, struct policy_why *w)
{
	uint64_t what = what_of(p, cause, c, source, subnet, domain);

	for (unsigned i = 1; p->findings && i <= FINDINGS; i++) {
		const struct finding *f = &p->findings->ring[(p->findings->next - i) % FINDINGS];

		if (!f->what)
			return false;
		if (f->what != what)
			continue;
		w->found = f->at;
		w->score = f->score;
		w->nrows = f->nrows;
		memcpy(w->rows, f->rows, sizeof(w->rows));
		return true;
	}
	return false;
}

void findings_free(struct policy *p)
{
	free(p->findings);
	p->findings = NULL;
}
