#include <ares.h>
#include <lmdb.h>
#include <openssl/crypto.h>
#include <uv.h>

#include "cli.h"

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	if (cli_value(self, &a, "json"))
		printf("{\"version\":\"%s\",\"libuv\":\"%s\",\"openssl\":\"%s\",\"c-ares\":\"%s\","
		       "\"lmdb\":\"%s\"}\n",
			POSTERN_VERSION, uv_version_string(),
			OpenSSL_version(OPENSSL_VERSION_STRING), ares_version(NULL),
			mdb_version(NULL, NULL, NULL));
	else
		printf("postern %s\nlibuv %s, OpenSSL %s, c-ares %s, %s\n", POSTERN_VERSION,
			uv_version_string(), OpenSSL_version(OPENSSL_VERSION_STRING),
			ares_version(NULL), mdb_version(NULL, NULL, NULL));
	return EX_OK;
}

static const struct cli_option options[] = { { "json", 'j', NULL, "one JSON document" }, { 0 } };
const struct cli_command command_version = { .name = "version",
	.arguments = "",
	.summary = "Print the version.",
	.options = options,
	.run = run,
	.no_config = true };
