/* DATA and BDAT: content of the inbound state machine, from its first byte to the commit. Called
 * from server.c; pure. */
#include "server.h"

#include <errno.h>
#include <stdio.h>

#include "postern/authors.h"
#include "postern/foreign.h"
#include "postern/must.h"
#include "postern/text.h"

/* Content is taken in pieces, so that the limits are looked at however much the caller gives at
 * once. */
#define PIECE_MAX  65536u
#define REPLY_SIZE "552 5.3.4 Message is larger than this server accepts"
#define REPLY_BARE "550 5.6.11 Message has a bare CR or LF; end its lines with CR LF"

/* ---- beginning ---- */

int server_data(struct smtp_server *s, const struct smtp_command *c, struct buf *out)
{
	if (s->message->body_type == BODY_BINARYMIME)
		return server_refuse(s, out, REJECT_ORDER, "503 5.5.1 BODY=BINARYMIME needs BDAT");
	s->by_chunks = false;
	s->pending = SERVER_BEGIN;
	return 0;
}

static int end_discard(struct smtp_server *s, struct buf *out)
{
	s->input = INPUT_COMMAND;
	return s->refusal_counts ? server_refuse(s, out, s->refusal_reason, s->refusal)
				 : server_defer(s, out, s->refusal_reason, s->refusal);
}

/* Octets that nobody wants: taken from the input, answered after the last. */
static int discard(
	struct smtp_server *s, struct buf *out, const char *line, enum smtp_reject why, bool counts)
{
	s->refusal = line;
	s->refusal_reason = why;
	s->refusal_counts = counts;
	s->input = INPUT_DISCARD;
	return s->chunk_left ? 0 : end_discard(s, out);
}

int server_bdat_refuse(struct smtp_server *s, const struct smtp_command *c, struct buf *out,
	const char *line, enum smtp_reject why)
{
	s->chunk_left = c->size;
	return discard(s, out, line, why, why != REJECT_NONE);
}

/* The transaction ends within a chunk; the chunks that are on their way are not the client's fault.
 */
static int give_up_chunk(
	struct smtp_server *s, struct buf *out, enum smtp_reject why, const char *line)
{
	server_reset(s);
	s->refused = true;
	return discard(s, out, line, why, false);
}

static int chunk_end(struct smtp_server *s, struct buf *out);

int server_bdat(struct smtp_server *s, const struct smtp_command *c, struct buf *out)
{
	uint64_t had = s->state == STATE_CHUNKS ? s->decoder.content : 0;

	s->chunk_left = s->chunk_size = c->size;
	s->chunk_last = c->last;
	if (s->p->size_max && c->size > s->p->size_max - had)
		return give_up_chunk(s, out, REJECT_SIZE, REPLY_SIZE);
	if (s->state == STATE_RCPT) {
		s->by_chunks = true;
		s->pending = SERVER_BEGIN;
		return 0;
	}
	s->input = INPUT_CHUNK;
	return s->chunk_left ? 0 : chunk_end(s, out);
}

/* RFC 3848 and RFC 6531 section 4.3 */
static const char *with_protocol(const struct smtp_server *s)
{
	static const char *const names[2][4] = {
		{ "ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA" },
		{ "UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA" },
	};
	unsigned i = (s->peer.tls ? 1u : 0u) | (server_has_logged_in(s) ? 2u : 0u);
	bool utf8 = s->message->flags & MESSAGE_SMTPUTF8;

	return s->esmtp || i || utf8 ? names[utf8][i] : "SMTP";
}

static int add_received(struct smtp_server *s, const char *id)
{
	struct message *m = s->message;
	struct received_params p = {
		.helo = s->helo,
		.client = s->peer.client_text,
		.hostname = s->p->hostname,
		.with = with_protocol(s),
		.tls = s->tls[0] ? s->tls : NULL,
		.id = id,
		/* with several, one recipient would learn of the others */
		.for_ = m->nrecipients == 1 ? m->recipients[0].address : NULL,
		/* the user's name is for our logs, not for the world */
		.user = NULL,
		.wall = s->wall,
		.zone_minutes = s->p->zone_minutes,
	};
	int r;

	buf_reset(&s->scratch);
	r = received_build(&s->scratch, &p);
	return r ? r : body_append(m->body, buf_slice(&s->scratch));
}

