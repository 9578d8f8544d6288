/* The stored form of envelopes and recipients; see codec.h. Pure: bytes in, values out. Called by
 * the writer, by readers on any thread, and by check-queue.
 *
 * A decoder believes nothing: each number is bounded before it is used, and after an error the
 * reader gives zeros until the end, where the error is told. */
#include "codec.h"
#include "postern/foreign.h"

#include <errno.h>

/* 1: without what follows message_id; 2: without what follows tag. */
#define ENVELOPE_VERSION  3u
#define RECIPIENT_VERSION 1u
#define CRC_LEN		  4u
/* No text of an envelope is longer: what a decoder meets beyond is damage, not data. */
#define TEXT_MAX (1u << 20)

/* ---- writing ---- */

/* Sticky error, looked at once at the end: buf may be NULL-like after it, never half trusted. */
struct writer {
	struct buf *b;
	size_t start;
	int r;
};

static void put(struct writer *w, const void *p, size_t n)
{
	if (!w->r)
		w->r = buf_add(w->b, p, n);
}

static void put_u8(struct writer *w, uint8_t v)
{
	put(w, &v, 1);
}

static void put_varint(struct writer *w, uint64_t v)
{
	uint8_t t[10];
	size_t n = 0;

	while (v >= 0x80) {
		t[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	t[n++] = (uint8_t)v;
	put(w, t, n);
}

static void put_signed(struct writer *w, int64_t v)
{
	put_varint(w, ((uint64_t)v << 1) ^ (uint64_t)(v >> 63));
}

static void put_slice(struct writer *w, struct slice s)
{
	put_varint(w, s.n + 1);
	put(w, s.p, s.n);
}

static void put_text(struct writer *w, const char *s)
{
	if (s)
		put_slice(w, slice_of(s));
	else
		put_varint(w, 0);
}

static int put_crc(struct writer *w)
{
	uint32_t crc;
	uint8_t t[CRC_LEN];

	if (w->r)
		return w->r;
	crc = crc32c(0, w->b->p + w->start, w->b->len - w->start);
	for (unsigned i = 0; i < CRC_LEN; i++)
		t[i] = (uint8_t)(crc >> (8 * i));
	put(w, t, sizeof(t));
	return w->r;
}

static struct writer writer_at(struct buf *b)
{
	struct writer w = { b, 0, 0 };

	/* room first: buf_reserve may move what is there to the front */
	w.r = buf_reserve(b, 256);
	w.start = b->len;
	return w;
}

/* ---- reading ---- */

struct reader {
	const char *p, *end;
	bool bad;
};

static uint64_t get_varint(struct reader *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && r->p < r->end; shift += 7) {
		uint8_t c = (uint8_t)*r->p++;

		if (shift == 63 && c > 1)
			break;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80))
			return v;
	}
	r->bad = true;
	return 0;
}

static uint64_t get_bounded(struct reader *r, uint64_t max)
{
	uint64_t v = get_varint(r);

	if (v > max) {
		r->bad = true;
		v = 0;
	}
	return v;
}

