/* Stored form of the queue's records. Pure: bytes in, values out.
 *
 * A record is a version byte, fields, and a CRC-32C of all before it (4 bytes, little-endian).
 * Numbers are LEB128 varints (signed ones zigzag), text is varint(length + 1) and its bytes, where
 * 0 stands for "none". Decoding accepts any bytes: -EBADMSG for what no encoder wrote, -EPROTO
 * for a version from the future. */
#pragma once

#include <stdint.h>

#include "postern/arena.h"
#include "postern/buf.h"
#include "postern/message.h"
#include "postern/queue.h"

#define REPLY_TEXT_MAX 512u

uint32_t crc32c(uint32_t crc, const void *p, size_t n);		 /* start with 0 */
uint32_t crc32c_software(uint32_t crc, const void *p, size_t n); /* the same, for any processor */

/* Each appends one record to b. 0, -ENOMEM. */
int envelope_encode(struct buf *b, const struct message *m);
int recipient_encode(struct buf *b, const struct recipient *r, const struct queue_rcpt_state *s);

/* All text goes into a. Leaves id, recipients and body alone. 0, -EBADMSG, -EPROTO, -ENOMEM. */
int envelope_decode(struct message *m, struct slice in, struct arena *a);
/* Leaves r->index alone. */
int recipient_decode(
	struct recipient *r, struct queue_rcpt_state *s, struct slice in, struct arena *a);

/* What changing a record needs, without allocation; slices are borrowed from the record. */
struct recipient_brief {
	struct slice fixed; /* all that a change of state leaves as it is */
	struct slice domain;
	ms_t due;
};
int recipient_brief(struct recipient_brief *ret, struct slice in);
/* The same recipient with another state. 0, -ENOMEM. */
int recipient_restate(
	struct buf *b, const struct recipient_brief *old, const struct queue_rcpt_state *s);

struct envelope_brief {
	uint64_t size;
	uint32_t flags;
	uint8_t version;   /* of the record; changes keep it */
	struct slice rest; /* what follows the flags, up to the CRC */
};
int envelope_brief(struct envelope_brief *ret, struct slice in);
/* What a walk tells of a recipient, all but its index; borrowed from the record. 0, -EBADMSG. */
int recipient_who(struct queue_brief_rcpt *ret, struct slice in);
/* Who is meant by it, all but the id; borrowed from the record. 0, -EBADMSG. */
int envelope_who(const struct envelope_brief *e, struct selector_message *ret);
int envelope_reflag(struct buf *b, const struct envelope_brief *old, uint32_t flags);
/* 0; 1: it came before now, nothing is written; -EBADMSG, -ENOMEM. */
int envelope_restamp(struct buf *b, const struct envelope_brief *old, ms_t now);
