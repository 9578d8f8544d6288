/* A message being signed: how it is cut into pieces makes no difference, fields are well formed, and
 * nothing of the message gets into them. First byte: how to cut. */
#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>

#include "postern/dkim.h"
#include "postern/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct dkim_set *make_set(void)
{
	static const char *const all[] = { "*" };
	static const char pem[] =
		"-----BEGIN PRIVATE KEY-----\n"
		"MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
		"-----END PRIVATE KEY-----\n";
	struct dkim_set *s = dkim_set_new(NULL);
	struct dkim_key *k[2];
	char why[100];

	must(s);
	for (int i = 0; i < 2; i++)
		must(dkim_key_parse(&k[i], slice_of(pem), why, sizeof(why)) == 0);
	must(dkim_set_add(s,
		     &(struct dkim_rule){
			     .domain = "a.example", .selector = "s", .body = DKIM_SIMPLE },
		     k[0]) == 0);
	must(dkim_set_add(s,
		     &(struct dkim_rule){ .domain = "b.example",
			     .selector = "s",
			     .from = all,
			     .nfrom = 1,
			     .header = DKIM_SIMPLE },
		     k[1]) == 0);
	return s;
}

static int run(struct dkim_set *set, struct slice in, size_t step, struct buf *out)
{
	struct dkim_signer *s;
	int r;

	must(dkim_signer_new(&s, set, 1) == 0);
	while (in.n > 0) {
		size_t n = in.n < step ? in.n : step;

		must(dkim_signer_feed(s, (struct slice){ in.p, n }) == 0);
		in = slice_from(in, n);
	}
	r = dkim_signer_end(s);
	if (r > 0)
		r = dkim_sign_fields(s, out);
	dkim_signer_free(s);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct dkim_set *set;
	struct slice in = { (const char *)data + 1, size - 1 };
	struct buf one, two;
	int r;

	if (size < 1)
		return 0;
	if (!set)
		set = make_set();
	buf_init(&one, 0);
	buf_init(&two, 0);
	r = run(set, in, data[0] % 64u + 1, &one);
	must(run(set, in, SIZE_MAX, &two) == r);
	must(slice_eq(buf_slice(&one), buf_slice(&two)));
	for (size_t i = 0; i < buf_size(&one); i++) {
		unsigned char c = (unsigned char)buf_slice(&one).p[i];

		must(c == '\r' || c == '\n' || c == '\t' || (c >= ' ' && c < 0x7f));
	}
	buf_deinit(&one);
	buf_deinit(&two);
	return 0;
}
