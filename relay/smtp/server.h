/* Inside of the inbound state machine. server.c: input, lines and the table of states;
 * server_mail.c: MAIL and RCPT; server_content.c: DATA and BDAT; server_auth.c: AUTH and STARTTLS.
 * Room-internal. */
#pragma once

#include "postern/smtp_server.h"
#include "sasl.h"

/* Where the session stands in the protocol. HELLO: EHLO wanted. CHUNKS: between the first BDAT and
 * BDAT LAST. */
#define SERVER_STATES(X) X(HELLO) X(READY) X(MAIL) X(RCPT) X(CHUNKS)
enum server_state {
#define X(name) STATE_##name,
	SERVER_STATES(X)
#undef X
};

/* What the next bytes are. */
enum server_input {
	INPUT_COMMAND,
	INPUT_SASL,    /* a line of an AUTH exchange */
	INPUT_DATA,    /* content with dots */
	INPUT_CHUNK,   /* chunk_left octets of content */
	INPUT_DISCARD, /* chunk_left octets of a BDAT that was refused: refusal is said after them
			*/
};

/* Recipients of the transaction, by hash: a client that names one twice gets one delivery. Open
 * addressing, values are index + 1, lives in the message's arena. */
struct recipient_set {
	uint32_t *slots;
	uint32_t nslots; /* power of two; 0 while there are few and a walk does */
	uint32_t room;	 /* of message.recipients */
};

struct smtp_server {
	const struct smtp_server_params *p;
	struct smtp_server_peer peer;
	uint64_t session;
	enum server_state state;
	enum server_input input;
	enum smtp_server_want pending; /* SERVER_READ: the server waits for nothing but bytes */
	ms_t wall;
	bool esmtp;   /* EHLO, not HELO */
	bool refused; /* MAIL was refused: what was pipelined behind it is no further error */
	bool swallow; /* over the size limit: content is only looked through for its end */
	bool by_chunks;
	bool chunk_last;
	bool abort_told;
	bool skipping;	  /* an overlong line is thrown away */
	uint32_t skipped; /* bytes of it so far */
	uint64_t chunk_left, chunk_size;
	const char *refusal;		 /* said after the octets thrown away */
	enum smtp_reject refusal_reason; /* REJECT_NONE: it echoes a refusal that was told */
	bool refusal_counts;

	struct message *message;  /* of the transaction */
	struct message *aborting; /* given up after parts of it went to the queue */
	struct recipient_set set;
	uint64_t id;
	struct data_decoder decoder;
	struct header_filter filter;
	struct buf scratch, kept; /* kept: header fields for the log */

	struct sasl sasl;
	char helo[256], user[SASL_USER_MAX + 1], user_pool[256], tls[96];
	uint32_t messages;
	/* Errors of late: each is forgotten after a while, all by a message that is accepted; and
	 * all since that message, which have a bound of their own. */
	uint32_t errors, errors_all;
	uint32_t bad_recipients;	    /* since the last accepted message */
	ms_t errors_since;		    /* wall: from when on forgetting counts */
	const struct smtp_command *command; /* the one that runs: for the record of refusals */
	uint64_t bytes;
};

static inline bool server_has_logged_in(const struct smtp_server *s)
{
	return s->user[0] && !s->peer.certified;
}

/* One reply line; adds the line end. */
int server_say(struct buf *out, const char *line);
/* The same for what cannot be done now, or is no fault of the client: it is told to the caller. */
int server_defer(struct smtp_server *s, struct buf *out, enum smtp_reject why, const char *line);
/* The same for what the client did wrong: counts, and closes the session when it was too much. */
int server_refuse(struct smtp_server *s, struct buf *out, enum smtp_reject why, const char *line);
int server_end(struct smtp_server *s, struct buf *out, enum smtp_reject why, const char *line);
int server_close(struct smtp_server *s, struct buf *out, const char *line);
/* A recipient that cannot be one: counts only when a client that may relay names very many. */
int server_refuse_recipient(struct smtp_server *s, struct buf *out, const char *line);
bool server_may_relay(const struct smtp_server *s);
/* Drops the message, unless parts of it are with the queue: then the queue is told first
 * (SERVER_ABORT). */
void server_drop_message(struct smtp_server *s);
/* Ends the transaction, whatever its stage. */
void server_reset(struct smtp_server *s);

int server_mail(struct smtp_server *s, const struct smtp_command *c, struct buf *out);
int server_rcpt(struct smtp_server *s, const struct smtp_command *c, struct buf *out);
int server_data(struct smtp_server *s, const struct smtp_command *c, struct buf *out);
int server_bdat(struct smtp_server *s, const struct smtp_command *c, struct buf *out);
/* Throws away the octets of a refused BDAT, then says the line. why: REJECT_NONE when it echoes an
 * earlier refusal; else it is an error of the client's. */
int server_bdat_refuse(struct smtp_server *s, const struct smtp_command *c, struct buf *out,
	const char *line, enum smtp_reject why);
int server_auth(struct smtp_server *s, const struct smtp_command *c, struct buf *out);
int server_starttls(struct smtp_server *s, const struct smtp_command *c, struct buf *out);
bool server_offers_auth(const struct smtp_server *s);

/* A step of content or AUTH input. Takes from in, which is not empty. */
int server_content(struct smtp_server *s, struct slice in, size_t *used, struct buf *out);
bool server_must_flush(const struct smtp_server *s);
int server_sasl_line(struct smtp_server *s, struct slice line, struct buf *out);
int server_sasl_refuse(
	struct smtp_server *s, struct buf *out, enum smtp_reject why, const char *line);
