/* The control socket: one command a line, JSON lines back. Runs in the first loop. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../peers/socket.h"
#include "conn.h"
#include "postern/text.h"
#include "report.h"

#define CLIENTS_MAX    256
#define COMMAND_MAX    (64 * 1024)
#define PAYLOAD_MAX    (16 * 1024 * 1024)
#define OUT_CHUNK      (256 * 1024)
#define CONDITIONS_MAX 8

struct condition {
	char key[80];
	uint64_t at_least;
};

struct client {
	struct io io;
	struct control *ctl;
	struct client *next, **prev;
	struct buf in, out;
	/* `wait` */
	bool waiting;
	uint64_t deadline;
	struct condition cond[CONDITIONS_MAX];
	unsigned nconds;
	/* `deliveries`, `events` */
	bool streaming;
	size_t cursor;
	unsigned kinds;
};

struct control {
	struct io io;
	struct sim *sim;
	struct client *clients;
	size_t nclients, nwaiting;
	char *path; /* of a Unix socket, to remove */
};

static void client_flush(struct client *k);

static void say_error(struct client *k, const char *what)
{
	PUT_LIT(&k->out, "{\"error\":");
	put_json(&k->out, what);
	PUT_LIT(&k->out, "}\n");
}

static void say_result(struct client *k, int r, struct buf *errors)
{
	put(errors, "", 1);
	if (r)
		say_error(k, buf_slice(errors).p);
	else
		PUT_LIT(&k->out, "{\"ok\":true}\n");
}

static uint64_t counter_of(struct sim *s, const char *key)
{
	const struct ledger *l = &s->ledger;

	if (strncmp(key, "rule:", 5) == 0) {
		const struct rule *r = scenario_rule(s->sc, key + 5);

		return r ? r->hits : 0;
	}
	if (strcmp(key, "messages") == 0)
		return l->accepted;
	if (strcmp(key, "count") == 0 || strcmp(key, "deliveries") == 0)
		return l->recipients;
	if (strcmp(key, "refused") == 0)
		return l->refused;
	if (strcmp(key, "violations") == 0)
		return l->violation_total;
	if (strcmp(key, "opened") == 0)
		return l->connections;
	if (strcmp(key, "closed") == 0)
		return l->closed;
	if (strcmp(key, "dns") == 0)
		return l->dns_queries;
	if (strcmp(key, "unique") == 0)
		return l->deliveries.n;
	return UINT64_MAX; /* no such counter */
}

static bool conditions_met(struct client *k)
{
	struct sim *s = k->ctl->sim;

	for (unsigned i = 0; i < k->nconds; i++) {
		const struct condition *c = &k->cond[i];

		if (strcmp(c->key, "open") == 0) { /* at most: for "until they are closed" */
			if (s->ledger.connections - s->ledger.closed > c->at_least)
				return false;
		} else if (counter_of(s, c->key) < c->at_least) {
			return false;
		}
	}
	return true;
}

static void wait_end(struct client *k, bool ok)
{
	struct sim *s = k->ctl->sim;

	k->waiting = false;
	k->ctl->nwaiting--;
	put_fmt(&k->out, "{\"ok\":%s", ok ? "true" : "false");
	for (unsigned i = 0; i < k->nconds; i++) {
		uint64_t v = strcmp(k->cond[i].key, "open") == 0
				     ? s->ledger.connections - s->ledger.closed
				     : counter_of(s, k->cond[i].key);

		PUT_LIT(&k->out, ",");
		put_json(&k->out, k->cond[i].key);
		put_fmt(&k->out, ":%" PRIu64, v);
	}
	PUT_LIT(&k->out, "}\n");
}

