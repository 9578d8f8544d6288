/* Stored records: what is written is read back, what nobody wrote is refused. */
#include "fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../../queue/codec.h"

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static void test_crc(void **state)
{
	/* the check value of the CRC-32C catalogues */
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
	assert_int_equal(crc32c_software(0, "123456789", 9), 0xe3069283u);
	assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
	assert_int_equal(crc32c(0, "", 0), 0);
}

static void test_envelope(void **state)
{
	static const struct message rows[] = {
		{ .sender = "", .pool = "", .client = "" },
		{ .flags = MESSAGE_SMTPUTF8 | MESSAGE_HELD,
			.size = UINT64_MAX,
			.arrived = INT64_MAX,
			.expires = INT64_MIN,
			.body_type = BODY_BINARYMIME,
			.ret = RET_HDRS,
			.sender = "a@b.example",
			.envid = "",
			.pool = "main",
			.client = "[::1]:25",
			.helo = "h",
			.user = "u",
			.listener = "l",
			.message_id = "<m@i>",
			.from_domain = "shop.example",
			.class = "codes",
			.tag = "otp-\xc3\xa4",
			.headers = "X-Campaign: spring\nX-B: \n",
			.about = "0A",
			.about_message_id = "<o@i>" },
		{ .size = 127,
			.arrived = -1,
			.sender = "j\xc3\xb6rg@b",
			.pool = "p",
			.client = "c",
			.user = "\xff" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct message got = { 0 };
		struct envelope_brief brief;
		struct arena a;
		struct buf b;

		buf_init(&b, 0);
		arena_init(&a, 0);
		assert_int_equal(envelope_encode(&b, &rows[i]), 0);
		assert_int_equal(envelope_decode(&got, buf_slice(&b), &a), 0);
		assert_int_equal(got.flags, rows[i].flags);
		assert_true(got.size == rows[i].size && got.arrived == rows[i].arrived &&
			    got.expires == rows[i].expires);
		assert_int_equal(got.body_type, rows[i].body_type);
		assert_int_equal(got.ret, rows[i].ret);
		assert_true(same(got.sender, rows[i].sender) && same(got.envid, rows[i].envid) &&
			    same(got.pool, rows[i].pool) && same(got.client, rows[i].client));
		assert_true(same(got.helo, rows[i].helo) && same(got.user, rows[i].user) &&
			    same(got.listener, rows[i].listener) &&
			    same(got.message_id, rows[i].message_id));
		assert_true(same(got.from_domain, rows[i].from_domain) &&
			    same(got.class, rows[i].class) && same(got.tag, rows[i].tag));
		assert_true(same(got.headers, rows[i].headers) && same(got.about, rows[i].about) &&
			    same(got.about_message_id, rows[i].about_message_id));
		assert_int_equal(envelope_brief(&brief, buf_slice(&b)), 0);
		assert_true(brief.size == rows[i].size && brief.flags == rows[i].flags);
		arena_deinit(&a);
		buf_deinit(&b);
	}
}

static void test_restamp(void **state)
{
	static const struct {
		ms_t arrived, expires, now, want_arrived, want_expires;
	} rows[] = {
		{ 1000, 5000, 1000, 1000, 5000 },
		{ 1000, 5000, 9000, 1000, 5000 },
		{ 1000, 5000, 400, 400, 4400 },
		{ INT64_MAX - 7, INT64_MAX, 400, 400, 407 },
		{ 1000, 500, 400, 400, 400 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct message m = { .sender = "a@b.example",
			.pool = "main",
			.client = "192.0.2.1",
			.user = "app",
			.flags = MESSAGE_8BIT_CONTENT,
			.size = 77,
			.arrived = rows[i].arrived,
			.expires = rows[i].expires };
		bool later = rows[i].arrived > rows[i].now;
		struct envelope_brief old;
		struct message got = { 0 };
		struct buf b, again;
		struct arena a;

		arena_init(&a, 0);
		buf_init(&b, 0);
		buf_init(&again, 0);
		assert_int_equal(envelope_encode(&b, &m), 0);
		assert_int_equal(envelope_brief(&old, buf_slice(&b)), 0);
		assert_int_equal(envelope_restamp(&again, &old, rows[i].now), !later);
		assert_int_equal(buf_size(&again) > 0, later);
		assert_int_equal(envelope_decode(&got, buf_slice(later ? &again : &b), &a), 0);
		assert_true(
			got.arrived == rows[i].want_arrived && got.expires == rows[i].want_expires);
		assert_true(got.size == 77 && got.flags == MESSAGE_8BIT_CONTENT &&
			    same(got.user, "app") && same(got.pool, "main"));
		arena_deinit(&a);
		buf_deinit(&b);
		buf_deinit(&again);
	}
}

static void encode_recipient(
	struct buf *b, const struct recipient *r, const struct queue_rcpt_state *s)
{
	buf_init(b, 0);
	assert_int_equal(recipient_encode(b, r, s), 0);
}

static void test_recipient(void **state)
{
	static const struct {
		struct recipient r;
		struct queue_rcpt_state s;
	} rows[] = {
		{ { .address = "a@b.example", .domain = "b.example" }, { 0 } },
		{ { .address = "a@B.example",
			  .domain = "b.example",
			  .orcpt = "rfc822;x",
			  .notify = NOTIFY_NEVER },
			{ .due = INT64_MIN,
				.last_attempt = 5,
				.attempts = 65535,
				.code = 451,
				.verdict = 255,
				.flags = 255,
				.reply = "451 4.7.500 busy",
				.host = "h",
				.source = "a1" } },
		{ { .address = "postmaster", .domain = "local" },
			{ .due = INT64_MAX, .reply = "" } },
		{ { .address = "x@[192.0.2.1]", .domain = "[192.0.2.1]", .orcpt = "" },
			{ .host = "" } },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct recipient r = { 0 };
		struct queue_rcpt_state s = { 0 };
		struct recipient_brief brief;
		struct arena a;
		struct buf b;

		arena_init(&a, 0);
		encode_recipient(&b, &rows[i].r, &rows[i].s);
		assert_int_equal(recipient_decode(&r, &s, buf_slice(&b), &a), 0);
		assert_true(same(r.address, rows[i].r.address) &&
			    same(r.domain, rows[i].r.domain) && same(r.orcpt, rows[i].r.orcpt) &&
			    r.notify == rows[i].r.notify);
		assert_true(s.due == rows[i].s.due && s.last_attempt == rows[i].s.last_attempt);
		assert_true(s.attempts == rows[i].s.attempts && s.code == rows[i].s.code &&
			    s.verdict == rows[i].s.verdict && s.flags == rows[i].s.flags);
		assert_true(same(s.reply, rows[i].s.reply) && same(s.host, rows[i].s.host) &&
			    same(s.source, rows[i].s.source));
		assert_int_equal(recipient_brief(&brief, buf_slice(&b)), 0);
		assert_true(slice_eq(brief.domain, slice_of(r.domain)) && brief.due == s.due);
		arena_deinit(&a);
		buf_deinit(&b);
	}
}

static void test_restate(void **state)
{
	const struct recipient r = {
		.address = "a@b.example", .domain = "b.example", .orcpt = "rfc822;a@b"
	};
	char reply[700];
	struct queue_rcpt_state s = { .due = 1 },
				next = { .due = 99, .attempts = 3, .reply = reply }, got;
	struct recipient_brief brief;
	struct recipient out;
	struct buf b, again;
	struct arena a;

	memset(reply, 'r', sizeof(reply) - 1);
	reply[sizeof(reply) - 1] = '\0';
	arena_init(&a, 0);
	buf_init(&again, 0);
	encode_recipient(&b, &r, &s);
	assert_int_equal(recipient_brief(&brief, buf_slice(&b)), 0);
	assert_int_equal(recipient_restate(&again, &brief, &next), 0);
	assert_int_equal(recipient_decode(&out, &got, buf_slice(&again), &a), 0);
	assert_string_equal(out.address, r.address);
	assert_string_equal(out.orcpt, r.orcpt);
	assert_int_equal(got.due, 99);
	assert_int_equal(got.attempts, 3);
	assert_int_equal(strlen(got.reply), REPLY_TEXT_MAX);
	arena_deinit(&a);
	buf_deinit(&again);
	buf_deinit(&b);
}

/* Every cut and every single flipped bit is noticed. */
static void test_damage(void **state)
{
	const struct recipient r = { .address = "a@b.example", .domain = "b.example" };
	const struct queue_rcpt_state s = { .due = 7, .reply = "450 no" };
	struct queue_rcpt_state got;
	struct recipient out;
	struct arena a;
	struct buf b;

	arena_init(&a, 0);
	encode_recipient(&b, &r, &s);
	for (size_t n = 0; n < b.len; n++)
		assert_int_equal(
			recipient_decode(&out, &got, (struct slice){ b.p, n }, &a), -EBADMSG);
	for (size_t bit = 0; bit < 8 * b.len; bit++) {
		b.p[bit / 8] ^= (char)(1 << bit % 8);
		assert_int_equal(recipient_decode(&out, &got, buf_slice(&b), &a), -EBADMSG);
		b.p[bit / 8] ^= (char)(1 << bit % 8);
	}
	arena_deinit(&a);
	buf_deinit(&b);
}

static void seal(unsigned char *p, size_t n)
{
	uint32_t crc = crc32c(0, p, n);

	for (unsigned i = 0; i < 4; i++)
		p[n + i] = (unsigned char)(crc >> (8 * i));
}

/* Well sealed and still wrong: what an encoder never wrote. */
static void test_bad_fields(void **state)
{
	static const struct {
		const char *what;
		unsigned char bytes[64];
		size_t n;
		int r;
	} rows[] = {
		{ "from the future", { 2, 0 }, 2, -EPROTO },
		{ "version 0", { 0, 0 }, 2, -EBADMSG },
		{ "nothing behind the version", { 1 }, 1, -EBADMSG },
		{ "text longer than the record", { 1, 0, 200, 1, 'a' }, 5, -EBADMSG },
		{ "varint without end",
			{ 1, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80 },
			13, -EBADMSG },
		{ "no address", { 1, 0, 0, 2, 'b', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 15, -EBADMSG },
		{ "no domain anywhere", { 1, 0, 2, 'b', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 15,
			-EBADMSG },
		{ "NUL in text", { 1, 0, 3, 'b', 0, 2, 'd', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 17,
			-EBADMSG },
		{ "attempts over 16 bits",
			{ 1, 0, 2, 'b', 2, 'd', 0, 0, 0, 0x80, 0x80, 4, 0, 0, 0, 0, 0, 0 }, 18,
			-EBADMSG },
		{ "bytes left over", { 1, 0, 2, 'b', 2, 'd', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9 }, 17,
			-EBADMSG },
		{ "fine", { 1, 0, 2, 'b', 2, 'd', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 16, 0 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		unsigned char rec[80];
		struct queue_rcpt_state s;
		struct recipient r;
		struct arena a;

		memcpy(rec, rows[i].bytes, rows[i].n);
		seal(rec, rows[i].n);
		arena_init(&a, 0);
		if (recipient_decode(&r, &s, (struct slice){ (char *)rec, rows[i].n + 4 }, &a) !=
			rows[i].r)
			fail_msg("%s", rows[i].what);
		arena_deinit(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc),
		cmocka_unit_test(test_envelope),
		cmocka_unit_test(test_restamp),
		cmocka_unit_test(test_recipient),
		cmocka_unit_test(test_restate),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_bad_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
