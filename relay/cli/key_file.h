/* Files with private keys that the tool makes. */
#pragma once

#include "postern/dkim.h"

/* Never over a file that is there: that may be a key in use. An exit code, after saying the error if
 * there was one. */
int key_file_write(const char *path, const struct dkim_key *k);
