/* SPF (RFC 7208) as a receiver would evaluate it: is this address allowed to send for that domain?
 * Pure: names are asked for by a function of the caller's. For a tool that tells operators; mail is
 * not judged by it. */
#pragma once

#include "postern/addr.h"
#include "postern/buf.h"

/* X(ID, name) */
#define SPF_RESULTS(X)                                                                             \
	X(NONE, "none")                                                                            \
	X(NEUTRAL, "neutral")                                                                      \
	X(PASS, "pass")                                                                            \
	X(FAIL, "fail")                                                                            \
	X(SOFTFAIL, "softfail")                                                                    \
	X(TEMPERROR, "temperror")                                                                  \
	X(PERMERROR, "permerror")
enum spf_result {
#define X(id, name) SPF_##id,
	SPF_RESULTS(X)
#undef X
};
const char *spf_result_name(enum spf_result r);

enum spf_type { SPF_TXT, SPF_A, SPF_AAAA, SPF_MX, SPF_PTR };
#define SPF_RECORDS_MAX 16
/* Records as texts: an address, a name, strings put together, "10 mx.example". */
struct spf_records {
	struct buf text[SPF_RECORDS_MAX];
	unsigned n;
};
/* 0 (n may be 0), -ENOENT: there is no such name, others: no answer. What is in ret is freed by who
 * asked. */
typedef int spf_look(void *arg, enum spf_type type, const char *name, struct spf_records *ret);

#define SPF_LOOK_UPS 10 /* terms that ask, at most (section 4.6.4) */
#define SPF_VOIDS    2	/* of their look-ups without an answer */

struct spf_question {
	struct addr ip;
	const char *local, *domain; /* of the sender */
	const char *helo;
	spf_look *look;
	void *arg;
	/* Nothing matches, and no limit ends it but one of ours: for the number of look-ups that the
	 * whole record takes. */
	bool all;
};
struct spf_outcome {
	enum spf_result result;
	unsigned look_ups, voids;
	char what[300]; /* the term that decided, or what is wrong; text of others */
};
void spf_check(const struct spf_question *q, struct spf_outcome *ret);
