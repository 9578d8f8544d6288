/* The whole inbound machine, with a caller that does what it asks for. The input is what a client
 * sends; its first two bytes set parameters and how it is cut. It is played twice, cut differently,
 * and must give the same replies and messages; and what a client may rely on is checked:
 * - content is answered with 250 only after a commit that succeeded;
 * - every reply line is well-formed, has an enhanced code where it must, and there is an answer for
 * all;
 * - a message that is committed has a recipient, and no bare CR or LF unless it is binary;
 * - nothing is left allocated. */
#include <stdint.h>
#include <stdlib.h>

#include "postern/must.h"
#include "postern/smtp_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct caller {
	struct smtp_server *server;
	struct buf in, out, committed;
	size_t checked; /* bytes of out already looked at */
	unsigned commits_ok, queued;
	uint64_t next_id;
	uint8_t how;
	bool closed, tls;
};

static void check_line(struct caller *c, struct slice line)
{
	struct slice queued = SLICE_LIT("250 2.0.0 Ok: queued as ");

	must(line.n >= 4 && line.p[0] >= '2' && line.p[0] <= '5' &&
		(line.p[3] == ' ' || line.p[3] == '-'));
	for (size_t i = 0; i < line.n; i++)
		must((unsigned char)line.p[i] >= 0x20 && (unsigned char)line.p[i] < 0x7f);
	if (line.p[0] != '3' && !slice_case_prefix(line, SLICE_LIT("220 out.example")) &&
		!slice_case_prefix(line, SLICE_LIT("250-")) &&
		!slice_eq(line, SLICE_LIT("250 CHUNKING")) &&
		!slice_eq(line, SLICE_LIT("250 out.example")))
		must(line.n > 9 && line.p[4] == line.p[0] && line.p[5] == '.');
	if (slice_case_prefix(line, queued))
		c->queued++;
}

static void check_replies(struct caller *c)
{
	while (c->checked < c->out.len) {
		const char *p = c->out.p + c->checked;
		const char *lf = memchr(p, '\n', c->out.len - c->checked);

		must(lf && lf > p && lf[-1] == '\r');
		check_line(c, (struct slice){ p, (size_t)(lf - p) - 1 });
		c->checked += (size_t)(lf - p) + 1;
	}
	/* the promise */
	must(c->queued == c->commits_ok);
}

static void check_message(struct caller *c, const struct message *m)
{
	char last = '\0';

	must(m && m->nrecipients > 0 && m->body && m->body->sealed && m->sender && m->pool &&
		m->client);
	must(m->size == m->body->size && m->size > 0);
	for (uint32_t i = 0; i < m->nrecipients; i++) {
		const struct recipient *r = &m->recipients[i];

		must(r->index == i && r->address[0] && r->domain[0]);
		must(buf_add_str(&c->committed, r->address) == 0);
	}
	must(buf_add_str(&c->committed, m->sender) == 0);
	for (const struct body_block *k = m->body->first; k; k = k->next) {
		must(buf_add(&c->committed, k->data, k->len) == 0);
		for (uint32_t i = 0;
			i < k->len && m->body_type != BODY_BINARYMIME && m->body->taken == 0; i++) {
			must((k->data[i] == '\n') == (last == '\r'));
			must(k->data[i] != '\0');
			last = k->data[i];
		}
	}
}

static void commit(struct caller *c)
{
	struct message *m = smtp_server_take_message(c->server);
	bool fails = c->how & 1 && m->id % 2;

	check_message(c, m);
	message_unref(m);
	if (!fails)
		c->commits_ok++;
	must(smtp_server_committed(c->server, fails ? COMMIT_ERROR : COMMIT_OK, &c->out) == 0);
}

static void authenticate(struct caller *c)
{
	struct smtp_credentials cr;

	smtp_server_credentials(c->server, &cr);
	must(cr.user[0]);
	must(smtp_server_authenticated(
		     c->server, cr.password[0] == 'p' ? AUTH_OK : AUTH_BAD, "pool", &c->out) == 0);
}