/* Values that the header filter may need later; they live in the message's arena. */
static int header_params(struct smtp_server *s, const char *id, struct header_filter_params *ret)
{
	struct message *m = s->message;
	char date[CLOCK_RFC5322_MAX];
	char *date_copy, *mid;
	int r;

	clock_rfc5322(date, s->wall, s->p->zone_minutes);
	buf_reset(&s->scratch);
	r = buf_add(&s->scratch, "<", 1);
	if (!r)
		r = buf_add_str(&s->scratch, id);
	if (!r)
		r = buf_add(&s->scratch, "@", 1);
	if (!r)
		r = buf_add_str(&s->scratch, s->p->hostname);
	if (!r)
		r = buf_add(&s->scratch, ">", 1);
	if (r)
		return r;
	date_copy = arena_strdup(&m->arena, slice_of(date));
	mid = arena_strdup(&m->arena, buf_slice(&s->scratch));
	if (!date_copy || !mid)
		return -ENOMEM;
	*ret = (struct header_filter_params){
		.pool_header = SLICE_LIT("X-Postern-Pool"),
		.tag_header = SLICE_LIT("X-Postern-Tag"),
		.class_header = SLICE_LIT("X-Postern-Class"),
		.missing_date = slice_of(date_copy),
		.missing_id = { mid, buf_size(&s->scratch) },
		.pool_allowed = s->p->pool_header,
		.class_allowed = s->p->class_header,
		.header_max = s->p->header_max,
		.hold = &s->scratch,
		.keep = { .names = s->p->keep_headers, .n = s->p->nkeep_headers, .out = &s->kept },
	};
	return 0;
}

static int begin_content(struct smtp_server *s, uint64_t id)
{
	struct header_filter_params hp;
	char text[QUEUE_ID_TEXT + 1];
	int r;

	s->id = s->message->id = id;
	s->message->arrived = s->wall;
	s->message->body = body_new();
	if (!s->message->body)
		return -ENOMEM;
	queue_id_format(text, id);
	r = add_received(s, text);
	if (!r)
		r = header_params(s, text, &hp);
	if (r)
		return r;
	header_filter_init(&s->filter, s->message->body, &hp);
	data_decoder_init(&s->decoder, s->p->bare_newline, s->p->content_line_max);
	s->swallow = false;
	return 0;
}

static enum smtp_reject reject_of(enum smtp_commit_result why)
{
	return why == COMMIT_SHUTDOWN ? REJECT_SHUTDOWN : REJECT_QUEUE;
}

static const char *refusal_of(enum smtp_commit_result why)
{
	switch (why) {
	case COMMIT_FULL:
		return "452 4.3.1 Queue is full; try again later";
	case COMMIT_SHUTDOWN:
		return "421 4.3.2 Shutting down; try again later";
	case COMMIT_OK:
	case COMMIT_ERROR:
		break;
	}
	return "451 4.3.0 Message cannot be stored now; try again later";
}

int smtp_server_begun(
	struct smtp_server *s, uint64_t id, enum smtp_commit_result why, struct buf *out, ms_t wall)
{
	int r;

	if (s->pending == SERVER_CLOSE)
		return 0; /* it was shut down meanwhile */
	must(s->pending == SERVER_BEGIN);
	s->pending = SERVER_READ;
	s->wall = wall;
	if (id == 0 && why == COMMIT_SHUTDOWN)
		return server_end(s, out, REJECT_SHUTDOWN, refusal_of(why));
	if (id == 0 && s->by_chunks)
		return give_up_chunk(s, out, reject_of(why), refusal_of(why));
	if (id == 0) {
		server_reset(s);
		return server_defer(s, out, reject_of(why), refusal_of(why));
	}
	r = begin_content(s, id);
	if (r)
		return r;
	if (!s->by_chunks) {
		s->input = INPUT_DATA;
		return server_say(out, "354 End data with <CR><LF>.<CR><LF>");
	}
	s->state = STATE_CHUNKS;
	s->input = INPUT_CHUNK;
	return s->chunk_left ? 0 : chunk_end(s, out);
}

/* ---- end ---- */

static bool over_size(const struct smtp_server *s)
{
	return s->p->size_max && s->decoder.content > s->p->size_max;
}

static bool bare_refused(const struct smtp_server *s)
{
	return (s->decoder.bare && s->p->bare_newline == BARE_REJECT) || s->filter.bare;
}

static const char *pool_refusal(const struct smtp_server *s)
{
	const struct header_filter *f = &s->filter;

	if (!s->p->pool_header || (!f->pool[0] && !f->pool_bad))
		return NULL;
	if (!f->pool_bad && (!s->p->pool_known || s->p->pool_known(s->p->arg, f->pool)))
		return NULL;
	return "550 5.7.1 X-Postern-Pool names no pool of this server";
}

