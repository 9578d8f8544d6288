/* The data file of the queue, looked at before LMDB may map it. */
#include <sys/mman.h>
#include <unistd.h>

#include "postern/must.h"
#include "postern/rawfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count(void *arg, const char *line)
{
	++*(unsigned *)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct raw_meta m = { 0 };
	enum raw_state st = RAW_EMPTY;
	unsigned lines = 0;
	int fd = memfd_create("queue", MFD_CLOEXEC), r;

	if (fd < 0)
		return 0;
	if (write(fd, data, size) == (ssize_t)size && raw_meta_read(fd, &m, &st) == 0 &&
		st == RAW_OK) {
		r = raw_walk(fd, &m, 0, count, &lines);
		must(r < 0 || (r > 0) == (lines > 0));
	}
	close(fd);
	return 0;
}
