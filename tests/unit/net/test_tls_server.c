/* TLS of listeners: which certificate a client is shown, what its own proves, and keys of tickets. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../relay/net/tls_private.h"
#include "certificates.h"

static struct certificates files;
static struct runner far, near;

static struct tls_context *server_context(const char *more, const char *client_ca)
{
	char *others[] = { files.other };
	struct tls_server_params p = { .certificate = files.good,
		.key = files.key,
		.certificates = others,
		.ncertificates = more != NULL,
		.client_ca = client_ca };
	struct tls_context *c = NULL;
	char error[300] = "";

	if (tls_server_new(&c, &p, error, sizeof(error)))
		fail_msg("%s", error);
	return c;
}

/* certificate NULL: the client shows none. */
static struct tls_context *client_context(bool verify, const char *certificate)
{
	struct tls_client_params p = { .verify = verify, .ca_file = files.ca };
	struct tls_context *c = NULL;
	char error[300];

	assert_int_equal(tls_client_new(&c, &p, error, sizeof(error)), 0);
	if (certificate) {
		assert_int_equal(SSL_CTX_use_certificate_chain_file(c->ssl, certificate), 1);
		assert_int_equal(
			SSL_CTX_use_PrivateKey_file(c->ssl, files.key, SSL_FILETYPE_PEM), 1);
	}
	return c;
}

struct connection {
	struct server server;
	struct end client;
};

static void begin(struct connection *c, struct tls_context *sc, struct tls_context *cc,
	const char *name, const char *key)
{
	c->server.tls_context = sc;
	server_start(&c->server, &far, "127.0.0.1", END_ECHO);
	c->server.tls_context = sc;
	end_init(&c->client, &near, END_KEEP);
	c->client.tls_context = cc;
	c->client.tls_name = name;
	c->client.tls_key = key;
	end_connect(&c->client, NULL, &c->server.addr, c->server.port);
	WAIT_FOR(c->client.tls == 1);
	if (c->client.tls_error)
		return;
	/* the ticket of TLS 1.3 comes with or before the echo */
	end_write(&c->client, SLICE_LIT("hello"));
	WAIT_FOR(buf_size(&c->client.got) == 5);
}

static void end(struct connection *c)
{
	end_deinit(&c->client);
	server_stop(&c->server);
}

/* ---- which certificate ---- */

static void by_server_name(void **state)
{
	static const struct {
		const char *name;
		bool more, fits;
	} rows[] = {
		{ "mx.example.test", true, true },
		{ "other.example.test", true, true },
		{ "OTHER.example.test", true, true },
		{ "127.0.0.1", true, true }, /* an address asks for no name */
		{ "neither.example.test", true, false },
		{ "other.example.test", false, false },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_context *sc = server_context(rows[i].more ? files.other : NULL, NULL);
		struct tls_context *cc = client_context(true, NULL);

		for (unsigned again = 0; again < 2; again++) {
			struct connection c;

			begin(&c, sc, cc, rows[i].name, "key");
			assert_int_equal(c.client.tls_error, rows[i].fits ? 0 : STREAM_E_TLS);
			assert_int_equal(c.client.resumed, rows[i].fits && again > 0);
			end(&c);
		}
		tls_context_unref(sc);
		tls_context_unref(cc);
	}
}

/* ---- the client's certificate ---- */

static const char *wanted;
static bool proven;
static char got[TLS_NAME_MAX + 1], doubt[200];

static bool fits(const void *arg, const char *name)
{
	return strcmp(arg, name) == 0;
}

static void look(struct end *e)
{
	got[0] = '\0';
	proven = stream_tls_proven(e->s);
	stream_tls_doubt(e->s, doubt, sizeof(doubt));
	if (!stream_tls_client_name(e->s, fits, wanted, got))
		got[0] = '\0';
}

