/* TLS on streams: handshakes, verification, resumption, large transfers, bad peers. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../../relay/net/tls_private.h"
#include "certificates.h"

static struct certificates files;
static struct runner far, near;

static struct tls_context *server_context(const char *certificate, const char *min)
{
	struct tls_server_params p = {
		.certificate = certificate, .key = files.key, .min_version = min
	};
	struct tls_context *c = NULL;
	char error[200];

	assert_int_equal(tls_server_new(&c, &p, error, sizeof(error)), 0);
	return c;
}

static struct tls_context *client_context(bool verify, unsigned sessions)
{
	struct tls_client_params p = {
		.verify = verify, .ca_file = files.ca, .sessions_max = sessions
	};
	struct tls_context *c = NULL;
	char error[200];

	assert_int_equal(tls_client_new(&c, &p, error, sizeof(error)), 0);
	return c;
}

struct connection {
	struct server server;
	struct end client;
};

static void begin(struct connection *c, struct tls_context *server, enum habit habit)
{
	c->server.tls_context = server;
	server_start(&c->server, &far, "127.0.0.1", habit);
	c->server.tls_context = server;
	end_init(&c->client, &near, END_KEEP);
}

static void end(struct connection *c)
{
	end_deinit(&c->client);
	server_stop(&c->server);
}

static void connect_tls(
	struct connection *c, struct tls_context *client, const char *name, const char *key)
{
	c->client.tls_context = client;
	c->client.tls_name = name;
	c->client.tls_key = key;
	end_connect(&c->client, NULL, &c->server.addr, c->server.port);
	WAIT_FOR(c->client.tls == 1);
}

static void echo_once(struct connection *c)
{
	size_t before = buf_size(&c->client.got);

	end_write(&c->client, SLICE_LIT("hello"));
	WAIT_FOR(buf_size(&c->client.got) == before + 5);
	assert_true(slice_eq(slice_from(buf_slice(&c->client.got), before), SLICE_LIT("hello")));
}

static void versions(void **state)
{
	static const struct {
		const char *min, *begins;
		int max; /* what the server is held to; 0: the newest */
	} rows[] = {
		{ NULL, "TLS1.3:TLS_", 0 },
		{ "1.2", "TLS1.3:TLS_", 0 },
		{ "1.3", "TLS1.3:TLS_", 0 },
		{ NULL, "TLS1.2:ECDHE-", TLS1_2_VERSION },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_context *sc = server_context(files.good, rows[i].min);
		struct tls_context *cc = client_context(true, 0);

		SSL_CTX_set_max_proto_version(sc->ssl, rows[i].max);
		for (unsigned again = 0; again < 2; again++) {
			struct connection c;

			begin(&c, sc, END_ECHO);
			connect_tls(&c, cc, "mx.example.test", "key");
			assert_int_equal(c.client.tls_error, 0);
			assert_true(c.client.verified);
			assert_int_equal(c.client.resumed, again > 0);
			assert_memory_equal(
				c.client.description, rows[i].begins, strlen(rows[i].begins));
			echo_once(&c);
			assert_int_equal(c.server.ends[0].tls_error, 0);
			end(&c);
		}
		tls_context_unref(sc);
		tls_context_unref(cc);
	}
}

