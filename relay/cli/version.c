/* postern version: the relay's version, those of its libraries, and the age of the reply rules.
 * Main thread of a tool. */
#include <ares.h>
#include <lmdb.h>
#include <openssl/crypto.h>
#include <uv.h>

#include "cli.h"
#include "postern/classify.h"
#include "postern/config.h"

/* The date of the built-in reply rules: they age faster than the code. */
static void rules_dated(char *ret, size_t max)
{
	struct classifier *rules = NULL;
	struct config none = { 0 };
	struct buf errors;

	buf_init(&errors, 1 << 20);
	*ret = '\0';
	if (!config_classifier(&none, &rules, &errors))
		snprintf(ret, max, "%s", classifier_text(rules, 0)->dated);
	classifier_free(rules);
	buf_deinit(&errors);
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	char dated[16];
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	rules_dated(dated, sizeof(dated));
	if (cli_value(self, &a, "json"))
		print("{\"version\":\"%s\",\"libuv\":\"%s\",\"openssl\":\"%s\",\"c-ares\":\"%s\","
		      "\"lmdb\":\"%s\",\"reply_rules_dated\":\"%s\"}\n",
			POSTERN_VERSION, uv_version_string(),
			OpenSSL_version(OPENSSL_VERSION_STRING), ares_version(NULL),
			mdb_version(NULL, NULL, NULL), dated);
	else
		print("postern %s\nlibuv %s, OpenSSL %s, c-ares %s, %s\nreply rules dated %s\n",
			POSTERN_VERSION, uv_version_string(),
			OpenSSL_version(OPENSSL_VERSION_STRING), ares_version(NULL),
			mdb_version(NULL, NULL, NULL), dated);
	return EX_OK;
}

static const struct cli_option options[] = { { "json", 'j', NULL, "one JSON document" }, { 0 } };
const struct cli_command command_version = { .name = "version",
	.arguments = "",
	.summary = "Print the version.",
	.options = options,
	.run = run,
	.no_config = true };