/* Why complete content is refused, or NULL. */
static const char *content_refusal(const struct smtp_server *s, enum smtp_reject *why)
{
	*why = REJECT_SIZE;
	if (over_size(s))
		return REPLY_SIZE;
	*why = REJECT_CONTENT;
	if (bare_refused(s))
		return REPLY_BARE;
	if (s->decoder.nul || s->filter.nul)
		return "550 5.6.0 Message has a NUL byte";
	if (s->decoder.long_line && s->message->body_type != BODY_BINARYMIME)
		return "550 5.6.0 Message has a line that is too long; encode it";
	if (s->filter.over)
		return "552 5.3.4 Header section is larger than this server accepts";
	*why = REJECT_LOOP;
	if (s->p->received_max && s->filter.received > s->p->received_max)
		return "554 5.4.6 Too many Received fields: mail loop";
	*why = REJECT_POOL;
	return pool_refusal(s);
}

/* Text of the message that must outlive session and configuration. */
static const char *keep(struct message *m, const char *text, bool *ok)
{
	const char *copy;

	if (!text || !*text)
		return NULL;
	copy = arena_strdup(&m->arena, slice_of(text));
	if (!copy)
		*ok = false;
	return copy;
}

static const char *keep_slice(struct message *m, struct slice text, bool *ok)
{
	const char *copy = text.n ? arena_strdup(&m->arena, text) : NULL;

	*ok = *ok && (copy || !text.n);
	return copy;
}

/* A text of the header as it can be kept: whole characters, and nothing that a line of ours could
 * end with. */
