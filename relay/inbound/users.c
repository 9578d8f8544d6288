/* The password file: one "user:crypt-hash[:pool]" a line, '#' begins a comment line. Read whole by
 * whoever loads the configuration, then immutable and shared by reference; users_check runs on
 * libuv's pool and takes as long for a name that is not there. */
#include <crypt.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "postern/buf.h"
#include "postern/inbound.h"
#include "postern/must.h"
#include "postern/rng.h"

#define USERS_FILE_MAX (16u << 20)
#define USER_MAX       255u
#define POOL_MAX       63u

struct user {
	char *name, *hash, *pool; /* pool NULL: none of its own */
	UT_hash_handle hh;
};

struct users {
	atomic_uint refs;
	uint64_t generation;
	struct user *by_name;
	/* What an unknown user's password is checked against, so that the answer takes as long: a
	 * hash of the file's first user, or a fixed one when the file is empty. */
	const char *decoy;
};

/* Any valid setting will do: nothing is ever found equal to it. */
#define DECOY_DEFAULT "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$"

static void user_free(struct user *u)
{
	if (!u)
		return;
	free(u->name);
	free(u->hash);
	free(u->pool);
	free(u);
}

static void users_free(struct users *u)
{
	struct user *e, *next;

	HASH_ITER (hh, u->by_name, e, next) {
		HASH_DEL(u->by_name, e);
		user_free(e);
	}
	free(u);
}

struct users *users_ref(struct users *u)
{
	if (u)
		must(atomic_fetch_add_explicit(&u->refs, 1, memory_order_relaxed) > 0);
	return u;
}

struct users *users_unref(struct users *u)
{
	if (u && atomic_fetch_sub_explicit(&u->refs, 1, memory_order_acq_rel) == 1)
		users_free(u);
	return NULL;
}

/* The part of *rest before the next ':', which is taken off too. */
static struct slice field(struct slice *rest)
{
	const char *colon = rest->n ? memchr(rest->p, ':', rest->n) : NULL;
	struct slice f = { rest->p, colon ? (size_t)(colon - rest->p) : rest->n };

	*rest = slice_from(*rest, f.n + (colon ? 1 : 0));
	return f;
}

/* One line into *ret, with a reason in *why when it cannot be used. 0, -EINVAL, -ENOMEM. */
static int user_parse(struct user **ret, struct slice line, const char **why)
{
	struct slice rest = line, name = field(&rest), hash = field(&rest), pool = rest;
	struct user *u;
	int r = -EINVAL;

	*why = NULL;
	if (name.n == 0 || name.n > USER_MAX)
		*why = "expected user:crypt-hash[:pool] with a user name of 1 to 255 bytes";
	else if (hash.n == 0 || hash.n >= CRYPT_OUTPUT_SIZE)
		*why = "the password hash is missing or too long";
	else if (pool.n > POOL_MAX)
		*why = "the pool name is longer than 63 bytes";
	if (*why)
		return r;
	u = calloc(1, sizeof(*u));
	if (!u)
		return -ENOMEM;
	u->name = slice_dup(name);
	u->hash = slice_dup(hash);
	u->pool = pool.n ? slice_dup(pool) : NULL;
	if (!u->name || !u->hash || (pool.n && !u->pool)) {
		r = -ENOMEM;
		goto out;
	}
	/* traditional DES hashes have no '$'; a password in clear would pass for one */
	r = u->hash[0] == '$' ? crypt_checksalt(u->hash) : CRYPT_SALT_INVALID;
	if (r != CRYPT_SALT_OK && r != CRYPT_SALT_METHOD_LEGACY && r != CRYPT_SALT_TOO_CHEAP) {
		*why = "the password hash is of no kind that crypt(5) knows; make one with: "
		       "mkpasswd -m yescrypt";
		r = -EINVAL;
		goto out;
	}
	*ret = u;
	u = NULL;
	r = 0;
out:
	user_free(u);
	return r;
}

