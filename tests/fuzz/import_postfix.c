/* Postfix's configuration of any bytes becomes one of ours. The files: main.cf, master.cf, then tables
 * as they are asked for. */
#include "import_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_import(import_postfix, "p", data, size);
	return 0;
}
