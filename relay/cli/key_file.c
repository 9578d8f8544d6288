/* A new private key into a new file, whole and for its owner alone, or not at all. Called by postern
 * dkim keygen. Main thread of a tool. */
#include "key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

int key_file_write(const char *path, const struct dkim_key *k)
{
	struct buf pem;
	struct slice text;
	int r, fd = -1;

	buf_init(&pem, 65536);
	r = dkim_key_pem(k, &pem);
	text = buf_slice(&pem);
	if (!r) {
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		r = fd < 0 ? -errno : 0;
	}
	if (!r && (write(fd, text.p, text.n) != (ssize_t)text.n || fsync(fd)))
		r = errno ? -errno : -EIO;
	if (fd >= 0 && close(fd) && !r)
		r = -errno;
	if (r && fd >= 0)
		unlink(path);
	if (pem.p)
		explicit_bzero(pem.p, pem.cap);
	buf_deinit(&pem);
	if (r == -EEXIST)
		print_error(
			"postern dkim: %s is there already: name another --selector or --output\n",
			path);
	else if (r)
		print_error("postern dkim: cannot write %s: %s\n", path, strerror(-r));
	return r ? EX_CANTCREAT : EX_OK;
}