static const char *keep_label(struct message *m, const char *text, bool *ok)
{
	char clean[HEADER_TAG_MAX + 1];

	snprintf(clean, sizeof(clean), "%s", text);
	foreign_end(clean);
	for (char *c = clean; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '_';
	return keep(m, clean, ok);
}

static const char *from_domain(const struct smtp_server *s, struct message *m, bool *ok)
{
	struct authors a;

	a.n = 0; /* its names need no zeroes */
	authors_add(&a, (struct slice){ s->filter.from, s->filter.from_n }, s->p->domain_to_ascii);
	return a.n ? keep(m, a.domain[0], ok) : NULL;
}

static int complete_message(struct smtp_server *s)
{
	struct message *m = s->message;
	const char *pool = NULL, *client;
	bool ok = true;

	if (s->p->pool_header)
		pool = keep(m, s->filter.pool, &ok);
	client = keep(m, s->peer.client_text, &ok);
	m->helo = keep(m, s->helo, &ok);
	m->user = keep(m, s->user, &ok);
	m->listener = keep(m, s->p->listener, &ok);
	m->message_id = keep(m, s->filter.message_id, &ok);
	m->tag = keep_label(m, s->filter.tag, &ok);
	m->headers = keep_slice(m, buf_slice(&s->kept), &ok);
	m->from_domain = from_domain(s, m, &ok);
	if (!ok)
		return -ENOMEM;
	if (pool)
		m->pool = pool;
	m->client = client ? client : "";
	if (s->decoder.eight_bit)
		m->flags |= MESSAGE_8BIT_CONTENT;
	if (s->filter.malformed)
		m->flags |= MESSAGE_HEADER_MENDED;
	if (s->filter.cut)
		m->flags |= MESSAGE_HEADER_CUT;
	m->size = m->body->size;
	return 0;
}

/* Of a message that is complete but for it. Not known by name: *refusal. */
static int classify_message(struct smtp_server *s, const char **refusal)
{
	struct smtp_class c = { .expire = s->p->expire };
	const char *wanted = s->filter.class[0] ? s->filter.class : NULL;
	struct message *m = s->message;
	bool ok = true;

	*refusal = NULL;
	if (s->filter.class_bad ||
		(s->p->class_of ? !s->p->class_of(s->p->arg, m, wanted, &c) : wanted != NULL)) {
		*refusal = "550 5.7.1 X-Postern-Class names no class of this server";
		return 0;
	}
	m->class = keep(m, c.name, &ok);
	m->expires = m->arrived + c.expire;
	body_seal(m->body);
	return ok ? 0 : -ENOMEM;
}

static int content_end(struct smtp_server *s, struct buf *out)
{
	enum smtp_reject why;
	const char *line;
	int r = 0;

	if (!s->swallow)
		r = header_filter_end(&s->filter);
	if (r)
		return r;
	line = content_refusal(s, &why);
	if (line) {
		r = server_defer(s, out, why, line);
		server_reset(s);
		return r;
	}
	r = complete_message(s);
	if (!r)
		r = classify_message(s, &line);
	if (r)
		return r;
	if (line) {
		r = server_defer(s, out, REJECT_CLASS, line);
		server_reset(s);
		return r;
	}
	s->input = INPUT_COMMAND;
	s->pending = SERVER_COMMIT;
	return 0;
}

struct message *smtp_server_take_message(struct smtp_server *s)
{
	struct message *m = s->message;

	must(s->pending == SERVER_COMMIT);
	s->message = NULL;
	return m;
}

static int say_queued(const struct smtp_server *s, struct buf *out)
{
	char id[QUEUE_ID_TEXT + 1];
	int r = buf_add_str(out, "250 2.0.0 Ok: queued as ");

	queue_id_format(id, s->id);
	return r ? r : server_say(out, id);
}

int smtp_server_committed(struct smtp_server *s, enum smtp_commit_result r, struct buf *out)
{
	if (s->pending == SERVER_CLOSE)
		return 0; /* it was shut down meanwhile, and told so */
	must(s->pending == SERVER_COMMIT);
	s->pending = SERVER_READ;
	server_reset(s);
	if (r == COMMIT_OK) {
		s->messages++;
		s->errors = s->errors_all = s->bad_recipients = 0;
		return say_queued(s, out);
	}
	if (r == COMMIT_SHUTDOWN)
		return server_end(s, out, REJECT_SHUTDOWN, refusal_of(r));
	return server_defer(s, out, reject_of(r), refusal_of(r));
}

/* ---- content ---- */

bool server_must_flush(const struct smtp_server *s)
{
	const struct body *b = s->message ? s->message->body : NULL;

	return b && s->p->stream_over && b->size - b->taken >= s->p->stream_over && b->first &&
	       b->first->len == b->first->cap;
}

static int take_data(struct smtp_server *s, struct slice in, size_t *used, struct buf *out)
{
	enum data_status status;
	int r = data_feed(&s->decoder, in, used, s->swallow ? NULL : &s->filter, &status);

	s->bytes += *used;
	if (r)
		return r;
	if (!s->swallow && (over_size(s) || bare_refused(s))) {
		/* nothing of it will be needed; what follows is read for its end alone */
		s->swallow = true;
		server_drop_message(s);
	}
	return status == DATA_END ? content_end(s, out) : 0;
}

static int chunk_end(struct smtp_server *s, struct buf *out)
{
	int r = 0;

	s->input = INPUT_COMMAND;
	if (!s->chunk_last)
		return buf_printf(out, "250 2.0.0 %llu octets received\r\n",
			(unsigned long long)s->chunk_size);
	if (s->message->body_type != BODY_BINARYMIME)
		r = data_chunk_end(&s->decoder, &s->filter);
	return r ? r : content_end(s, out);
}

static int take_chunk(struct smtp_server *s, struct slice in, size_t *used, struct buf *out)
{
	bool binary = s->message->body_type == BODY_BINARYMIME;
	int r;

	if (in.n > s->chunk_left)
		in.n = (size_t)s->chunk_left;
	r = data_chunk(&s->decoder, in, binary, &s->filter);
	*used = in.n;
	s->bytes += in.n;
	s->chunk_left -= in.n;
	if (r)
		return r;
	if (over_size(s))
		return give_up_chunk(s, out, REJECT_SIZE, REPLY_SIZE);
	if (bare_refused(s))
		return give_up_chunk(s, out, REJECT_CONTENT, REPLY_BARE);
	return s->chunk_left ? 0 : chunk_end(s, out);
}

static int take_discarded(struct smtp_server *s, struct slice in, size_t *used, struct buf *out)
{
	*used = in.n < s->chunk_left ? in.n : (size_t)s->chunk_left;
	s->chunk_left -= *used;
	return s->chunk_left ? 0 : end_discard(s, out);
}

int server_content(struct smtp_server *s, struct slice in, size_t *used, struct buf *out)
{
	if (in.n > PIECE_MAX)
		in.n = PIECE_MAX;
	if (s->input == INPUT_DATA)
		return take_data(s, in, used, out);
	if (s->input == INPUT_CHUNK)
		return take_chunk(s, in, used, out);
	return take_discarded(s, in, used, out);
}
