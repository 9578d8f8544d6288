/* What the process may do, and what others may do to it. Called by the main thread at the start:
 * first what holds for every relay (privilege_harden), then, once all ports are bound, the change
 * to the relay's user, which is for good (privilege_drop). All before any thread is made, so that
 * the threads inherit it. */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process.h"

/* A sanitizer's leak check traces the process from outside. */
#if defined(__SANITIZE_ADDRESS__)
#define TRACED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TRACED 1
#endif
#endif
#ifndef TRACED
#define TRACED 0
#endif

/* Keys, passwords and mail are in memory: no core files, and nobody of the same user looks in. */
static void hide_memory(void)
{
	if (!TRACED)
		prctl(PR_SET_DUMPABLE, 0);
}

void privilege_harden(void)
{
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); /* nothing is ever executed */
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	hide_memory();
	umask(0027);
}

/* Nothing that this process, or what an intruder makes of it, executes can gain any of them. */
static int empty_bounding_set(void)
{
	for (int c = 0; c <= CAP_LAST_CAP; c++)
		if (prctl(PR_CAPBSET_READ, c, 0, 0, 0) == 1 && prctl(PR_CAPBSET_DROP, c, 0, 0, 0) &&
			errno != EINVAL)
			return -errno;
	return 0;
}

static int become(uid_t uid, gid_t gid)
{
	if (setgroups(0, NULL) || setresgid(gid, gid, gid))
		return -errno;
	/* CAP_SETPCAP is lost with the user */
	if (empty_bounding_set())
		return -errno;
	if (setresuid(uid, uid, uid))
		return -errno;
	hide_memory(); /* the change of user resets it to what the administrator set */
	return 0;
}

static int stay(const char *user, char *error, size_t error_max)
{
	const struct passwd *pw = user ? getpwnam(user) : NULL;

	if (!user || (pw && pw->pw_uid == getuid()))
		return 0;
	snprintf(error, error_max,
		"user = \"%s\": only root can change its user: start as root or as that user, or "
		"leave the option out",
		user);
	return -EPERM;
}

bool privilege_stays_root(const char *user)
{
	return !user && geteuid() == 0;
}

int privilege_drop(const char *user, const char *group, char *error, size_t error_max)
{
	const struct passwd *pw;
	const struct group *gr = NULL;
	int r;

	if (!user || getuid() != 0)
		return stay(user, error, error_max);
	pw = getpwnam(user);
	if (!pw) {
		snprintf(error, error_max,
			"user = \"%s\": there is no such user: adduser --system --group %s", user,
			user);
		return -ENOENT;
	}
	if (group && !(gr = getgrnam(group))) {
		snprintf(error, error_max, "group = \"%s\": there is no such group", group);
		return -ENOENT;
	}
	if (pw->pw_uid == 0)
		return 0; /* root by name: who writes that means it */
	r = become(pw->pw_uid, gr ? gr->gr_gid : pw->pw_gid);
	if (r)
		snprintf(error, error_max, "cannot become user %s: %s", user, strerror(-r));
	return r;
}
