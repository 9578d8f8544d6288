/* TLS on a stream. OpenSSL reads from the loop's read buffer and writes to the stream's output
 * queue through a BIO of ours: no copy more than the encryption itself makes, and the writes are
 * gathered as without TLS. Called by stream.c, on the loop's thread.
 *
 * clear → handshake → encrypted → ended. What came in clear behind STARTTLS is thrown away, not
 * believed. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "postern/must.h"
#include "stream_private.h"
#include "tls_private.h"

#define RECORD_MAX   16384u
#define NAME_MAX_DNS 253

struct tls_conn {
	struct tls_context *context;
	SSL *ssl;
	struct slice in; /* encrypted input not yet read by OpenSSL; valid inside tls_conn_feed */
	bool done;	 /* handshake */
	bool broken;
	bool no_memory; /* the output queue could not grow */
	char *session_key;
	char name[NAME_MAX_DNS + 1];
	char description[64];
};

static int bio_read(BIO *b, char *out, size_t max, size_t *n)
{
	struct stream *s = BIO_get_data(b);
	struct slice *in = &s->tls->in;

	BIO_clear_retry_flags(b);
	if (in->n == 0) {
		/* the end of input is the stream's matter: OpenSSL only ever sees "not yet" */
		BIO_set_retry_read(b);
		return 0;
	}
	*n = in->n < max ? in->n : max;
	memcpy(out, in->p, *n);
	*in = slice_from(*in, *n);
	return 1;
}

static int bio_write(BIO *b, const char *p, size_t size, size_t *n)
{
	struct stream *s = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	if (out_add(&s->wire, &s->loop->pool, (struct slice){ p, size })) {
		s->tls->no_memory = true;
		return 0;
	}
	*n = size;
	return 1;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *arg)
{
	return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD *stream_bio_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "stream");

	if (!m)
		return NULL;
	BIO_meth_set_read_ex(m, bio_read);
	BIO_meth_set_write_ex(m, bio_write);
	BIO_meth_set_ctrl(m, bio_ctrl);
	return m;
}

struct tls_conn *tls_conn_free(struct tls_conn *t)
{
	if (!t)
		return NULL;
	SSL_free(t->ssl);
	tls_context_unref(t->context);
	free(t->session_key);
	free(t);
	return NULL;
}

static const char *describe_verify(struct tls_conn *t, char *out, size_t max)
{
	long v = SSL_get_verify_result(t->ssl);

	snprintf(out, max, "the certificate of %s is not accepted: %s",
		t->name[0] ? t->name : "the other side", X509_verify_cert_error_string(v));
	return out;
}

/* A sentence for what OpenSSL put in its queue. */
static const char *describe(struct tls_conn *t, char *out, size_t max)
{
	unsigned long e = ERR_peek_error();
	int reason = ERR_GET_REASON(e);
	const char *text = ERR_reason_error_string(e);

	if (t->no_memory)
		return "out of memory";
	if (ERR_GET_LIB(e) != ERR_LIB_SSL) {
		snprintf(out, max, "TLS failed: %s", text ? text : "no reason known");
	} else if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
		describe_verify(t, out, max);
	} else if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_HTTP_REQUEST ||
		   reason == SSL_R_PACKET_LENGTH_TOO_LONG) {
		snprintf(out, max, "the other side does not speak TLS, or none of our versions");
	} else if (reason >= SSL_AD_REASON_OFFSET) {
		snprintf(out, max, "the other side ended TLS with the alert \"%s\"",
			SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET));
	} else {
		snprintf(out, max, "TLS failed: %s", text ? text : "no reason known");
	}
	return out;
}

/* The handshake failed: tells the owner, after what TLS itself has to say went out (an alert). */
static void handshake_failed(struct stream *s, const char *why)
{
	struct tls_conn *t = s->tls;

	t->broken = true;
	if (t->session_key)
		session_cache_drop(t->context->sessions, t->session_key);
	stream_send_wire(s);
	if (!stream_alive(s))
		return;
	stream_to(s, STREAM_FAILED);
	stream_stop_reading(s);
	s->ops->on_tls(s->arg, STREAM_E_TLS, why);
}

bool tls_conn_broken(struct stream *s, const char *why)
{
	char text[400];

	if (!s->tls || s->tls->done)
		return false;
	snprintf(text, sizeof(text), "the connection ended during the TLS handshake: %s", why);
	handshake_failed(s, text);
	return true;
}

