/* What a scenario of `postern rehearse` may say; printed by `postern rehearse --scenario-help`.
 * The table of scenario.c; no code of its own. */
#define ROWS_OF struct scenario
#include "../rows.h"
#include "postern/rehearse.h"
#include "scenario.h"

#define S   struct scenario
#define T   struct scenario_traffic
#define C   struct scenario_cluster
#define R   struct scenario_reputation
#define I   struct scenario_incident
#define ANY UINT32_MAX

#define SHARE(name, s, m, def, min, max, help)                                                     \
	{                                                                                          \
		name, OPTION_PERCENT, AT(s, m, double), 0, def, min, max, help, 0, NULL            \
	}

static const char *const shapes[] = { "even", "office", "evening", "night", "hourly", NULL };
static const char *const kinds[] = { "throttle", "busy", "ban", "tenant", "unreachable", NULL };

static const struct option root_options[] = {
	TEXT("start", S, start_text, STRING, NULL, REQUIRED,
		"When it begins: \"2026-11-02\", \"2026-11-02 08:00\" or \"2026-11-02 08:00:30\", "
		"in the "
		"time zone of the configuration. That date is day 1."),
	DURATION("duration", S, duration, "1d", SECOND, 370 * DAY, 0, "How long it lasts."),
	NUMBER("seed", S, seed, "1", 0, ANY, 0, "The same seed gives the same result."),
	NUMBER("batch", S, batch, "0", 0, 100, 0,
		"How many messages in a row, all accepted on one connection, may be played as one "
		"step. 1: none, exact and slow. 0: one for each hundred thousand messages a day, "
		"at most 20."),
};
static const struct option traffic_options[] = {
	TEXT("pool", T, pool, NAME, NULL, REQUIRED, "Pool of the configuration that it leaves by."),
	TEXT("class", T, class, NAME, NULL, 0,
		"Class of the configuration that it has. Default: none; the classes' own marks are "
		"not looked at here."),
	NUMBER("daily", T, daily, NULL, 0, 1000000000, REQUIRED,
		"Messages a day; with weekdays, in the mean of a week."),
	CHOICE("shape", T, shape, unsigned, "even", shapes, 0,
		"Over the hours of a day; \"hourly\": the same in each, all of it in the first "
		"minute, as batch jobs send."),
	LIST("hours", T, hours, nhours, NUMBERS, uint32_t *, NULL, 24, 0,
		"Instead of shape: 24 weights, from midnight on."),
	LIST("weekdays", T, weekdays, nweekdays, NUMBERS, uint32_t *, NULL, 7, 0,
		"Seven weights, from Monday on."),
	LIST("changes", T, changes, nchanges, STRINGS, char **, NULL, 100, 0,
		"Another volume from then on: {\"day 5: 4000000\", \"2026-11-20 12:00: 0\"}."),
	TEXT("from", T, from_text, STRING, NULL, 0,
		"None before: \"day 2\", \"day 2 10:00\" or a date."),
	TEXT("until", T, until_text, STRING, NULL, 0, "None from then on."),
	LIST("clusters", T, clusters, nclusters, STRINGS, char **, NULL, 200, 0,
		"Only to these clusters. Default: to all, by their shares."),
	LIST("sizes", T, sizes, nsizes, STRINGS, char **, "60KiB", SCENARIO_SIZES_MAX, 0,
		"How large messages are: {\"40KiB\", \"20%: 150KiB\", \"2%: 3MiB\"}. The one "
		"without "
		"a share is the rest."),
};
static const struct option cluster_options[] = {
	TEXT("provider", C, provider, NAME, "microsoft365", 0, "Provider that it belongs to."),
	NUMBER("share", C, share, "1", 0, 1000000, 0,
		"Share of the mail, against that of the others."),
	NUMBER("tenants", C, tenants, "500", 1, 20000, 0, "Recipient domains."),
	NUMBER("hosts", C, hosts, "4", 1, 16, 0, "Addresses that they resolve to."),
	DURATION("connect_time", C, connect_time, "300ms", 1, HOUR, 0,
		"From the beginning of a connection to its first message."),
	DURATION("message_time", C, message_time, "400ms", 1, HOUR, 0,
		"One message on a connection, however small."),
	SIZE("bandwidth", C, bandwidth, "10MiB", KIB, 100 * GIB, 0,
		"Bytes a second on a connection: a large message takes so much longer."),
	NUMBER("connections", C, connections, "0", 0, 100000, 0,
		"Connections that it takes at the same time. 0: any number."),
	NUMBER("connections_per_source", C, connections_per_source, "0", 0, 100000, 0,
		"The same, from one address."),
	NUMBER("connections_per_subnet", C, connections_per_subnet, "0", 0, 100000, 0,
		"The same, from one subnet."),
	SHARE("noise", C, noise, "0.2%", 0, 900,
		"Share of messages that it defers for reasons of its own, at random."),
	SHARE("invalid", C, invalid, "0.5%", 0, 900, "Share of recipients that do not exist."),
};
static const struct option reputation_options[] = {
	NUMBER("first", R, first, "1000", 1, 100000000, 0,
		"Messages that it takes in a day from an address that it does not know."),
	{ "growth", OPTION_SHARE, AT(R, growth, double), 0, "1.6", 1000, 100000,
		"On the next day so many times what it took, if refusals stayed under tolerance.",
		0, NULL },
	NUMBER("trusted", R, trusted, "100000", 0, 1000000000, 0,
		"From this daily volume on it sets no limit. 0: always one."),
	SHARE("hourly", R, hourly, "20%", 1, 1000,
		"Part of the day's that it takes within an hour."),
	SHARE("tolerance", R, tolerance, "5%", 0, 1000,
		"Share of refused messages above which what it takes does not grow."),
	NUMBER("idle_days", R, idle_days, "30", 0, 1000, 0,
		"Days without mail after which it takes half. 0: never."),
};
static const struct option history_options[] = {
	NUMBER("daily", struct scenario_history, daily, NULL, 0, 1000000000, REQUIRED,
		"Messages a day that the providers are used to from it."),
};
static const struct option incident_options[] = {
	CHOICE("kind", I, kind, unsigned, "throttle", kinds, 0,
		"What happens: throttle (4xx for the source's sake), busy (4xx, its own trouble), "
		"ban (5xx for the source's sake), tenant (4xx of some domains), unreachable."),
	TEXT("source", I, source, NAME, NULL, 0, "Only mail from this source."),
	{ "subnet", OPTION_NET, AT(I, subnet, struct net), 0, NULL, 0, 0,
		"Only mail from sources of this network.", 0, NULL },
	TEXT("cluster", I, cluster, STRING, NULL, 0, "Only at this cluster."),
	TEXT("provider", I, provider, NAME, NULL, 0, "Only at this provider."),
	NUMBER("tenants", I, tenants, "1", 1, 200, 0, "With kind = \"tenant\": how many domains."),
	TEXT("from", I, from_text, STRING, NULL, REQUIRED,
		"Beginning: \"day 1 10:00\", \"2026-11-02 10:00\"."),
	TEXT("until", I, until_text, STRING, NULL, REQUIRED, "End."),
	SHARE("share", I, share, "100%", 1, 1000, "Share of messages that it hits."),
	TEXT("reply", I, reply, STRING, NULL, 0,
		"What is said, such as \"451 4.7.500 Server busy\"; the relay's rules read it."),
};

const struct section scenario_sections[SCENARIO_SECTIONS] = {
	[SCENARIO_ROOT] = SINGLE("", "Options outside all sections.", root_options),
	[SCENARIO_TRAFFIC] = TITLED(
		"traffic", "Mail that comes in.", traffic_options, T, traffic, ntraffic, name),
	[SCENARIO_CLUSTER] = TITLED("cluster",
		"Receiving hosts that share limits; the title is its name, such as EUR01.",
		cluster_options, C, clusters, nclusters, name),
	[SCENARIO_REPUTATION] = TITLED("reputation",
		"How much the provider of this name takes from a source, by what it is used to. "
		"Without it: everything.",
		reputation_options, R, reputations, nreputations, name),
	[SCENARIO_HISTORY] = TITLED("history", "What the source of this name has sent so far.",
		history_options, struct scenario_history, histories, nhistories, name),
	[SCENARIO_INCIDENT] = TITLED("incident", "Something that goes wrong for a while.",
		incident_options, I, incidents, nincidents, name),
};
const struct schema scenario_schema = { scenario_sections, SCENARIO_SECTIONS,
	"`postern rehearse --scenario-help`" };
