/* A connection over uv_tcp: reads go to the loop's one buffer, writes are gathered and sent once
 * an iteration by a direct write; libuv's write queue is used only while the socket is full.
 * Called by sessions, on the loop's thread.
 *
 * States and their jumps: stream_state.h. The owner is told of an end once, never inside a call
 * of its own, and frees nothing but by stream_close. */
#include "postern/stream.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "postern/must.h"
#include "stream_private.h"

#include <utlist.h>

#define WRITE_MAX   (16u * 1024u * 1024u)
#define IOV_NUMBER  64
#define ROUND_BYTES (1024u * 1024u) /* sent for one stream before the others get their turn */

const char *stream_error_text(int error, char *out, size_t max)
{
	uv_strerror_r(error, out, max);
	return out;
}

void stream_mark(struct stream *s)
{
	if (s->on_list || s->state == STREAM_CLOSING)
		return;
	s->on_list = true;
	DL_APPEND(s->loop->dirty, s);
	s->loop->ndirty++;
}

static void unmark(struct stream *s)
{
	if (!s->on_list)
		return;
	s->on_list = false;
	DL_DELETE(s->loop->dirty, s);
	s->loop->ndirty--;
}

static void on_handle_closed(uv_handle_t *h)
{
	struct stream *s = h->data;

	unmark(s);
	out_clear(&s->clear, &s->loop->pool);
	out_clear(&s->wire, &s->loop->pool);
	s->tls = tls_conn_free(s->tls);
	buf_deinit(&s->held);
	free(s);
}

void stream_destroy(struct stream *s)
{
	if (s->state == STREAM_CLOSING)
		return;
	stream_to(s, STREAM_CLOSING);
	loop_timer_disarm(s->loop, &s->linger);
	uv_close((uv_handle_t *)&s->tcp, on_handle_closed);
}

void stream_stop_reading(struct stream *s)
{
	if (s->reading != READING_ON)
		return;
	uv_read_stop((uv_stream_t *)&s->tcp);
	reading_to(s, READING_STOPPED);
}

void stream_input_ended(struct stream *s)
{
	stream_stop_reading(s);
	if (s->reading != READING_ENDED)
		reading_to(s, READING_ENDED);
}

void stream_report(struct stream *s, int error, const char *why)
{
	if (!stream_alive(s))
		return;
	stream_to(s, STREAM_FAILED);
	stream_stop_reading(s);
	s->ops->on_closed(s->arg, error, why);
}

/* An end seen while reading is paused waits behind the held input, unless the owner waits for
 * output that can no longer go out. */
static void end_of_input(struct stream *s, int error, const char *why)
{
	stream_input_ended(s);
	if (s->state == STREAM_LINGER) {
		if (error || s->writing == WRITING_BROKEN || stream_pending(s) == 0)
			stream_destroy(s);
		return;
	}
	if (!stream_alive(s))
		return;
	if (tls_conn_broken(s, error ? why : "the other side closed the connection"))
		return;
	if (s->taker != TAKER_PAUSED || (error && stream_pending(s) > 0)) {
		stream_report(s, error, why);
		return;
	}
	if (s->end == END_NONE)
		end_to(s, END_BEHIND);
	s->end_error = error;
	snprintf(s->end_text, sizeof(s->end_text), "%s", why);
	s->end_why = s->end_text;
}

int stream_hold(struct stream *s, struct slice in)
{
	int r = buf_add_slice(&s->held, in);

	stream_stop_reading(s);
	return r;
}

static void take_input(struct stream *s, struct slice in)
{
	if (s->state == STREAM_LINGER || !stream_alive(s))
		return; /* nobody wants it any more */
	if (s->tls) {
		tls_conn_feed(s, in);
	} else if (s->taker == TAKER_PAUSED) {
		if (stream_hold(s, in))
			stream_report(s, -ENOMEM, "out of memory");
	} else {
		s->ops->on_data(s->arg, in);
	}
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
	struct stream *s = h->data;

	*b = uv_buf_init(s->loop->read_buf, LOOP_READ_MAX);
}

