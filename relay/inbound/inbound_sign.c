/* Signatures of a message on its way in. Called by inbound_commit.c on the worker's thread, where
 * content is hashed as it comes; the signatures, which take a third of a millisecond, are made on
 * libuv's pool, so that nobody else's session waits for them.
 *
 *   sign_begin → sign_catch_up … → sign_start → (pool) → inbound_signed
 *
 * What is hashed is what the body holds, so behind everything that the relay itself changes in a
 * message: it is fed before blocks leave for the queue, and once more at the end. Signatures become
 * the head of the body, which is stored and sent before its first block though it was made after the
 * last. One job a session at most, and the session's client waits for it. */
#include <errno.h>
#include <stdlib.h>

#include "inbound.h"
#include "postern/must.h"

struct signing {
	struct dkim_signer *signer;
	uint64_t seen; /* bytes of content */
	int error;
};

struct sign_job {
	uv_work_t work;
	struct session *s;
	struct dkim_signer *signer;
	struct message *message;
	struct buf fields;
	int result;
};

int sign_begin(struct session *s)
{
	struct signing *g;

	sign_drop(s);
	if (!s->ln->p->dkim)
		return 0;
	g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	s->signing = g;
	return dkim_signer_new(&g->signer, s->ln->p->dkim, loop_wall(s->ib->loop));
}

void sign_drop(struct session *s)
{
	if (s->signing)
		dkim_signer_free(s->signing->signer);
	free(s->signing);
	s->signing = NULL;
}

size_t sign_held(const struct session *s)
{
	return s->signing && s->signing->signer ? dkim_signer_held(s->signing->signer) : 0;
}

void sign_catch_up(struct session *s, const struct message *m)
{
	struct signing *g = s->signing;
	uint64_t at = m->body->taken;

	if (!g)
		return;
	for (const struct body_block *k = m->body->first; k && !g->error; k = k->next) {
		uint64_t end = at + k->len;

		if (end > g->seen) {
			size_t seen = g->seen > at ? (size_t)(g->seen - at) : 0;

			g->error = dkim_signer_feed(
				g->signer, (struct slice){ k->data + seen, k->len - seen });
			g->seen = end;
		}
		at = end;
	}
}

/* On a thread of the pool: touches nothing but the job. */
static void on_work(uv_work_t *work)
{
	struct sign_job *j = work->data;

	j->result = dkim_sign_fields(j->signer, &j->fields);
}

static void on_signed(uv_work_t *work, int status)
{
	struct sign_job *j = work->data;
	struct session *s = j->s;
	struct message *m = j->message;
	int r = status ? status : j->result;

	if (!r)
		r = body_set_head(m->body, buf_slice(&j->fields));
	if (!r) {
		m->flags |= MESSAGE_HEAD;
		m->size = m->body->size;
	}
	dkim_signer_free(j->signer);
	buf_deinit(&j->fields);
	free(j);
	inbound_signed(s, m, r);
	session_release(s);
}

bool sign_start(struct session *s, struct message *m, int *error)
{
	struct signing *g = s->signing;
	struct sign_job *j = NULL;
	int r = 0;

	if (g) {
		sign_catch_up(s, m);
		r = g->error ? g->error : dkim_signer_end(g->signer);
	}
	if (r > 0) {
		j = calloc(1, sizeof(*j));
		r = j ? 0 : -ENOMEM;
	}
	if (!j) {
		sign_drop(s);
		*error = r;
		return false;
	}
	j->work.data = j;
	j->s = s;
	j->signer = g->signer;
	g->signer = NULL;
	sign_drop(s);
	j->message = m;
	buf_init(&j->fields, 0);
	session_hold(s);
	/* fails only without a function to call */
	must(uv_queue_work(loop_uv(s->ib->loop), &j->work, on_work, on_signed) == 0);
	return true;
}
