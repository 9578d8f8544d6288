/* What the simulator has seen: messages, recipients and connections, by source and cluster; what
 * its control socket and its report tell. */
#include "ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"

const char *const gauge_names[G_N] = { "lane", "subnet", "cluster", "forest", "source", "total" };

static void tally_grow(struct tally *t, size_t cap)
{
	struct tally old = *t;

	t->cap = cap;
	t->key = xcalloc(cap, sizeof(*t->key));
	t->count = xcalloc(cap, sizeof(*t->count));
	for (size_t i = 0; i < old.cap; i++) {
		size_t j;

		if (!old.key[i])
			continue;
		for (j = old.key[i] & (cap - 1); t->key[j];)
			j = (j + 1) & (cap - 1);
		t->key[j] = old.key[i];
		t->count[j] = old.count[i];
	}
	free(old.key);
	free(old.count);
}

static size_t tally_find(const struct tally *t, uint64_t key)
{
	size_t i;

	for (i = key & (t->cap - 1); t->key[i] && t->key[i] != key;)
		i = (i + 1) & (t->cap - 1);
	return i;
}

/* Adds one; the new count. Keys are hashes already; 0 stands for an empty slot. */
static uint16_t tally_add(struct tally *t, uint64_t key)
{
	size_t i;

	key += !key;
	if (t->n * 4 >= t->cap * 3)
		tally_grow(t, t->cap ? t->cap * 2 : 1024);
	i = tally_find(t, key);
	if (!t->key[i]) {
		t->key[i] = key;
		t->n++;
	}
	if (t->count[i] < UINT16_MAX)
		t->count[i]++;
	return t->count[i];
}

uint32_t tally_get(const struct tally *t, uint64_t key)
{
	key += !key;
	return t->cap ? t->count[tally_find(t, key)] : 0;
}

static void tally_clear(struct tally *t)
{
	free(t->key);
	free(t->count);
	*t = (struct tally){ 0 };
}

uint64_t delivery_key(const char *id, const char *rcpt)
{
	return hash_bytes(rcpt, strlen(rcpt), hash_str(id));
}

void ledger_init(struct ledger *l, bool detail, size_t detail_max, size_t expect)
{
	size_t cap = 1024;

	*l = (struct ledger){ .detail = detail, .detail_max = detail_max };
	while (expect && cap * 3 / 4 < expect)
		cap *= 2;
	if (expect) {
		tally_grow(&l->deliveries, cap);
		tally_grow(&l->messages, cap);
	}
}

static void forget(struct ledger *l)
{
	tally_clear(&l->deliveries);
	tally_clear(&l->messages);
	for (size_t i = 0; i < l->nrefusals; i++)
		free(l->refusals[i].by);
	for (size_t i = 0; i < l->nviolations; i++)
		free(l->violations[i].kind);
	for (size_t i = 0; i < l->nsamples; i++)
		free(l->samples[i]);
	for (size_t i = 0; i < l->nevents; i++)
		free(l->events[i].json);
	free(l->refusals);
	free(l->violations);
	free(l->events);
}

void ledger_reset(struct ledger *l)
{
	struct ledger kept = { .detail = l->detail,
		.detail_max = l->detail_max,
		.names = l->names,
		.name = l->name,
		.nnames = l->nnames,
		.gauge_at = l->gauge_at,
		.gauges = l->gauges,
		.ngauges = l->ngauges };

	forget(l);
	*l = kept;
	for (size_t i = 0; i < l->ngauges; i++) {
		struct gauge *g = l->gauges[i];
		uint32_t now = g->now;

		memset(&g->now, 0, sizeof(*g) - offsetof(struct gauge, now));
		g->now = g->peak = now;
	}
}

void ledger_deinit(struct ledger *l)
{
	forget(l);
	for (size_t i = 0; i < l->ngauges; i++)
		free(l->gauges[i]);
	for (size_t i = 0; i < l->nnames; i++)
		free(l->name[i]);
	free(l->gauges);
	free(l->name);
	map64_clear(&l->names);
	map64_clear(&l->gauge_at);
}

