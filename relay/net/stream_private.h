/* The inside of a stream, shared by stream.c and stream_tls.c. */
#pragma once

#include "loop_private.h"
#include "postern/stream.h"
#include "stream_out.h"

struct tls_conn;

enum stream_state {
	STREAM_CONNECTING,
	STREAM_OPEN,
	STREAM_FAILED,	/* reported to the owner; waits for its stream_close */
	STREAM_LINGER,	/* closed by the owner; sends what is left */
	STREAM_CLOSING, /* the handle is being closed */
};

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
	enum stream_state state;
	bool paused;
	bool reading;	   /* libuv reads */
	bool write_busy;   /* the socket is full: libuv waits for it */
	bool eof;	   /* the other side sent its end */
	bool write_failed; /* nothing can be sent any more */
	bool wrote;	   /* on_drained is owed */
	bool shut;	   /* our own end was sent (lingering) */
	bool resumed;	   /* held input is due */
	bool tls_begin;	   /* the handshake is due (a client speaks first) */
	bool on_list;
	int end_error; /* the end that on_closed (or on_connected) still has to report */
	bool end_due, end_now;
	const char *end_why;
	char end_text[160];
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

static inline bool stream_alive(const struct stream *s)
{
	return s->state == STREAM_OPEN;
}

int stream_new(struct stream **ret, struct loop *l, const struct stream_ops *ops, void *arg);
/* Closes the handle; everything is freed when that is done. */
void stream_destroy(struct stream *s);
void stream_start_reading(struct stream *s);
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
