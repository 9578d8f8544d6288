/* Message content on the wire: DATA with its dots and line ends, and the header filter. Pure. */
#pragma once

#include "postern/buf.h"
#include "postern/message.h"

/* What to do with a bare CR or LF in content (SMTP smuggling; RFC 5321 section 2.3.8). */
enum bare_newline { BARE_REJECT, BARE_FIX /* each becomes CRLF */ };

enum data_status {
	DATA_MORE,
	DATA_END, /* <CRLF>.<CRLF> seen */
};

/* Decoder for DATA (RFC 5321 section 4.5.2): takes dots off, finds the only legal end. A bare CR
 * or LF is noted in `bare` and, with BARE_REJECT, what follows is swallowed up to the real end and
 * must be refused. Also used for BDAT content (data_chunk), which has no dots and no end mark. */
struct data_decoder {
	uint8_t state;
	enum bare_newline mode;
	bool bare;		 /* a bare CR or LF was seen */
	bool nul;		 /* a NUL byte was seen */
	bool eight_bit;		 /* a byte over 127 was seen */
	bool long_line;		 /* a line over line_max bytes was seen */
	uint32_t line, line_max; /* bytes in this line; limit, CRLF not counted, 0 for none */
	uint64_t content;	 /* bytes of content so far, dots taken off */
};
void data_decoder_init(struct data_decoder *d, enum bare_newline mode, uint32_t line_max);

struct header_filter;
/* Consumes from in (says how many in *used: all, unless the end came), passes content on into the
 * filter (out NULL: it is swallowed, only the end is looked for). 0 or -ENOMEM, with *status. */
int data_feed(struct data_decoder *d, struct slice in, size_t *used, struct header_filter *out,
	enum data_status *status);
/* BDAT: all of in is content. binary: line ends are not looked at (BODY=BINARYMIME). */
int data_chunk(struct data_decoder *d, struct slice in, bool binary, struct header_filter *out);
int data_chunk_end(
	struct data_decoder *d, struct header_filter *out); /* after the last: a CR held back */

/* Passes content into a body; while in the header section it counts Received fields, notes what is
 * missing, takes out X-Postern-Pool, -Class and -Tag (keeping their values), keeps the first From
 * and at its end adds Date and Message-ID when they are missing (RFC 6409 section 8). Bcc and From
 * are left alone. At the head, lines "From …" and ">From …" of an mbox file are dropped. A line
 * that cannot be a header field, with well-known fields behind it, stays in the section as
 * X-Postern-Malformed; else it ends the section: a blank line is put before it. Header sections
 * over header_max bytes are passed on but no longer looked at (over is set). Content is copied
 * once, into the body; only the name of a field that is not yet known whole is held back. */
#define HEADER_NAME_MAX 200 /* a longer run without a colon is no field name */
#define HEADER_TAG_MAX	64
#define HEADER_KEPT_MAX 8   /* fields whose text is kept for the log */
#define HEADER_TEXT_MAX 200 /* bytes of the text of each */
/* Fields whose text is kept for the log. */
struct header_keep {
	const char *const *names; /* HEADER_KEPT_MAX at most */
	unsigned n;
	struct buf *out; /* borrowed: lines "Name: text\n", of each name its first; NULL: n is 0 */
	/* the filter's own */
	uint8_t seen; /* a bit a name */
	bool on;      /* the present field is being kept */
	uint32_t at;  /* where its text begins */
};
struct header_filter_params {
	struct slice pool_header;  /* "X-Postern-Pool"; empty: none is taken out */
	struct slice tag_header;   /* "X-Postern-Tag"; the same */
	struct slice class_header; /* "X-Postern-Class"; the same */
	struct slice missing_date; /* value for Date when missing */
	struct slice missing_id;   /* value for Message-ID when missing, with <> */
	bool pool_allowed;	   /* false: header removed, value ignored */
	bool class_allowed;	   /* the same */
	struct header_keep keep;
	uint32_t header_max; /* 0: no limit */
	struct buf *hold;    /* borrowed until header_filter_end: lines that may be broken fields.
			   * NULL: such a line ends the section at once */
};
struct header_filter {
	struct body *body;
	struct header_filter_params p;
	char name[HEADER_NAME_MAX]; /* start of the line under decision */
	uint16_t name_n;
	uint8_t state, field;
	bool last_cr; /* the value so far ends with CR */
	bool in_header, seen_date, seen_id, over;
	bool cut;  /* a line that is no field ended the section */
	bool bare; /* a bare CR or LF in the header section (binary content is not decoded before)
		    */
	bool nul;  /* a NUL byte there */
	bool pool_bad;	/* a pool name that does not fit: it must not be taken for its beginning */
	bool class_bad; /* the same of a class */
	uint16_t pool_n, class_n, message_id_n, tag_n, from_n;
	bool seen_tag, seen_from;
	char pool[64];		      /* value of the first pool header, "" when none */
	char class[64];		      /* of the first class header */
	char message_id[256];	      /* for the log; cut when longer */
	char tag[HEADER_TAG_MAX + 1]; /* of the first tag header; cut when longer */
	char from[640];		      /* value of the first From; cut when longer */
	uint32_t malformed;	      /* lines that became X-Postern-Malformed */
	uint32_t received;	      /* number of Received fields: loop detection */
	uint32_t bytes;		      /* of the header section */
};
/* p's slices must live until header_filter_end. body is borrowed. */
void header_filter_init(
	struct header_filter *f, struct body *body, const struct header_filter_params *p);
int header_filter_feed(struct header_filter *f, struct slice in); /* 0, -ENOMEM */
int header_filter_end(
	struct header_filter *f); /* end of content: completes an unfinished header section */

/* Encoder for DATA: given content, produces slices to send: dots doubled at line starts. Content
 * may come in any pieces. Fills at most max slices that point into in or at a constant; says how
 * much of in they cover. */
struct dot_stuffer {
	bool line_start; /* the next byte starts a line, and a dot there was not yet doubled */
	bool last_cr;
};
void dot_stuffer_init(struct dot_stuffer *d);
/* One slice more than there are dots at line starts is always enough; max must be at least 1. */
unsigned dot_stuff(
	struct dot_stuffer *d, struct slice in, struct slice *out, unsigned max, size_t *used);
/* The end: "\r\n.\r\n", or ".\r\n" when content ended with CRLF or was empty. */
struct slice dot_stuff_end(const struct dot_stuffer *d);

/* The Received field (RFC 5321 section 4.4, with-protocol types of RFC 3848/6531), folded, with
 * CRLF. tls: description such as "TLS1.3:TLS_AES_256_GCM_SHA384", NULL for none. for_: the only
 * recipient, or NULL. */
struct received_params {
	const char *helo, *client, *hostname, *with, *tls, *id, *for_, *user;
	ms_t wall;
	int zone_minutes;
};
int received_build(struct buf *out, const struct received_params *p);
