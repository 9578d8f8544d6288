/* The next hop of an outbound connection, played by the test itself after a script, and the
 * dispatcher's part: orders to the worker and what comes back. */
#pragma once

#include "../worker/rig.h"

extern struct certificates hop_files;

struct hop {
	int listening;
	uint16_t port;
	struct peer p;
	struct play play;
};

#define FULL                                                                                       \
	">220 mx.example.test ESMTP", "<EHLO out.example.test",                                    \
		">250-mx.example.test|250-PIPELINING|250-CHUNKING|250 SIZE 99000000"
#define PLAIN_PIPE                                                                                 \
	">220 mx.example.test ESMTP", "<EHLO out.example.test",                                    \
		">250-mx.example.test|250 PIPELINING"
#define BARE ">220 mx.example.test ESMTP", "<EHLO out.example.test", ">250 mx.example.test"

/* One recipient's transaction as one flight, and the answers to it. */
#define ONE_FLIGHT "<MAIL", "<RCPT", "b"
#define ONE_TAKEN  ">250 ok", ">250 ok", ">250 queued"

struct expected {
	enum rcpt_outcome outcome;
	uint16_t code;
};
#define RESULT(...) ((const struct expected[]){ __VA_ARGS__ })
#define DELIVERED   RESULT({ RCPT_DELIVERED, 250 })

/* Of a group of tests: makes and removes hop_files. */
int hop_setup(void **state);
int hop_teardown(void **state);

void hop_open(struct hop *h);
void hop_accept(struct hop *h);
void hop_close(struct hop *h);
void hop_run(struct hop *h, const char *const *script);
struct outbound_event *event_next(struct rig *r, enum outbound_event_kind kind);
void order_post(struct rig *r, struct outbound_order *o);
struct outbound_connect *connect_order(const struct hop *h, uint64_t number);
void connect_tls(struct outbound_connect *o, enum tls_mode mode);
/* The content is in memory, or (accept_into_queue) in the queue alone. */
struct message *message_make(struct rig *r, const char *content, size_t n, uint32_t recipients);
struct outbound_transact *transact_order(struct message *m, uint64_t number);
void order_message(struct rig *r, const char *content, uint64_t number); /* one recipient */
void order_quit(struct rig *r, uint64_t number);
void event_up(struct rig *r);
void event_down(struct rig *r, int error, const char *why);
void event_result(struct rig *r, const struct expected *want);
/* A worker and a next hop that listens; then a connection between them by this order, or by one as
 * connect_order has it, up to the event UP. */
void hop_start(struct rig *r, struct hop *h);
void hop_greet(
	struct rig *r, struct hop *h, struct outbound_connect *o, const char *const *greeting);
void hop_up(struct rig *r, struct hop *h, const char *const *greeting);
/* The connection ends as ordered. */
void hop_quit(struct rig *r, struct hop *h, uint64_t number);
void hop_down(struct rig *r, struct hop *h);
void order_transact(struct rig *r, const char *content, uint32_t recipients);
