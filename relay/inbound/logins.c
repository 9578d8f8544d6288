/* Log-ins of a moment ago; see logins.h. Called by inbound_auth.c on the workers' threads. */
#include "logins.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SETS 256u
#define WAYS 4u

struct login {
	struct login_key key;
	ms_t until; /* 0: free */
	char pool[64];
};

struct logins {
	unsigned char secret[32];
	struct login entries[SETS][WAYS];
};

struct logins *logins_new(void)
{
	struct logins *l = calloc(1, sizeof(*l));

	if (l && getrandom(l->secret, sizeof(l->secret), 0) == sizeof(l->secret))
		return l;
	free(l);
	return NULL;
}

struct logins *logins_free(struct logins *l)
{
	if (l)
		explicit_bzero(l, sizeof(*l));
	free(l);
	return NULL;
}

bool logins_key(const struct logins *l, struct login_key *ret, const struct users *users,
	const char *user, const char *password)
{
	unsigned char text[8 + 1024];
	uint64_t generation = users_generation(users);
	size_t nu = strlen(user) + 1;
	struct slice pass = slice_of(password);
	bool ok;

	if (8 + nu + pass.n > sizeof(text))
		return false;
	memcpy(text, &generation, 8);
	memcpy(text + 8, user, nu); /* with its NUL, which no user name has inside */
	memcpy(text + 8 + nu, pass.p, pass.n);
	ok = tls_keyed_hash(ret->hash, l->secret, (struct slice){ (char *)text, 8 + nu + pass.n });
	explicit_bzero(text, sizeof(text));
	return ok;
}

static unsigned set_of(const struct login_key *k)
{
	return k->hash[0] % SETS;
}

bool logins_find(const struct logins *l, ms_t now, const struct login_key *k, char pool[64])
{
	const struct login *set = l->entries[set_of(k)];

	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].until > now && !memcmp(&set[i].key, k, sizeof(*k))) {
			memcpy(pool, set[i].pool, sizeof(set[i].pool));
			return true;
		}
	}
	return false;
}

void logins_add(struct logins *l, ms_t now, const struct login_key *k, const char *pool)
{
	struct login *set = l->entries[set_of(k)], *e = &set[0];

	for (unsigned i = 0; i < WAYS; i++) {
		if (!memcmp(&set[i].key, k, sizeof(*k))) {
			e = &set[i];
			break;
		}
		if (set[i].until < e->until)
			e = &set[i];
	}
	e->key = *k;
	e->until = now + LOGINS_LIFE;
	snprintf(e->pool, sizeof(e->pool), "%s", pool);
}
