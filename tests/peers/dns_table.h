/* The tests' name server, in a thread of its own, that answers from a table by UDP and TCP on
 * 127.0.0.1. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define ROW_RECORDS 24

struct dns_record {
	unsigned type, ttl, preference;
	const char *data;  /* address or name; "." is the root */
	const char *owner; /* NULL: the name asked for */
};

enum dns_manner {
	ANSWER,
	DROP,	    /* no answer at all */
	TRUNCATE,   /* by UDP only the TC bit */
	GARBAGE,    /* a good header and rubbish behind it */
	WRONG_NAME, /* the answer to another question */
};

struct dns_row {
	const char *name;
	unsigned type;
	unsigned rcode;
	enum dns_manner manner;
	struct dns_record records[ROW_RECORDS];
	unsigned by_udp, by_tcp; /* how often it was asked */
};

/* Names in no row do not exist (NXDOMAIN); those in a row have no data of other types. */
struct dns_server {
	struct dns_row *rows;
	unsigned nrows;
	unsigned asked;		    /* questions in all */
	unsigned nports, port_most; /* source ports seen by UDP; questions from the busiest */
	unsigned short by_port[65536];
	char address[32];     /* "127.0.0.1:4321"; empty: not started */
	pthread_mutex_t lock; /* of the rows and counts */
	struct serving *serving;
};
void dns_server_start(struct dns_server *s, struct dns_row *rows, unsigned nrows);
void dns_server_stop(struct dns_server *s);
struct dns_row *dns_server_row(struct dns_server *s, const char *name, unsigned type);
