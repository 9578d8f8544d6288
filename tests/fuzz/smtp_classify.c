/* Rule text and a reply, split at the first NUL; without one, all of it is the reply. Held: errors
 * come with a line and no classifier; a 4xx or 5xx is never delivered; the token fits. */
#include <string.h>

#include "postern/classify.h"
#include "postern/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char builtin[] = "* * 5xx 5.7.600-649,x.1.x S#,AS*,ATTR# \"banned ip\"|\"ipaddr "
			      "mailaddr\" !\"user\" -> source-block 4h\n"
			      "outlook rcpt,mail 45x - - \"busy\" -> source-throttle subnet\n"
			      "* * * * * \"bloqu\xc3\xa9\" -> source-block\n";

static struct classifier *rules_read(struct slice text)
{
	struct classifier *c = NULL;
	struct buf errors;
	int r;

	buf_init(&errors, 1u << 20);
	r = classifier_new(&c, text, "r", &errors);
	must((r == 0) == (c != NULL));
	if (r == -22)
		must(buf_size(&errors) > 4 && !memcmp(buf_slice(&errors).p, "r:", 2));
	buf_deinit(&errors);
	return c;
}

static void ask(const struct classifier *c, struct slice text)
{
	static const char *const providers[] = { "outlook", "default", "" };
	static const char *const phases[] = { "connect", "mail", "rcpt", "eod", "starttls", "" };
	static struct reply r;
	struct classification got;

	if (reply_from_text(&r, text))
		reply_make(&r, 550, "5.7.1 no");
	for (size_t p = 0; p < sizeof(providers) / sizeof(providers[0]); p++) {
		for (size_t k = 0; k < sizeof(phases) / sizeof(phases[0]); k++) {
			classify(c, slice_of(providers[p]), slice_of(phases[k]), &r, &got);
			must(got.verdict < VERDICT_COUNT);
			must((got.verdict == VERDICT_DELIVERED) == (r.code / 100 == 2));
			must(memchr(got.server, '\0', sizeof(got.server)));
			must(memchr(got.server_cluster, '\0', sizeof(got.server_cluster)));
			must(memchr(got.token, '\0', sizeof(got.token)));
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct classifier *fixed;
	struct slice in = { (const char *)data, size };
	const char *nul = size ? memchr(data, '\0', size) : NULL;
	struct classifier *c = NULL;

	if (!fixed)
		fixed = rules_read(SLICE_LIT(builtin));
	must(fixed);
	if (!nul) {
		ask(fixed, in);
		return 0;
	}
	c = rules_read((struct slice){ in.p, (size_t)(nul - in.p) });
	in = slice_from(in, (size_t)(nul - in.p) + 1);
	if (c)
		ask(c, in);
	classifier_free(c);
	return 0;
}
