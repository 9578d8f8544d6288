/* Opens the queue on an image and holds what is there against what was promised by then. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postern/must.h"
#include "postern/queue_check.h"
#include "powercut.h"

uint32_t returned;

struct look {
	uint32_t at; /* the moment of the cut */
	struct queue *q;
	unsigned wrong;
	unsigned char *present; /* bits of recipients by message of the model; 0x80: the message */
};

#define SAY(l, ...)                                                                                \
	do {                                                                                       \
		if ((l)->wrong++ < 5)                                                              \
			fprintf(stderr, __VA_ARGS__);                                              \
	} while (0)

static void say(void *arg, const char *line)
{
	SAY((struct look *)arg, "check: %s\n", line);
}

static uint32_t find(uint64_t id)
{
	/* ids go up with the model's numbers */
	uint32_t from = 0, to = nmodel;

	while (from < to) {
		uint32_t mid = from + (to - from) / 2;

		if (model[mid].id < id)
			from = mid + 1;
		else
			to = mid;
	}
	return from < nmodel && model[from].id == id ? from : NEVER;
}

static void check_content(struct look *l, const struct model_message *o)
{
	static char text[65536];
	uint64_t at = 0;
	size_t n = 1;

	while (n > 0 && at < o->size) {
		int r = queue_body_read(l->q, o->id, at, text, sizeof(text), &n);

		if (r) {
			SAY(l, "message %" PRIx64 ": content at %" PRIu64 ": %s\n", o->id, at,
				strerror(-r));
			return;
		}
		for (size_t i = 0; i < n; i++) {
			if (text[i] == content_byte(o->id, at + i))
				continue;
			SAY(l, "message %" PRIx64 ": other content at %" PRIu64 "\n", o->id,
				at + i);
			return;
		}
		at += n;
	}
	if (at != o->size)
		SAY(l, "message %" PRIx64 ": %" PRIu64 " of %" PRIu64 " bytes\n", o->id, at,
			o->size);
}

static void take_stock(struct look *l)
{
	uint64_t id = 0;
	int r;

	for (; !(r = queue_next_message(l->q, &id)); id++) {
		struct queue_rcpt_state *states;
		struct message *m = NULL;
		uint32_t k = find(id);

		if (k == NEVER) {
			SAY(l, "message %" PRIx64 " was never put in\n", id);
			continue;
		}
		r = queue_load(l->q, id, &m, &states);
		if (r) {
			SAY(l, "message %" PRIx64 ": %s\n", id, strerror(-r));
			continue;
		}
		l->present[k] = 0x80;
		for (uint32_t i = 0; i < m->nrecipients; i++)
			l->present[k] |= (unsigned char)(1u << m->recipients[i].index);
		check_content(l, &model[k]);
		message_unref(m);
	}
	if (r != -ENOENT)
		SAY(l, "listing: %s\n", strerror(-r));
}

static void judge(struct look *l, uint32_t k)
{
	const struct model_message *o = &model[k];
	bool accepted = o->accepted < l->at, posted = o->posted < l->at;
	bool there = l->present[k] != 0;

	if (there && !posted)
		SAY(l, "message %" PRIx64 " is there and was not yet put in\n", o->id);
	/* when the sync after a failed sync fails too nobody can know: it would come twice, and
	 * whole */
	returned += there && o->refused < l->at;
	for (uint32_t i = 0; i < o->nrecipients; i++) {
		bool waits = l->present[k] >> i & 1;

		if (accepted && !waits && o->recipients[i].posted >= l->at)
			SAY(l, "message %" PRIx64 ", recipient %u: answered, and lost\n", o->id, i);
		if (waits && o->recipients[i].gone < l->at)
			SAY(l, "message %" PRIx64 ", recipient %u: settled, and back\n", o->id, i);
		if (there && !waits && o->recipients[i].posted >= l->at)
			SAY(l, "message %" PRIx64 ": is half there\n", o->id);
	}
	/* a notification comes with what it tells, or both do not */
	if (o->parent != NEVER && posted && !accepted && o->refused >= l->at) {
		bool waits = l->present[o->parent] >> o->parent_recipient & 1;

		if (waits == there && o->recipients[0].posted >= l->at)
			SAY(l,
				"message %" PRIx64
				": a notification without its cause, or the other way\n",
				o->id);
	}
}

int verify(const char *dir, uint32_t at)
{
	/* nobody else writes: one snapshot, however slow the machine */
	const struct queue_params p = {
		.path = dir, .max_size = 256u << 20, .snapshot_us = 600000000
	};
	struct look l = { .at = at, .present = calloc(nmodel, 1) };
	char error[512] = "";
	int r;

	must(l.present);
	r = queue_open(&l.q, &p, error, sizeof(error));
	if (r) {
		fprintf(stderr, "does not open: %s\n", error);
		free(l.present);
		return -1;
	}
	r = queue_check(l.q, false, say, &l);
	if (r < 0)
		SAY(&l, "check: %s\n", strerror(-r));
	take_stock(&l);
	for (uint32_t k = 0; k < nmodel; k++)
		judge(&l, k);
	queue_close(l.q);
	free(l.present);
	return l.wrong ? -1 : 0;
}