static int64_t get_signed(struct reader *r)
{
	uint64_t v = get_varint(r);

	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static uint8_t get_u8(struct reader *r)
{
	if (r->p >= r->end) {
		r->bad = true;
		return 0;
	}
	return (uint8_t)*r->p++;
}

/* p NULL for none. No NUL inside: these become C strings. */
static struct slice get_text(struct reader *r)
{
	uint64_t n = get_bounded(r, TEXT_MAX);
	struct slice s = { NULL, 0 };

	if (n == 0)
		return s;
	n--;
	if (n > (size_t)(r->end - r->p) || memchr(r->p, '\0', n)) {
		r->bad = true;
		return s;
	}
	s = (struct slice){ r->p, n };
	r->p += n;
	return s;
}

/* Checks version and CRC. r then stands behind the version, its end before the CRC. version: the
 * newest known; older ones are known, too. */
static int reader_open(struct reader *r, struct slice in, uint8_t version)
{
	uint32_t want = 0;

	*r = (struct reader){ in.p, in.p, false };
	if (in.n < 1 + CRC_LEN)
		return -EBADMSG;
	for (unsigned i = 0; i < CRC_LEN; i++)
		want |= (uint32_t)(uint8_t)in.p[in.n - CRC_LEN + i] << (8 * i);
	if (crc32c(0, in.p, in.n - CRC_LEN) != want)
		return -EBADMSG;
	if ((uint8_t)in.p[0] > version)
		return -EPROTO;
	if ((uint8_t)in.p[0] == 0)
		return -EBADMSG;
	r->p = in.p + 1;
	r->end = in.p + in.n - CRC_LEN;
	return 0;
}

static int reader_close(const struct reader *r)
{
	return r->bad || r->p != r->end ? -EBADMSG : 0;
}

/* ---- envelope: version, flags, size, then all other fields ---- */

static void put_envelope_head(struct writer *w, uint8_t version, uint32_t flags, uint64_t size)
{
	put_u8(w, version);
	put_varint(w, flags);
	put_varint(w, size);
}

int envelope_encode(struct buf *b, const struct message *m)
{
	struct writer w = writer_at(b);

	put_envelope_head(&w, ENVELOPE_VERSION, m->flags, m->size);
	put_signed(&w, m->arrived);
	put_signed(&w, m->expires);
	put_u8(&w, m->body_type);
	put_u8(&w, m->ret);
	put_text(&w, m->sender ? m->sender : "");
	put_text(&w, m->envid);
	put_text(&w, m->pool ? m->pool : "");
	put_text(&w, m->client ? m->client : "");
	put_text(&w, m->helo);
	put_text(&w, m->user);
	put_text(&w, m->listener);
	put_text(&w, m->message_id);
	put_text(&w, m->from_domain);
	put_text(&w, m->class);
	put_text(&w, m->tag);
	put_text(&w, m->headers);
	put_text(&w, m->about);
	put_text(&w, m->about_message_id);
	return put_crc(&w);
}

int envelope_reflag(struct buf *b, const struct envelope_brief *old, uint32_t flags)
{
	struct writer w = writer_at(b);

	put_envelope_head(&w, old->version, flags, old->size);
	put(&w, old->rest.p, old->rest.n);
	return put_crc(&w);
}

int envelope_restamp(struct buf *b, const struct envelope_brief *old, ms_t now)
{
	struct reader rd = { .p = old->rest.p, .end = old->rest.p + old->rest.n };
	ms_t arrived = get_signed(&rd), expires = get_signed(&rd);
	struct writer w = writer_at(b);

	if (rd.bad)
		return -EBADMSG;
	if (arrived <= now)
		return 1;
	put_envelope_head(&w, old->version, old->flags, old->size);
	put_signed(&w, now);
	put_signed(&w, expires > arrived ? now + (expires - arrived) : now);
	put(&w, rd.p, (size_t)(rd.end - rd.p));
	return put_crc(&w);
}

static const char *keep(struct arena *a, struct slice s, int *r)
{
	const char *copy;

	if (!s.p)
		return NULL;
	copy = arena_strdup(a, s);
	if (!copy)
		*r = -ENOMEM;
	return copy;
}

int envelope_brief(struct envelope_brief *ret, struct slice in)
{
	struct envelope_brief e;
	struct reader rd;
	int r = reader_open(&rd, in, ENVELOPE_VERSION);

	if (r)
		return r;
	e.version = (uint8_t)in.p[0];
	e.flags = (uint32_t)get_bounded(&rd, UINT32_MAX);
	e.size = get_varint(&rd);
	if (rd.bad)
		return -EBADMSG;
	e.rest = (struct slice){ rd.p, (size_t)(rd.end - rd.p) };
	*ret = e;
	return 0;
}

int envelope_who(const struct envelope_brief *e, struct selector_message *ret)
{
	struct reader rd = { .p = e->rest.p, .end = e->rest.p + e->rest.n };
	struct selector_message m = { .arrived = get_signed(&rd) };

	get_signed(&rd); /* expires */
	get_u8(&rd);	 /* body type, what a notification returns */
	get_u8(&rd);
	m.sender = get_text(&rd);
	get_text(&rd); /* envelope id */
	m.pool = get_text(&rd);
	m.client = get_text(&rd);
	get_text(&rd); /* HELO */
	m.user = get_text(&rd);
	m.listener = get_text(&rd);
	get_text(&rd); /* Message-ID */
	if (e->version >= 2) {
		m.from_domain = get_text(&rd);
		m.class = get_text(&rd);
		m.tag = get_text(&rd);
	}
	*ret = m;
	return rd.bad ? -EBADMSG : 0;
}

int envelope_decode(struct message *m, struct slice in, struct arena *a)
{
	struct slice sender, envid, pool, client, helo, user, listener, message_id;
	struct slice from_domain = { NULL, 0 }, class = { NULL, 0 }, tag = { NULL, 0 };
	struct slice headers = { NULL, 0 }, about = { NULL, 0 }, about_message_id = { NULL, 0 };
	struct reader rd;
	int r = reader_open(&rd, in, ENVELOPE_VERSION);

	if (r)
		return r;
	m->flags = (uint32_t)get_bounded(&rd, UINT32_MAX);
	m->size = get_varint(&rd);
	m->arrived = get_signed(&rd);
	m->expires = get_signed(&rd);
	m->body_type = get_u8(&rd);
	m->ret = get_u8(&rd);
	sender = get_text(&rd);
	envid = get_text(&rd);
	pool = get_text(&rd);
	client = get_text(&rd);
	helo = get_text(&rd);
	user = get_text(&rd);
	listener = get_text(&rd);
	message_id = get_text(&rd);
	if (in.p[0] >= 2) {
		from_domain = get_text(&rd);
		class = get_text(&rd);
		tag = get_text(&rd);
	}
	if (in.p[0] >= 3) {
		headers = get_text(&rd);
		about = get_text(&rd);
		about_message_id = get_text(&rd);
	}
	r = reader_close(&rd);
	if (r)
		return r;
	if (!sender.p || !pool.p || !client.p || m->body_type > BODY_BINARYMIME ||
		m->ret > RET_HDRS)
		return -EBADMSG;
	m->sender = keep(a, sender, &r);
	m->envid = keep(a, envid, &r);
	m->pool = keep(a, pool, &r);
	m->client = keep(a, client, &r);
	m->helo = keep(a, helo, &r);
	m->user = keep(a, user, &r);
	m->listener = keep(a, listener, &r);
	m->message_id = keep(a, message_id, &r);
	m->from_domain = keep(a, from_domain, &r);
	m->class = keep(a, class, &r);
	m->tag = keep(a, tag, &r);
	m->headers = keep(a, headers, &r);
	m->about = keep(a, about, &r);
	m->about_message_id = keep(a, about_message_id, &r);
	return r;
}

/* ---- recipient: version, fixed part, state ---- */

static struct slice domain_of(struct slice address)
{
	const char *at = address.n > 0 ? memrchr(address.p, '@', address.n) : NULL;

	if (!at)
		return (struct slice){ NULL, 0 };
	return slice_from(address, (size_t)(at + 1 - address.p));
}

static void put_state(struct writer *w, const struct queue_rcpt_state *s)
{
	struct slice reply = slice_of(s->reply);

	reply = foreign_cut(reply, REPLY_TEXT_MAX);
	put_signed(w, s->due);
	put_signed(w, s->last_attempt);
	put_varint(w, s->attempts);
	put_varint(w, s->code);
	put_u8(w, s->verdict);
	put_u8(w, s->flags);
	if (s->reply)
		put_slice(w, reply);
	else
		put_varint(w, 0);
	put_text(w, s->host);
	put_text(w, s->source);
}

int recipient_encode(struct buf *b, const struct recipient *r, const struct queue_rcpt_state *s)
{
	struct writer w = writer_at(b);
	struct slice domain = slice_of(r->domain);

	put_u8(&w, RECIPIENT_VERSION);
	put_u8(&w, r->notify);
	put_text(&w, r->address);
	/* nearly always the end of the address: then it is not stored twice */
	if (slice_eq(domain, domain_of(slice_of(r->address))))
		put_varint(&w, 0);
	else
		put_slice(&w, domain);
	put_text(&w, r->orcpt);
	put_state(&w, s);
	return put_crc(&w);
}

int recipient_restate(
	struct buf *b, const struct recipient_brief *old, const struct queue_rcpt_state *s)
{
	struct writer w = writer_at(b);

	put(&w, old->fixed.p, old->fixed.n);
	put_state(&w, s);
	return put_crc(&w);
}

struct fixed_part {
	uint8_t notify;
	struct slice address, domain, orcpt;
};

static void get_fixed(struct reader *rd, struct fixed_part *f)
{
	f->notify = get_u8(rd);
	f->address = get_text(rd);
	f->domain = get_text(rd);
	if (!f->domain.p)
		f->domain = domain_of(f->address);
	f->orcpt = get_text(rd);
	if (!f->address.p || !f->domain.p)
		rd->bad = true;
}

int recipient_brief(struct recipient_brief *ret, struct slice in)
{
	struct recipient_brief b;
	struct fixed_part f;
	struct reader rd;
	int r = reader_open(&rd, in, RECIPIENT_VERSION);

	if (r)
		return r;
	get_fixed(&rd, &f);
	b.fixed = (struct slice){ in.p, (size_t)(rd.p - in.p) };
	b.domain = f.domain;
	b.due = get_signed(&rd);
	if (rd.bad)
		return -EBADMSG;
	*ret = b;
	return 0;
}

int recipient_who(struct queue_brief_rcpt *ret, struct slice in)
{
	struct queue_brief_rcpt b = { 0 };
	struct fixed_part f;
	struct reader rd;
	int r = reader_open(&rd, in, RECIPIENT_VERSION);

	if (r)
		return r;
	get_fixed(&rd, &f);
	b.who.address = f.address;
	b.who.domain = f.domain;
	b.due = get_signed(&rd);
	get_signed(&rd); /* last attempt */
	b.who.attempts = (uint32_t)get_bounded(&rd, UINT16_MAX);
	get_varint(&rd); /* code, verdict */
	get_u8(&rd);
	b.flags = get_u8(&rd);
	b.reply = get_text(&rd);
	b.host = get_text(&rd);
	b.who.source = get_text(&rd);
	*ret = b;
	return rd.bad ? -EBADMSG : 0;
}

int recipient_decode(
	struct recipient *rcpt, struct queue_rcpt_state *s, struct slice in, struct arena *a)
{
	struct slice reply, host, source;
	struct fixed_part f;
	struct reader rd;
	int r = reader_open(&rd, in, RECIPIENT_VERSION);

	if (r)
		return r;
	get_fixed(&rd, &f);
	s->due = get_signed(&rd);
	s->last_attempt = get_signed(&rd);
	s->attempts = (uint16_t)get_bounded(&rd, UINT16_MAX);
	s->code = (uint16_t)get_bounded(&rd, UINT16_MAX);
	s->verdict = get_u8(&rd);
	s->flags = get_u8(&rd);
	reply = get_text(&rd);
	host = get_text(&rd);
	source = get_text(&rd);
	r = reader_close(&rd);
	if (r)
		return r;
	rcpt->notify = f.notify;
	rcpt->address = keep(a, f.address, &r);
	rcpt->domain = keep(a, f.domain, &r);
	rcpt->orcpt = keep(a, f.orcpt, &r);
	s->reply = keep(a, reply, &r);
	s->host = keep(a, host, &r);
	s->source = keep(a, source, &r);
	return r;
}
