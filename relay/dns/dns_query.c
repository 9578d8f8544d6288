/* One question from its start to its answer: the budget says when it is asked and how patiently
 * (dns_budget.c), a channel of c-ares asks it (dns_port.c), and what came is told to who asked. On
 * the resolver's loop.
 *
 * A question waits → runs (quick try) → is answered; or without answer waits again in the slow
 * lane → runs (patiently) → is answered or has failed. */
#include "dns_query.h"

#include <ares.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "dns_budget.h"
#include "dns_port.h"
#include "postern/must.h"
#include "postern/rng.h"

#define RUNNING_MAX 500u

struct dns_channel {
	struct loop *loop;
	struct dns_ports *ports;
	struct dns_budget budget;
	bool starting, closing;
	struct dns_channel_stats stats;
	struct dns_answer answer; /* scratch: too large for the stack at each level */
};

static const char *type_name(enum dns_type t)
{
	switch (t) {
	case DNS_TYPE_A:
		return "A";
	case DNS_TYPE_CNAME:
		return "CNAME";
	case DNS_TYPE_PTR:
		return "PTR";
	case DNS_TYPE_MX:
		return "MX";
	case DNS_TYPE_AAAA:
		return "AAAA";
	}
	return "?";
}

static const char *failure_name(const struct dns_channel *c, int status)
{
	switch (status) {
	case ARES_ESERVFAIL:
		return "SERVFAIL";
	case ARES_EREFUSED:
		return "REFUSED";
	case ARES_EFORMERR:
		return "FORMERR";
	case ARES_ENOTIMP:
		return "NOTIMP";
	case ARES_ETIMEOUT:
		return "no answer in time";
	case ARES_ECONNREFUSED:
		return dns_ports_one_server(c->ports) ? "name server not reachable"
						      : "SERVFAIL, REFUSED or nothing";
	case ARES_EDESTRUCTION:
	case ARES_ECANCELLED:
		return "shutting down";
	default:
		return ares_strerror(status);
	}
}

static void finish(struct dns_query *q, enum dns_status status, const char *what)
{
	struct dns_channel *c = q->channel;
	char detail[160];

	if (status != DNS_TEMPORARY && status != DNS_BAD) {
		q->done(q, status, &c->answer, NULL);
		return;
	}
	c->stats.failures++;
	snprintf(detail, sizeof(detail), "%s from %.40s for %s %.60s", what,
		dns_ports_servers(c->ports), type_name(q->type), q->name);
	q->done(q, status, NULL, detail);
}

static void start_more(struct dns_channel *c);

static void take_answer(struct dns_query *q, const unsigned char *p, int n)
{
	struct dns_channel *c = q->channel;

	if (n > 0 && dns_wire_parse(&c->answer, p, (size_t)n, q->type) == 0)
		finish(q, DNS_OK, NULL);
	else
		finish(q, DNS_BAD, "malformed answer");
}

/* When a name server closes a connection by TCP, c-ares drops what else was asked by the same port.
 * That is asked once more, by another one. */
static bool ask_again(struct dns_query *q, int status)
{
	struct dns_channel *c = q->channel;
	enum dns_patience patience = budget_patience(&c->budget, q);

	if (status != ARES_ECONNREFUSED || q->again || c->closing)
		return false;
	q->again = true;
	dns_port_renew(c->ports, patience);
	dns_port_ask(c->ports, q, patience);
	return true;
}

static void on_done(struct dns_query *q, int status, const unsigned char *p, int n)
{
	struct dns_channel *c = q->channel;
	bool silent = status == ARES_ETIMEOUT;

	if (ask_again(q, status))
		return;

	q->silent = budget_ended(
		&c->budget, q, silent || status == ARES_ECONNREFUSED, loop_mono(c->loop));
	if (silent && !c->closing && dns_ports_patient(c->ports) && budget_slower(&c->budget, q)) {
		start_more(c);
		return;
	}
	switch (status) {
	case ARES_SUCCESS:
		take_answer(q, p, n);
		break;
	case ARES_ENODATA:
		c->answer.nmx = c->answer.naddrs = c->answer.skipped = 0;
		c->answer.ptr[0] = '\0';
		finish(q, DNS_OK, NULL);
		break;
	case ARES_ENOTFOUND:
		finish(q, DNS_NXDOMAIN, NULL);
		break;
	default:
		c->stats.timeouts += silent;
		finish(q, DNS_TEMPORARY, failure_name(c, status));
		break;
	}
	start_more(c);
}

/* Answers may come inside dns_port_ask, and their owners ask on: the flag keeps that from nesting.
 */
static void start_more(struct dns_channel *c)
{
	struct dns_query *q;

	if (c->starting || c->closing)
		return;
	c->starting = true;
	while ((q = budget_next(&c->budget, loop_mono(c->loop)))) {
		if (q->lane == DNS_GIVEN_UP) {
			q->silent = true;
			finish(q, DNS_TEMPORARY, "no answer to other names of its zone");
			continue;
		}
		c->stats.queries++;
		dns_port_ask(c->ports, q, budget_patience(&c->budget, q));
	}
	c->starting = false;
}

void dns_query_start(struct dns_channel *c, struct dns_query *q, const char *name,
	enum dns_type type, bool known, dns_query_done *done)
{
	*q = (struct dns_query){ .channel = c, .name = name, .type = type, .done = done };
	if (c->closing) {
		finish(q, DNS_TEMPORARY, "shutting down");
		return;
	}
	budget_add(&c->budget, q, known, loop_mono(c->loop));
	start_more(c);
}

/* Places that are given away by and by. */
static void on_tick(void *arg)
{
	start_more(arg);
}

int dns_channel_new(struct dns_channel **ret, struct loop *l, const struct dns_params *p,
	char *error, size_t error_max)
{
	struct dns_channel *c = calloc(1, sizeof(*c));
	const struct dns_ports_ops ops = { .done = on_done, .tick = on_tick, .arg = c };
	int r = -ENOMEM;

	if (!c) {
		snprintf(error, error_max, "name resolution: out of memory");
		return r;
	}
	c->loop = l;
	r = budget_init(&c->budget, p->running_max ? p->running_max : RUNNING_MAX, rng_entropy());
	if (r) {
		snprintf(error, error_max, "name resolution: out of memory");
		goto fail;
	}
	r = dns_ports_new(&c->ports, l, p, &ops, error, error_max);
	if (r) {
		budget_deinit(&c->budget);
		goto fail;
	}
	*ret = c;
	return 0;
fail:
	free(c);
	return r;
}

void dns_channel_close(struct dns_channel *c)
{
	struct dns_query *q;

	if (!c)
		return;
	c->closing = true;
	dns_ports_end(c->ports);
	while ((q = budget_drain(&c->budget)))
		finish(q, DNS_TEMPORARY, failure_name(c, ARES_EDESTRUCTION));
	dns_ports_close(c->ports);
	budget_deinit(&c->budget);
	free(c);
}

const struct dns_channel_stats *dns_channel_stats(struct dns_channel *c)
{
	c->stats.running = c->budget.running;
	c->stats.waiting = c->budget.waiting;
	return &c->stats;
}

struct dns_budget *dns_channel_budget(struct dns_channel *c)
{
	return &c->budget;
}