static void begin(struct caller *c)
{
	uint64_t id = c->next_id++;
	bool full = c->how & 2 && id % 3 == 0;

	must(smtp_server_begun(
		     c->server, full ? 0 : id, full ? COMMIT_FULL : COMMIT_OK, &c->out, 1000) == 0);
}

/* False: it waits for bytes, or the session is over. */
static bool act(struct caller *c, enum smtp_server_want want)
{
	struct message *m = smtp_server_message(c->server);

	switch (want) {
	case SERVER_AGAIN:
		return true;
	case SERVER_READ:
		return false;
	case SERVER_BEGIN:
		begin(c);
		return true;
	case SERVER_FLUSH:
		must(m && m->id);
		body_blocks_free(body_take_full(m->body));
		return true;
	case SERVER_COMMIT:
		commit(c);
		return true;
	case SERVER_ABORT:
		must(m && m->body->taken > 0);
		return true;
	case SERVER_AUTH:
		authenticate(c);
		return true;
	case SERVER_STARTTLS: /* what follows would be cut off at different places: the end of this
				 run */
		c->tls = true;
		return false;
	case SERVER_CLOSE:
		c->closed = true;
		return false;
	}
	return false;
}

static void send_piece(struct caller *c, struct slice piece)
{
	enum smtp_server_want want;
	size_t used;

	must(buf_add_slice(&c->in, piece) == 0);
	do {
		must(smtp_server_feed(c->server, buf_slice(&c->in), &used, &c->out, 1000, &want) ==
			0);
		must(used <= buf_size(&c->in));
		buf_consume(&c->in, used);
	} while (act(c, want));
	check_replies(c);
}

static void play(struct caller *c, const struct smtp_server_params *p, struct slice in, size_t step,
	uint8_t how)
{
	struct smtp_server_peer peer = {
		.client_text = "192.0.2.7",
		.trusted = !(how & 4),
		.tls_available = true,
		.auth_available = true,
	};

	*c = (struct caller){ .how = how, .next_id = 1 };
	must(addr_parse(&peer.client, SLICE_LIT("192.0.2.7")) == 0);
	must(smtp_server_new(&c->server, p, &peer, 1) == 0);
	must(smtp_server_greet(c->server, &c->out) == 0);
	while (in.n > 0 && !c->closed && !c->tls) {
		size_t n = in.n < step ? in.n : step;

		send_piece(c, (struct slice){ in.p, n });
		in = slice_from(in, n);
	}
	must(c->closed || c->tls || buf_size(&c->in) <= p->line_max + 2u);
	smtp_server_free(c->server);
	must(body_memory() == 0);
}

static void end(struct caller *c)
{
	buf_deinit(&c->in);
	buf_deinit(&c->out);
	buf_deinit(&c->committed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_server_params p = {
		.hostname = "out.example",
		.listener = "l",
		.pool = "main",
		.size_max = 20000,
		.recipients_max = 5,
		.line_max = 600,
		.content_line_max = 1000,
		.header_max = 4000,
		.errors_max = 20,
		.received_max = 3,
		.offer_auth_plain_text = true,
		.expire = 1,
	};
	struct slice in = { (const char *)data + 2, size - 2 };
	struct caller whole, cut;

	if (size < 2)
		return 0;
	p.bare_newline = data[0] & 8 ? BARE_FIX : BARE_REJECT;
	p.pool_header = data[0] & 16;
	p.require_auth = data[0] & 32;
	p.transactions_max = data[0] & 64 ? 2 : 0;
	play(&whole, &p, in, in.n ? in.n : 1, data[0]);
	play(&cut, &p, in, 1u + data[1] % 16u, data[0]);
	must(slice_eq(buf_slice(&whole.out), buf_slice(&cut.out)));
	must(slice_eq(buf_slice(&whole.committed), buf_slice(&cut.committed)));
	end(&whole);
	end(&cut);
	/* once more with streaming, where blocks leave while content comes */
	p.stream_over = 9000;
	play(&whole, &p, in, 7000, data[0]);
	end(&whole);
	return 0;
}
