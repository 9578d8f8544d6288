/* What is said on an outbound connection, as it is said, and which of it is worth a copy for the
 * dispatcher: the connection that failed, and of transactions the first of each outcome and then one
 * now and then. On the worker's thread.
 *
 * It costs a copy of a few hundred bytes a transaction, into memory that the connection has already. */
#include <stdio.h>
#include <stdlib.h>

#include "outbound.h"

#define AGAIN_GOOD    60000 /* ms */
#define AGAIN_REFUSED 5000

struct recording {
	struct recorder r;
	ms_t began;    /* mono */
	ms_t taken[2]; /* mono; good, refused: the last copy; 0: none yet */
};

static void note(struct connection *c, const char *text)
{
	struct recording *rec = c->recording;

	recorder_add(&rec->r, TRANSCRIPT_NOTE, loop_mono(c->ob->loop) - rec->began, slice_of(text));
}

void recording_begin(struct connection *c)
{
	const struct outbound_connect *o = c->order;
	char from[ADDR_TEXT_MAX] = "any address", to[ADDR_TEXT_MAX], text[512];

	if (!o->record)
		return;
	c->recording = calloc(1, sizeof(*c->recording));
	if (!c->recording)
		return;
	c->recording->began = loop_mono(c->ob->loop);
	if (o->source.family != ADDR_NONE)
		addr_format(from, &o->source);
	addr_format(to, &o->to);
	snprintf(text, sizeof(text), "connecting from %s to %s, port %u", from, to, o->port);
	note(c, text);
}

void recording_said(struct connection *c, enum transcript_who who, struct slice bytes)
{
	struct recording *rec = c->recording;

	if (rec && bytes.n > 0)
		recorder_add(&rec->r, who, loop_mono(c->ob->loop) - rec->began, bytes);
}

void recording_tls(struct connection *c)
{
	const char *description;
	char text[700], peer[512];

	if (!c->recording)
		return;
	description = stream_tls_description(c->stream);
	stream_tls_peer(c->stream, peer, sizeof(peer));
	snprintf(text, sizeof(text), "%s, %s%s; certificate %s", description ? description : "TLS",
		stream_tls_verified(c->stream) ? "verified" : "not verified",
		stream_tls_resumed(c->stream) ? ", resumed" : "", peer[0] ? peer : "not known");
	note(c, text);
}

void recording_next(struct connection *c)
{
	if (c->recording)
		recorder_next(&c->recording->r);
}

static bool refused(const struct outbound_transact *t)
{
	for (uint32_t i = 0; i < t->n; i++)
		if (t->results[i].outcome != RCPT_DELIVERED)
			return true;
	return false;
}

void recording_result(struct connection *c, struct outbound_transact *t)
{
	struct recording *rec = c->recording;
	ms_t now = loop_mono(c->ob->loop), *taken;
	bool bad;

	if (!rec || (!t->answers && !c->failed))
		return;
	bad = refused(t);
	taken = &rec->taken[bad];
	if (*taken && now - *taken < (bad ? AGAIN_REFUSED : AGAIN_GOOD))
		return;
	*taken = now;
	if (c->failed && c->why[0])
		note(c, c->why);
	t->transcript = recorder_take(&rec->r, bad);
}

struct transcript *recording_failed(struct connection *c)
{
	struct recording *rec = c->recording;

	/* a failure in a transaction was that one's */
	if (!rec || rec->taken[true])
		return NULL;
	if (c->why[0])
		note(c, c->why);
	return recorder_take(&rec->r, true);
}

void recording_end(struct connection *c)
{
	if (!c->recording)
		return;
	recorder_deinit(&c->recording->r);
	free(c->recording);
	c->recording = NULL;
}
