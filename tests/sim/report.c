/* The ledger as JSON. */
#include <stdio.h>

#include "report.h"

void report_gauge(struct buf *b, const struct gauge *g)
{
	put_fmt(b, "{\"kind\":\"%s\",\"source\":", gauge_names[g->kind]);
	put_json(b, g->source[0] ? g->source : NULL);
	put_fmt(b, ",\"%s\":", g->kind == G_FOREST ? "forest" : "cluster");
	put_json(b, g->cluster);
	put_fmt(b,
		",\"now\":%u,\"peak\":%u,\"opened\":%llu,\"mails\":%llu,\"messages\":%llu,"
		"\"recipients\":%llu,"
		"\"refused\":%llu,\"echoes\":%llu,\"wrong_region\":%llu,\"bytes\":%llu,\"flights\":"
		"%llu,"
		"\"tls\":%llu,\"tls_resumed\":%llu,\"messages_per_connection_max\":%u}",
		g->now, g->peak, (unsigned long long)g->opened, (unsigned long long)g->mails,
		(unsigned long long)g->messages, (unsigned long long)g->recipients,
		(unsigned long long)g->refused, (unsigned long long)g->echoes,
		(unsigned long long)g->wrong_region, (unsigned long long)g->bytes,
		(unsigned long long)g->flights, (unsigned long long)g->tls,
		(unsigned long long)g->resumed, g->messages_max);
}

void report_gauges(struct buf *b, const struct ledger *l, int kind)
{
	PUT_LIT(b, "{\"peaks\":[");
	for (size_t i = 0, n = 0; i < l->ngauges; i++) {
		if (kind >= 0 && l->gauges[i]->kind != (enum gauge_kind)kind)
			continue;
		if (n++)
			PUT_LIT(b, ",");
		report_gauge(b, l->gauges[i]);
	}
	PUT_LIT(b, "]}\n");
}

static void put_refusals(struct buf *b, const struct ledger *l)
{
	PUT_LIT(b, "[");
	for (size_t i = 0; i < l->nrefusals; i++) {
		put_str(b, i ? ",{\"by\":" : "{\"by\":");
		put_json(b, l->refusals[i].by);
		put_fmt(b, ",\"phase\":\"%s\",\"count\":%llu}", phase_names[l->refusals[i].phase],
			(unsigned long long)l->refusals[i].count);
	}
	PUT_LIT(b, "]");
}

static void put_violation_counts(struct buf *b, const struct ledger *l)
{
	PUT_LIT(b, "{");
	for (size_t i = 0; i < l->nviolations; i++) {
		if (i)
			PUT_LIT(b, ",");
		put_json(b, l->violations[i].kind);
		put_fmt(b, ":%llu", (unsigned long long)l->violations[i].count);
	}
	PUT_LIT(b, "}");
}

static void put_dns(struct buf *b, const struct ledger *l)
{
	char text[12];

	put_fmt(b, "{\"queries\":%llu,\"dropped\":%llu,\"types\":{",
		(unsigned long long)l->dns_queries, (unsigned long long)l->dns_dropped);
	for (uint16_t i = 0, n = 0; i < 64; i++) {
		if (l->dns_by_type[i])
			put_fmt(b, "%s\"%s\":%llu", n++ ? "," : "", dns_type_name(i, text),
				(unsigned long long)l->dns_by_type[i]);
	}
	PUT_LIT(b, "}}");
}

void report_violations(struct buf *b, const struct ledger *l)
{
	put_fmt(b, "{\"total\":%llu,\"kinds\":", (unsigned long long)l->violation_total);
	put_violation_counts(b, l);
	PUT_LIT(b, ",\"samples\":[");
	for (size_t i = 0; i < l->nsamples; i++) {
		if (i)
			PUT_LIT(b, ",");
		put_str(b, l->samples[i]);
	}
	PUT_LIT(b, "]}\n");
}

void report_rules(struct buf *b, const struct scenario *sc)
{
	PUT_LIT(b, "{\"rules\":[");
	for (const struct rule *r = sc->rules; r; r = r->next) {
		put_str(b, r == sc->rules ? "{\"name\":" : ",{\"name\":");
		put_json(b, r->name);
		put_fmt(b, ",\"phase\":\"%s\",\"enabled\":%s,\"seen\":%llu,\"hits\":%llu}",
			phase_names[r->phase], r->enabled ? "true" : "false",
			(unsigned long long)r->seen, (unsigned long long)r->hits);
	}
	PUT_LIT(b, "],\"limits\":[");
	for (size_t i = 0; i < sc->nlimits; i++) {
		put_str(b, i ? ",{\"name\":" : "{\"name\":");
		put_json(b, sc->limits[i].name);
		put_fmt(b, ",\"hits\":%llu}", (unsigned long long)sc->limits[i].hits);
	}
	PUT_LIT(b, "],\"dns\":[");
	for (size_t i = 0; i < sc->ndns; i++) {
		put_str(b, i ? ",{\"name\":" : "{\"name\":");
		put_json(b, sc->dns[i].name);
		put_fmt(b, ",\"seen\":%llu,\"hits\":%llu}", (unsigned long long)sc->dns[i].seen,
			(unsigned long long)sc->dns[i].hits);
	}
	PUT_LIT(b, "]}\n");
}

void summary_json(struct sim *s, struct buf *b)
{
	const struct ledger *l = &s->ledger;
	const struct gauge *t = NULL;

	for (size_t i = 0; i < l->ngauges && !t; i++)
		t = l->gauges[i]->kind == G_TOTAL ? l->gauges[i] : NULL;
	put_fmt(b,
		"{\"time\":%.3f,\"messages\":%llu,\"recipients\":%llu,\"unique_messages\":%zu,"
		"\"unique_deliveries\":%zu,\"duplicates\":%llu,\"anonymous\":%llu,\"bytes\":%llu,",
		(double)sim_time(&s->loops[0]) / 1e6, (unsigned long long)l->accepted,
		(unsigned long long)l->recipients, l->messages.n, l->deliveries.n,
		(unsigned long long)l->duplicates, (unsigned long long)l->anonymous,
		(unsigned long long)l->bytes);
	put_fmt(b,
		"\"refused\":%llu,\"echoes\":%llu,\"violations\":%llu,\"half_messages\":%llu,"
		"\"connections\":{\"opened\":%llu,\"closed\":%llu,\"open\":%llu,\"peak\":%u,"
		"\"tls\":%llu,"
		"\"tls_resumed\":%llu,\"messages_max\":%u,\"flights\":%llu},",
		(unsigned long long)l->refused, (unsigned long long)l->echoes,
		(unsigned long long)l->violation_total, (unsigned long long)l->half_messages,
		(unsigned long long)l->connections, (unsigned long long)l->closed,
		(unsigned long long)(t ? t->now : 0), t ? t->peak : 0,
		(unsigned long long)(t ? t->tls : 0), (unsigned long long)(t ? t->resumed : 0),
		t ? t->messages_max : 0, (unsigned long long)(t ? t->flights : 0));
	put_fmt(b, "\"mails\":%llu,\"wrong_region\":%llu,\"refusals\":",
		(unsigned long long)(t ? t->mails : 0),
		(unsigned long long)(t ? t->wrong_region : 0));
	put_refusals(b, l);
	PUT_LIT(b, ",\"violation_kinds\":");
	put_violation_counts(b, l);
	PUT_LIT(b, ",\"dns\":");
	put_dns(b, l);
	put_fmt(b, ",\"events\":%zu,\"events_lost\":%llu}\n", l->nevents,
		(unsigned long long)l->events_lost);
}
