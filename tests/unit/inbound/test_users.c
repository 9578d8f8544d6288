/* The password file: what is read, what is refused with file and line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../temporary.h"
#include "postern/inbound.h"
#include "postern/must.h"

/* "secret" by crypt(3), three methods */
#define SHA512                                                                                     \
	"$6$rounds=5000$abcdefgh12345678$8qry.al/7S2fAQnDPL..k3GVAXostN0YvxqwHlKr6Jsf/"            \
	"74.qDax5ahH0CISuJF.P2fnhZoX0.4l8IwZUur9t1"
#define YESCRYPT "$y$j75$rE/i8oMqjnwN9HmTegFyD.$AEkNC2.czZbOPm.0Dd9yX5YaTaThWRhYRSBNb6jSCk2"
#define MD5	 "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1"

static char path[200];

static int load(struct users **ret, const char *text, char error[512])
{
	FILE *f = fopen(path, "w");

	must(f);
	must(fwrite(text, 1, strlen(text), f) == strlen(text));
	must(fclose(f) == 0);
	error[0] = '\0';
	return users_load(ret, path, error, 512);
}

static void checks(void **state)
{
	static const struct {
		const char *user, *password;
		enum smtp_auth_result result;
		const char *pool;
	} rows[] = {
		{ "amy", "secret", AUTH_OK, "" },
		{ "amy", "Secret", AUTH_BAD, "" },
		{ "amy", "", AUTH_BAD, "" },
		{ "Amy", "secret", AUTH_BAD, "" },
		{ "bob@example.com", "secret", AUTH_OK, "bulk" },
		{ "bob@example.com", "secret ", AUTH_BAD, "" },
		{ "old", "secret", AUTH_OK, "" },
		{ "nobody", "secret", AUTH_BAD, "" },
		{ "", "secret", AUTH_BAD, "" },
	};
	struct users *u = NULL;
	char error[512], pool[64];

	assert_int_equal(
		load(&u,
			"# people\n\namy:" SHA512 "\nbob@example.com:" YESCRYPT ":bulk\r\nold:" MD5,
			error),
		0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(
			users_check(u, rows[i].user, rows[i].password, pool), rows[i].result);
		assert_string_equal(pool, rows[i].pool);
	}
	assert_ptr_equal(users_ref(u), u);
	assert_null(users_unref(u));
	users_unref(u);
}

static void refused_files(void **state)
{
	static const struct {
		const char *text, *error;
	} rows[] = {
		{ "amy\n", ":1: the password hash is missing" },
		{ "ok:" SHA512 "\n:" SHA512 "\n", ":2: expected user:crypt-hash" },
		{ "amy:secret\n", ":1: the password hash is of no kind" },
		{ "amy:$99$what$ever\n", ":1: the password hash is of no kind" },
		{ "amy:" SHA512 "\n#\namy:" MD5 "\n", ":3: this user was named before" },
		{ "amy:" SHA512
		  ":0123456789012345678901234567890123456789012345678901234567890123\n",
			":1: the pool name is longer" },
	};
	struct users *u = NULL;
	char error[512];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(load(&u, rows[i].text, error), -EINVAL);
		assert_null(u);
		assert_true(
			strstr(error, rows[i].error) && strncmp(error, path, strlen(path)) == 0);
	}
	assert_int_equal(users_load(&u, "/nonexistent/users", error, sizeof(error)), -ENOENT);
	assert_non_null(strstr(error, "/nonexistent/users: cannot read"));
}

/* An empty file lets nobody in, and takes its time to say so. */
static void nobody(void **state)
{
	struct users *u = NULL;
	char error[512], pool[64];

	assert_int_equal(load(&u, "", error), 0);
	assert_int_equal(users_check(u, "amy", "secret", pool), AUTH_BAD);
	users_unref(u);
}

/* Unknown users cost what known ones do: within a factor that noise does not reach. */
static void same_time(void **state)
{
	struct users *u = NULL;
	char error[512], pool[64];
	uint64_t took[2] = { 0 }, t;

	assert_int_equal(load(&u, "amy:" SHA512 "\n", error), 0);
	for (int i = 0; i < 20; i++) {
		t = clock_mono_us();
		users_check(u, i % 2 ? "amy" : "nobody", "wrong", pool);
		took[i % 2] += clock_mono_us() - t;
	}
	assert_true(took[0] < 5 * took[1] && took[1] < 5 * took[0]);
	users_unref(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checks),
		cmocka_unit_test(refused_files),
		cmocka_unit_test(nobody),
		cmocka_unit_test(same_time),
	};
	int fd, r;

	temporary_name(path, sizeof(path), "users");
	fd = mkstemp(path);
	must(fd >= 0);
	close(fd);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return r;
}