/* Each side alone refuses what is older than TLS 1.2. */
static void old_versions_are_refused(void **state)
{
	struct tls_context *sc = server_context(files.good, NULL), *cc = client_context(false, 0);
	struct connection c;

	SSL_CTX_set_min_proto_version(sc->ssl, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(sc->ssl, TLS1_1_VERSION);
	SSL_CTX_set_security_level(sc->ssl, 0);
	begin(&c, sc, END_ECHO);
	connect_tls(&c, cc, "mx.example.test", NULL);
	assert_int_equal(c.client.tls_error, STREAM_E_TLS);
	assert_non_null(strstr(c.client.why, "protocol version"));
	end(&c);
	tls_context_unref(sc);
	tls_context_unref(cc);
}

static void verification(void **state)
{
	static const struct {
		const char *certificate, *name;
		bool verify;
		const char *why; /* NULL: succeeds */
	} rows[] = {
		{ files.good, "mx.example.test", true, NULL },
		{ files.good, "127.0.0.1", true, NULL },
		{ files.good, "[127.0.0.1]", true, NULL },
		{ files.good, "[127.0.0.2]", true, "address mismatch" },
		{ files.good, "mx.other.test", true, "hostname mismatch" },
		{ files.good, "example.test", true, "hostname mismatch" },
		{ files.expired, "mx.example.test", true, "expired" },
		{ files.foreign, "mx.example.test", true,
			"unable to get local issuer certificate" },
		{ files.good, "mx.other.test", false, NULL },
		{ files.expired, "mx.example.test", false, NULL },
		{ files.foreign, "mx.example.test", false, NULL },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_context *sc = server_context(rows[i].certificate, NULL);
		struct tls_context *cc = client_context(rows[i].verify, 0);
		struct connection c;

		begin(&c, sc, END_ECHO);
		connect_tls(&c, cc, rows[i].name, NULL);
		if (rows[i].why) {
			assert_int_equal(c.client.tls_error, STREAM_E_TLS);
			if (!strcasestr(c.client.why, rows[i].why))
				fail_msg("row %zu: %s", i, c.client.why);
			assert_non_null(strstr(c.client.why, rows[i].name));
			end_close(&c.client);
			/* the other side is told by an alert, not left to guess */
			WAIT_FOR(c.server.ends[0].closed + (c.server.ends[0].tls_error != 0) > 0);
			assert_non_null(strstr(c.server.ends[0].why, "alert"));
		} else {
			assert_int_equal(c.client.tls_error, 0);
			assert_int_equal(c.client.verified, rows[i].verify);
			echo_once(&c);
		}
		end(&c);
		tls_context_unref(sc);
		tls_context_unref(cc);
	}
}

/* One connection with this key; says whether it was resumed. */
static bool resumed(
	struct tls_context *sc, struct tls_context *cc, const char *name, const char *key)
{
	struct connection c;
	bool r;

	begin(&c, sc, END_ECHO);
	connect_tls(&c, cc, name, key);
	assert_int_equal(c.client.tls_error, 0);
	/* the ticket of TLS 1.3 comes with or before the echo */
	echo_once(&c);
	r = c.client.resumed;
	end(&c);
	return r;
}

static void resumption(void **state)
{
	struct tls_context *sc = server_context(files.good, NULL);
	struct tls_context *other = server_context(files.good, NULL);
	struct tls_context *cc = client_context(false, 2);

	assert_false(resumed(sc, cc, "a.test", "k1"));
	assert_true(resumed(sc, cc, "a.test", "k1"));
	assert_true(resumed(sc, cc, "a.test", "k1"));
	/* another key, or another name under the same key, starts anew */
	assert_false(resumed(sc, cc, "a.test", "k2"));
	assert_false(resumed(sc, cc, "b.test", "k1"));
	/* room for two: the least recently used is gone */
	assert_false(resumed(sc, cc, "a.test", "k1"));
	assert_true(resumed(sc, cc, "a.test", "k1"));
	assert_false(resumed(sc, cc, "a.test", NULL));
	/* a server that does not know the ticket: a full handshake, no failure */
	assert_false(resumed(other, cc, "a.test", "k1"));
	tls_context_unref(sc);
	tls_context_unref(other);
	tls_context_unref(cc);
}

/* A resumed session sends no certificate: what the first one proved still holds. */
static void resumed_sessions_stay_verified(void **state)
{
	struct tls_context *sc = server_context(files.good, NULL), *cc = client_context(true, 0);

	for (unsigned i = 0; i < 3; i++) {
		struct connection c;

		begin(&c, sc, END_ECHO);
		connect_tls(&c, cc, "mx.example.test", "k");
		assert_int_equal(c.client.tls_error, 0);
		assert_int_equal(c.client.resumed, i > 0);
		assert_true(c.client.verified);
		echo_once(&c);
		end(&c);
	}
	/* nor does it carry over to a name that was never verified */
	struct connection other;

	begin(&other, sc, END_ECHO);
	connect_tls(&other, cc, "mx.other.test", "k");
	assert_int_equal(other.client.tls_error, STREAM_E_TLS);
	end(&other);
	tls_context_unref(sc);
	tls_context_unref(cc);
}

#define BIG (12u * 1024u * 1024u)
static char *big_bytes;

static void write_big(struct end *e)
{
	end_write_pieces(e, big_bytes, BIG, 1000);
}

static void pause_it(struct end *e)
{
	stream_pause(e->s);
}

static void resume_it(struct end *e)
{
	stream_resume(e->s);
}

static void megabytes_to_a_slow_reader(void **state)
{
	struct tls_context *sc = server_context(files.good, NULL), *cc = client_context(true, 0);
	struct connection c;
	struct end *there = &c.server.ends[0];

	big_bytes = malloc(BIG);
	for (size_t i = 0; i < BIG; i++)
		big_bytes[i] = (char)(i * 7 + i / 251 + i / 65521);
	begin(&c, sc, END_KEEP);
	connect_tls(&c, cc, "mx.example.test", NULL);
	WAIT_FOR(there->tls == 1);
	end_call(there, pause_it);
	end_call(&c.client, write_big);
	assert_int_equal(c.client.drained, 0);
	assert_int_equal(there->bytes, 0);
	end_call(there, resume_it);
	WAIT_FOR(there->bytes == BIG);
	WAIT_FOR(c.client.drained == 1);
	assert_memory_equal(buf_slice(&there->got).p, big_bytes, BIG);
	assert_int_equal(c.client.released, 251);
	end(&c);
	free(big_bytes);
	tls_context_unref(sc);
	tls_context_unref(cc);
}

/* Each piece of input pauses: held input comes decrypted, in order, then the end. */
static void pause_in_data_holds(void **state)
{
	struct tls_context *sc = server_context(files.good, NULL), *cc = client_context(false, 0);
	static char bytes[300000];
	struct connection c;
	struct end *there = &c.server.ends[0];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i / 3);
	begin(&c, sc, END_PAUSE_IN_DATA);
	connect_tls(&c, cc, "mx.example.test", NULL);
	end_write(&c.client, (struct slice){ bytes, sizeof(bytes) });
	end_close(&c.client);
	while (there->closed == 0) {
		unsigned reads = there->reads;

		end_call(there, resume_it);
		WAIT_FOR(
			there->reads > reads || there->closed > 0 || there->bytes == sizeof(bytes));
	}
	assert_int_equal(there->close_error, 0);
	assert_int_equal(there->bytes, sizeof(bytes));
	assert_memory_equal(buf_slice(&there->got).p, bytes, sizeof(bytes));
	end(&c);
	tls_context_unref(sc);
	tls_context_unref(cc);
}