static int users_add_line(struct users *u, struct slice line, const char **why)
{
	struct user *e = NULL, *same;
	int r;

	line = slice_trim(line);
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	if (line.n == 0 || line.p[0] == '#')
		return 0;
	r = user_parse(&e, line, why);
	if (r)
		return r;
	HASH_FIND_STR(u->by_name, e->name, same);
	if (same) {
		*why = "this user was named before";
		user_free(e);
		return -EINVAL;
	}
	HASH_ADD_KEYPTR(hh, u->by_name, e->name, strlen(e->name), e);
	if (!e->hh.tbl) {
		user_free(e);
		return -ENOMEM;
	}
	return 0;
}

/* 0, -ENOBUFS too large, -ENOMEM, or the errno of reading. */
static int read_file(struct buf *out, const char *path)
{
	FILE *f = fopen(path, "re");
	int r = 0;

	if (!f)
		return -errno;
	while (!r && !feof(f)) {
		r = buf_reserve(out, 8192);
		if (r)
			break;
		out->len += fread(out->p + out->len, 1, 8192, f);
		if (ferror(f))
			r = errno ? -errno : -EIO;
	}
	fclose(f);
	return r;
}

static int parse_all(
	struct users *u, struct slice text, const char *path, char *error, size_t error_max)
{
	unsigned number = 0;

	while (text.n > 0) {
		const char *end = memchr(text.p, '\n', text.n), *why = NULL;
		struct slice line = { text.p, end ? (size_t)(end - text.p) : text.n };
		int r;

		number++;
		r = users_add_line(u, line, &why);
		if (r) {
			snprintf(error, error_max, "%s:%u: %s", path, number,
				why ? why : strerror(-r));
			return r;
		}
		text = slice_from(text, line.n + (end ? 1 : 0));
	}
	return 0;
}

uint64_t users_generation(const struct users *u)
{
	return u->generation;
}

int users_parse(
	struct users **ret, struct slice text, const char *name, char *error, size_t error_max)
{
	struct users *u = calloc(1, sizeof(*u));
	int r;

	if (!u) {
		snprintf(error, error_max, "%s: %s", name, strerror(ENOMEM));
		return -ENOMEM;
	}
	atomic_init(&u->refs, 1);
	u->generation = rng_entropy() | 1;
	r = parse_all(u, text, name, error, error_max);
	if (r) {
		users_free(u);
		return r;
	}
	u->decoy = u->by_name ? u->by_name->hash : DECOY_DEFAULT;
	*ret = u;
	return 0;
}

int users_load(struct users **ret, const char *path, char *error, size_t error_max)
{
	struct buf text;
	int r;

	buf_init(&text, USERS_FILE_MAX);
	r = read_file(&text, path);
	if (r) {
		snprintf(error, error_max, "%s: cannot read the password file: %s", path,
			r == -ENOBUFS ? "it is larger than 16 MiB" : strerror(-r));
		goto out;
	}
	r = users_parse(ret, buf_slice(&text), path, error, error_max);
out:
	if (text.p)
		explicit_bzero(text.p, text.cap);
	buf_deinit(&text);
	return r;
}

/* Without an early end: the time tells nothing about where they differ. */
static bool same_text(const char *a, const char *b)
{
	size_t na = strlen(a), nb = strlen(b), n = na < nb ? na : nb;
	unsigned char differ = na != nb;

	for (size_t i = 0; i < n; i++)
		differ |= (unsigned char)(a[i] ^ b[i]);
	return differ == 0;
}

enum smtp_auth_result users_check(
	const struct users *u, const char *user, const char *password, char pool[64])
{
	struct crypt_data *work = calloc(1, sizeof(*work));
	enum smtp_auth_result result = AUTH_BAD;
	const struct user *e;
	const char *hash;

	pool[0] = '\0';
	if (!work)
		return AUTH_TEMPORARY;
	HASH_FIND_STR(u->by_name, user, e);
	errno = 0;
	hash = crypt_r(password, e ? e->hash : u->decoy, work);
	if (!hash || hash[0] == '*')
		/* too long a password is the peer's fault, all else is ours */
		result = errno == ERANGE ? AUTH_BAD : AUTH_TEMPORARY;
	else if (e && same_text(hash, e->hash))
		result = AUTH_OK;
	if (result == AUTH_OK && e->pool)
		snprintf(pool, 64, "%s", e->pool);
	explicit_bzero(work, sizeof(*work));
	free(work);
	return result;
}
