/* Who has what: tenants, MX hosts, front ends, and what scripted incidents make of it. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postern/text.h"
#include "sim.h"

#define ALIAS "alias-of."

static void put_a(struct answer *a, const char *owner, uint32_t ip, uint32_t ttl)
{
	uint8_t rdata[4] = { (uint8_t)(ip >> 24), (uint8_t)(ip >> 16), (uint8_t)(ip >> 8),
		(uint8_t)ip };

	dns_put_rr(a, owner, TYPE_A, ttl, rdata, 4);
}

static void put_aaaa(struct answer *a, const char *owner, const char *text, uint32_t ttl)
{
	uint8_t rdata[16];

	if (inet_pton(AF_INET6, text, rdata) == 1)
		dns_put_rr(a, owner, TYPE_AAAA, ttl, rdata, 16);
}

/* A few of the domain's addresses at the cluster, others each time, as Microsoft's do within
 * seconds. */
static void put_addresses(struct sim *s, struct answer *a, const struct tenant *t,
	const struct cluster *c, const char *domain, const char *owner, uint16_t type)
{
	uint32_t ttl = t->ttl ? t->ttl : c->ttl, answers = t->answers ? t->answers : c->answers;
	size_t start, k = tenant_hosts(t, c, domain, &start), turn;

	a->ttl = ttl;
	if (type == TYPE_AAAA) {
		for (size_t i = 0; i < t->aaaa.n; i++)
			put_aaaa(a, owner, t->aaaa.v[i], ttl);
		if (t->dns == DNS_ONLY_AAAA && !t->aaaa.n)
			put_aaaa(a, owner, "::1", ttl);
		return;
	}
	if (type != TYPE_A || !k || t->dns == DNS_ONLY_AAAA || t->dns == DNS_NO_ADDRESS)
		return;
	turn = rng_below(&s->rng, k);
	for (size_t i = 0; i < answers && i < k; i++)
		put_a(a, owner, c->hosts[(start + (turn + i) % k) % c->nhosts].ip, ttl);
}

static void mx_text(const struct mx_name *mx, const char *domain, char out[2 * NAME_MAX_TEXT])
{
	char middle[NAME_MAX_TEXT] = "";

	if (mx->kind != MX_FIXED)
		strncat(middle, domain, sizeof(middle) - 1);
	for (char *p = middle; mx->kind == MX_DASH && *p; p++) {
		if (*p == '.')
			*p = '-';
	}
	snprintf(out, 2 * NAME_MAX_TEXT, "%s%s%s", mx->prefix, middle, mx->suffix);
}

static void answer_domain(struct sim *s, const struct question *q, struct answer *a,
	const struct tenant *t, uint32_t index, const char *domain, const char *owner)
{
	const struct cluster *c = tenant_cluster(t, index);
	char name[2 * NAME_MAX_TEXT];

	a->ttl = t->mx_ttl ? t->mx_ttl : c ? c->mx_ttl : 300;
	if (t->dns == DNS_NO_MX && c && (q->type == TYPE_A || q->type == TYPE_AAAA)) {
		put_addresses(s, a, t, c, domain, owner, q->type);
	} else if (q->type == TYPE_MX && t->dns == DNS_NULL_MX) {
		dns_put_host(a, owner, TYPE_MX, a->ttl, 0, "");
	} else if (q->type == TYPE_MX && t->dns != DNS_NO_MX && t->dns != DNS_EMPTY) {
		for (size_t i = 0; i < t->nmx; i++) {
			mx_text(&t->mx[i], domain, name);
			dns_put_host(a, owner, TYPE_MX, a->ttl, t->mx[i].preference, name);
		}
	} else if (q->type == TYPE_TXT) {
		static const char spf[] = "?v=spf1 include:spf.protection.outlook.com -all";
		char rdata[sizeof(spf)];

		memcpy(rdata, spf, sizeof(spf));
		rdata[0] = (char)(sizeof(spf) - 2); /* a character string begins with its length */
		dns_put_rr(a, owner, TYPE_TXT, a->ttl, rdata, sizeof(spf) - 1);
	}
}