static void handshake_done(struct stream *s)
{
	struct tls_conn *t = s->tls;
	const char *version = SSL_get_version(t->ssl); /* "TLSv1.3" */

	t->done = true;
	if (strncmp(version, "TLSv", 4) == 0)
		version += 4;
	snprintf(t->description, sizeof(t->description), "TLS%s:%s", version,
		SSL_get_cipher_name(t->ssl));
	if (s->clear.bytes > 0)
		stream_mark(s);
	s->ops->on_tls(s->arg, 0, NULL);
}

static void handshake(struct stream *s)
{
	struct tls_conn *t = s->tls;
	char why[400];
	int r;

	ERR_clear_error();
	r = SSL_do_handshake(t->ssl);
	if (s->wire.bytes > 0)
		stream_mark(s);
	if (r == 1)
		handshake_done(s);
	else if (SSL_get_error(t->ssl, r) != SSL_ERROR_WANT_READ)
		handshake_failed(s, describe(t, why, sizeof(why)));
}

/* Decrypts into the loop's buffer until it is full or input ends. Returns the bytes; *end:
 * SSL_ERROR_NONE, or what stopped it for good. */
static size_t decrypt(struct stream *s, int *end)
{
	struct tls_conn *t = s->tls;
	char *out = s->loop->plain_buf;
	size_t n = 0, got;

	*end = SSL_ERROR_NONE;
	ERR_clear_error();
	while (LOOP_READ_MAX - n >= RECORD_MAX) {
		int e;

		if (SSL_read_ex(t->ssl, out + n, LOOP_READ_MAX - n, &got) == 1) {
			n += got;
			continue;
		}
		e = SSL_get_error(t->ssl, 0);
		if (e != SSL_ERROR_WANT_READ)
			*end = e;
		break;
	}
	/* a key update, or an alert, may want to be answered */
	if (s->wire.bytes > 0)
		stream_mark(s);
	return n;
}

static void decrypt_failed(struct stream *s, int end)
{
	char why[400];

	s->tls->broken = true;
	if (end == SSL_ERROR_ZERO_RETURN) {
		s->tls->broken = false; /* close_notify: our direction still works */
		stream_input_ended(s);
		stream_report(s, 0, "closed by the other side");
		return;
	}
	describe(s->tls, why, sizeof(why));
	stream_send_wire(s);
	stream_report(s, STREAM_E_TLS, why);
}

void tls_conn_feed(struct stream *s, struct slice in)
{
	struct tls_conn *t = s->tls;
	bool full = true;

	t->in = in;
	if (!t->done && stream_alive(s))
		handshake(s);
	while (full && t->done && stream_alive(s) && s->taker != TAKER_PAUSED) {
		int end;
		size_t n = decrypt(s, &end);

		full = n > 0 && (t->in.n > 0 || SSL_has_pending(t->ssl));
		if (n > 0)
			s->ops->on_data(s->arg, (struct slice){ s->loop->plain_buf, n });
		if (end != SSL_ERROR_NONE && stream_alive(s)) {
			decrypt_failed(s, end);
			break;
		}
	}
	/* Held still encrypted. What OpenSSL has inside is at most one record. */
	if (t->in.n > 0 && stream_alive(s) && stream_hold(s, t->in))
		stream_report(s, -ENOMEM, "out of memory");
	t->in = (struct slice){ NULL, 0 };
}

bool tls_conn_ready(const struct stream *s)
{
	return s->tls->done && !s->tls->broken;
}

int tls_conn_encrypt(struct stream *s)
{
	struct tls_conn *t = s->tls;

	ERR_clear_error();
	while (s->clear.bytes > 0 && s->wire.bytes < STREAM_WIRE_MAX) {
		struct slice front = out_front(&s->clear);
		size_t n = 0;

		if (front.n > RECORD_MAX)
			front.n = RECORD_MAX;
		if (SSL_write_ex(t->ssl, front.p, front.n, &n) != 1) {
			t->broken = true;
			return t->no_memory ? -ENOMEM : -EPROTO;
		}
		out_consume(&s->clear, &s->loop->pool, n);
		/* a release may have closed the stream */
		if (s->state == STREAM_CLOSING)
			break;
	}
	return 0;
}

void tls_conn_end(struct stream *s)
{
	ERR_clear_error();
	SSL_shutdown(s->tls->ssl);
	ERR_clear_error();
}

/* "[192.0.2.1]", "[IPv6:2001:db8::1]" or bare: names that are addresses are verified as such, and
 * never sent as SNI (RFC 6066 section 3). */
