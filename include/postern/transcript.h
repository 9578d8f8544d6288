/* What was said in an outbound session: greeting, EHLO, TLS, every command and reply, with times;
 * never content. Pure: time is an argument. */
#pragma once

#include "postern/buf.h"
#include "postern/clock.h"

#define TRANSCRIPT_MAX 8192u /* bytes of one: what comes then is left out, and said to be */

enum transcript_who { TRANSCRIPT_US, TRANSCRIPT_THEM, TRANSCRIPT_NOTE };

/* Of a connection: what led to its being ready, and its last transaction. One owner. */
struct recorder {
	char *a;
	uint32_t n, cap, head, last; /* last: the entry that may go on; UINT32_MAX: none */
	bool cut, headed;
};
/* ms: since the connection was begun. Without memory it is lost. */
void recorder_add(struct recorder *r, enum transcript_who who, ms_t ms, struct slice bytes);
/* Another transaction begins: the one before is forgotten. */
void recorder_next(struct recorder *r);
void recorder_deinit(struct recorder *r);

struct transcript {
	bool refused, cut;
	bool hidden; /* the local parts of its addresses are hashes already */
	uint32_t n;
	char a[];
};
/* A copy of what is there. NULL: no memory. The caller frees it. */
struct transcript *recorder_take(const struct recorder *r, bool refused);
/* Its lines, in order, without their ends; they are the peer's in part. */
void transcript_each(const struct transcript *t,
	void (*fn)(void *arg, enum transcript_who who, ms_t ms, struct slice line), void *arg);
/* The line with the local part of each address in it as "#" and eight hexadecimal digits, the same for
 * the same address as long as the secret is. 0, -ENOMEM, -ENOBUFS. */
int transcript_hide(struct buf *out, struct slice line, uint64_t secret);

/* Its lines as they are kept in a file, hidden if asked. 0, -ENOMEM, -ENOBUFS. */
int transcript_pack(struct buf *out, const struct transcript *t, bool hide, uint64_t secret);
/* From what was packed; the caller sets what is not lines. 0, -EBADMSG: that was not packed, -ENOMEM. */
int transcript_unpack(struct transcript **ret, struct slice in);
