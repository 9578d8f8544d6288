/* An outbound connection, shared by outbound.c (connection) and outbound_txn.c (transactions).
 * Owner: the worker's thread. */
#pragma once

/* memory that is out is told, not the end of the process */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "postern/counter.h"
#include "postern/outbound.h"
#include "postern/smtp_data.h"
#include "postern/transcript.h"

enum { TRANSACTS_WAITING_MAX = 4 };

/* Content given to the stream ahead of the socket. */
#define AHEAD_MAX (128u * 1024u)
/* All that content of one connection may take: that, what TLS made of it, and the kernel's send
 * buffer, whose bound counts its overhead. */
#define AHEAD_CONNECTION_MAX (AHEAD_MAX + STREAM_WIRE_MAX + 2u * STREAM_SEND_BUFFER)

enum { BODY_READ = 16 * BODY_CHUNK };

struct connection;

/* What the connections of one worker share. */
struct outbound {
	struct outbound_params p;
	struct loop *loop;
	struct loop_mailbox orders;
	struct mpsc_batch events;	/* posted once an iteration */
	struct buf out;			/* commands under construction; empty between callbacks */
	struct connection *connections; /* uthash by number */
	uint32_t nconnections;
	bool stopping;
	struct {
		atomic_uint_least64_t reserved, waiting;
		struct connection *waiters; /* wait for room, the longest first */
		struct loop_timer timer;
	} ahead; /* outbound_ahead.c */
	/* The content bytes read last from the queue, so that the check before MAIL is not repeated
	 * for the body. */
	struct {
		uint64_t id, offset;
		size_t n;
		bool valid;
		char bytes[BODY_READ];
	} read;
};

/* Content on its way to the socket. */
struct body_sender {
	bool open;  /* asked for and not all with the kernel */
	bool ended; /* all given to the stream, with its end mark */
	bool dots;
	struct body *body;		/* a reference; NULL: read from the queue */
	const struct body_block *block; /* the next one */
	uint64_t offset;		/* content bytes given so far */
	struct dot_stuffer stuffer;
};

struct connection {
	UT_hash_handle hh;
	uint64_t number;
	unsigned refs; /* callbacks on the stack, and the open connection itself */
	bool closed;
	struct outbound *ob;
	struct outbound_connect *order;
	struct stream *stream;	    /* NULL once closed */
	struct smtp_client *client; /* NULL until connected */
	bool up, quit_wanted, timed_out, failed;
	int error;
	char why[160];

	struct loop_timer timer;
	ms_t since;		 /* mono; from when on it counts what is timed now */
	enum client_phase phase; /* which was timed last */
	uint32_t replies_seen;	 /* that were there then */
	uint64_t progress_seen;	 /* of the body at `since` */
	ms_t connect_ms, tls_ms, tls_started;

	struct outbound_transact *running;
	struct mpsc_batch waiting;
	unsigned nwaiting;
	struct smtp_client_txn txn;
	struct reply *replies; /* room for txn.replies, kept for the next one */
	uint16_t max_replies;
	/* outbound_ahead.c */
	uint64_t reserved, ahead_seen;
	ms_t ahead_since;
	bool waits;    /* its next transaction waits for room */
	bool its_turn; /* and has its turn */
	struct connection *waiter_prev, *waiter_next;
	struct recording *recording; /* outbound_record.c; NULL: nothing is recorded */
	bool content_gone; /* the running one cannot be completed: its content cannot be read */
	struct body_sender body;
};

/* ---- outbound.c ---- */
void outbound_orders(void *arg, struct mpsc_node *first);
void outbound_post_event(struct outbound *ob, struct outbound_event *e);
void connection_send(struct connection *c); /* what the machine put into the worker's buffer */
/* The connection is of no use any more; settles everything, DOWN follows at once. */
void connection_fail(struct connection *c, int error, const char *why);

/* Begins what waits, when it may. */
void connection_resume(struct connection *c);

/* ---- outbound_record.c ---- */
void recording_begin(struct connection *c);
void recording_said(struct connection *c, enum transcript_who who, struct slice bytes);
void recording_tls(struct connection *c);
void recording_next(struct connection *c); /* another transaction */
/* Of the transaction that ended, where it is worth a copy: t->transcript. */
void recording_result(struct connection *c, struct outbound_transact *t);
struct transcript *recording_failed(
	struct connection *c); /* of the connection that did; may be NULL */
void recording_end(struct connection *c);

/* ---- outbound_ahead.c ---- */
void ahead_init(struct outbound *ob);
/* Reserves for content of that size. False: it waits its turn, and connection_resume comes. */
bool ahead_take(struct connection *c, uint64_t size);
void ahead_give_back(struct connection *c);
void ahead_leave_line(struct connection *c);

/* ---- outbound_txn.c ---- */
/* Content of the first transaction that waits; 0 for none. */
uint64_t txn_waiting_size(const struct connection *c);
/* Begins the next transaction that waits. False when there is none to be begun, else with *want. */
bool txn_next(struct connection *c, enum smtp_client_want *want);
void txn_add(struct connection *c, struct outbound_transact *t);
/* The running one is settled: its results go to the dispatcher. */
void txn_done(struct connection *c);
/* Those that wait go back untried. */
void txn_return_waiting(struct connection *c);
void txn_return(struct outbound *ob, struct outbound_transact *t);
/* QUIT, where it is wished for, behind the content of the last transaction. Where that is not
 * possible it comes when the session is idle. 0; else the connection has to fail with it. */
int txn_quit_behind(struct connection *c);
int body_begin(struct connection *c, bool dots); /* 0; else the connection has to fail with it */
int body_drained(struct connection *c);
uint64_t body_progress(const struct connection *c); /* content that the peer's host has taken */
void body_end(struct connection *c);
