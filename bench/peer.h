/* What load generator and sink share: buffered non-blocking lines over epoll. One thread, no relay
 * code: what is measured must not measure itself. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEER_IN (64 * 1024)

struct peer {
	int fd;
	bool want_write;
	char *out;
	size_t out_off, out_len, out_cap;
	char in[PEER_IN];
	size_t in_off, in_len;
};

uint64_t now_us(void);
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
uint64_t number_arg(const char *name, const char *text, uint64_t min, uint64_t max);
void peer_out(struct peer *p, const char *data, size_t n);
/* False when the connection is gone. Asks epoll for writability only while the kernel's buffer is
 * full. */
bool peer_flush(struct peer *p, int epoll, void *tag);
/* Reads once. False at the end. */
bool peer_fill(struct peer *p);
/* The next line without CRLF, NUL-terminated in place; NULL when there is none yet. */
char *peer_line(struct peer *p, size_t *n);
