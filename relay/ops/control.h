/* Inside relay/ops: how a control command answers. */
#pragma once

#include <jansson.h>

#include "postern/answer.h"
#include "postern/ops.h"

/* One client while it is served. (control_say.c) */
struct control_client {
	const struct ops_context *ctx;
	int fd;
	struct buf out;	  /* lines not yet sent */
	bool broken;	  /* the client is gone: stop producing */
	bool lost;	  /* an answer could not be made: told at the end */
	int exit;	  /* of sysexits.h */
	char error[4096]; /* "" when all went well */
};

/* Sends one object as a line and drops the reference; gathers small ones. False when the client is
 * gone. NULL or null, an object that could not be made: the client is told that the answer is not
 * whole. */
bool control_say(struct control_client *c, json_t *object);
bool control_flush(struct control_client *c);
/* Each entry as a line; the reference is dropped. Gathered before, on the dispatcher's thread, so
 * that a slow client never holds that up. */
void control_say_all(struct control_client *c, json_t *array);
/* The answer to what was changed in the policy: given when it is on disk, so that no kill forgets
 * it. (commands_traffic.c) */
void control_record(struct control_client *c, const char *what);
void control_fail(struct control_client *c, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* What waits, by recipient domain, most first; one of them when it is named. (domains.c) */
void domains_say(struct control_client *c, const char *only, uint64_t limit);

struct control_command {
	const char *name;
	void (*run)(struct control_client *c, const json_t *request);
};
/* One table a file, ended by a row without name. */
extern const struct control_command commands_queue[], commands_traffic[], commands_service[],
	commands_warmup[], commands_why[], commands_history[], commands_transcript[];

/* Requests (request.c). Parse: NULL, and why, when it is none; its members are then texts of
 * bounded length, whole numbers, truth values. */
json_t *request_parse(struct slice line, const char **why);
#define REQUEST_DOMAIN 256
/* In lower case. 0, -ENOENT missing, -EINVAL */
int request_domain(const json_t *request, const char *key, char ret[REQUEST_DOMAIN]);
const char *request_str(const json_t *request, const char *key); /* NULL when missing */
bool request_bool(const json_t *request, const char *key);
int request_id(
	const json_t *request, const char *key, uint64_t *id); /* 0, -ENOENT missing, -EINVAL */
/* Whom the request means: its terms in "select", without those of the reason if no_reason;
 * "id" and "domain" are terms, too. 0; else
 * a sentence in why: -EINVAL, -E2BIG, -ENOMEM. */
#define REQUEST_WHY 600
int request_selector(
	const json_t *request, bool no_reason, struct selector **ret, char why[REQUEST_WHY]);
