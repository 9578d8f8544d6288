/* PowerMTA's configuration of any bytes becomes one of ours. The files: the configuration, then those
 * that it includes. */
#include "import_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_import(import_powermta, "config", data, size);
	return 0;
}
