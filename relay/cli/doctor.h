/* Inside postern doctor: what is found, and who looks where. Main thread of a tool. */
#pragma once

#include "cli.h"

/* In the order of their weight. */
enum finding_level { FINDING_GOOD, FINDING_WARNING, FINDING_UNKNOWN, FINDING_WRONG };

struct doctor {
	const struct config *config;
	const struct dns_params *dns;
	bool json;
	enum finding_level worst;
	const char *source; /* only this; NULL: all */
	const char *to;	    /* domain whose MX is connected to; NULL: none */
};
struct finding {
	enum finding_level level;
	const char *check; /* one word, the same for the same question: "ptr" */
	const char *about; /* source, domain, file */
	const char *why;   /* what it means for mail at Microsoft; NULL where all is well */
	const char *advice;
};
/* Prints it; the format says what was found. */
void doctor_tell(struct doctor *d, const struct finding *f, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void doctor_good(struct doctor *d, const char *check, const char *about, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

bool doctor_wants(const struct doctor *d, const struct source_params *s);
void doctor_sources(struct doctor *d); /* names, address on this machine, block lists */
void doctor_domain(
	struct doctor *d, const char *domain); /* SPF, DKIM, DMARC of a sender's domain */
void doctor_reach(struct doctor *d);	       /* an MX from each source */
void doctor_machine(struct doctor *d); /* resolver, clock, descriptors, disk, certificates */