static void client_names(void **state)
{
	static const struct {
		const char *certificate, *wanted;
		bool asked;
		const char *name, *doubt;
	} rows[] = {
		{ files.good, "mx.example.test", true, "mx.example.test", "ok" },
		{ files.other, "other.example.test", true, "other.example.test", "ok" },
		{ files.good, "other.example.test", true, "", "ok" },
		{ files.expired, "mx.example.test", true, "", "expired" },
		{ files.foreign, "mx.example.test", true, "", "unable to verify" },
		{ NULL, "mx.example.test", true, "", "no certificate" },
		{ files.good, "mx.example.test", false, "", "was asked for" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_context *sc =
			server_context(files.other, rows[i].asked ? files.ca : NULL);
		struct tls_context *cc = client_context(false, rows[i].certificate);

		/* The second is taken up again: its client shows nothing, and is who it was. */
		for (unsigned again = 0; again < 2; again++) {
			struct connection c;

			begin(&c, sc, cc, "other.example.test", "key");
			assert_int_equal(c.client.tls_error, 0);
			assert_int_equal(c.client.resumed, again > 0);
			wanted = rows[i].wanted;
			end_call(&c.server.ends[0], look);
			if (strcmp(got, rows[i].name) != 0)
				fail_msg("row %zu, %u: \"%s\": %s", i, again, got, doubt);
			assert_int_equal(proven, strcmp(rows[i].doubt, "ok") == 0);
			if (!strstr(doubt, rows[i].doubt))
				fail_msg("row %zu: %s", i, doubt);
			end(&c);
		}
		tls_context_unref(sc);
		tls_context_unref(cc);
	}
}

static void bad_files(void **state)
{
	char *missing[] = { "/nonexistent/more.pem" }, *no_key[] = { files.good };
	struct {
		struct tls_server_params p;
		const char *why;
	} rows[] = {
		{ { files.good, files.key, NULL, missing, 1, NULL }, "/nonexistent/more.pem" },
		{ { files.good, files.key, NULL, no_key, 1, NULL }, files.good },
		{ { files.good, files.key, NULL, NULL, 0, "/nonexistent/ca.pem" },
			"/nonexistent/ca.pem" },
		{ { files.good, files.key, NULL, NULL, 0, files.key }, files.key },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_context *c = NULL;
		char error[400] = "";

		assert_int_equal(tls_server_new(&c, &rows[i].p, error, sizeof(error)), -EINVAL);
		assert_null(c);
		if (!strstr(error, rows[i].why))
			fail_msg("row %zu: %s", i, error);
	}
}

/* ---- tickets ---- */

/* A key makes tickets for TICKET_LIFE, opens them for as long again, and is gone, also when nobody
 * came in between. */
static void ticket_keys(void **state)
{
	struct tickets *t = tickets_new();
	struct ticket_key first, second, k;
	bool old;

	assert_non_null(t);
	assert_true(tickets_current(t, 1000, &first));
	assert_true(tickets_current(t, 1000 + TICKET_LIFE - 1, &k));
	assert_memory_equal(&first, &k, sizeof(k));
	assert_true(tickets_find(t, 1000 + TICKET_LIFE - 1, first.name, &k, &old));
	assert_false(old);

	assert_true(tickets_current(t, 1000 + TICKET_LIFE, &second));
	assert_memory_not_equal(first.name, second.name, sizeof(first.name));
	assert_memory_not_equal(first.secret, second.secret, sizeof(first.secret));
	assert_true(tickets_find(t, 1000 + 2 * TICKET_LIFE - 1, first.name, &k, &old));
	assert_true(old);
	assert_memory_equal(&first, &k, sizeof(k));
	assert_false(tickets_find(t, 1000 + 2 * TICKET_LIFE, first.name, &k, &old));

	assert_true(tickets_find(t, 1000 + 3 * TICKET_LIFE - 1, second.name, &k, &old));
	assert_true(old);
	assert_false(tickets_find(t, 1000 + 9 * TICKET_LIFE, second.name, &k, &old));
	assert_true(tickets_current(t, 1000 + 9 * TICKET_LIFE, &k));
	assert_memory_not_equal(k.name, second.name, sizeof(k.name));
	tickets_free(t);
}

static int set_up(void **state)
{
	certificates_make(&files);
	runner_start(&far, "far");
	runner_start(&near, "near");
	return 0;
}

static int tear_down(void **state)
{
	runner_stop(&near, NULL, NULL);
	runner_stop(&far, NULL, NULL);
	certificates_remove(&files);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_server_name),
		cmocka_unit_test(client_names),
		cmocka_unit_test(bad_files),
		cmocka_unit_test(ticket_keys),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
