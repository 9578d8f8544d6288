/* What only the machine can tell: are the addresses of the configuration its own, and who else may
 * take the place of the control socket? Mostly warnings: the check may run elsewhere, or before an
 * address was added. Called by check.c, on the thread that loads the configuration. */
#include <errno.h>
#include <libgen.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source.h"

static bool is_elsewhere(const struct addr *a)
{
	struct sockaddr_storage ss;
	bool elsewhere = false;
	int fd;

	addr_to_sockaddr(&ss, a, 0);
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false; /* no sockets at all are another trouble */
	if (bind(fd, (const struct sockaddr *)&ss,
		    ss.ss_family == AF_INET ? sizeof(struct sockaddr_in)
					    : sizeof(struct sockaddr_in6)))
		elsewhere = errno == EADDRNOTAVAIL;
	close(fd);
	return elsewhere;
}

/* Only root asks: who starts the relay as its user, as the unit file does, has no use for it. */
static void check_user(struct source *s)
{
	if (s->config->user || geteuid() != 0)
		return;
	diag_warning(s->diag, 1,
		"user: started by root the relay stays root: write user = \"postern\", or start it "
		"as its user; user = \"root\" accepts it");
}

/* Whoever may write there can put a socket of his own in the place of the relay's, and is told then
 * what operators want. Not there yet: made at the start, by whoever starts it. */
static void check_control(struct source *s)
{
	const char *user = s->config->user, *path = s->config->control_socket;
	const struct passwd *pw = user ? getpwnam(user) : NULL;
	unsigned line = scan_line(scan_find(&s->scan, &sections[SECTION_CONTROL], 0), "socket");
	char copy[512];
	struct stat st;
	char *dir;

	if (!path || strlen(path) >= sizeof(copy))
		return;
	strcpy(copy, path);
	dir = dirname(copy);
	if (stat(dir, &st) || !S_ISDIR(st.st_mode))
		return;
	if ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
		diag_error(s->diag, line,
			"control: socket: everybody may put a socket of his own into %s (mode "
			"%04o): chmod 0750 it, with the group of the operators",
			dir, (unsigned)st.st_mode & 07777u);
	else if (st.st_mode & S_IWOTH)
		diag_warning(s->diag, line,
			"control: socket: everybody may be in %s before the relay is: a directory "
			"of its own, such as /run/postern, is safe",
			dir);
	else if (st.st_uid != 0 && st.st_uid != geteuid() && !(pw && st.st_uid == pw->pw_uid))
		diag_warning(s->diag, line,
			"control: socket: %s belongs to another user (%u), who can put a socket of "
			"his own there",
			dir, (unsigned)st.st_uid);
}

void source_check_machine(struct source *s)
{
	check_user(s);
	check_control(s);
	for (unsigned i = 0; i < s->config->policy.nsources; i++) {
		const struct source_params *p = &s->config->policy.sources[i];
		char text[ADDR_TEXT_MAX];

		if (p->address.family == ADDR_NONE || !is_elsewhere(&p->address))
			continue;
		addr_format(text, &p->address);
		diag_warning(s->diag,
			scan_line(scan_find(&s->scan, &sections[SECTION_SOURCE], i), "address"),
			"source \"%s\": address: this machine has no address %s: until it has, no "
			"mail leaves from this source",
			p->name, text);
	}
}
