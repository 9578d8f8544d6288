/* The inside of a stream, shared by stream.c and stream_tls.c. */
#pragma once

#include "loop_private.h"
#include "postern/must.h"
#include "postern/stream.h"
#include "stream_out.h"
#include "stream_state.h"

struct tls_conn;

/* Memory ends in the close callback of the handle, so the stream outlives every callback that
 * closes it. Bytes to send: wire holds what goes to the socket as it is, clear (with TLS only) what
 * still has to be encrypted. */
struct stream {
	uv_tcp_t tcp;
	uv_connect_t connect;
	uv_write_t write;
	struct loop *loop;
	const struct stream_ops *ops;
	void *arg;
	enum stream_state state; /* these by stream_to, reading_to and so on alone */
	enum stream_reading reading;
	enum stream_taker taker;
	enum stream_writing writing;
	enum stream_end end; /* that on_closed (or on_connected) still has to tell, with: */
	int end_error;
	const char *end_why;
	char end_text[160];
	bool wrote;	/* on_drained is owed */
	bool goodbye;	/* our own end was said (lingering) */
	bool tls_begin; /* the handshake is due (a client speaks first) */
	bool on_list;
	size_t write_busy_bytes;
	size_t write_max;
	struct out_queue clear, wire;
	struct buf held; /* input that came while paused; as received, so encrypted with TLS */
	struct tls_conn *tls;
	struct loop_timer linger;
	struct addr peer;
	uint16_t peer_port;
	struct stream *prev, *next; /* in loop->dirty */
};

static inline void stream_to(struct stream *s, enum stream_state to)
{
	must(stream_may(s->state, to));
	s->state = to;
}

static inline void reading_to(struct stream *s, enum stream_reading to)
{
	must(reading_may(s->reading, to));
	s->reading = to;
}

static inline void taker_to(struct stream *s, enum stream_taker to)
{
	must(taker_may(s->taker, to));
	s->taker = to;
}

static inline void writing_to(struct stream *s, enum stream_writing to)
{
	must(writing_may(s->writing, to));
	s->writing = to;
}

static inline void end_to(struct stream *s, enum stream_end to)
{
	must(end_may(s->end, to));
	s->end = to;
}

static inline bool stream_alive(const struct stream *s)
{
	return s->state == STREAM_OPEN;
}

int stream_new(struct stream **ret, struct loop *l, const struct stream_ops *ops, void *arg);
/* Closes the handle; everything is freed when that is done. */
void stream_destroy(struct stream *s);
void stream_start_reading(struct stream *s);
/* For now, or for ever: the other side sent its end. */
void stream_stop_reading(struct stream *s);
void stream_input_ended(struct stream *s);
/* Has an end told at the end of the iteration, where the owner is not in the middle of a call; s->end_why
 * says why. */
void stream_end_later(struct stream *s, int error);
const char *stream_error_text(int error, char *out, size_t max);
/* Puts it on the list of those with something to do at the end of the iteration. */
void stream_mark(struct stream *s);
/* Keeps input for after stream_resume. */
int stream_hold(struct stream *s, struct slice in);
/* Sends what the socket takes now. 0 or the negative errno of a broken connection. */
int stream_send_wire(struct stream *s);
/* Tells the owner of the end, once; from then on the stream only waits for stream_close. */
void stream_report(struct stream *s, int error, const char *why);

/* stream_tls.c */
void tls_conn_feed(struct stream *s, struct slice in); /* in may be empty: what is held inside */
int tls_conn_encrypt(struct stream *s);		       /* clear → wire, up to WIRE_MAX */
bool tls_conn_ready(const struct stream *s);	       /* handshake done */
void tls_conn_end(struct stream *s);		       /* says goodbye (close_notify) */
/* The connection broke; true when a handshake ran, which then was told. */
bool tls_conn_broken(struct stream *s, const char *why);
struct tls_conn *tls_conn_free(struct tls_conn *t);
