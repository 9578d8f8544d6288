/* Records of the queue as they come from disk. The first byte chooses what all others are taken
 * for, and whether its CRC is made right first, so that what lies behind it is reached. */
#include <stdlib.h>
#include <string.h>

#include "../../queue/codec.h"
#include "../../queue/keys.h"
#include "postern/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void seal(char *p, size_t n)
{
	uint32_t crc;

	if (n < 4)
		return;
	crc = crc32c(0, p, n - 4);
	for (unsigned i = 0; i < 4; i++)
		p[n - 4 + i] = (char)(crc >> (8 * i));
}

/* What can be read can be written, and reads the same again. */
static void try_envelope(struct slice in)
{
	struct message m = { 0 }, again = { 0 };
	struct envelope_brief brief;
	struct arena a;
	struct buf b;

	arena_init(&a, 0);
	buf_init(&b, 0);
	if (envelope_decode(&m, in, &a) == 0) {
		must(envelope_brief(&brief, in) == 0 && brief.size == m.size &&
			brief.flags == m.flags);
		must(envelope_encode(&b, &m) == 0);
		must(envelope_decode(&again, buf_slice(&b), &a) == 0);
		must(strcmp(m.sender, again.sender) == 0 && m.expires == again.expires);
		buf_reset(&b);
		must(envelope_reflag(&b, &brief, m.flags ^ MESSAGE_HELD) == 0);
		must(envelope_decode(&again, buf_slice(&b), &a) == 0 &&
			again.flags == (m.flags ^ MESSAGE_HELD));
	}
	buf_deinit(&b);
	arena_deinit(&a);
}

static void try_recipient(struct slice in)
{
	struct queue_rcpt_state s = { 0 }, s_again = { 0 };
	struct recipient r = { 0 }, again = { 0 };
	struct recipient_brief brief;
	struct arena a;
	struct buf b;

	arena_init(&a, 0);
	buf_init(&b, 0);
	if (recipient_decode(&r, &s, in, &a) == 0) {
		must(recipient_brief(&brief, in) == 0 && brief.due == s.due);
		must(slice_eq(brief.domain, slice_of(r.domain)));
		must(recipient_restate(&b, &brief, &s) == 0);
		must(recipient_decode(&again, &s_again, buf_slice(&b), &a) == 0);
		must(strcmp(r.address, again.address) == 0 && strcmp(r.domain, again.domain) == 0);
		must(s.due == s_again.due && s.attempts == s_again.attempts);
	}
	buf_deinit(&b);
	arena_deinit(&a);
}

static void try_due_key(struct slice in)
{
	struct due_key k;
	struct due_ref d;

	if (!due_key_parse(&d, in) || d.domain.n > DOMAIN_MAX)
		return;
	due_key_make(&k, d.domain, d.due, d.id, d.index);
	must(slice_eq((struct slice){ k.b, k.n }, in));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in;
	char *copy;

	if (size < 1)
		return 0;
	copy = malloc(size);
	if (!copy)
		return 0;
	memcpy(copy, data + 1, size - 1);
	in = (struct slice){ copy, size - 1 };
	if (data[0] & 4)
		seal(copy, in.n);
	switch (data[0] & 3) {
	case 0:
		try_envelope(in);
		break;
	case 1:
		try_recipient(in);
		break;
	default:
		try_due_key(in);
		break;
	}
	free(copy);
	return 0;
}