static void do_wait(struct client *k, char *args)
{
	char *word, *save;
	uint64_t timeout_ms = 10000;

	k->nconds = 0;
	for (word = strtok_r(args, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		char *eq = strrchr(word, '='), *end;
		uint64_t v = eq ? strtoull(eq + 1, &end, 10) : 0;

		if (!eq || end == eq + 1 || *end || (size_t)(eq - word) >= sizeof(k->cond[0].key)) {
			say_error(k, "wait: conditions are written key=number");
			return;
		}
		*eq = '\0';
		if (strcmp(word, "timeout") == 0) {
			timeout_ms = v;
			continue;
		}
		if (k->nconds == CONDITIONS_MAX ||
			(strcmp(word, "open") != 0 &&
				counter_of(k->ctl->sim, word) == UINT64_MAX)) {
			say_error(k, "wait: unknown counter, or too many of them");
			return;
		}
		memcpy(k->cond[k->nconds].key, word, strlen(word) + 1);
		k->cond[k->nconds++].at_least = v;
	}
	if (!k->nconds) {
		say_error(k, "wait: for what?");
		return;
	}
	k->waiting = true;
	k->ctl->nwaiting++;
	k->deadline = k->ctl->sim->loops[0].now + timeout_ms * 1000;
}

static void do_stream(struct client *k, char *args, unsigned kinds)
{
	k->cursor = 0;
	if (strncmp(args, "since ", 6) == 0)
		k->cursor = strtoull(args + 6, NULL, 10);
	k->kinds = kinds;
	if (!k->ctl->sim->ledger.detail)
		say_error(k, "started without --detail");
	else
		k->streaming = true;
}

static void stream_some(struct client *k)
{
	const struct ledger *l = &k->ctl->sim->ledger;

	while (k->cursor < l->nevents && buf_size(&k->out) < OUT_CHUNK) {
		const struct event *e = &l->events[k->cursor++];

		if (e->kind & k->kinds)
			put_str(&k->out, e->json);
	}
	if (k->cursor >= l->nevents) {
		k->streaming = false;
		put_fmt(&k->out, "{\"end\":true,\"next\":%zu}\n", l->nevents);
	}
}

static void do_rule(struct client *k, char *args, const char *payload)
{
	struct sim *s = k->ctl->sim;
	char *name = strchr(args, ' ');
	struct buf errors;
	struct rule *r;

	buf_init(&errors, 0);
	if (name)
		*name++ = '\0';
	else
		name = args + strlen(args);
	if (strcmp(args, "add") == 0) {
		bool first = strncmp(name, "first", 5) == 0 && (!name[5] || name[5] == ' ');

		if (first)
			name += name[5] ? 6 : 5;
		say_result(k, scenario_add_rules(s->sc, payload ? payload : name, first, &errors),
			&errors);
	} else if (!(r = scenario_rule(s->sc, name))) {
		say_error(k, "no such rule, or not rule add|remove|enable|disable NAME");
	} else if (strcmp(args, "remove") == 0) {
		scenario_remove_rule(s->sc, name);
		say_result(k, 0, &errors);
	} else if (strcmp(args, "enable") == 0 || strcmp(args, "disable") == 0) {
		r->enabled = args[0] == 'e';
		say_result(k, 0, &errors);
	} else {
		say_error(k, "rule add|remove|enable|disable NAME");
	}
	buf_deinit(&errors);
}

static void do_replace(struct client *k, const char *text)
{
	struct buf errors;

	buf_init(&errors, 0);
	if (!text)
		say_error(k, "scenario replace bytes=N, then N bytes");
	else
		say_result(k, sim_replace(k->ctl->sim, text, &errors), &errors);
	buf_deinit(&errors);
}

static void do_advance(struct client *k, const char *args)
{
	struct sim *s = k->ctl->sim;
	ms_t ms;

	if (duration_parse(&ms, slice_of(args)) || ms < 0) {
		say_error(k, "advance: not a duration");
		return;
	}
	s->advance_us += (uint64_t)ms * 1000;
	s->advances++;
	put_fmt(&k->out, "{\"ok\":true,\"time\":%.3f}\n", (double)sim_time(&s->loops[0]) / 1e6);
}

/* How often ID reached RCPT; without RCPT, how many messages had that id. */
static void do_delivered(struct client *k, char *args)
{
	const struct ledger *l = &k->ctl->sim->ledger;
	char *rcpt = strrchr(args, ' ');

	if (rcpt)
		*rcpt++ = '\0';
	put_fmt(&k->out, "{\"count\":%u}\n",
		rcpt ? tally_get(&l->deliveries, delivery_key(args, rcpt))
		     : tally_get(&l->messages, hash_str(args)));
}

static void do_peaks(struct client *k, const char *args)
{
	int kind = -1;

	for (int i = 0; i < G_N; i++) {
		if (strcmp(gauge_names[i], args) == 0)
			kind = i;
	}
	if (*args && kind < 0)
		say_error(k, "peaks [lane|subnet|cluster|forest|source|total]");
	else
		report_gauges(&k->out, &k->ctl->sim->ledger, kind);
}

static void run(struct client *k, char *line, const char *payload)
{
	struct sim *s = k->ctl->sim;
	char *args = strchr(line, ' ');

	if (args)
		*args++ = '\0';
	else
		args = line + strlen(line);
	if (strcmp(line, "summary") == 0)
		summary_json(s, &k->out);
	else if (strcmp(line, "peaks") == 0)
		do_peaks(k, args);
	else if (strcmp(line, "lanes") == 0)
		do_peaks(k, "lane");
	else if (strcmp(line, "deliveries") == 0)
		do_stream(k, args, EV_DELIVERED);
	else if (strcmp(line, "refusals") == 0)
		do_stream(k, args, EV_REFUSED);
	else if (strcmp(line, "events") == 0)
		do_stream(k, args, ~0U);
	else if (strcmp(line, "delivered") == 0)
		do_delivered(k, args);
	else if (strcmp(line, "violations") == 0)
		report_violations(&k->out, &s->ledger);
	else if (strcmp(line, "rules") == 0)
		report_rules(&k->out, s->sc);
	else if (strcmp(line, "wait") == 0)
		do_wait(k, args);
	else if (strcmp(line, "rule") == 0)
		do_rule(k, args, payload);
	else if (strcmp(line, "scenario") == 0 && strncmp(args, "replace", 7) == 0)
		do_replace(k, payload);
	else if (strcmp(line, "advance") == 0)
		do_advance(k, args);
	else if (strcmp(line, "reset") == 0) {
		ledger_reset(&s->ledger);
		PUT_LIT(&k->out, "{\"ok\":true}\n");
	} else if (strcmp(line, "quit") == 0) {
		PUT_LIT(&k->out, "{\"ok\":true}\n");
		s->quit = true;
	} else {
		say_error(k, "unknown command");
	}
}

/* "… bytes=N" at the end of a line: N bytes follow it. */
static int64_t payload_size(char *line)
{
	char *at = strstr(line, " bytes="), *end;
	int64_t n;

	if (!at)
		return -1;
	n = strtoll(at + 7, &end, 10);
	if (*end || n < 0 || n > PAYLOAD_MAX)
		return -1;
	*at = '\0';
	return n;
}

/* One command, when all of it is there. */
static bool next_command(struct client *k)
{
	struct slice s = buf_slice(&k->in);
	const char *nl = s.n ? memchr(s.p, '\n', s.n) : NULL;
	char *line, *payload = NULL;
	size_t used, n;
	int64_t extra;

	if (!nl || k->waiting || k->streaming)
		return false;
	n = (size_t)(nl - s.p);
	used = n + 1;
	line = xstrndup(s.p, n && nl[-1] == '\r' ? n - 1 : n);
	extra = payload_size(line);
	if (extra >= 0 && s.n - used < (size_t)extra) {
		free(line);
		return false;
	}
	if (extra >= 0) {
		payload = xstrndup(s.p + used, (size_t)extra);
		used += (size_t)extra;
	}
	sim_lock(k->ctl->sim);
	run(k, line, payload);
	sim_unlock(k->ctl->sim);
	buf_consume(&k->in, used);
	free(line);
	free(payload);
	return true;
}

static void client_free(struct client *k)
{
	struct control *ctl = k->ctl;

	if (k->waiting)
		ctl->nwaiting--;
	*k->prev = k->next;
	if (k->next)
		k->next->prev = k->prev;
	close(k->io.fd);
	buf_deinit(&k->in);
	buf_deinit(&k->out);
	ctl->nclients--;
	free(k);
}

static void client_flush(struct client *k)
{
	for (;;) {
		ssize_t n;

		if (k->streaming && buf_size(&k->out) < OUT_CHUNK) {
			sim_lock(k->ctl->sim);
			stream_some(k);
			sim_unlock(k->ctl->sim);
		}
		if (!buf_size(&k->out))
			break;
		n = send(k->io.fd, buf_slice(&k->out).p, buf_size(&k->out), MSG_NOSIGNAL);
		if (n < 0)
			break;
		buf_consume(&k->out, (size_t)n);
	}
	io_mod(&k->ctl->sim->loops[0], &k->io, EPOLLIN | (buf_size(&k->out) ? EPOLLOUT : 0U));
}

static void on_client(struct loop *lp, struct io *io, uint32_t events)
{
	struct client *k = (struct client *)(void *)io;
	char block[16384];
	ssize_t n = recv(io->fd, block, sizeof(block), 0);

	if (n == 0 || (n < 0 && errno != EAGAIN) || buf_size(&k->in) > PAYLOAD_MAX + COMMAND_MAX) {
		client_free(k);
		return;
	}
	if (n > 0)
		put(&k->in, block, (size_t)n);
	do
		client_flush(k);
	while (!buf_size(&k->out) && next_command(k));
	client_flush(k);
}

bool control_waiting(const struct sim *s)
{
	return s->control && s->control->nwaiting;
}

void control_tick(struct sim *s)
{
	if (!control_waiting(s))
		return;
	for (struct client *k = s->control->clients; k; k = k->next) {
		bool met, late;

		if (!k->waiting)
			continue;
		sim_lock(s);
		met = conditions_met(k);
		late = s->loops[0].now >= k->deadline;
		if (met || late)
			wait_end(k, met);
		sim_unlock(s);
		while (!k->waiting && !buf_size(&k->out) && next_command(k))
			;
		client_flush(k);
	}
}

static void on_client_accept(struct loop *lp, struct io *io, uint32_t events)
{
	struct control *ctl = (struct control *)(void *)io;
	int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct client *k;

	if (fd < 0)
		return;
	if (ctl->nclients >= CLIENTS_MAX) {
		close(fd);
		return;
	}
	k = xcalloc(1, sizeof(*k));
	k->io = (struct io){ .fd = fd, .fn = on_client };
	k->ctl = ctl;
	buf_init(&k->in, 0);
	buf_init(&k->out, 0);
	k->next = ctl->clients;
	k->prev = &ctl->clients;
	if (k->next)
		k->next->prev = &k->next;
	ctl->clients = k;
	ctl->nclients++;
	io_add(lp, &k->io, EPOLLIN);
}

int control_start(struct sim *s, const char *address, char **text)
{
	struct control *ctl;
	int fd = socket_listen(address, SOCK_STREAM, text);

	if (fd < 0)
		return fd;
	ctl = xcalloc(1, sizeof(*ctl));
	ctl->io = (struct io){ .fd = fd, .listener = true, .fn = on_client_accept };
	ctl->sim = s;
	ctl->path = strchr(address, '/') ? xstrdup(address) : NULL;
	s->control = ctl;
	io_add(&s->loops[0], &ctl->io, EPOLLIN);
	return 0;
}

void control_stop(struct sim *s)
{
	struct control *ctl = s->control;

	if (!ctl)
		return;
	while (ctl->clients)
		client_free(ctl->clients);
	close(ctl->io.fd);
	if (ctl->path)
		unlink(ctl->path);
	free(ctl->path);
	free(ctl);
	s->control = NULL;
}