/* The tenant's own name, or what its name is an alias of. */
static bool answer_tenant(struct sim *s, const struct question *q, struct answer *a,
	enum dns_mode *mode, uint64_t *delay)
{
	char domain[NAME_MAX_TEXT];
	const char *name = q->name;
	struct tenant *t;
	uint32_t index;

	if (strncmp(name, ALIAS, strlen(ALIAS)) == 0)
		name += strlen(ALIAS);
	t = scenario_tenant(s->sc, name, strlen(name), &index);
	if (!t || (name != q->name && t->dns != DNS_CNAME))
		return false;
	if (*delay < t->dns_delay_us)
		*delay = t->dns_delay_us;
	if (*mode == DNS_OK)
		*mode = t->dns;
	snprintf(domain, sizeof(domain), "%s", name);
	if (t->dns == DNS_CNAME && name == q->name) {
		char alias[NAME_MAX_TEXT + sizeof(ALIAS)];

		snprintf(alias, sizeof(alias), ALIAS "%s", name);
		dns_put_host(a, NULL, TYPE_CNAME, 60, -1, alias);
		if (q->type != TYPE_CNAME)
			answer_domain(s, q, a, t, index, domain, alias);
	} else {
		answer_domain(s, q, a, t, index, domain, NULL);
	}
	return true;
}

/* Is q an MX host of this tenant? Which domain's, then. */
static bool mx_host_of(const struct tenant *t, const struct mx_name *mx, const char *q, size_t n,
	uint32_t *index, char domain[NAME_MAX_TEXT])
{
	size_t np = strlen(mx->prefix), ns = strlen(mx->suffix), fixed;

	if (n < np + ns || memcmp(q, mx->prefix, np) != 0 ||
		memcmp(q + n - ns, mx->suffix, ns) != 0)
		return false;
	if (mx->kind == MX_FIXED) {
		*index = 0;
		snprintf(domain, NAME_MAX_TEXT, "%s", t->domain.prefix);
		return n == np;
	}
	q += np;
	n -= np + ns;
	if (!pattern_match(&t->domain, q, n, mx->kind == MX_DASH, index))
		return false;
	fixed = strlen(t->domain.prefix);
	pattern_domain(&t->domain, *index, q + fixed, n - fixed - strlen(t->domain.suffix), domain);
	return true;
}

static void answer_mx_host(struct sim *s, const struct question *q, struct answer *a,
	const struct tenant *t, const struct mx_name *mx, uint32_t index, const char *domain)
{
	const struct cluster *c = mx->cluster ? mx->cluster : tenant_cluster(t, index);
	char alias[NAME_MAX_TEXT + sizeof(ALIAS)];

	if (t->dns == DNS_MX_NXDOMAIN || !c) {
		a->rcode = RC_NXDOMAIN;
	} else if (t->dns == DNS_MX_SERVFAIL) {
		a->rcode = RC_SERVFAIL;
	} else if (t->dns == DNS_MX_CNAME && q->type != TYPE_CNAME) {
		snprintf(alias, sizeof(alias), ALIAS "%s", q->name);
		dns_put_host(a, NULL, TYPE_CNAME, 60, -1, alias);
		put_addresses(s, a, t, c, domain, alias, q->type);
	} else {
		put_addresses(s, a, t, c, domain, NULL, q->type);
	}
}

static bool answer_host(struct sim *s, const struct question *q, struct answer *a)
{
	char domain[NAME_MAX_TEXT];
	uint32_t index;

	for (size_t i = 0; i < s->sc->ntenants; i++) {
		const struct tenant *t = &s->sc->tenants[i];

		for (size_t j = 0; j < t->nmx; j++) {
			if (!mx_host_of(t, &t->mx[j], q->name, q->n, &index, domain))
				continue;
			answer_mx_host(s, q, a, t, &t->mx[j], index, domain);
			return true;
		}
	}
	return false;
}

