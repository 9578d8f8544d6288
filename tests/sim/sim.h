/* The simulator: its threads, its sockets, its clock. One lock guards scenario, ledger and random
 * numbers; with one thread it is never contended, and input and encryption stay outside it. */
#pragma once

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "ledger.h"
#include "postern/rng.h"
#include "scenario.h"

struct loop;
struct io { /* what epoll hands back; embedded first */
	int fd;
	bool listener; /* served after everything else of a batch */
	void (*fn)(struct loop *lp, struct io *io, uint32_t events);
};

struct timer { /* embedded; at == SIZE_MAX: not set */
	uint64_t due;
	size_t at;
	void (*fn)(struct loop *lp, struct timer *t);
};

struct conn;
struct loop {
	struct sim *sim;
	int epfd, index;
	pthread_t thread;
	uint64_t now; /* monotonic, microseconds; of this round */
	struct timer **heap;
	size_t nheap, heap_cap;
	struct conn *conns, *idle, *dead; /* open; free for reuse; closed in this round */
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

struct dns_server;
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
	struct dns_server *dns;
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

/* loop.c */
void loop_init(struct loop *lp, struct sim *s, int index);
void loop_deinit(struct loop *lp);
void loop_run(struct loop *lp); /* until sim->quit */
void io_add(struct loop *lp, struct io *io, uint32_t events);
void io_mod(struct loop *lp, struct io *io, uint32_t events);
void timer_set(struct loop *lp, struct timer *t, uint64_t due);
void timer_stop(struct loop *lp, struct timer *t);

/* listen.c */
int sim_listen(struct sim *s, struct buf *errors); /* follows s->sc; keeps what is open already */
void sim_unlisten(struct sim *s);
int sim_replace(struct sim *s, const char *text, struct buf *errors);
/* Gives clusters and so on of the scenario their places in the ledger. */
void sim_bind_names(struct sim *s, struct scenario *sc);
/* A socket bound to "127.0.0.1:0", or a Unix socket's path. fd or -errno; *text (caller frees): as
 * bound. */
int socket_listen(const char *address, int type, char **text);

/* tls.c */
int tls_init(struct sim *s);
void tls_deinit(struct sim *s);

/* dns.c */
int dns_start(struct sim *s, const char *address, char **text);
void dns_stop(struct sim *s);

/* control.c */
int control_start(struct sim *s, const char *address, char **text);
void control_stop(struct sim *s);
void control_tick(struct sim *s); /* after each round of the first loop: waiting commands */
bool control_waiting(const struct sim *s);
void summary_json(struct sim *s, struct buf *b);
