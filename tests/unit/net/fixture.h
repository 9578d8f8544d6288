/* What the tests of relay/net share: calls onto a loop's thread, waiting for events with a
 * deadline, and the two ends of a connection that write down what happens to them. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "postern/loop.h"
#include "postern/stream.h"

/* One lock and condition for all that tests look at; every change is broadcast. */
extern pthread_mutex_t fixture_lock;
void fixture_changed(void); /* with the lock held */
void fixture_wait(const char *what, const char *file, int line);
#define WAIT_FOR(condition)                                                                        \
	do {                                                                                       \
		pthread_mutex_lock(&fixture_lock);                                                 \
		while (!(condition))                                                               \
			fixture_wait(#condition, __FILE__, __LINE__);                              \
		pthread_mutex_unlock(&fixture_lock);                                               \
	} while (0)

struct runner {
	struct loop *loop;
	struct loop_mailbox calls;
};
void runner_new(struct runner *r, const char *name); /* its thread not started */
void runner_start(struct runner *r, const char *name);
/* Runs fn on the loop's thread and waits for it. */
void runner_call(struct runner *r, void (*fn)(void *arg), void *arg);
void runner_stop(struct runner *r, void (*stopping)(void *arg), void *arg);

/* What an end does with input. */
enum habit { END_KEEP, END_ECHO, END_COUNT, END_CLOSE_IN_DATA, END_PAUSE_IN_DATA };

struct end {
	struct runner *runner;
	struct stream *s; /* NULL after its close */
	enum habit habit;
	ms_t linger;
	struct buf got;
	uint64_t bytes;
	unsigned reads, connected, drained, closed, tls, released;
	int connect_error, close_error, tls_error;
	char why[400];
	struct addr peer, local;
	uint16_t peer_port;
	bool resumed, verified;
	char description[64];
	/* set before: what on_connected or on_data start */
	struct tls_context *tls_context;
	const char *tls_name, *tls_key;
};
extern const struct stream_ops end_ops;
void end_init(struct end *e, struct runner *r, enum habit habit);
void end_deinit(struct end *e); /* closes; on any thread but the loop's */
void end_connect(struct end *e, const struct addr *source, const struct addr *to, uint16_t port);
void end_write(struct end *e, struct slice data);
void end_close(struct end *e);
void end_released(void *arg); /* the end's, for stream_write_ref: counts in released */
/* On its loop: n bytes in odd pieces, so many, each fourth by reference, then what is left in one. */
void end_write_pieces(struct end *e, const char *bytes, size_t n, unsigned pieces);
void end_call(struct end *e, void (*fn)(struct end *e)); /* on its loop */

/* A listener whose connections become ends: the n-th uses ends[n]. */
#define SERVER_ENDS 16
struct server {
	struct runner *runner;
	struct listener *listener;
	struct addr addr;
	uint16_t port;
	enum habit habit;
	struct tls_context *tls_context; /* implicit TLS */
	struct end ends[SERVER_ENDS];
	unsigned n;
};
void server_start(struct server *sv, struct runner *r, const char *address, enum habit habit);
void server_stop(struct server *sv);
struct addr address(const char *text);
