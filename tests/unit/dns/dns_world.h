/* A resolver and the name server that it asks, with a zone that has one domain for each thing that
 * can happen. */
#pragma once

#include "../../peers/dns_table.h"
#include "../net/fixture.h"
#include "postern/dns.h"

enum { A = 1, CNAME = 5, PTR = 12, MX = 15, TXT = 16, AAAA = 28 };
#define SERVFAIL    2
#define REFUSED	    5
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

#define ZONE_ROWS 35

struct world {
	struct runner r;
	struct dns_server server;
	struct dns_row rows[ZONE_ROWS];
	struct dns_params params;
	struct dns *dns;
};

struct ask {
	struct world *w;
	const char *domain;
	struct dns_route *route;
	unsigned answers;
	bool inside; /* answered in the call */
};

struct dns_params world_params(void);			/* quick time-outs */
void world_serve(struct world *w, struct dns_params p); /* the name server alone */
void world_begin(struct world *w, struct dns_params p);
void world_end(struct world *w);
void world_new(void *arg);
void world_free(void *arg);
void ask_now(void *arg);
void ask_unref(void *arg);
void ask_forget(void *arg);
struct dns_stats world_stats(struct world *w);
unsigned world_asked(struct world *w);
unsigned world_asked_for(struct world *w, const char *name, unsigned type, bool tcp);
void set_record(struct world *w, const char *name, unsigned type, unsigned i, const char *data);
void describe(const struct dns_route *r, struct buf *out);
bool world_resolve(struct world *w, const char *domain, struct buf *out, char detail[128]);
