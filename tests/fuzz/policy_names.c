/* Banners, the tails of replies and reverse names, of any bytes: what they say of clusters fits its
 * room, is printable, and is no more than what was there. */
#include "names.h"

#include <ctype.h>

#include "postern/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *name, size_t room)
{
	const char *end = memchr(name, '\0', room);

	must(end != NULL);
	for (const char *p = name; p < end; p++)
		must(isalnum((unsigned char)*p) || *p == '-' || *p == '.' || *p == '_');
}

static void check_all(const struct host_name *n)
{
	char geography[8];

	check(n->host, sizeof(n->host));
	check(n->cluster, sizeof(n->cluster));
	check(n->geography, sizeof(n->geography));
	geography_of_cluster(geography, n->cluster);
	check(geography, sizeof(geography));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice all = { (const char *)data, size };
	struct classification said = { 0 };
	static struct reply reply;
	static char banner[513]; /* as long as smtp_client keeps it */
	struct host_name n;

	memset(&n, 0, sizeof(n));
	if (reply_from_text(&reply, all))
		reply_make(&reply, 550, "");
	classify_facts(&reply, &said);
	if (name_of_server(&n, &said))
		check_all(&n);
	memset(&n, 0, sizeof(n));
	if (name_of_ptr(&n, all))
		check_all(&n);
	memcpy(banner, data, size < sizeof(banner) - 1 ? size : sizeof(banner) - 1);
	banner[size < sizeof(banner) - 1 ? size : sizeof(banner) - 1] = '\0';
	memset(&n, 0, sizeof(n));
	name_of_banner(&n, banner);
	check_all(&n);
	return 0;
}
