/* What the tests of the workers share: a worker with a real queue in a directory of its own, a
 * client that speaks by hand, and waiting with a deadline. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/ssl.h>
#include <semaphore.h>

#include "postern/worker.h"

enum { WAIT_MS = 20000 };

/* Looks until it holds; fails the test at the deadline. */
#define WAIT_UNTIL(condition)                                                                      \
	do {                                                                                       \
		ms_t wait_end = clock_mono_ms() + WAIT_MS;                                         \
		while (!(condition)) {                                                             \
			if (clock_mono_ms() > wait_end)                                            \
				fail_msg("waited in vain for: %s", #condition);                    \
			rig_pause();                                                               \
		}                                                                                  \
	} while (0)
void rig_pause(void);

struct rig {
	char dir[200], log_path[256];
	struct queue *queue;
	struct log *log;
	struct worker *worker;
	struct worker_params wp;
	struct queue_params qp;
	struct listener_params lp;
	struct tls_context *tls;
	struct users *users;
	uint16_t port;
	struct mpsc events;
	sem_t events_there;
	struct mpsc_node *events_taken;
};
/* Sensible parameters: tests change them before rig_start. */
void rig_init(struct rig *r);
void rig_start(struct rig *r);
void rig_stop(struct rig *r); /* also after a start; removes the directory */
/* Ends worker and log, keeps directory and queue. */
void rig_stop_worker(struct rig *r);
/* The text of the log; the caller frees. Only after rig_stop_worker. */
char *rig_log(struct rig *r);
struct inbound_stats rig_stats(struct rig *r);
uint64_t rig_waiting(struct rig *r); /* messages in the queue */
/* The content of the only message, or of the one with this id; heap. */
struct slice rig_content(struct rig *r, uint64_t id);
struct message *rig_message(struct rig *r); /* the first; a reference */
bool rig_no_loose(struct rig *r);	    /* no parts of unfinished messages; closes the queue */

/* Client */
struct peer {
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
	char in[65536];
	size_t n;
	char reply[8192]; /* the last reply, whole */
};
void peer_connect(struct peer *p, uint16_t port);
void peer_adopt(struct peer *p, int fd);
void peer_close(struct peer *p);
void peer_reset(struct peer *p);			    /* RST instead of an orderly end */
void peer_tls(struct peer *p);				    /* as the client */
bool peer_send(struct peer *p, const void *data, size_t n); /* false: the other side is gone */
void peer_say(struct peer *p, const char *text);
/* One reply (all its lines); it must begin with this text. */
void peer_expect(struct peer *p, const char *begin);
/* say, then expect */
void peer_talk(struct peer *p, const char *text, const char *begin);
void peer_expect_end(struct peer *p); /* the other side has closed */
/* One line without its end into line; false at the end of input. */
bool peer_line(struct peer *p, char *line, size_t max);
bool peer_read(struct peer *p, void *to, size_t n); /* exactly n */
/* Greeting and EHLO. */
void peer_hello(struct peer *p, uint16_t port);
/* A text of n bytes in lines, with dots at some starts. Heap. */
char *text_make(size_t n);
