/* The next hop of an outbound connection, played by the test itself after a script, and the
 * dispatcher's part: orders to the worker and what comes back. */
#pragma once

#include "../net/certificates.h"
#include "../worker/rig.h"

extern struct certificates hop_files; /* made by the test's main */

struct hop {
	int listening;
	uint16_t port;
	struct peer p;
	char *content; /* of the last message, heap */
	size_t content_n;
};

/* Follows the script: each step is one letter and its text.
 *   <text  must receive a line that begins so      >text  sends the line(s); '|' ends a line
 *   b      BDAT n LAST and n bytes                  d      content after DATA up to its end
 *   t      TLS as server                            x      closes; r resets the connection
 *   .      waits until the other side has closed */
#define SCRIPT(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define FULL                                                                                       \
	">220 mx.example.test ESMTP", "<EHLO out.example.test",                                    \
		">250-mx.example.test|250-PIPELINING|250-CHUNKING|250 SIZE 99000000"
#define PLAIN_PIPE                                                                                 \
	">220 mx.example.test ESMTP", "<EHLO out.example.test",                                    \
		">250-mx.example.test|250 PIPELINING"
#define BARE ">220 mx.example.test ESMTP", "<EHLO out.example.test", ">250 mx.example.test"

struct expected {
	enum rcpt_outcome outcome;
	uint16_t code;
};
#define RESULT(...) ((const struct expected[]){ __VA_ARGS__ })

void hop_open(struct hop *h);
void hop_accept(struct hop *h);
void hop_close(struct hop *h);
void hop_run(struct hop *h, const char *const *script);
struct outbound_event *event_next(struct rig *r, enum outbound_event_kind kind);
void order_post(struct rig *r, struct outbound_order *o);
struct outbound_connect *connect_order(const struct hop *h, uint64_t number);
void connect_tls(struct outbound_connect *o, enum tls_mode mode);
struct message *message_make(struct rig *r, const char *content, size_t n, uint32_t recipients);
struct outbound_transact *transact_order(struct message *m, uint64_t number);
void order_quit(struct rig *r, uint64_t number);
void event_up(struct rig *r);
void event_down(struct rig *r, int error, const char *why);
void event_result(struct rig *r, const struct expected *want);
void hop_up(struct rig *r, struct hop *h, const char *const *greeting);
void hop_down(struct rig *r, struct hop *h);
void order_transact(struct rig *r, const char *content, uint32_t recipients);
