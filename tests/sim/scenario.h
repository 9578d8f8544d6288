/* What is simulated, as read from a scenario file: clusters of front ends, tenants, scripted rules,
 * limits and DNS incidents. Immutable after loading but for the counters in rules and limits, which
 * belong to whoever holds the simulator's lock. */
#pragma once

#include "../peers/util.h"
#include "pattern.h"
#include "postern/addr.h"

enum form { FORM_NEW, FORM_OLD, FORM_PLAIN };
enum feature {
	F_PIPELINING = 1 << 0,
	F_SIZE = 1 << 1,
	F_DSN = 1 << 2,
	F_ENHANCEDSTATUSCODES = 1 << 3,
	F_STARTTLS = 1 << 4,
	F_8BITMIME = 1 << 5,
	F_BINARYMIME = 1 << 6,
	F_CHUNKING = 1 << 7,
	F_SMTPUTF8 = 1 << 8,
	F_AUTH = 1 << 9,
};
enum tls_mode { TLS_WORKS, TLS_REFUSED, TLS_GARBAGE, TLS_STALL };
enum certificate { CERT_TRUSTED, CERT_SELF, CERT_EXPIRED, CERT_WRONG_NAME, CERT_KINDS };
enum listen_mode { LISTEN_YES, LISTEN_NO, LISTEN_BLACKHOLE };

enum phase {
	PH_CONNECT,
	PH_EHLO,
	PH_STARTTLS,
	PH_TLS, /* after the 220 to STARTTLS, instead of a handshake */
	PH_AUTH,
	PH_MAIL,
	PH_RCPT,
	PH_DATA, /* DATA, or the first BDAT */
	PH_EOD,
	PH_RSET,
	PH_QUIT,
	PH_N,
};
extern const char *const phase_names[PH_N];
extern const char *const feature_names[];

enum action {
	ACT_REPLY,
	ACT_CLOSE, /* reply, then close */
	ACT_RAW,
	ACT_GARBAGE,
	ACT_DROP,
	ACT_RESET,
	ACT_STALL,
	ACT_SLOW,
	ACT_DELAY,
	ACT_ACCEPT_DROP,
	ACT_ACCEPT_STALL,
	ACT_N,
};

struct host {
	uint32_t ip;
	struct cluster *cluster;
	char name[64]; /* banner name, without the domain */
};

struct gauge;

struct cluster {
	char *name, *forest, *site;
	enum form form;
	bool consumer, region_check, close_on_421;
	bool multi_tenant; /* recipients of several domains in one transaction */
	bool tails;
	unsigned features;
	enum tls_mode tls;
	enum certificate certificate;
	enum listen_mode listen;
	uint64_t size, latency_us, session_us, idle_us;
	uint64_t bandwidth; /* bytes a second that a connection takes; 0: any */
	uint32_t messages_per_connection, recipients;
	uint32_t cap_cluster, cap_source, cap_subnet, cap_forest; /* connections; 0: none */
	char *cap_reply, *source_cap_reply;
	uint32_t answers, addresses_per_tenant, ttl, mx_ttl;
	char *auth; /* "user:password" */
	struct host *hosts;
	size_t nhosts;
	int id; /* in the ledger; stays the same over scenarios */
	struct gauge *gauge, *forest_gauge;
};

enum dns_mode {
	DNS_OK,
	DNS_NXDOMAIN,
	DNS_SERVFAIL,
	DNS_REFUSED,
	DNS_DROP,
	DNS_GARBAGE,
	DNS_TRUNCATED, /* over UDP */
	DNS_NULL_MX,
	DNS_NO_MX,	 /* implicit MX: addresses at the domain itself */
	DNS_EMPTY,	 /* the domain is there, with nothing in it */
	DNS_ONLY_AAAA,	 /* MX hosts have IPv6 addresses only */
	DNS_NO_ADDRESS,	 /* MX hosts have none at all */
	DNS_MX_NXDOMAIN, /* MX hosts do not exist */
	DNS_MX_SERVFAIL, /* look-up of MX hosts fails */
	DNS_CNAME,	 /* the domain is an alias */
	DNS_MX_CNAME,	 /* the MX host is an alias */
	DNS_FORMERR,
	DNS_MODE_N,
};
extern const char *const dns_mode_names[DNS_MODE_N];

