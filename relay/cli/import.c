/* postern import: the configuration of another relay, written anew as one of Postern's to standard
 * output; what was not taken over goes to standard error, and ends the configuration as comments.
 * Asks no relay. Main thread of a tool. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "postern/import.h"

#define FILE_MAX (4u << 20)

/* A regular file of a bounded size: what the other configuration names may be anything. */
static int read_file(void *arg, const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), r = 0;
	struct stat st;
	ssize_t n = 1;

	(void)arg;
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		r = -errno;
	else if (!S_ISREG(st.st_mode))
		r = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	while (!r && n > 0) {
		r = buf_reserve(out, 65536);
		n = r ? 0 : read(fd, out->p + out->len, 65536);
		if (n < 0)
			r = -errno;
		else
			out->len += (size_t)n;
		if (!r && out->len > FILE_MAX)
			r = -EFBIG;
	}
	close(fd);
	return r;
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	struct buf out, notes;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	if (a.nrest != 2 ||
		(strcmp(a.rest[0], "postfix") != 0 && strcmp(a.rest[0], "powermta") != 0)) {
		print_error("postern import: say of what: postfix DIR, or powermta FILE\n");
		return EX_USAGE;
	}
	if (access(a.rest[1], R_OK)) {
		print_error("%s: %s\n", a.rest[1], strerror(errno));
		return EX_NOINPUT;
	}
	buf_init(&out, 0);
	buf_init(&notes, 8u << 20);
	if (!strcmp(a.rest[0], "postfix"))
		r = import_postfix(&out, &notes, a.rest[1], read_file, NULL);
	else
		r = import_powermta(&out, &notes, a.rest[1], read_file, NULL);
	print_text(stdout, buf_slice(&out));
	print_text(stderr, buf_slice(&notes));
	if (r < 0)
		print_error("postern import: %s\n", strerror(-r));
	buf_deinit(&out);
	buf_deinit(&notes);
	return r < 0 ? EX_SOFTWARE : r ? EX_DATAERR : EX_OK;
}

const struct cli_command command_import = {
	.name = "import",
	.arguments = "postfix DIR | powermta FILE",
	.summary = "Write another relay's configuration anew as Postern's.",
	.help = "The configuration goes to standard output, each line with where it comes from; what "
		"was not taken over, and why, to standard error and into comments at its end. It passes "
		"`postern check`; with 65 something needs a hand first, which the last lines tell. "
		"Passwords are never copied.",
	.run = run,
	.no_config = true,
	.takes_id = true,
};