/* Where TLSA can be asked for: hosts under mx.microsoft. Old zones fail it, as they did. */
static bool answer_tlsa(struct sim *s, const struct question *q, struct answer *a)
{
	struct question host = *q;
	struct answer none = { 0 };
	uint8_t rdata[35] = { 3, 1, 1 };
	bool known;

	if (strncmp(q->name, "_25._tcp.", 9) != 0)
		return false;
	host.n -= 9;
	memmove(host.name, host.name + 9, host.n + 1);
	host.type = TYPE_A;
	buf_init(&none.b, 0);
	known = answer_host(s, &host, &none);
	buf_deinit(&none.b);
	if (!known)
		return false;
	if (!strstr(host.name, ".mx.microsoft")) {
		a->rcode = strstr(host.name, ".outlook.com") ? RC_SERVFAIL : RC_NXDOMAIN;
	} else if (q->type == TYPE_TLSA && s->sc->tlsa) {
		memcpy(rdata + 3, s->spki_sha256, 32);
		dns_put_rr(a, NULL, TYPE_TLSA, 300, rdata, sizeof(rdata));
	}
	return true;
}

static bool answer_ptr(struct sim *s, const struct question *q, struct answer *a)
{
	unsigned b[4];
	const struct host *h;
	char name[256];
	int at = 0;

	if (sscanf(q->name, "%3u.%3u.%3u.%3u.in-addr.arpa%n", &b[3], &b[2], &b[1], &b[0], &at) !=
			4 ||
		!at || q->name[at])
		return false;
	h = scenario_host(
		s->sc, b[0] << 24 | (b[1] & 255) << 16 | (b[2] & 255) << 8 | (b[3] & 255));
	if (!h || q->type != TYPE_PTR)
		return h != NULL;
	if (h->cluster->form == FORM_OLD)
		snprintf(name, sizeof(name), "mail-%s%s%05u.inbound.protection.outlook.com",
			h->cluster->site, h->cluster->name, h->ip & 255);
	else if (h->cluster->form == FORM_NEW)
		snprintf(name, sizeof(name), "mail-%s%scu%03u%02u.inbound.protection.outlook.com",
			h->cluster->site,
			strlen(h->cluster->forest) > 4
				? h->cluster->forest + strlen(h->cluster->forest) - 4
				: "pr01",
			h->ip >> 8 & 255, h->ip & 255);
	else
		snprintf(name, sizeof(name), "%s.example.net", h->name);
	for (size_t i = 0; name[i]; i++)
		name[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] | 32 : name[i]);
	dns_put_host(a, NULL, TYPE_PTR, 300, -1, name);
	return true;
}

static void put_record(struct answer *a, const struct record *r)
{
	uint8_t rdata[512];
	size_t n = 0;
	char *end;

	switch (r->type) {
	case TYPE_A: {
		uint32_t ip;

		if (ip_parse(&ip, r->data) == 0)
			put_a(a, NULL, ip, r->ttl);
		break;
	}
	case TYPE_AAAA:
		put_aaaa(a, NULL, r->data, r->ttl);
		break;
	case TYPE_MX: {
		long pref = strtol(r->data, &end, 10);

		end += strspn(end, " ");
		dns_put_host(a, NULL, TYPE_MX, r->ttl, (int)(pref & 0xffff),
			strcmp(end, ".") ? end : "");
		break;
	}
	case TYPE_TXT:
		for (const char *p = r->data; *p && n + 1 < sizeof(rdata);) {
			size_t k = strlen(p) > 255 ? 255 : strlen(p);

			if (n + 1 + k > sizeof(rdata))
				break;
			rdata[n++] = (uint8_t)k;
			memcpy(rdata + n, p, k);
			n += k;
			p += k;
		}
		dns_put_rr(a, NULL, TYPE_TXT, r->ttl, rdata, n);
		break;
	case TYPE_TLSA: {
		unsigned u, s, m, byte;
		int at = 0;

		if (sscanf(r->data, "%3u %3u %3u %n", &u, &s, &m, &at) != 3 || !at)
			break;
		rdata[n++] = (uint8_t)u;
		rdata[n++] = (uint8_t)s;
		rdata[n++] = (uint8_t)m;
		for (const char *p = r->data + at;
			sscanf(p, "%2x", &byte) == 1 && p[1] && n < sizeof(rdata); p += 2)
			rdata[n++] = (uint8_t)byte;
		dns_put_rr(a, NULL, TYPE_TLSA, r->ttl, rdata, n);
		break;
	}
	default:
		dns_put_host(a, NULL, r->type, r->ttl, -1, r->data);
		break;
	}
}