static void on_read(uv_stream_t *h, ssize_t n, const uv_buf_t *b)
{
	struct stream *s = h->data;
	char text[96];

	if (n > 0)
		take_input(s, (struct slice){ b->base, (size_t)n });
	else if (n == UV_EOF)
		end_of_input(s, 0, "closed by the other side");
	else if (n < 0)
		end_of_input(s, (int)n, stream_error_text((int)n, text, sizeof(text)));
}

void stream_end_later(struct stream *s, int error)
{
	if (s->end != END_NOW)
		end_to(s, END_NOW);
	s->end_error = error;
	s->end_why = s->end_text;
	stream_mark(s);
}

static void ends_by(struct stream *s, int error)
{
	stream_error_text(error, s->end_text, sizeof(s->end_text));
	stream_end_later(s, error);
}

void stream_start_reading(struct stream *s)
{
	int r;

	if (s->reading != READING_STOPPED)
		return;
	r = uv_read_start((uv_stream_t *)&s->tcp, on_alloc, on_read);
	if (r)
		ends_by(s, r);
	else
		reading_to(s, READING_ON);
}

/* The reader reports a broken connection, after what the other side still had to say (a 421 often
 * comes just before); only when nobody reads it is reported from here, at the end of the iteration.
 */
static void write_broke(struct stream *s, int error)
{
	if (s->writing != WRITING_BROKEN)
		writing_to(s, WRITING_BROKEN);
	if (s->state == STREAM_LINGER) {
		stream_destroy(s);
		return;
	}
	if (s->reading == READING_ON && s->taker != TAKER_PAUSED)
		return;
	ends_by(s, error);
}

static void on_written(uv_write_t *req, int status)
{
	struct stream *s = req->data;

	if (s->writing == WRITING_BUSY)
		writing_to(s, WRITING_FREE);
	if (s->state == STREAM_CLOSING)
		return;
	if (status) {
		write_broke(s, status);
		return;
	}
	out_consume(&s->wire, &s->loop->pool, s->write_busy_bytes);
	stream_mark(s);
}

static int wait_for_socket(struct stream *s)
{
	uv_buf_t bufs[IOV_NUMBER];
	unsigned n = out_peek(&s->wire, bufs, IOV_NUMBER, &s->write_busy_bytes);
	int r;

	s->write.data = s;
	r = uv_write(&s->write, (uv_stream_t *)&s->tcp, bufs, n, on_written);
	if (r == 0)
		writing_to(s, WRITING_BUSY);
	return r;
}

int stream_send_wire(struct stream *s)
{
	uv_buf_t bufs[IOV_NUMBER];
	size_t total, sent = 0;
	int r = 0;

	while (s->wire.bytes > 0 && s->writing == WRITING_FREE) {
		unsigned n = out_peek(&s->wire, bufs, IOV_NUMBER, &total);

		if (sent >= ROUND_BYTES) {
			stream_mark(s);
			break;
		}
		r = uv_try_write((uv_stream_t *)&s->tcp, bufs, n);
		if (r > 0) {
			sent += (size_t)r;
			out_consume(&s->wire, &s->loop->pool, (size_t)r);
			/* releases may have closed the stream */
			if (s->state == STREAM_CLOSING)
				return 0;
		}
		if (r == UV_EAGAIN || (r > 0 && (size_t)r < total))
			r = wait_for_socket(s);
		if (r < 0)
			write_broke(s, r);
	}
	return r < 0 ? r : 0;
}

static int send_all(struct stream *s)
{
	size_t rounds = ROUND_BYTES / STREAM_WIRE_MAX;
	int r = 0;

	do {
		if (rounds-- == 0) {
			stream_mark(s);
			break;
		}
		if (s->tls && s->clear.bytes > 0 && tls_conn_ready(s))
			r = tls_conn_encrypt(s);
		if (r) {
			write_broke(s, r);
			break;
		}
		r = stream_send_wire(s);
	} while (r == 0 && s->tls && s->clear.bytes > 0 && s->wire.bytes == 0 &&
		 tls_conn_ready(s) && s->state != STREAM_CLOSING);
	return r;
}

