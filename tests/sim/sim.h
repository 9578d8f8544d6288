/* The simulator: its threads, its sockets, its clock. One lock guards scenario, ledger and random
 * numbers; with one thread it is never contended, and input and encryption stay outside it. */
#pragma once

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "../peers/dns.h"
#include "ledger.h"
#include "postern/rng.h"
#include "scenario.h"

/* The SMTP connections of one loop. */
struct conn;
struct conns {
	struct conn *open, *idle, *dead; /* idle: free for reuse; dead: closed in this round */
	size_t nidle;
	uint64_t advance_seen;
	char *rbuf, *pbuf; /* received bytes; decrypted bytes */
};

struct listener {
	struct io io;
	uint32_t ip;
	enum listen_mode mode;
	int fillers[4]; /* connections that keep a blackhole's backlog full */
	struct listener *next;
};

struct sim_options {
	const char *scenario, *dns, *control, *store, *ca_file;
	int port, threads;
	bool detail, hash, quiet;
	size_t detail_max, expect;
	uint64_t seed;
	bool seed_given;
};

struct control;

struct sim {
	struct sim_options opt;
	pthread_mutex_t lock;
	struct scenario *sc;
	struct ledger ledger;
	struct rng rng;
	uint64_t t0;
	_Atomic uint64_t advance_us, advances;
	struct loop *loops;
	int nloops, next_loop;
	int smtp_port;
	struct listener *listeners, *dead_listeners;
	struct dns_service *dns;
	struct control *control;
	SSL_CTX *ctx[CERT_KINDS];
	BIO_METHOD *bio;
	unsigned char spki_sha256[32]; /* of the trusted certificate, for TLSA */
	_Atomic bool quit;
	uint64_t sessions, stored;
	char date[64], stamp[40]; /* wall time as text, for banners and tails; by the second */
	int64_t date_at;
};

#define READ_MAX (256 * 1024)

static inline void sim_lock(struct sim *s)
{
	if (s->nloops > 1)
		pthread_mutex_lock(&s->lock);
}

static inline void sim_unlock(struct sim *s)
{
	if (s->nloops > 1)
		pthread_mutex_unlock(&s->lock);
}

/* Scenario time in microseconds: since the start, plus what `advance` added. */
static inline uint64_t sim_time(const struct loop *lp)
{
	return lp->now - lp->sim->t0 + lp->sim->advance_us;
}

/* listen.c */
int sim_listen(struct sim *s, struct buf *errors); /* follows s->sc; keeps what is open already */
void sim_unlisten(struct sim *s);
int sim_replace(struct sim *s, const char *text, struct buf *errors);
/* Gives clusters and so on of the scenario their places in the ledger. */
void sim_bind_names(struct sim *s, struct scenario *sc);

/* tls.c */
int tls_init(struct sim *s);
void tls_deinit(struct sim *s);

/* dns_answer.c: what a name server of the scenario's says to a question; a dns_answerer whose arg
 * is the simulator. */
bool sim_dns_answer(void *arg, const struct dns_query *query, struct buf *out, uint64_t *delay_us);

/* control.c */
int control_start(struct sim *s, const char *address, char **text);
void control_stop(struct sim *s);
void control_tick(struct sim *s); /* after each round of the first loop: waiting commands */
bool control_waiting(const struct sim *s);
void summary_json(struct sim *s, struct buf *b);
