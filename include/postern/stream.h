/* A TCP connection with optional TLS on a loop: reads come to a callback, writes are gathered and
 * flushed together. TCP_NODELAY is set. One owner; all calls and callbacks on the loop's thread. */
#pragma once

#include "postern/addr.h"
#include "postern/buf.h"
#include "postern/loop.h"

struct stream;
struct tls_context;

struct stream_ops {
	/* Bytes (plain text) arrived; consumes all of it or keeps its own copy: in is valid in the
	 * call only. The stream may be closed inside. */
	void (*on_data)(void *arg, struct slice in);
	/* Everything written has reached the socket (its kernel buffer). May be NULL. At the end of
	 * the iteration, never inside a call of the owner. */
	void (*on_drained)(void *arg);
	/* The other side closed (error 0), or the connection broke (negative errno, or
	 * STREAM_E_TLS). Called once; never after stream_close, nor after on_connected or on_tls
	 * told of a failure. In each of these cases the owner then calls stream_close, at once or
	 * later; after error 0 a linger still sends what was written. */
	void (*on_closed)(void *arg, int error, const char *why);
	/* Result of stream_connect or stream_start_tls: 0 or negative errno / STREAM_E_TLS with a
	 * sentence. */
	void (*on_connected)(void *arg, int error, const char *why);
	void (*on_tls)(void *arg, int error, const char *why);
};
enum {
	STREAM_E_TLS = -10001,
	STREAM_E_BIND = -10002 /* source address unavailable: nothing was sent */
};

/* Encrypted bytes that wait for the socket; what follows stays in clear. */
#define STREAM_WIRE_MAX (64u * 1024u)
/* The kernel's send buffer of outbound connections, instead of one that grows to megabytes for a
 * receiver that does not read. Linux takes twice this, with its overhead. */
#define STREAM_SEND_BUFFER (128u * 1024u)

/* Outbound: binds to source first (IP_BIND_ADDRESS_NO_PORT; port 0) and fails closed with
 * STREAM_E_BIND: a connection never leaves from another address. source NULL only for tests. The
 * answer comes by on_connected, never inside the call. */
int stream_connect(struct stream **ret, struct loop *l, const struct addr *source,
	const struct addr *to, uint16_t port, const struct stream_ops *ops, void *arg);
/* Inbound: takes over an accepted socket; on failure it stays the caller's. */
int stream_accept(
	struct stream **ret, struct loop *l, int fd, const struct stream_ops *ops, void *arg);

/* Gathers; sent at the end of the loop iteration, or at stream_flush. Copies. 0, -ENOMEM, -ENOBUFS
 * (over the bound of stream_set_write_max; default 16 MiB). */
int stream_write(struct stream *s, struct slice data);
/* The same without a copy: data must live until release(arg) is called (always exactly once, also
 * on close and on failure). It may run inside stream_flush or at the end of the iteration. One ref
 * may pass the bound alone. */
int stream_write_ref(
	struct stream *s, struct slice data, void (*release)(void *arg), void *release_arg);
int stream_flush(struct stream *s);
void stream_set_write_max(struct stream *s, size_t max);
size_t stream_pending(const struct stream *s); /* bytes not yet taken by the kernel */
/* Bytes that the kernel holds until the other side's acknowledges them. A system call. */
size_t stream_unacknowledged(const struct stream *s);
/* No on_data until stream_resume: back-pressure to the peer (at most 64 KiB are held here, all else
 * in the kernel). Costs nothing when nothing comes meanwhile. Held input is delivered at the end of
 * the iteration. */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);
/* Closes in order: what was written is sent first, then our end, and input is thrown away until the
 * other side closes too (all bounded by linger ms; 0: drop it at once); then frees itself. No
 * callback after this but releases. */
void stream_close(struct stream *s, ms_t linger);

/* TLS, as server or client by the context. Input not yet delivered in clear must have been
 * discarded by the owner (RFC 3207 section 4.2, 6): bytes the stream itself holds back are
 * discarded here. name: SNI and the name to verify; resumption: key of the session cache (e.g.
 * "host|source"), NULL for none. */
int stream_start_tls(
	struct stream *s, struct tls_context *ctx, const char *name, const char *resumption);
