/* The end of a process in which something that cannot be is so; see must.h. Any thread; makes no
 * use of memory or stdio's state. */
#include "postern/must.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn void must_failed(const char *what, const char *file, int line)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "%s:%d: must(%s) failed\n", file, line, what);

	if (n > (int)sizeof(text) - 1)
		n = (int)sizeof(text) - 1;
	/* straight to the descriptor: the state of stdio is unknown here */
	if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0)
		_exit(134);
	abort();
}
