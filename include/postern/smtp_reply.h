/* Replies of the next host (RFC 5321 section 4.2, RFC 2034) and its EHLO answer. Pure. */
#pragma once

#include "postern/buf.h"

/* What is kept of a reply. Longer text and lines are cut at a character, and understood all the
 * same. */
#define REPLY_TEXT_MAX 2048
#define REPLY_LINE_MAX (REPLY_TEXT_MAX + 16)
/* What is read of one reply. Beyond it nobody means to end it: see REPLY_CUT. */
#define REPLY_BYTES_MAX 65536
#define REPLY_LINES_MAX 2000

enum reply_status {
	REPLY_MORE,
	REPLY_DONE,
	REPLY_CUT, /* it passed a bound: its code is known and stands, where it ends is not */
	REPLY_BAD
};

struct reply {
	uint16_t code;	     /* 200..599; 0: none (connection lost, time-out) */
	uint8_t enhanced[3]; /* class, subject and detail as far as they fit; see has_enhanced */
	uint16_t detail;     /* the third number: 606 of 5.7.606 */
	bool has_enhanced;
	bool truncated;
	uint16_t lines;
	uint32_t n;
	/* Lines joined by '\n', codes taken off, enhanced code kept; control bytes replaced by '?',
	 * then a NUL (n does not count it). Bytes after it are undefined. */
	char text[REPLY_TEXT_MAX];
};
/* Copies what is used, not all of the text's room. */
void reply_copy(struct reply *dst, const struct reply *src);
/* A reply of our own making; text starts with its enhanced code if it has one. code 0: no reply at
 * all. */
void reply_make(struct reply *r, uint16_t code, const char *text);
/* Reads a reply out of a log or a table: "550; 5.7.515 …", "451- 4.7.652 …", lines joined by LF
 * (each with or without its code). More forgiving than reply_feed. 0, -EINVAL when no code comes
 * first. */
int reply_from_text(struct reply *r, struct slice s);

struct ehlo;
struct reply_parser {
	struct reply reply;
	struct ehlo *ehlo; /* takes each line of a 2xx reply; borrowed; NULL: nobody */
	char line[REPLY_LINE_MAX];
	uint32_t line_n; /* bytes kept of an unfinished line */
	uint32_t bytes;	 /* of an unfinished reply */
	bool any;	 /* lines of an unfinished reply were taken */
};
void reply_parser_init(struct reply_parser *p);
/* Consumes at most in.n bytes, never past the end of a reply; says how many in *used. After DONE
 * p->reply holds the reply until the next call. Tolerates what real receivers send: LF alone, "250"
 * without text. BAD and CUT are final: whatever comes next cannot be credited to anything. */
enum reply_status reply_feed(struct reply_parser *p, struct slice in, size_t *used);
/* "5.7.606", or "" when there is none. */
void reply_enhanced_format(char out[16], const struct reply *r);
/* The whole reply on one line "451 4.7.500 Server busy …" for logs and DSNs; returns the length. */
size_t reply_format(char *out, size_t max, const struct reply *r);

struct ehlo {
	bool esmtp, pipelining, chunking, binarymime, eightbit, smtputf8, dsn, enhanced, starttls,
		size_given;
	uint64_t size;	/* 0: no limit */
	char name[256]; /* what the host calls itself */
};
/* One line of the 250 reply to EHLO, without its code; the first one clears e. Line by line, since
 * what a host offers may come behind more text than is kept. */
void ehlo_line(struct ehlo *e, struct slice line, bool first);
/* All lines of a reply, as far as its text was kept. */
void ehlo_parse(struct ehlo *e, const struct reply *r);
