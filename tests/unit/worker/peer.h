/* The other end of a connection, played by the test itself on its own thread: as a client of the
 * relay step by step, or as the next hop after a script. A read or write that gets nowhere fails the
 * test after WAIT_MS. For receivers that act by themselves: tests/peers/mx.h. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "../net/certificates.h"
#include "postern/buf.h"

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

/* Follows a script: each step is one letter and its text.
 *   <text  must receive a line that begins so      >text  sends the line(s); '|' ends a line
 *   b      BDAT n LAST and n bytes                  d      content after DATA up to its end
 *   t      TLS as server                            x      closes; r resets the connection
 *   .      waits until the other side has closed */
#define SCRIPT(...) ((const char *const[]){ __VA_ARGS__, NULL })
struct play {
	const struct certificates *files; /* for t */
	char *content;			  /* of the last message; heap, the caller frees */
	size_t content_n;
};
void peer_play(struct peer *p, struct play *play, const char *const *script);

/* A text of n bytes in lines, with dots at some starts. Heap. */
char *text_make(size_t n);
