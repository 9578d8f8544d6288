/* The whole outbound machine against a host that says anything, in any pieces. Input: two bytes of
 * set-up, then what happens: 0xFE content is sent, 0xFF the connection is lost, other bytes are the
 * host's. Held: one DONE for each begin; one outcome a recipient; DELIVERED only by a 2xx after
 * content went out; IN_DOUBT only after it went out. */
#include <string.h>

#include "postern/must.h"
#include "postern/smtp_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RCPTS = 3, TRANSACTIONS_MAX = 8 };

struct world {
	struct smtp_client *c;
	struct smtp_client_txn t;
	struct message m;
	struct recipient rcpt[RCPTS];
	const struct recipient *list[RCPTS];
	struct rcpt_result results[RCPTS];
	struct reply replies[RCPTS + 2];
	struct buf out;
	unsigned begun, done;
	bool open, body_due, body_sent, closed;
};

static void open_world(struct world *w, uint8_t a, uint8_t b)
{
	struct smtp_client_params p = { .ehlo_name = "out",
		.tls = (enum tls_mode)(a & 3),
		.tls_given_up = a & 4,
		.pipelining = !(a & 8),
		.chunking = !(a & 16) };

	client_timeouts_default(&p.timeouts);
	must(smtp_client_new(&w->c, &p) == 0);
	w->m.sender = b & 8 ? "\xc3\xa9@y" : "s@y";
	w->m.size = b & 16 ? 3u << 20 : 10;
	w->m.body_type = b & 32 ? BODY_BINARYMIME : BODY_7BIT;
	w->m.envid = b & 64 ? "e+" : NULL;
	for (uint32_t i = 0; i < RCPTS; i++) {
		w->rcpt[i].address = i == 1 && (b & 4) ? "\xc3\xa9@x" : "r@x";
		w->rcpt[i].orcpt = b & 128 ? "utf-8;\xc3\xa9\x80@x" : NULL;
		w->rcpt[i].notify = b & 128 ? NOTIFY_FAILURE : NOTIFY_DEFAULT;
		w->rcpt[i].index = i;
		w->list[i] = &w->rcpt[i];
	}
	w->t = (struct smtp_client_txn){ .message = &w->m,
		.recipients = w->list,
		.n = 1 + b % RCPTS,
		.results = w->results,
		.replies = w->replies };
	w->t.max_replies = (uint16_t)(a & 32 ? 1 : w->t.n + 2);
	buf_init(&w->out, 0);
}

static void check_results(const struct world *w)
{
	for (uint32_t i = 0; i < w->t.n; i++) {
		const struct rcpt_result *r = &w->results[i];
		bool shared = w->t.max_replies < w->t.n + 2;
		unsigned code;

		if (r->outcome == RCPT_PENDING)
			continue;
		must(r->reply < w->t.nreplies);
		code = w->replies[r->reply].code;
		must(r->outcome != RCPT_IN_DOUBT || w->body_sent);
		must(r->outcome != RCPT_DELIVERED || w->body_sent);
		if (shared)
			continue;
		must(r->outcome != RCPT_DELIVERED || code / 100 == 2);
		must(r->outcome != RCPT_REPLIED || code / 100 >= 4);
		must(r->outcome != RCPT_LOCAL || code / 100 == 5);
		must(r->outcome != RCPT_LOST || code == 0 || code == 421);
		must(r->outcome != RCPT_IN_DOUBT || code == 0);
	}
}

static void obey(struct world *w, enum smtp_client_want want)
{
	w->body_due =
		want == CLIENT_BODY_RAW || want == CLIENT_BODY_DOTS || (w->body_due && w->open);
	if (want == CLIENT_STARTTLS)
		smtp_client_tls_started(w->c, "TLS", w->m.size == 10);
	if (want == CLIENT_CLOSE)
		w->closed = true;
	if (want != CLIENT_DONE)
		return;
	must(w->open);
	w->open = false;
	w->body_due = false;
	w->done++;
	check_results(w);
}

static void begin(struct world *w, enum smtp_client_want *want)
{
	w->open = true;
	w->body_sent = false;
	memset(w->results, 0xff, sizeof(w->results));
	must(smtp_client_begin(w->c, &w->t, &w->out, want) == 0);
	w->begun++;
	obey(w, *want);
}

/* Feeds all of in. */
static void feed(struct world *w, struct slice in)
{
	enum smtp_client_want want;
	size_t used;

	do {
		must(smtp_client_feed(w->c, in, &used, &w->out, &want) == 0);
		must(used <= in.n);
		must(!w->closed || want == CLIENT_CLOSE);
		in = slice_from(in, used);
		obey(w, want);
		if (want == CLIENT_IDLE && w->begun < TRANSACTIONS_MAX)
			begin(w, &want);
		(void)smtp_client_timeout(w->c);
		buf_reset(&w->out);
	} while (
		in.n > 0 || want == CLIENT_AGAIN || want == CLIENT_DONE || want == CLIENT_STARTTLS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	size_t at = 2;

	if (size < 2)
		return 0;
	memset(&w, 0, sizeof(w));
	open_world(&w, data[0], data[1]);
	while (at < size && !w.closed) {
		size_t n = 0;

		while (at + n < size && data[at + n] < 0xfe)
			n++;
		feed(&w, (struct slice){ (const char *)data + at, n });
		at += n;
		if (at < size && data[at] == 0xfe && w.body_due) {
			smtp_client_body_sent(w.c);
			w.body_sent = true;
			w.body_due = false;
		} else if (at < size && data[at] == 0xff) {
			smtp_client_lost(w.c, "lost");
		}
		at++;
	}
	smtp_client_lost(w.c, "end");
	feed(&w, (struct slice){ "", 0 });
	must(w.closed && !w.open && w.begun == w.done);
	w.c = smtp_client_free(w.c);
	buf_deinit(&w.out);
	return 0;
}