struct mx_name { /* "10 {dash}.mail.protection.outlook.com @EUR01" */
	uint16_t preference;
	char *prefix, *suffix;
	enum { MX_FIXED, MX_DASH, MX_DOMAIN } kind;
	struct cluster *cluster; /* NULL: the tenant's */
};

struct tenant {
	struct pattern domain;
	char *title;
	struct cluster **clusters;
	size_t nclusters;
	struct mx_name *mx;
	size_t nmx;
	enum dns_mode dns;
	bool require_tls;
	struct strings aaaa;
	uint32_t answers, addresses, ttl, mx_ttl; /* 0: the cluster's */
	uint64_t dns_delay_us;
};

struct filter {
	struct net *sources;
	size_t nsources;
	struct strings clusters, tenants, recipients, senders;
};

struct rule {
	char *name;
	struct filter filter;
	enum phase phase;
	enum action action;
	char *reply;
	uint64_t from_us, until_us, delay_us;
	double share;
	uint64_t every, limit, after;
	bool enabled;
	uint64_t seen, hits;
	struct rule *next;
};

enum per {
	PER_ALL,
	PER_SOURCE,
	PER_SUBNET,
	PER_CLUSTER,
	PER_FOREST,
	PER_LANE,
	PER_SUBNET_CLUSTER,
	PER_TENANT,
	PER_N
};
enum limit_kind { LIMIT_CONNECTIONS, LIMIT_CONNECTS, LIMIT_MESSAGES, LIMIT_RECIPIENTS };

struct limit {
	char *name;
	struct filter filter;
	enum per per;
	enum limit_kind kind;
	enum phase phase;
	uint64_t max, window_us;
	double grow; /* allowance of the next window, when grow_at of this one was used */
	double grow_at;
	uint64_t ceiling;
	char *reply;
	uint64_t hits;
	struct map64 count, window, allowance;
};

struct dns_rule {
	char *name;
	struct strings names;
	struct strings types;
	enum dns_mode action;
	uint64_t from_us, until_us, delay_us;
	double share;
	uint64_t every, limit, seen, hits;
	bool slow; /* the right answer, delay_us late */
};

struct record { /* "name TYPE data" */
	char *name;
	uint16_t type;
	char *data;
	uint32_t ttl;
};

struct scenario {
	int refs;
	struct cluster **clusters;
	size_t nclusters;
	struct host *by_ip; /* sorted copies */
	size_t nby_ip;
	struct tenant *tenants;
	size_t ntenants;
	struct rule *rules; /* in the order of the file; freed rules go to graveyard */
	struct rule *graveyard;
	struct limit *limits;
	size_t nlimits;
	struct dns_rule *dns;
	size_t ndns;
	struct record *records;
	size_t nrecords;
	uint64_t seed;
	uint32_t violations_close; /* bad commands until 421; 0: never */
	bool tlsa, dnssec, edns;
};

/* Reads a file, or text when text is not NULL (path then only names it in errors).
 * 0, or -1 with one or more lines "file:line: message" in errors. */
int scenario_load(struct scenario **ret, const char *path, const char *text, struct buf *errors);
/* Adds the rules of a text to the end, or to the front when first. A rule of the same name is
 * replaced. */
int scenario_add_rules(struct scenario *s, const char *text, bool first, struct buf *errors);
struct rule *scenario_rule(const struct scenario *s, const char *name);
bool scenario_remove_rule(struct scenario *s, const char *name);
struct scenario *scenario_ref(struct scenario *s);
struct scenario *scenario_unref(struct scenario *s);

const struct host *scenario_host(const struct scenario *s, uint32_t ip);
/* The tenant of a domain (lower case), and which one of its pattern. */
struct tenant *scenario_tenant(
	const struct scenario *s, const char *domain, size_t n, uint32_t *index);
struct cluster *tenant_cluster(const struct tenant *t, uint32_t index);
/* Addresses that belong to the domain at that cluster: count of hosts, from a start that its name
 * gives. */
size_t tenant_hosts(
	const struct tenant *t, const struct cluster *c, const char *domain, size_t *start);
/* May mail for the domain come to that host? */
bool tenant_lives_at(
	const struct tenant *t, uint32_t index, const char *domain, const struct host *h);
