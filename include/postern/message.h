/* A message on its way through the relay: envelope and content. Filled by one inbound session (or
 * the DSN builder, or the queue's reader), immutable once sealed, then shared between threads by
 * reference count. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "postern/addr.h"
#include "postern/arena.h"
#include "postern/buf.h"
#include "postern/clock.h"
#include "postern/mpsc.h"

/* Content comes in chunks of BODY_CHUNK bytes: what fits into one LMDB overflow page of 4096 bytes
 * after its 16-byte header. Blocks in memory hold whole chunks, so that none straddles two blocks.
 */
#define BODY_CHUNK 4080u

/* Message content, CRLF line ends, no dot-stuffing, no end marker. A chain of blocks, appended to
 * by one thread; after body_seal it is read only and may be shared. The memory of blocks is charged
 * to a process-wide counter (body_memory). */
struct body_block {
	struct body_block *next;
	uint32_t len, cap; /* cap is a multiple of BODY_CHUNK; only the last block is not full */
	uint32_t room;	   /* bytes of data that it has memory for; a remainder has less than cap */
	char data[];
};
struct body {
	atomic_uint refs;
	bool sealed;
	uint64_t size;	/* bytes appended in all, also those taken out by body_take_full */
	uint64_t taken; /* bytes that left by body_take_full; a multiple of BODY_CHUNK */
	struct body_block *first, *last;
	/* What stands before all of it and was made last, or NULL: signatures. It is no part of
	 * the chain's chunks, though its next is the first block. */
	struct body_block *head;
};
#define BODY_HEAD_MAX (64u << 10)
struct body *body_new(void); /* one reference; NULL when memory is out */
struct body *body_ref(struct body *b);
struct body *body_unref(struct body *b);	 /* NULL-safe, returns NULL */
int body_append(struct body *b, struct slice s); /* 0, -ENOMEM */
void body_seal(struct body *b);
/* After the seal, before the body is shared, once: puts bytes before all others, BODY_HEAD_MAX at
 * most; they count in size. The message needs MESSAGE_HEAD then. 0, -ENOMEM. */
int body_set_head(struct body *b, struct slice s);
/* Where reading begins, of a body nothing was taken from; NULL: it is empty. */
static inline const struct body_block *body_start(const struct body *b)
{
	return b->head ? b->head : b->first;
}
/* Moves the full blocks out (for streaming a large message to the queue); the caller owns the
 * chain. */
struct body_block *body_take_full(struct body *b);
/* The same with all whole chunks, also those of the last block; what is behind them stays, in no
 * more memory than it needs. */
struct body_block *body_take_chunks(struct body *b);
void body_blocks_free(struct body_block *first);
uint64_t body_memory(void); /* bytes held by all bodies of the process; any thread */
/* Counts there what else is kept of content on its way in; negative: no more. Any thread. */
void body_memory_add(int64_t bytes);

/* DSN parameters, RFC 3461 */
enum {
	NOTIFY_DEFAULT = 0,
	NOTIFY_NEVER = 1,
	NOTIFY_SUCCESS = 2,
	NOTIFY_FAILURE = 4,
	NOTIFY_DELAY = 8
};
enum dsn_ret { RET_UNSET = 0, RET_FULL, RET_HDRS };
enum body_type { BODY_7BIT = 0, BODY_8BITMIME, BODY_BINARYMIME };

/* state of a recipient that outlives an attempt; stored with it */
struct recipient {
	const char *address; /* as given, without <>; UTF-8 when the envelope has smtputf8 */
	const char *domain;  /* lower case, A-labels, no trailing dot: the key of queue and routing.
			      * For an address literal: "[192.0.2.1]" */
	const char *orcpt;   /* "rfc822;..." decoded from xtext, NULL when not given (RFC 3461
				section 4.2) */
	uint8_t notify;	     /* NOTIFY_* bits */
	uint32_t index;	     /* number within the message, from 0; fixed for its life */
};

enum message_flag {
	MESSAGE_SMTPUTF8 = 1,	    /* RFC 6531 */
	MESSAGE_FROM_RELAY = 2,	    /* made here: a DSN; never answered by another */
	MESSAGE_8BIT_CONTENT = 4,   /* content has bytes over 127 */
	MESSAGE_HELD = 8,	    /* operator hold; no delivery until released */
	MESSAGE_HEADER_MENDED = 16, /* lines that were no fields stayed as X-Postern-Malformed */
	MESSAGE_HEADER_CUT = 32,    /* a line that was no field ended the header section */
	MESSAGE_HEAD = 64,	    /* content begins with a head (struct body) */
};

struct message {
	atomic_uint refs;
	struct mpsc_node
		fresh_node; /* the queue's: on its way to the dispatcher, once, after the commit */
	ms_t first_due;	    /* wall; set by the queue before that */
	struct arena arena; /* owns all the text below */
	uint64_t id;	    /* queue id */
	ms_t arrived;	    /* wall */
	ms_t expires;	    /* wall */
	uint32_t flags;	    /* enum message_flag */
	uint8_t body_type;  /* enum body_type */
	uint8_t ret;	    /* enum dsn_ret */
	const char *sender; /* "" is the null sender */
	const char *envid;  /* decoded, NULL when not given */
	const char *pool;   /* egress pool, never NULL */
	const char *client; /* text of the peer's address, for logs and show */
	const char *helo, *user, *listener; /* NULL when none */
	const char *message_id;		    /* of the header, for logs; NULL when unknown */
	/* By what it can be selected, beside the above; NULL when none, or when an older version
	 * took it in. from_domain: of the first author in the From field; lower case, A-labels.
	 * tag: X-Postern-Tag. */
	const char *from_domain, *class, *tag;
	const char *headers; /* fields for the log: lines "Name: text\n"; NULL for none */
	/* Of a notification: the message that it is about, by queue id and Message-ID. NULL: none. */
	const char *about, *about_message_id;
	uint32_t nrecipients;
	struct recipient
		*recipients; /* those still waiting, when read from the queue; all, when fresh */
	uint64_t size;	     /* content bytes */
	struct body *body;   /* NULL when not in memory: read it from the queue */
};
struct message *message_new(void); /* one reference; NULL when memory is out */
struct message *message_ref(struct message *m);
struct message *message_unref(struct message *m); /* NULL-safe, returns NULL; drops body too */
