/* What only the machine can tell: are the addresses of the configuration its own? Warnings: the
 * check may run elsewhere, or before an address was added. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
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

void source_check_machine(struct source *s)
{
	check_user(s);
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
