/* Operation: the control socket that the command line talks to, and HTTP for metrics and health.
 * Read commands answer from snapshots and short read transactions, so that watching the relay does
 * not slow it down. */
#pragma once

#include "postern/config.h"
#include "postern/dispatch.h"
#include "postern/queue.h"
#include "postern/worker.h"

/* Counts what waits and why, now and then, on a thread of its own; control and http read it. It ends
 * before the dispatcher does. */
struct survey;
int survey_start(struct survey **ret, struct queue *queue, struct dispatch *dispatch); /* -errno */
struct survey *survey_stop(struct survey *s); /* NULL-safe */

/* Files that a reload reads: their age and end. */
#define OPS_CERTIFICATES 64u
struct ops_files {
	bool reload_failed; /* the last one: an older configuration is in force */
	ms_t reloaded;	    /* wall; when that was read */
	unsigned ncertificates;
	struct ops_certificate {
		char listener[64];
		ms_t expires; /* wall; of the first of its chain that ends */
	} certificates[OPS_CERTIFICATES];
};

/* What the rooms above are, for as long as control and http run. All borrowed. */
struct ops_context {
	struct queue *queue;
	struct dispatch *dispatch;
	struct worker **workers;
	unsigned nworkers;
	struct session_limits *limits;
	struct survey *survey;
	struct log *log;
	uint64_t secret;	   /* of hashes that people see */
	bool transcript_addresses; /* are shown in clear */
	ms_t started;		   /* wall */
	/* Any thread, as all of these. Reads the configuration again. Appends errors or warnings to
	 * why, and the options that need a restart to restart. */
	int (*reload)(void *arg, struct buf *why, struct buf *restart);
	int (*running)(void *arg, struct buf *out); /* the values in force */
	void (*hostname)(void *arg, char out[256]);
	/* Appends which reply rules are in force, of what date. Any thread. 0, -ENOMEM. */
	int (*rules)(void *arg, struct buf *out);
	/* Of the configuration in force. Any thread. */
	void (*files)(void *arg, struct ops_files *ret);
	void *arg;
};

/* The control protocol: over a Unix stream socket the client sends one JSON object on a line,
 * {"command": NAME, …}; the answer is any number of JSON objects, one a line, and last {"done":
 * true, "exit": N, "error": TEXT?} with an exit code of sysexits.h. At most 64 clients at once; a
 * request comes whole within 10 s, and a client that does not read for 30 s is dropped. */
struct control;
int control_start(struct control **ret, const struct ops_context *ctx, const char *path,
	uint32_t mode, char *error, size_t error_max);
struct control *control_stop(
	struct control *c); /* waits for running commands; removes the socket; NULL-safe */

/* GET / and the views beside it (pages for people; each with .json, too), /history.json (by, step, since, of, sum as `postern history` has them),
 * /metrics (Prometheus text format 0.0.4), /health (200 "ok", or 503
 * with the reason). Read only. */
struct http;
struct http_params {
	struct addr addr;
	uint16_t port;
	/* What it holds everything but /health asks for; NULL: nothing is, and at an address that is
	 * not loopback the pages are not shown. */
	const char *token_file;
};
int http_start(struct http **ret, const struct ops_context *ctx, const struct http_params *params,
	uint16_t *bound, char *error, size_t error_max);
struct http *http_stop(struct http *h);
/* The text of /metrics. */
int metrics_render(struct buf *out, const struct ops_context *ctx);
/* Is the service well? 0, or 1 with one sentence. */
int health_check(const struct ops_context *ctx, char *why, size_t why_max);
/* Is new mail refused for lack of space, or was it in the last ten seconds? */
bool health_full(const struct queue_stats *s);