int ledger_name(struct ledger *l, const char *name)
{
	uint64_t *at = map64_at(&l->names, hash_str(name));

	if (!*at) {
		l->name = xrealloc(l->name, (l->nnames + 1) * sizeof(*l->name));
		l->name[l->nnames++] = xstrdup(name);
		*at = l->nnames;
	}
	return (int)*at - 1;
}

struct gauge *ledger_gauge(struct ledger *l, enum gauge_kind kind, uint32_t source, int name)
{
	uint64_t key = hash_mix((uint64_t)kind << 60 ^ (uint64_t)(name + 1) << 32 ^ source), *at;
	char ip[IP_TEXT];
	struct gauge *g;

	at = map64_at(&l->gauge_at, key);
	if (*at)
		return l->gauges[*at - 1];
	g = xcalloc(1, sizeof(*g));
	g->kind = kind;
	g->cluster = name >= 0 ? l->name[name] : NULL;
	if (source)
		snprintf(g->source, sizeof(g->source), kind == G_SUBNET ? "%s/24" : "%s",
			ip_text(ip, source));
	l->gauges = xrealloc(l->gauges, (l->ngauges + 1) * sizeof(struct gauge *));
	l->gauges[l->ngauges++] = g;
	*at = l->ngauges;
	return g;
}

void ledger_opened(struct ledger *l, struct conn *c)
{
	int cluster = c->cluster->id, forest = ledger_name(l, c->cluster->forest);

	c->session = ++c->loop->sim->sessions;
	l->connections++;
	c->gauges[G_LANE] = ledger_gauge(l, G_LANE, c->peer_ip, cluster);
	c->gauges[G_SUBNET] = ledger_gauge(l, G_SUBNET, c->peer_ip & ~255U, cluster);
	c->gauges[G_CLUSTER] = ledger_gauge(l, G_CLUSTER, 0, cluster);
	c->gauges[G_FOREST] = ledger_gauge(l, G_FOREST, 0, forest);
	c->gauges[G_SOURCE] = ledger_gauge(l, G_SOURCE, c->peer_ip, -1);
	c->gauges[G_TOTAL] = ledger_gauge(l, G_TOTAL, 0, -1);
	for (int i = 0; i < G_N; i++) {
		struct gauge *g = c->gauges[i];

		g->opened++;
		if (++g->now > g->peak)
			g->peak = g->now;
	}
}

/* An event's line, begun with what all have in common. */
static bool event_begin(struct ledger *l, struct conn *c, enum event_kind kind, struct buf *b)
{
	static const char *const names[] = { [EV_DELIVERED] = "delivered",
		[EV_REFUSED] = "refused",
		[EV_VIOLATION] = "violation",
		[EV_CLOSED] = "closed" };
	char ip[IP_TEXT];

	if (!l->detail)
		return false;
	if (l->nevents >= l->detail_max) {
		l->events_lost++;
		return false;
	}
	buf_init(b, 0);
	put_fmt(b,
		"{\"n\":%zu,\"kind\":\"%s\",\"time\":%.6f,\"session\":%llu,\"source\":\"%s\","
		"\"port\":%u,",
		l->nevents, names[kind], (double)sim_time(c->loop) / 1e6,
		(unsigned long long)c->session, ip_text(ip, c->peer_ip), c->peer_port);
	put_fmt(b, "\"host\":\"%s\",\"front_end\":\"%s%s\",\"cluster\":", ip_text(ip, c->host->ip),
		c->host->name, host_domain(c));
	put_json(b, c->cluster->name);
	PUT_LIT(b, ",\"forest\":");
	put_json(b, c->cluster->forest);
	PUT_LIT(b, ",\"tenant\":");
	put_json(b, c->domain[0] ? c->domain : NULL);
	PUT_LIT(b, ",\"tls\":");
	put_json(b, c->ssl ? SSL_get_version(c->ssl) : NULL);
	PUT_LIT(b, ",\"ehlo\":");
	put_json(b, c->ehlo[0] ? c->ehlo : NULL);
	PUT_LIT(b, ",\"from\":");
	put_json(b, c->mail || c->from[0] ? c->from : NULL);
	return true;
}

