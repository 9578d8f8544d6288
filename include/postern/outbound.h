/* Outbound connections of one worker. The room knows streams, the SMTP client's state machine and the
 * queue (content is read back from it), not who decides: it is told what to do by posted orders and
 * answers with events to a mailbox. */
#pragma once

#include "postern/loop.h"
#include "postern/queue.h"
#include "postern/smtp_client.h"
#include "postern/stream.h"

/* What the dispatcher posts, from malloc. Ownership moves to the worker, which frees CONNECT and
 * QUIT. */
enum outbound_order_kind { OUTBOUND_CONNECT, OUTBOUND_TRANSACT, OUTBOUND_QUIT };

struct outbound_order {
	struct mpsc_node node;
	enum outbound_order_kind kind;
	uint64_t connection; /* number chosen by the dispatcher, never used twice */
};

struct outbound_connect {
	struct outbound_order order;
	struct addr source, to;
	uint16_t port;
	char host[256]; /* MX host name: SNI, verification, logs */
	char ehlo[256];
	enum tls_mode tls;
	bool tls_given_up;
	struct tls_context *tls_context; /* a reference; NULL with TLS_NONE */
	bool pipelining, chunking;
	unsigned without; /* enum extension: offered there and of no use */
	bool record;	  /* what is said, for transcripts */
	struct client_timeouts timeouts;
};

enum outbound_event_kind {
	OUTBOUND_UP,	 /* session ready: info */
	OUTBOUND_RESULT, /* transact came back */
	/* The connection is gone, or never came up. After it comes no event of this connection but
	 * the RESULT, all RCPT_PENDING, of a transact that was posted before DOWN was seen. */
	OUTBOUND_DOWN,
};
struct outbound_transact;
struct outbound_event {
	struct mpsc_node node;
	enum outbound_event_kind kind;
	uint64_t connection;
	/* RESULT: ownership returns. The event lies in the transact: it goes with it. Whoever keeps
	 * the transact sets this to NULL; outbound_event_free then leaves both alone, and
	 * outbound_transact_free ends them. */
	struct outbound_transact *transact;
	/* UP and DOWN: */
	struct smtp_client_info
		*info; /* heap, owned by the receiver; NULL when nothing was learnt */
	/* DOWN:
	 *   0               after QUIT, or a polite end of an idle session
	 *   -EPROTO         the peer refused or broke the protocol: info->failure and why tell
	 *   -ENOBUFS        over outbound_max
	 *   -errno          anything else of the socket
	 *   STREAM_E_BIND   the source address could not be bound
	 *   STREAM_E_TLS    the handshake failed */
	int error;
	bool was_up, timed_out;
	char why[160];
	struct transcript *transcript; /* DOWN, of one that failed: heap, as info; may be NULL */
	ms_t connect_ms, tls_ms;
};

/* One transaction. The dispatcher may post a second while the first runs: it starts without a round
 * trip through the dispatcher; at most 4 may wait. If the connection ends first, all its recipients
 * come back RCPT_PENDING. */
struct outbound_transact {
	struct outbound_order order;
	struct message *message;	     /* a reference */
	const struct recipient **recipients; /* n; heap */
	struct rcpt_result *results; /* n; heap, made by the poster, filled in by the worker */
	struct reply *replies; /* in the event: nreplies distinct replies that results name; heap,
				  made by the worker */
	uint16_t nreplies;
	uint32_t n;
	/* In the event: as of struct smtp_client_txn. */
	uint32_t answers;
	unsigned worked, suspect;
	bool refused;
	uint16_t suspect_reply;
	struct {
		ms_t queued, begun, sent, done;
	} at; /* mono: queued: came to the worker; begun: MAIL sent; sent: content
		      * handed to the kernel; done. 0: did not come to it */
	struct transcript *transcript; /* in the event: heap; of some, the others have NULL */
	void *owner;		       /* the dispatcher's */
	struct outbound_event event;   /* the worker's: the RESULT, so that it needs no memory */
};
/* Frees also what hangs below: info, transact with its arrays and message reference. */
void outbound_event_free(struct outbound_event *e);
void outbound_transact_free(
	struct outbound_transact *t); /* with arrays, replies and message reference; NULL-safe */
/* content: bytes reserved for content on its way; waiting: connections without room. */
struct outbound_stats {
	uint64_t content, waiting;
};

/* ---- for the worker that has it; all on its thread unless said otherwise ---- */

struct outbound_params {
	struct loop *loop;
	struct queue *queue;
	struct mpsc *events;	  /* struct outbound_event; outlives it */
	uint32_t connections_max; /* 0: no limit */
	uint64_t ahead_max; /* bytes of content on its way to receivers, in the process and the
			     * kernel; 0: no limit */
};

struct outbound;
int outbound_new(
	struct outbound **ret, const struct outbound_params *p); /* before the loop starts */
struct outbound *outbound_free(struct outbound *ob); /* without connections; NULL-safe */
/* The end of an iteration: posts the events. */
void outbound_post(struct outbound *ob);
/* Fails all connections; begins none any more. */
void outbound_stop(struct outbound *ob);
void outbound_post_orders(struct outbound *ob, struct mpsc_batch *orders); /* any thread */
void outbound_stats(struct outbound *ob, struct outbound_stats *ret);	   /* any thread */