bool stream_is_tls(const struct stream *s);
bool stream_tls_verified(const struct stream *s); /* chain and name verified */
bool stream_tls_resumed(const struct stream *s);
const char *stream_tls_description(
	const struct stream *s); /* "TLS1.3:TLS_AES_256_GCM_SHA384"; NULL in clear */
/* "CN=mx.example, issued by CN=CA, until Nov 29 00:00:00 2026 GMT", in ASCII of which nothing is obeyed;
 * "" in clear. */
void stream_tls_peer(const struct stream *s, char *out, size_t max);
/* Whether the other side's certificate was asked for, and its chain verifies. A client's name is not
 * looked at: it has none that it must have. */
bool stream_tls_proven(const struct stream *s);
/* Why it is not proven; a few words. */
void stream_tls_doubt(const struct stream *s, char *out, size_t max);
/* The first name of a proven certificate that fits, of visible ASCII: DNS names and addresses of
 * mailboxes, else the common name. False: none does. */
#define TLS_NAME_MAX 255
bool stream_tls_client_name(const struct stream *s, bool (*fits)(const void *arg, const char *name),
	const void *arg, char out[TLS_NAME_MAX + 1]);
void stream_peer(const struct stream *s, struct addr *peer, uint16_t *port);
void stream_local(const struct stream *s, struct addr *local, uint16_t *port);

/* Contexts are immutable after new and may be shared by threads (the client session cache inside
 * has a lock). */
struct tls_server_params {
	const char *certificate, *key; /* PEM files; chain in certificate */
	const char *min_version;       /* "1.2" (default) or "1.3" */
	/* PEM files, each with a certificate, its chain and its key: for clients that ask for one
	 * of its names (SNI). */
	char *const *certificates;
	unsigned ncertificates;
	const char *client_ca; /* PEM: clients are asked for a certificate of these; NULL: no */
};
struct tls_client_params {
	bool verify;		       /* verify chain and name; else any certificate is taken */
	const char *ca_file;	       /* NULL: the system's */
	const char *certificate, *key; /* PEM files; shown to servers that ask; NULL: none */
	unsigned sessions_max;	       /* cached for resumption; 0: 4096 */
};
int tls_server_new(
	struct tls_context **ret, const struct tls_server_params *p, char *error, size_t error_max);
int tls_client_new(
	struct tls_context **ret, const struct tls_client_params *p, char *error, size_t error_max);
/* Of a server's: the first end (wall) among the certificates of its chain; 0: not known. */
ms_t tls_server_expires(const struct tls_context *c);
struct tls_context *tls_context_ref(struct tls_context *c);
struct tls_context *tls_context_unref(struct tls_context *c);

/* HMAC-SHA256 of the library that does TLS; for what must not be guessed. False: it cannot now. */
bool tls_keyed_hash(unsigned char out[32], const unsigned char key[32], struct slice in);

/* Listening sockets. Each worker has its own of a port: the FIRST is refused (-EADDRINUSE) where
 * anything else listens, and those that JOIN share the port with it (SO_REUSEPORT). ALONE: a port
 * with one socket. port 0: the kernel chooses; *bound tells. fds are made before privileges are
 * dropped. */
enum listen_share { LISTEN_ALONE, LISTEN_FIRST, LISTEN_JOIN };
int listen_open(int *fd, const struct addr *a, uint16_t port, int backlog, enum listen_share share,
	uint16_t *bound);
struct listener;
/* accepted: a new connection's fd (non-blocking, close-on-exec), owned by the callee. When file
 * descriptors run out, accepting pauses for 100 ms instead of spinning. Takes over fd, unless it
 * fails. Clients wait until listener_accept, which cannot fail. */
int listener_new(struct listener **ret, struct loop *l, int fd,
	void (*accepted)(void *arg, int fd, const struct addr *peer, uint16_t port), void *arg);
void listener_accept(struct listener *ln);
void listener_hand_over(
	struct listener *ln, void *arg);	     /* accepted is called with it from now on */
void listener_stop(struct listener *ln);	     /* closes */
uint64_t listener_pauses(const struct listener *ln); /* how often descriptors or memory ran out */