static bool parse_address(const char *name, char text[ADDR_TEXT_MAX])
{
	struct slice s = slice_of(name);
	struct addr a;

	if (s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
		s = (struct slice){ s.p + 1, s.n - 2 };
	if (slice_case_prefix(s, SLICE_LIT("IPv6:")))
		s = slice_from(s, 5);
	if (addr_parse(&a, s))
		return false;
	addr_format(text, &a);
	return true;
}

static int set_name(struct tls_conn *t, const char *name)
{
	char address[ADDR_TEXT_MAX];

	if (strlen(name) > NAME_MAX_DNS)
		return -EINVAL;
	snprintf(t->name, sizeof(t->name), "%s", name);
	if (parse_address(name, address))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(t->ssl), address) == 1
			       ? 0
			       : -ENOMEM;
	SSL_set_hostflags(t->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (SSL_set1_host(t->ssl, name) != 1 || SSL_set_tlsext_host_name(t->ssl, t->name) != 1)
		return -ENOMEM;
	return 0;
}

/* The name is part of the key: a session verified for one name never opens a connection to another.
 */
static int offer_session(struct tls_conn *t, const char *resumption)
{
	size_t size = strlen(resumption) + strlen(t->name) + 2;
	SSL_SESSION *session;

	t->session_key = malloc(size);
	if (!t->session_key)
		return -ENOMEM;
	snprintf(t->session_key, size, "%s|%s", t->name, resumption);
	tls_set_session_key(t->ssl, t->session_key);
	session = session_cache_get(t->context->sessions, t->session_key);
	if (session) {
		SSL_set_session(t->ssl, session);
		SSL_SESSION_free(session);
	}
	return 0;
}

static int conn_new(struct tls_conn **ret, struct stream *s, struct tls_context *ctx)
{
	struct tls_conn *t = calloc(1, sizeof(*t));
	BIO *bio = NULL;

	if (!t)
		return -ENOMEM;
	t->context = tls_context_ref(ctx);
	t->ssl = SSL_new(ctx->ssl);
	if (t->ssl)
		bio = BIO_new(ctx->bio);
	if (!bio) {
		tls_conn_free(t);
		return -ENOMEM;
	}
	BIO_set_data(bio, s);
	BIO_set_init(bio, 1);
	SSL_set_bio(t->ssl, bio, bio);
	*ret = t;
	return 0;
}

int stream_start_tls(
	struct stream *s, struct tls_context *ctx, const char *name, const char *resumption)
{
	struct tls_conn *t = NULL;
	int r = 0;

	must(!s->tls);
	if (!stream_alive(s))
		return -ENOTCONN;
	r = conn_new(&t, s, ctx);
	if (!r && !ctx->server && name)
		r = set_name(t, name);
	if (!r && !ctx->server && resumption)
		r = offer_session(t, resumption);
	if (r) {
		tls_conn_free(t);
		return r;
	}
	if (ctx->server)
		SSL_set_accept_state(t->ssl);
	else
		SSL_set_connect_state(t->ssl);
	s->tls = t;
	/* what came in clear is not part of what TLS protects (RFC 3207 section 4.2) */
	buf_deinit(&s->held);
	s->tls_begin = true;
	stream_mark(s);
	return 0;
}

bool stream_is_tls(const struct stream *s)
{
	return s->tls && s->tls->done;
}

bool stream_tls_verified(const struct stream *s)
{
	return stream_tls_proven(s) && s->tls->name[0];
}

bool stream_tls_resumed(const struct stream *s)
{
	return s->tls && s->tls->done && SSL_session_reused(s->tls->ssl);
}

const char *stream_tls_description(const struct stream *s)
{
	return s->tls && s->tls->done ? s->tls->description : NULL;
}

X509 *tls_conn_certificate(const struct stream *s)
{
	return s->tls && s->tls->done ? SSL_get0_peer_certificate(s->tls->ssl) : NULL;
}

bool stream_tls_proven(const struct stream *s)
{
	return s->tls && s->tls->context->verify && tls_conn_certificate(s) &&
	       SSL_get_verify_result(s->tls->ssl) == X509_V_OK;
}

void stream_tls_doubt(const struct stream *s, char *out, size_t max)
{
	snprintf(out, max, "%s",
		!s->tls || !s->tls->done || !s->tls->context->verify
			? "no certificate was asked for"
		: !tls_conn_certificate(s)
			? "no certificate"
			: X509_verify_cert_error_string(SSL_get_verify_result(s->tls->ssl)));
}