static bool answer_record(struct sim *s, const struct question *q, struct answer *a)
{
	bool found = false;

	for (size_t i = 0; i < s->sc->nrecords; i++) {
		const struct record *r = &s->sc->records[i];

		if (strcmp(r->name, q->name) != 0)
			continue;
		found = true;
		if (r->type == q->type || r->type == TYPE_CNAME)
			put_record(a, r);
	}
	return found;
}

static struct dns_rule *incident(struct sim *s, const struct question *q)
{
	uint64_t now = sim_time(&s->loops[0]);
	char text[12];

	for (size_t i = 0; i < s->sc->ndns; i++) {
		struct dns_rule *d = &s->sc->dns[i];

		if (now < d->from_us || now >= d->until_us || !strings_match(&d->names, q->name) ||
			!strings_match(&d->types, dns_type_name(q->type, text)))
			continue;
		d->seen++;
		if (d->seen % d->every != 0 || (d->limit && d->hits >= d->limit))
			continue;
		if (d->share < 1 && rng_unit(&s->rng) >= d->share)
			continue;
		d->hits++;
		return d;
	}
	return NULL;
}

static void put_garbage(struct sim *s, const struct question *q, struct buf *out)
{
	uint8_t junk[64];

	for (size_t i = 0; i < sizeof(junk); i++)
		junk[i] = (uint8_t)rng_next(&s->rng);
	junk[0] = (uint8_t)(q->id >> 8); /* the right id, or nobody would look at it */
	junk[1] = (uint8_t)q->id;
	junk[2] |= 0x80;
	put(out, junk, sizeof(junk));
}

static int rcode_of(enum dns_mode m, int normal)
{
	if (m == DNS_NXDOMAIN)
		return RC_NXDOMAIN;
	if (m == DNS_SERVFAIL)
		return RC_SERVFAIL;
	if (m == DNS_REFUSED)
		return RC_REFUSED;
	return m == DNS_FORMERR ? RC_FORMERR : normal;
}

/* Under the lock. */
static bool answer(struct sim *s, const struct dns_query *query, struct buf *out, uint64_t *delay)
{
	const struct question *q = &query->question;
	struct dns_rule *d = incident(s, q);
	struct dns_form form = { .edns = s->sc->edns, .ad = s->sc->dnssec, .soa = true };
	struct answer a = { .ttl = 60 };
	enum dns_mode mode = d ? d->action : DNS_OK;
	bool send = true;

	s->ledger.dns_queries++;
	s->ledger.dns_by_type[q->type < 64 ? q->type : 0]++;
	*delay = d ? d->delay_us : 0;
	buf_init(&a.b, 0);
	if (q->edns && !s->sc->edns)
		a.rcode = RC_FORMERR; /* as the old zones answered it */
	else if (!answer_record(s, q, &a) && !answer_ptr(s, q, &a) && !answer_tlsa(s, q, &a) &&
		 !answer_tenant(s, q, &a, &mode, delay) && !answer_host(s, q, &a))
		a.rcode = RC_NXDOMAIN;
	a.rcode = rcode_of(mode, a.rcode);
	if (a.rcode != RC_OK || mode == DNS_EMPTY) {
		buf_reset(&a.b);
		a.count = 0;
	}
	if (mode == DNS_DROP) {
		s->ledger.dns_dropped++;
		send = false;
	} else if (mode == DNS_GARBAGE) {
		put_garbage(s, q, out);
	} else {
		form.truncate = !query->tcp && mode == DNS_TRUNCATED;
		dns_message(&form, q, query->wire, &a, query->tcp ? 65535 : q->udp_size, out);
	}
	buf_deinit(&a.b);
	return send;
}

bool sim_dns_answer(void *arg, const struct dns_query *query, struct buf *out, uint64_t *delay_us)
{
	struct sim *s = arg;
	bool send;

	sim_lock(s);
	send = answer(s, query, out, delay_us);
	sim_unlock(s);
	return send;
}