/* What was written is in the kernel: ends our direction and waits for the other side's end, because
 * closing with unread input would make the kernel reset the connection and lose our last words. */
static void linger_on(struct stream *s)
{
	if (s->wire.bytes + s->clear.bytes > 0 || s->writing == WRITING_BUSY)
		return;
	if (!s->goodbye) {
		s->goodbye = true;
		if (s->tls && tls_conn_ready(s)) {
			tls_conn_end(s);
			stream_send_wire(s);
			stream_mark(s); /* again: the goodbye may have to wait */
			return;
		}
	}
	if (s->reading == READING_ENDED) {
		stream_destroy(s);
		return;
	}
	if (s->state == STREAM_LINGER) {
		uv_os_fd_t fd;

		if (uv_fileno((uv_handle_t *)&s->tcp, &fd) == 0)
			shutdown(fd, SHUT_WR);
	}
}

static void deliver_held(struct stream *s)
{
	struct buf held = s->held;

	taker_to(s, TAKER_TAKES);
	buf_init(&s->held, 0);
	if (s->tls || buf_size(&held) > 0)
		take_input(s, buf_slice(&held));
	buf_deinit(&held);
	if (stream_alive(s) && s->taker != TAKER_PAUSED && buf_size(&s->held) == 0)
		stream_start_reading(s);
}

static bool report_end(struct stream *s)
{
	if (s->end == END_NONE || (s->taker == TAKER_PAUSED && s->end != END_NOW))
		return false;
	end_to(s, END_NONE);
	if (s->state == STREAM_CONNECTING) {
		stream_to(s, STREAM_FAILED);
		s->ops->on_connected(s->arg, s->end_error, s->end_why);
	} else if (!tls_conn_broken(s, s->end_why)) {
		stream_report(s, s->end_error, s->end_why);
	}
	return true;
}

/* One stream's work at the end of the iteration. */
static bool run(struct stream *s)
{
	bool called = false;

	if (s->tls_begin && stream_alive(s)) {
		s->tls_begin = false;
		tls_conn_feed(s, (struct slice){ NULL, 0 });
		called = true;
	}
	if (s->taker == TAKER_RESUMED && stream_alive(s)) {
		deliver_held(s);
		called = true;
	}
	if ((stream_alive(s) || s->state == STREAM_LINGER) && s->writing != WRITING_BROKEN) {
		called |= stream_pending(s) > 0;
		send_all(s);
	}
	if (stream_alive(s) && s->wrote && s->writing != WRITING_BROKEN && stream_pending(s) == 0) {
		s->wrote = false;
		if (s->ops->on_drained) {
			s->ops->on_drained(s->arg);
			called = true;
		}
	}
	if (stream_alive(s) || s->state == STREAM_CONNECTING)
		called |= report_end(s);
	if (s->state == STREAM_LINGER)
		linger_on(s);
	return called;
}

bool streams_run(struct loop *l)
{
	bool called = false;

	for (unsigned n = l->ndirty; n > 0 && l->dirty; n--) {
		struct stream *s = l->dirty;

		unmark(s);
		if (s->state != STREAM_CLOSING)
			called |= run(s);
	}
	return called;
}

static void on_linger_over(void *arg)
{
	stream_destroy(arg);
}

int stream_new(struct stream **ret, struct loop *l, const struct stream_ops *ops, void *arg)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	/* cannot fail without a socket */
	must(uv_tcp_init(&l->uv, &s->tcp) == 0);
	s->tcp.data = s;
	s->loop = l;
	s->ops = ops;
	s->arg = arg;
	s->write_max = WRITE_MAX;
	loop_timer_init(&s->linger, on_linger_over, s);
	*ret = s;
	return 0;
}

void stream_set_write_max(struct stream *s, size_t max)
{
	s->write_max = max;
}

static bool may_write(const struct stream *s)
{
	return stream_alive(s) || s->state == STREAM_CONNECTING || s->state == STREAM_FAILED;
}

/* After a clean end of input (half-closed) the other side may still read what stream_close sends.
 */
static bool output_is_lost(const struct stream *s)
{
	return s->writing == WRITING_BROKEN ||
	       (s->state == STREAM_FAILED && s->reading != READING_ENDED);
}

