/* What hosts offer and cannot do: host_memory.c. The dispatcher's thread alone. */
#pragma once

#include "dispatcher.h"

/* enum extension: what a connection from there to there is to do without. */
unsigned host_memory_without(
	const struct dispatch *d, const struct addr *host, const struct addr *source);
/* A transaction came back. True: it failed by what is off from now on; its recipients that were
 * lost, are in doubt, or were answered by t->suspect_reply, are to be tried again at once. */
bool host_memory_result(
	struct dispatch *d, struct connection *c, const struct outbound_transact *t);
/* A session stands. */
void host_memory_up(struct dispatch *d, struct connection *c);
/* One ended before it stood, by TLS. True: try again at once, with what host_memory_without says
 * then. False with `require` and `verify`, always. */
bool host_memory_tls(struct dispatch *d, struct connection *c, const char *why);
/* Its name, for text. */
const char *host_memory_name(unsigned extension);
/* Other sources have TLS at its host: what is broken is the way from this one. */
bool host_memory_tls_elsewhere(const struct connection *c);
void host_memory_sweep(struct dispatch *d);
#define HOST_MEMORY_PREFIX "without/" /* of its keys in the queue's learned state */
/* What changed since the last time. value.p NULL: the entry is to be deleted. */
void host_memory_save(struct dispatch *d,
	void (*put)(void *arg, struct slice key, struct slice value), void *arg);
int host_memory_load(struct dispatch *d, struct slice key, struct slice value); /* -EINVAL … */
void host_memory_free(struct dispatch *d);