static void event_end(struct ledger *l, enum event_kind kind, struct buf *b)
{
	PUT_LIT(b, "}\n");
	put(b, "", 1);
	if (l->nevents == l->events_cap) {
		l->events_cap = l->events_cap ? l->events_cap * 2 : 256;
		l->events = xrealloc(l->events, l->events_cap * sizeof(*l->events));
	}
	l->events[l->nevents++] = (struct event){ .kind = kind, .json = b->p };
}

/* Flights that came since the last call: the transport counts them outside the lock. */
void ledger_flights(struct conn *c)
{
	for (int i = 0; i < G_N && c->flights != c->flights_told; i++)
		c->gauges[i]->flights += c->flights - c->flights_told;
	c->flights_told = c->flights;
}

void ledger_closed(struct ledger *l, struct conn *c)
{
	struct buf b;

	ledger_flights(c);
	l->closed++;
	for (int i = 0; i < G_N; i++) {
		struct gauge *g = c->gauges[i];

		g->now--;
	}
	if (event_begin(l, c, EV_CLOSED, &b)) {
		put_fmt(&b, ",\"messages\":%u,\"flights\":%u,\"life\":%.6f", c->messages,
			c->flights, (double)(sim_time(c->loop) - c->opened_sim) / 1e6);
		event_end(l, EV_CLOSED, &b);
	}
}

static void store_body(struct sim *s, struct conn *c, char *name, size_t size)
{
	struct slice body = buf_slice(&c->body);
	FILE *f;

	snprintf(name, size, "%s/%08llu.eml", s->opt.store, (unsigned long long)++s->stored);
	f = fopen(name, "we");
	if (!f || fwrite(body.p, 1, body.n, f) != body.n || fclose(f))
		die("cannot write %s", name);
}

static void event_delivered(struct ledger *l, struct conn *c, const struct rcpt *r, const char *id,
	unsigned count, const char *file)
{
	struct buf b;

	if (!event_begin(l, c, EV_DELIVERED, &b))
		return;
	PUT_LIT(&b, ",\"id\":");
	put_json(&b, *id ? id : NULL);
	PUT_LIT(&b, ",\"message_id\":");
	put_json(&b, c->message_id[0] ? c->message_id : NULL);
	PUT_LIT(&b, ",\"to\":");
	put_json(&b, c->rcpt_text.p + r->at);
	PUT_LIT(&b, ",\"mail_params\":");
	put_json(&b, c->mail_params);
	PUT_LIT(&b, ",\"rcpt_params\":");
	put_json(&b, c->rcpt_text.p + r->params);
	put_fmt(&b, ",\"size\":%llu,\"bdat\":%s,\"recipients\":%u,\"count\":%u,\"sha256\":",
		(unsigned long long)c->size, c->chunking ? "true" : "false", c->nrcpts, count);
	put_json(&b, c->sha256[0] ? c->sha256 : NULL);
	PUT_LIT(&b, ",\"file\":");
	put_json(&b, file);
	event_end(l, EV_DELIVERED, &b);
}

void ledger_accept(struct ledger *l, struct conn *c)
{
	struct sim *s = c->loop->sim;
	const char *id = c->test_id[0] ? c->test_id : c->message_id;
	char file[4096];

	if (s->opt.store)
		store_body(s, c, file, sizeof(file));
	l->accepted++;
	l->recipients += c->nrcpts;
	l->bytes += c->size;
	if (*id)
		tally_add(&l->messages, hash_str(id));
	else
		l->anonymous++;
	for (int i = 0; i < G_N; i++) {
		c->gauges[i]->messages++;
		c->gauges[i]->recipients += c->nrcpts;
		c->gauges[i]->bytes += c->size;
		if (c->messages > c->gauges[i]->messages_max)
			c->gauges[i]->messages_max = c->messages;
	}
	for (uint32_t i = 0; i < c->nrcpts; i++) {
		unsigned count = 1;

		if (*id) {
			count = tally_add(
				&l->deliveries, delivery_key(id, c->rcpt_text.p + c->rcpts[i].at));
			if (count > 1)
				l->duplicates++;
		}
		event_delivered(l, c, &c->rcpts[i], id, count, s->opt.store ? file : NULL);
	}
}

