#include "process.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void notify_manager(const char *state)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	socklen_t n;
	int fd;

	if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(sun.sun_path))
		return;
	strcpy(sun.sun_path, path);
	n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	if (path[0] == '@')
		sun.sun_path[0] = 0; /* abstract name space */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&sun, n);
	close(fd);
}

int drop_privileges(const char *user, const char *group, char *error, size_t error_max)
{
	const struct passwd *pw;
	const struct group *gr = NULL;
	gid_t gid;

	if (!user || getuid() != 0) {
		if (user && (!(pw = getpwnam(user)) || pw->pw_uid != getuid())) {
			snprintf(error, error_max,
				"user = \"%s\": only root can change its user: start as root or as "
				"that user, or leave the option out",
				user);
			return -EPERM;
		}
		return 0;
	}
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
	gid = gr ? gr->gr_gid : pw->pw_gid;
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) ||
		setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid)) {
		snprintf(error, error_max, "cannot become user %s: %s", user, strerror(errno));
		return -errno;
	}
	prctl(PR_SET_DUMPABLE, 1); /* lost by the change; core files are wanted where the
				      administrator allows them */
	return 0;
}

unsigned long raise_file_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l))
		return 0;
	l.rlim_cur = l.rlim_max;
	if (l.rlim_cur == RLIM_INFINITY || l.rlim_cur > 1048576)
		l.rlim_cur = 1048576;
	setrlimit(RLIMIT_NOFILE, &l);
	return (unsigned long)l.rlim_cur;
}