static void close_inside_data(void **state)
{
	struct tls_context *sc = server_context(files.good, NULL), *cc = client_context(false, 0);
	struct connection c;

	begin(&c, sc, END_CLOSE_IN_DATA);
	connect_tls(&c, cc, "mx.example.test", NULL);
	end_write(&c.client, SLICE_LIT("QUIT"));
	WAIT_FOR(c.client.closed == 1);
	assert_int_equal(c.client.close_error, 0);
	assert_true(slice_eq(buf_slice(&c.client.got), SLICE_LIT("bye")));
	end(&c);
	tls_context_unref(sc);
	tls_context_unref(cc);
}

static void write_garbage(struct end *e)
{
	stream_write(e->s, SLICE_LIT("220 no TLS here, 250 just plain text\r\n"));
}

/* The server side of each row speaks no TLS. */
static void peers_without_tls(void **state)
{
	static const struct {
		void (*does)(struct end *e);
		const char *why;
	} rows[] = {
		{ write_garbage, "does not speak TLS" },
		{ end_close, "ended during the TLS handshake" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_context *cc = client_context(false, 0);
		struct connection c;

		begin(&c, NULL, END_KEEP);
		c.client.tls_context = cc;
		end_connect(&c.client, NULL, &c.server.addr, c.server.port);
		WAIT_FOR(c.server.n == 1);
		if (rows[i].does == end_close)
			end_close(&c.server.ends[0]);
		else
			end_call(&c.server.ends[0], rows[i].does);
		WAIT_FOR(c.client.tls == 1);
		assert_int_equal(c.client.tls_error, STREAM_E_TLS);
		if (!strstr(c.client.why, rows[i].why))
			fail_msg("row %zu: %s", i, c.client.why);
		assert_int_equal(c.client.closed, 0);
		end(&c);
		tls_context_unref(cc);
	}
}

static struct tls_context *upgrade_context;

static void pause_and_upgrade(struct end *e)
{
	assert_int_equal(stream_start_tls(e->s, upgrade_context, NULL, NULL), 0);
	stream_resume(e->s);
}

/* RFC 3207: what was sent in clear behind STARTTLS is never taken for protected input. */
static void input_sent_before_tls_is_discarded(void **state)
{
	struct tls_context *sc = server_context(files.good, NULL), *cc = client_context(false, 0);
	struct connection c;
	struct end *there = &c.server.ends[0];

	upgrade_context = sc;
	begin(&c, NULL, END_PAUSE_IN_DATA);
	end_connect(&c.client, NULL, &c.server.addr, c.server.port);
	WAIT_FOR(c.client.connected == 1 && c.server.n == 1);
	end_write(&c.client, SLICE_LIT("STARTTLS"));
	WAIT_FOR(there->reads == 1);
	end_write(&c.client, SLICE_LIT("injected"));
	WAIT_FOR(c.client.drained == 2);
	/* twice round the far loop: the injected bytes are read and held */
	end_call(there, pause_it);
	end_call(there, pause_it);
	there->habit = END_ECHO;
	end_call(there, pause_and_upgrade);
	c.client.tls_context = upgrade_context = cc;
	end_call(&c.client, pause_and_upgrade);
	WAIT_FOR(c.client.tls == 1);
	assert_int_equal(c.client.tls_error, 0);
	echo_once(&c);
	assert_true(slice_eq(buf_slice(&there->got), SLICE_LIT("STARTTLShello")));
	end(&c);
	tls_context_unref(sc);
	tls_context_unref(cc);
}

static void bad_parameters(void **state)
{
	static const struct {
		struct tls_server_params p;
		const char *why;
	} rows[] = {
		{ { "/nonexistent/cert.pem", files.key, NULL },
			"/nonexistent/cert.pem: No such file" },
		{ { files.good, "/nonexistent/key.pem", NULL },
			"/nonexistent/key.pem: No such file" },
		{ { files.key, files.key, NULL }, "certificate" },
		{ { files.ca, files.key, NULL }, "mismatch" },
		{ { files.good, files.key, "1.1" }, "1.1" },
	};
	struct tls_client_params bad_ca = { .verify = true, .ca_file = "/nonexistent/ca.pem" };
	struct tls_context *c = NULL;
	char error[200];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(tls_server_new(&c, &rows[i].p, error, sizeof(error)) < 0);
		assert_null(c);
		if (!strstr(error, rows[i].why))
			fail_msg("row %zu: %s", i, error);
	}
	assert_true(tls_client_new(&c, &bad_ca, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "/nonexistent/ca.pem: No such file"));
}

static int setup(void **state)
{
	certificates_make(&files);
	runner_start(&far, "far");
	runner_start(&near, "near");
	return 0;
}

static int teardown(void **state)
{
	runner_stop(&near, NULL, NULL);
	runner_stop(&far, NULL, NULL);
	certificates_remove(&files);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(versions),
		cmocka_unit_test(old_versions_are_refused),
		cmocka_unit_test(verification),
		cmocka_unit_test(resumption),
		cmocka_unit_test(resumed_sessions_stay_verified),
		cmocka_unit_test(megabytes_to_a_slow_reader),
		cmocka_unit_test(pause_in_data_holds),
		cmocka_unit_test(close_inside_data),
		cmocka_unit_test(peers_without_tls),
		cmocka_unit_test(input_sent_before_tls_is_discarded),
		cmocka_unit_test(bad_parameters),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
