/* Inbound sessions under strain: clients that close their half, hold content, sit silent, or guess
 * passwords. */
#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../../relay/inbound/limits.h"
#include "postern/must.h"
#include "rig.h"

#define ENVELOPE "MAIL FROM:<amy@example.com>\r\nRCPT TO:<bob@example.net>\r\n"
#define MESSAGE	 ENVELOPE "DATA\r\nSubject: x\r\n\r\nbody\r\n.\r\n"
#define CHUNK	 ENVELOPE "BDAT 20 LAST\r\nSubject: x\r\n\r\nbody\r\n"
#define HOLDERS	 40

static void begin_content(struct peer *p)
{
	peer_say(p, ENVELOPE "DATA\r\n");
	peer_expect(p, "250");
	peer_expect(p, "250");
	peer_expect(p, "354");
}

/* ---- half-closed ---- */

static void answers_who_closed_his_half(void **state)
{
	static const struct {
		const char *said;
		unsigned replies; /* of "250" */
		const char *last; /* NULL: the end follows */
		uint64_t messages;
	} rows[] = {
		{ MESSAGE, 3, NULL, 1 },
		{ MESSAGE "QUIT\r\n", 3, "221", 1 },
		{ MESSAGE MESSAGE MESSAGE "QUIT\r\n", 9, "221", 3 },
		{ CHUNK, 3, NULL, 1 },
		{ CHUNK MESSAGE "QUIT\r\n", 6, "221", 2 },
		{ ENVELOPE "BDAT 100 LAST\r\nhalf a mess", 2, NULL, 0 },
		{ "NOOP\r\nQUIT\r\n", 1, "221", 0 },
		{ "NOOP\r\n", 1, NULL, 0 },
		{ ENVELOPE, 2, NULL, 0 },
		{ MESSAGE ENVELOPE "DATA\r\nhalf a mess", 5, NULL, 1 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig r;
		struct peer p;

		rig_init(&r);
		rig_start(&r);
		peer_hello(&p, r.port);
		peer_say(&p, rows[i].said);
		must(shutdown(p.fd, SHUT_WR) == 0);
		for (unsigned n = 0; n < rows[i].replies;) {
			peer_expect(&p, "");
			n += strncmp(p.reply, "250", 3) == 0;
			if (p.reply[0] != '2' && strncmp(p.reply, "354", 3) != 0)
				fail_msg("row %zu: %s", i, p.reply);
		}
		if (rows[i].last)
			peer_expect(&p, rows[i].last);
		if (i + 1 == sizeof(rows) / sizeof(rows[0]))
			peer_expect(&p, "354");
		peer_expect_end(&p);
		assert_int_equal(rig_stats(&r).messages, rows[i].messages);
		peer_close(&p);
		WAIT_UNTIL(rig_stats(&r).open == 0);
		rig_stop(&r);
	}
}

/* ---- content ---- */

/* Silent clients hold more than may be in memory: what they hold goes to the queue, others go on,
 * and so do they when they speak again. */
static void holders_of_content_stop_nobody(void **state)
{
	struct rig r;
	struct peer p[HOLDERS], other;
	char *text = text_make(39216);

	rig_init(&r);
	r.wp.body_memory_max = 1 << 20;
	rig_start(&r);
	for (int i = 0; i < HOLDERS; i++) {
		peer_hello(&p[i], r.port);
		begin_content(&p[i]);
		peer_say(&p[i], "Subject: x\r\n\r\n");
		if (!peer_send(&p[i], text, 39216))
			fail_msg("client %d was ended", i);
	}
	peer_hello(&other, r.port);
	for (int n = 0; n < 20; n++) {
		begin_content(&other);
		peer_say(&other, "Subject: y\r\n\r\n");
		must(peer_send(&other, text, 9000));
		wait_pause();
		must(peer_send(&other, text + 9000, 30000));
		peer_talk(&other, "\r\n.\r\n", "250");
	}
	WAIT_UNTIL(body_memory() < r.wp.body_memory_max);
	for (int i = 0; i < HOLDERS; i++) {
		must(peer_send(&p[i], text, 1000));
		peer_talk(&p[i], "\r\n.\r\n", "250");
		peer_close(&p[i]);
	}
	peer_close(&other);
	WAIT_UNTIL(rig_stats(&r).open == 0);
	assert_int_equal(rig_stats(&r).messages, HOLDERS + 20);
	free(text);
	rig_stop(&r);
}

/* ---- places ---- */

static void silent_strangers_make_room(void **state)
{
	struct rig r;
	struct peer p[3], late;

	rig_init(&r);
	r.lp.sessions_max = 3;
	rig_start(&r);
	for (int i = 0; i < 3; i++)
		peer_hello(&p[i], r.port);
	/* nobody has been silent for long */
	peer_connect(&late, r.port);
	peer_expect(&late, "421 4.3.2 Too many sessions here");
	peer_close(&late);
	usleep(1300000);
	peer_talk(&p[0], "NOOP\r\n", "250");
	peer_hello(&late, r.port);
	peer_expect(&p[1], "421 4.3.2 Silent");
	peer_expect_end(&p[1]);
	peer_talk(&p[0], "NOOP\r\n", "250");
	peer_talk(&p[2], "NOOP\r\n", "250");
	peer_talk(&late, "NOOP\r\n", "250");
	/* who had a message accepted stays, however silent */
	peer_say(&late, MESSAGE);
	for (int i = 0; i < 4; i++)
		peer_expect(&late, "");
	peer_close(&late);
	peer_close(&p[1]);
	WAIT_UNTIL(rig_stats(&r).open == 2);
	peer_hello(&late, r.port);
	usleep(1300000);
	peer_talk(&p[0], "QUIT\r\n", "221");
	peer_talk(&p[2], "QUIT\r\n", "221");
	peer_talk(&late, "NOOP\r\n", "250");
	peer_close(&p[0]);
	peer_close(&p[2]);
	peer_close(&late);
	WAIT_UNTIL(rig_stats(&r).open == 0);
	rig_stop(&r);
}

/* ---- passwords ---- */

static void guesses_end(void **state)
{
	static const char users[] = "amy:$6$salt$wrong\n";
	struct rig r;
	struct peer p;
	char error[200], *log;

	rig_init(&r);
	assert_int_equal(users_parse(&r.users, slice_of(users), "users", error, sizeof(error)), 0);
	r.lp.auth_failures_max = 4;
	rig_start(&r);
	for (int i = 0; i < 2; i++) {
		peer_hello(&p, r.port);
		peer_talk(&p, "AUTH PLAIN AGFteQB3cm9uZw==\r\n", "535 5.7.8");
		peer_talk(&p, "AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n", "535 5.7.8");
		peer_close(&p);
	}
	for (int i = 0; i < 20; i++) {
		peer_hello(&p, r.port);
		peer_talk(&p, "AUTH PLAIN AGFteQB3cm9uZw==\r\n", "421 4.7.0 Too many failed");
		peer_expect_end(&p);
		peer_close(&p);
	}
	assert_int_equal(rig_stats(&r).auth_failures, 24);
	rig_stop_worker(&r);
	log = rig_log(&r);
	assert_non_null(strstr(log,
		"\"event\":\"rejected\",\"reason\":\"auth-failed\",\"client\":\"127.0.0.1\","
		"\"user\":\"amy\""));
	assert_non_null(strstr(log, "\"reason\":\"auth-limit\""));
	free(log);
	rig_stop(&r);
}

/* With the gate closed the check of a password lasts until it is opened, or a failed test is
 * over. */
static atomic_bool gate_closed;
static atomic_uint looks, looking, most_looking;

enum smtp_auth_result __real_users_check(
	const struct users *u, const char *user, const char *password, char pool[64]);
enum smtp_auth_result __wrap_users_check(
	const struct users *u, const char *user, const char *password, char pool[64]);
enum smtp_auth_result __wrap_users_check(
	const struct users *u, const char *user, const char *password, char pool[64])
{
	enum smtp_auth_result r;
	unsigned n = ++looking;

	if (n > most_looking)
		most_looking = n;
	looks++;
	for (int k = 0; gate_closed && k < WAIT_MS; k++)
		wait_pause();
	r = __real_users_check(u, user, password, pool);
	looking--;
	return r;
}

/* From another address of this machine. */
static void hello_from(struct peer *p, const char *source, uint16_t port)
{
	struct sockaddr_in from = { .sin_family = AF_INET }, to = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(fd >= 0 && inet_pton(AF_INET, source, &from.sin_addr) == 1);
	must(bind(fd, (struct sockaddr *)&from, sizeof(from)) == 0);
	must(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
	peer_adopt(p, fd);
	peer_expect(p, "220 ");
	peer_talk(p, "EHLO client.example.test\r\n", "250-");
}

/* Four sessions of one client have a password each; where four may be looked at, one of them is,
 * and another client's is looked at beside it. */
static void one_look_a_client(void **state)
{
	static const char users[] = "amy:$6$salt$wrong\n";
	struct session_limits *l = session_limits_new();
	struct peer p[4], other;
	struct rig r;
	char error[200];

	assert_non_null(l);
	l->checking_max = 4;
	rig_init(&r);
	assert_int_equal(users_parse(&r.users, slice_of(users), "users", error, sizeof(error)), 0);
	r.wp.limits = l;
	r.lp.auth_failures_max = 0;
	rig_start(&r);
	for (int i = 0; i < 4; i++)
		peer_hello(&p[i], r.port);
	hello_from(&other, "127.0.0.2", r.port);
	looks = most_looking = 0;
	gate_closed = true;
	for (int i = 0; i < 4; i++)
		peer_say(&p[i], "AUTH PLAIN AGFteQB3cm9uZw==\r\n");
	WAIT_UNTIL(looks == 1);
	peer_say(&other, "AUTH PLAIN AGFteQB3cm9uZw==\r\n");
	WAIT_UNTIL(looks == 2);
	gate_closed = false;
	for (int i = 0; i < 4; i++)
		peer_expect(&p[i], "535 5.7.8");
	peer_expect(&other, "535 5.7.8");
	assert_int_equal(looks, 5);
	assert_in_range(most_looking, 2, 2);
	for (int i = 0; i < 4; i++)
		peer_close(&p[i]);
	peer_close(&other);
	rig_stop(&r);
	session_limits_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_who_closed_his_half),
		cmocka_unit_test(holders_of_content_stop_nobody),
		cmocka_unit_test(silent_strangers_make_room),
		cmocka_unit_test(guesses_end),
		cmocka_unit_test(one_look_a_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