static struct out_queue *write_queue(struct stream *s)
{
	return s->tls ? &s->clear : &s->wire;
}

int stream_write(struct stream *s, struct slice data)
{
	int r;

	must(may_write(s));
	if (stream_pending(s) + data.n > s->write_max)
		return -ENOBUFS;
	if (output_is_lost(s))
		return 0; /* the owner hears, or has heard, of the end */
	r = out_add(write_queue(s), &s->loop->pool, data);
	if (!r) {
		s->wrote = true;
		stream_mark(s);
	}
	return r;
}

int stream_write_ref(
	struct stream *s, struct slice data, void (*release)(void *arg), void *release_arg)
{
	int r = 0;

	must(may_write(s));
	if (data.n == 0 || output_is_lost(s))
		goto released;
	/* the bytes are the caller's own memory: one may pass the bound alone, not pile up over it
	 */
	r = stream_pending(s) >= s->write_max ? -ENOBUFS : 0;
	if (!r)
		r = out_add_ref(write_queue(s), &s->loop->pool, data, release, release_arg);
	if (r)
		goto released;
	s->wrote = true;
	stream_mark(s);
	return 0;
released:
	release(release_arg);
	return r;
}

int stream_flush(struct stream *s)
{
	if (!stream_alive(s) || s->writing == WRITING_BROKEN)
		return 0;
	/* on_drained is left to the end of the iteration: never inside the owner's own call */
	stream_mark(s);
	return send_all(s);
}

size_t stream_pending(const struct stream *s)
{
	return s->clear.bytes + s->wire.bytes;
}

size_t stream_unacknowledged(const struct stream *s)
{
	uv_os_fd_t fd;
	int n = 0;

	if (uv_fileno((const uv_handle_t *)&s->tcp, &fd) || ioctl(fd, SIOCOUTQ, &n))
		return 0;
	return n > 0 ? (size_t)n : 0;
}

/* Reading goes on until something comes: most pauses end first, and cost no system call so. */
void stream_pause(struct stream *s)
{
	if (s->taker != TAKER_PAUSED)
		taker_to(s, TAKER_PAUSED);
}

void stream_resume(struct stream *s)
{
	if (s->taker != TAKER_PAUSED)
		return;
	if (buf_size(&s->held) > 0 || s->tls || s->end != END_NONE || s->reading != READING_ON) {
		taker_to(s, TAKER_RESUMED);
		stream_mark(s);
	} else {
		taker_to(s, TAKER_TAKES);
	}
}

void stream_close(struct stream *s, ms_t linger)
{
	bool never_open = s->state == STREAM_CONNECTING;
	bool failed = s->state == STREAM_FAILED &&
		      (s->reading != READING_ENDED || stream_pending(s) == 0);

	must(s->state != STREAM_LINGER && s->state != STREAM_CLOSING);
	if (linger <= 0 || never_open || failed || s->writing == WRITING_BROKEN) {
		stream_destroy(s);
		return;
	}
	stream_to(s, STREAM_LINGER);
	loop_timer_arm(s->loop, &s->linger, linger);
	stream_start_reading(
		s); /* input is thrown away; a peer that only writes must not block itself and us */
	stream_mark(s);
}

void stream_peer(const struct stream *s, struct addr *peer, uint16_t *port)
{
	struct sockaddr_storage sa;
	int len = sizeof(sa);

	*peer = s->peer;
	*port = s->peer_port;
	if (peer->family == ADDR_NONE &&
		uv_tcp_getpeername(&s->tcp, (struct sockaddr *)&sa, &len) == 0)
		addr_from_sockaddr(peer, port, (struct sockaddr *)&sa);
}

void stream_local(const struct stream *s, struct addr *local, uint16_t *port)
{
	struct sockaddr_storage sa;
	int len = sizeof(sa);

	*local = (struct addr){ 0 };
	*port = 0;
	if (uv_tcp_getsockname(&s->tcp, (struct sockaddr *)&sa, &len) == 0)
		addr_from_sockaddr(local, port, (struct sockaddr *)&sa);
}
