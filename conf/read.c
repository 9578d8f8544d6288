/* Files that a configuration is read from or names: read whole, within a bound; and the classifier
 * out of the rules among them. Called by the parts that load it, on the loading thread, and by the
 * commands that classify; calls none of them. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include.h"
#include "postern/config.h"
#include "rules.h"
#include "source.h"

int config_read_file(const char *path, struct buf *out)
{
	struct stat st;
	ssize_t n = 1;
	int r = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		r = -EISDIR;
	while (n > 0 && !r) {
		r = buf_reserve(out, 65536);
		if (r)
			break;
		n = read(fd, out->p + out->len, 65536);
		if (n < 0 && errno != EINTR)
			r = -errno;
		if (n < 0)
			n = 1;
		else
			out->len += (size_t)n;
		if (out->len > CONFIG_BYTES)
			r = -EFBIG;
	}
	close(fd);
	return r;
}

int config_classifier(const struct config *c, struct classifier **ret, struct buf *errors)
{
	struct rules_text texts[2];
	struct buf own;
	size_t n = 0;
	int r = 0;

	buf_init(&own, 0);
	if (c->rules_file) {
		r = config_read_file(c->rules_file, &own);
		texts[n++] = (struct rules_text){ buf_slice(&own), c->rules_file };
	}
	texts[n++] = (struct rules_text){ slice_of(builtin_rules), "built-in replies.rules" };
	if (!r)
		r = classifier_new_of(ret, texts, n, errors);
	else if (buf_printf(errors,
			 "%s:1: cannot be read: %s; name a readable file, or take rules_file out "
			 "for "
			 "the built-in rules alone\n",
			 c->rules_file, strerror(-r)))
		r = -ENOMEM;
	buf_deinit(&own);
	return r;
}
