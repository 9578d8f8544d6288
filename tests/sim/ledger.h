/* What the simulated receiver saw: deliveries, refusals, connections as it counts them, violations
 * of the protocol. Guarded by the simulator's lock. */
#pragma once

#include "scenario.h"

/* One connection counter: of a lane (source × cluster), a subnet × cluster, a cluster and so on. */
enum gauge_kind { G_LANE, G_SUBNET, G_CLUSTER, G_FOREST, G_SOURCE, G_TOTAL, G_N };
extern const char *const gauge_names[G_N];

struct gauge {
	enum gauge_kind kind;
	char source[24];     /* address or subnet; empty: all */
	const char *cluster; /* or forest; NULL: all */
	uint32_t now, peak;
	uint64_t opened, mails, messages, recipients, refused, echoes, bytes, wrong_region, flights,
		tls, resumed;
	uint32_t messages_max; /* on one connection */
};

/* u64 key → 16-bit count, as small as can be: millions of messages. */
struct tally {
	uint64_t *key;
	uint16_t *count;
	size_t cap, n;
};

struct refusal {
	char *by; /* rule, limit or the built-in reason */
	enum phase phase;
	uint64_t count;
};

struct violation_kind {
	char *kind;
	uint64_t count;
};

struct event {
	enum event_kind { EV_DELIVERED = 1, EV_REFUSED = 2, EV_VIOLATION = 4, EV_CLOSED = 8 } kind;
	char *json;
};

#define SAMPLES_MAX 200
#define NAMES_MAX   4096

struct ledger {
	bool detail;
	size_t detail_max;
	struct map64 names; /* hash of a cluster or forest name → index in name[] */
	char **name;
	size_t nnames;
	struct map64 gauge_at;
	struct gauge **gauges;
	size_t ngauges;
	struct tally deliveries, messages;
	uint64_t accepted, recipients, duplicates,
		bytes;			     /* messages, recipients, second and further copies */
	uint64_t refused, echoes, anonymous; /* anonymous: messages without any id */
	struct refusal *refusals;
	size_t nrefusals;
	struct violation_kind *violations;
	size_t nviolations;
	uint64_t violation_total;
	char *samples[SAMPLES_MAX];
	size_t nsamples;
	uint64_t connections, closed, half_messages; /* dropped within a message */
	uint64_t dns_queries, dns_by_type[64], dns_dropped;
	struct event *events;
	size_t nevents, events_cap;
	uint64_t events_lost;
};

void ledger_init(struct ledger *l, bool detail, size_t detail_max, size_t expect);
void ledger_deinit(struct ledger *l);
void ledger_reset(struct ledger *l); /* forgets all but the connections that are open now */
/* A small number for a cluster's or forest's name, the same for ever. */
int ledger_name(struct ledger *l, const char *name);
struct gauge *ledger_gauge(struct ledger *l, enum gauge_kind kind, uint32_t source, int name);

struct conn;
void ledger_opened(struct ledger *l, struct conn *c);
void ledger_flights(struct conn *c);
void ledger_closed(struct ledger *l, struct conn *c);
/* One accepted message, with all its recipients. */
void ledger_accept(struct ledger *l, struct conn *c);
void ledger_refuse(struct ledger *l, struct conn *c, const char *by, enum phase ph,
	const char *reply, size_t n);
void ledger_echo(struct ledger *l, struct conn *c);
void ledger_violation(
	struct ledger *l, struct conn *c, const char *kind, const char *text, size_t n);
uint32_t tally_get(const struct tally *t, uint64_t key);
uint64_t delivery_key(const char *id, const char *rcpt);