static struct refusal *refusal_of(struct ledger *l, const char *by, enum phase ph)
{
	for (size_t i = 0; i < l->nrefusals; i++) {
		if (l->refusals[i].phase == ph && strcmp(l->refusals[i].by, by) == 0)
			return &l->refusals[i];
	}
	if (l->nrefusals == NAMES_MAX) /* rules come and go: all others count together */
		return &l->refusals[NAMES_MAX - 1];
	l->refusals = xrealloc(l->refusals, (l->nrefusals + 1) * sizeof(*l->refusals));
	l->refusals[l->nrefusals] = (struct refusal){ .by = xstrdup(by), .phase = ph };
	return &l->refusals[l->nrefusals++];
}

void ledger_refuse(
	struct ledger *l, struct conn *c, const char *by, enum phase ph, const char *text, size_t n)
{
	struct buf b;
	char line[512];

	refusal_of(l, by, ph)->count++;
	l->refused++;
	for (int i = 0; i < G_N; i++)
		c->gauges[i]->refused++;
	if (!event_begin(l, c, EV_REFUSED, &b))
		return;
	PUT_LIT(&b, ",\"by\":");
	put_json(&b, by);
	put_fmt(&b, ",\"phase\":\"%s\",\"id\":", phase_names[ph]);
	put_json(&b, c->test_id[0] ? c->test_id : c->message_id[0] ? c->message_id : NULL);
	while (n && (text[n - 1] == '\n' || text[n - 1] == '\r'))
		n--;
	snprintf(line, sizeof(line), "%.*s", (int)n, text);
	PUT_LIT(&b, ",\"reply\":");
	put_json(&b, line);
	event_end(l, EV_REFUSED, &b);
}

void ledger_echo(struct ledger *l, struct conn *c)
{
	l->echoes++;
	for (int i = 0; i < G_N; i++)
		c->gauges[i]->echoes++;
}

static void violation_count(struct ledger *l, const char *kind)
{
	l->violation_total++;
	for (size_t i = 0; i < l->nviolations; i++) {
		if (strcmp(l->violations[i].kind, kind) == 0) {
			l->violations[i].count++;
			return;
		}
	}
	l->violations = xrealloc(l->violations, (l->nviolations + 1) * sizeof(*l->violations));
	l->violations[l->nviolations++] =
		(struct violation_kind){ .kind = xstrdup(kind), .count = 1 };
}

static void put_violation(struct buf *b, struct conn *c, const char *kind, const char *text)
{
	PUT_LIT(b, "\"violation\":");
	put_json(b, kind);
	PUT_LIT(b, ",\"text\":");
	put_json(b, text);
}

void ledger_violation(
	struct ledger *l, struct conn *c, const char *kind, const char *text, size_t n)
{
	char line[200], ip[IP_TEXT];
	struct buf b;

	violation_count(l, kind);
	snprintf(line, sizeof(line), "%.*s", n < sizeof(line) ? (int)n : (int)sizeof(line) - 1,
		text);
	if (l->nsamples < SAMPLES_MAX) {
		buf_init(&b, 0);
		PUT_LIT(&b, "{");
		put_violation(&b, c, kind, line);
		put_fmt(&b,
			",\"source\":\"%s\",\"session\":%llu,\"cluster\":", ip_text(ip, c->peer_ip),
			(unsigned long long)c->session);
		put_json(&b, c->cluster->name);
		PUT_LIT(&b, "}");
		put(&b, "", 1);
		l->samples[l->nsamples++] = b.p;
	}
	if (event_begin(l, c, EV_VIOLATION, &b)) {
		PUT_LIT(&b, ",");
		put_violation(&b, c, kind, line);
		event_end(l, EV_VIOLATION, &b);
	}
}
