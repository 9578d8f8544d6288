/* Inside the service: what service.c (start and end), generation.c, listening.c and
 * service_reload.c share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "service.h"

#define WORKERS_MAX 64

/* One reading of the configuration, with all that it names: immutable, counted. Held by the service
 * as long as it is in force, by the service for good when it is that of the start (options that
 * only a restart takes over have their values from there), and by each listener of a worker until
 * its last session has ended. The dispatcher borrows the one in force. */
struct credentials {
	struct tls_context *tls;
	struct users *users;
};
struct generation {
	atomic_uint refs;
	struct config *config;
	struct classifier *rules;
	struct dkim_set *dkim;		 /* NULL: no mail is signed */
	struct credentials *credentials; /* by listener */
};
/* Takes c, also when it fails: EX_CONFIG or EX_OSERR, with lines in errors. */
int generation_new(struct generation **ret, struct config *c, struct buf *errors);
struct generation *generation_ref(struct generation *g);
struct generation *generation_unref(struct generation *g); /* any thread; NULL-safe */

/* One socket of one worker. */
struct bound {
	unsigned listener; /* in the configuration in force */
	struct addr addr;
	uint16_t port;	 /* as configured; 0: the kernel chose */
	uint16_t actual; /* what it is */
	unsigned worker;
	int fd;	   /* the worker's, once it listens */
	bool ours; /* still to be closed here */
};
/* All sockets: those of one address stand together, by worker. */
struct listening {
	struct bound *bound;
	unsigned n;
};

/* ---- inherited.c: what the service manager handed over; its descriptors stay open for good ---- */
#define INHERITED_MAX 64
struct inherited {
	struct inherited_socket {
		struct addr addr;
		uint16_t port;
		int fd;
	} sockets[INHERITED_MAX];
	unsigned n;
};
/* EX_OK, also when nothing was; else an exit code with a sentence in error. */
int inherited_init(struct inherited *ret, char *error, size_t error_max);
/* The descriptor of this address; -1: none. */
int inherited_find(const struct inherited *h, const struct addr *addr, uint16_t port);
/* An error if one of them is not among l's addresses. */
int inherited_check(
	const struct inherited *h, const struct listening *l, char *error, size_t error_max);

/* Where sockets come from. */
struct listening_from {
	const struct inherited *inherited;
	const struct listening *before; /* NULL: nothing is bound yet */
	unsigned nworkers;
};
/* Binds what g wants, and takes from before and from the inherited ones what is bound already. 0, or
 * an exit code with a sentence in error; what was newly bound is closed then. */
int listening_new(struct listening *ret, const struct generation *g,
	const struct listening_from *from, char *error, size_t error_max);
void listening_close(struct listening *l); /* closes what is ours, frees */
bool listening_has(const struct listening *l, int fd);
/* For the dispatcher: by address, once. NULL: no memory. */
struct dispatch_endpoint *listening_endpoints(const struct listening *l, unsigned *n);
void listening_say(const struct listening *l, const struct generation *g, struct log *log,
	const struct listening *before);

struct service {
	struct generation *first, *now;
	uint32_t listener_seq; /* numbers given to listeners */
	pthread_mutex_t reload_lock;
	struct log *log;
	struct queue *queue;
	struct dispatch *dispatch;
	struct worker *workers[WORKERS_MAX];
	unsigned nworkers;
	uint32_t outbound_max;	       /* as descriptors allow */
	struct session_limits *limits; /* counted over all workers */
	struct inherited inherited;
	struct listening listening;
	bool reload_failed; /* the last one; under the lock, as is the next */
	ms_t reloaded;	    /* wall */
	struct survey *survey;
	struct control *control;
	struct http *http;
	struct ops_context ops;
	char *error;
	size_t error_max;
};
/* A listener keeps the number of the one that had its name before. */
void service_number_listeners(struct service *s, struct config *next);
