/* The control command "transcript", and the same for the page: the last good and the last refused
 * session of lanes. Called on the threads of control clients and of HTTP; copies are made on the
 * dispatcher's thread, and read here. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "ask.h"
#include "control.h"
#include "postern/transcript.h"
#include "transcripts.h"

#define SHOWN_MAX 40u

struct shown {
	char source[64], subnet[64], cluster[64], provider[64], session[20], address[ADDR_TEXT_MAX];
	uint64_t message;
	ms_t at;
	struct transcript *said;
};
struct taking {
	const struct transcripts_asked *a;
	struct shown *all;
	unsigned n, max;
	bool failed;
};

static bool asked_for(const struct transcripts_asked *a, const struct dispatch_transcript *t)
{
	return (!a->source || !strcmp(a->source, t->source)) &&
	       (!a->at || !strcmp(a->at, t->cluster) || !strcmp(a->at, t->provider)) &&
	       (!a->subnet || !strcmp(a->subnet, t->subnet)) &&
	       (!a->session || !strcmp(a->session, t->session)) &&
	       (!a->message || a->message == t->message);
}

static void copy(char *out, size_t max, const char *s)
{
	snprintf(out, max, "%.*s", (int)max - 1, s);
}

/* When there are more than are shown, the newest stay. */
static bool take(void *arg, const struct dispatch_transcript *t)
{
	struct taking *k = arg;
	struct shown *s;
	size_t n = sizeof(*t->said) + t->said->n;

	if (!asked_for(k->a, t))
		return true;
	if (k->n == k->max) {
		free(k->all[0].said);
		memmove(k->all, k->all + 1, --k->n * sizeof(*k->all));
	}
	s = &k->all[k->n];
	*s = (struct shown){ .message = t->message, .at = t->at, .said = malloc(n) };
	if (!s->said) {
		k->failed = true;
		return false;
	}
	memcpy(s->said, t->said, n);
	copy(s->source, sizeof(s->source), t->source);
	copy(s->subnet, sizeof(s->subnet), t->subnet);
	copy(s->cluster, sizeof(s->cluster), t->cluster);
	copy(s->provider, sizeof(s->provider), t->provider);
	copy(s->session, sizeof(s->session), t->session);
	copy(s->address, sizeof(s->address), t->address);
	k->n++;
	return true;
}

static void gather(struct dispatch *d, void *arg)
{
	dispatch_transcripts(d, take, arg);
}

struct lines {
	json_t *array;
	bool clear;
	uint64_t secret;
};

static void add_line(void *arg, enum transcript_who who, ms_t ms, struct slice line)
{
	static const char *const names[] = { "us", "them", "note" };
	struct lines *l = arg;
	struct buf hidden;
	int r;

	buf_init(&hidden, 64 * 1024);
	r = l->clear ? buf_add_slice(&hidden, line) : transcript_hide(&hidden, line, l->secret);
	answers_add(l->array,
		r ? NULL
		  : json_pack("{sI so so}", "ms", (json_int_t)ms, "who", json_text(names[who]),
			    "line", json_slice(buf_slice(&hidden))));
	buf_deinit(&hidden);
}

static json_t *shown_json(const struct ops_context *ctx, const struct shown *s)
{
	struct lines l = { json_array(), ctx->transcript_addresses || s->said->hidden,
		ctx->secret };
	char id[QUEUE_ID_TEXT + 1];

	queue_id_format(id, s->message);
	if (l.array)
		transcript_each(s->said, add_line, &l);
	return json_pack("{so so so so so so so so so so so}", "outcome",
		json_text(s->said->refused ? "refused" : "good"), "at", json_time(s->at), "source",
		json_text(s->source), "subnet", json_text(s->subnet), "cluster",
		json_text(s->cluster), "provider", json_text(s->provider), "address",
		json_text(s->address), "session", json_text(s->session), "id",
		s->message ? json_text(id) : json_null(), "cut", json_boolean(s->said->cut),
		"lines", l.array);
}

json_t *transcripts_json(
	const struct ops_context *ctx, const struct transcripts_asked *a, unsigned max)
{
	struct taking k = { .a = a, .all = calloc(max + 1, sizeof(struct shown)), .max = max };
	json_t *array = json_array();

	if (k.all)
		ask(ctx->dispatch, gather, &k);
	for (unsigned i = 0; i < k.n; i++) {
		if (array)
			answers_add(array, shown_json(ctx, &k.all[i]));
		free(k.all[i].said);
	}
	free(k.all);
	return array;
}

static void run_transcript(struct control_client *c, const json_t *request)
{
	struct transcripts_asked a = { .source = request_str(request, "source"),
		.at = request_str(request, "at"),
		.subnet = request_str(request, "subnet"),
		.session = request_str(request, "session") };
	json_t *array;
	int r = request_id(request, "id", &a.message);

	if (r && r != -ENOENT) { /* no id of a message: then a session's */
		a.session = request_str(request, "id");
		a.message = 0;
	}
	array = transcripts_json(c->ctx, &a, SHOWN_MAX);
	if (!json_array_size(array) && !request_bool(request, "may_be_none")) {
		json_decref(array);
		control_fail(c, EX_NOINPUT,
			"no such session is kept: of each lane they are the last good and the last refused");
		return;
	}
	control_say_all(c, array);
}

const struct control_command commands_transcript[] = {
	{ "transcript", run_transcript },
	{ 0 },
};
