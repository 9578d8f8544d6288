/* Ways to ask: channels of c-ares, each with a source port of its own, that serve a bounded number
 * of questions. The resolver's loop. */
#pragma once

#include "dns_query.h"

struct dns_ports;

typedef void dns_port_done(
	struct dns_query *q, int ares_status, const unsigned char *answer, int n);

/* done is called for each question that was asked, maybe inside dns_port_ask; tick some times a
 * second while any is under way. */
struct dns_ports_ops {
	dns_port_done *done;
	void (*tick)(void *arg);
	void *arg;
};
int dns_ports_new(struct dns_ports **ret, struct loop *l, const struct dns_params *p,
	const struct dns_ports_ops *ops, char *error, size_t error_max);
/* Ends all questions inside the call; none may be asked any more. */
void dns_ports_end(struct dns_ports *s);
/* After that; the memory goes when the handles are closed. */
void dns_ports_close(struct dns_ports *s);
void dns_port_ask(struct dns_ports *s, struct dns_query *q, enum dns_patience patience);
/* The next questions go by another port. */
void dns_port_renew(struct dns_ports *s, enum dns_patience patience);
/* A second try has more to offer than the first. */
bool dns_ports_patient(const struct dns_ports *s);
const char *dns_ports_servers(const struct dns_ports *s); /* for people */
bool dns_ports_one_server(const struct dns_ports *s);
