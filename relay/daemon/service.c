/* The running relay: start and end. Called by the main thread; the order in which things start is
 * that of service_start, and they end in the opposite one. Reloads: service_reload.c. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "descriptors.h"
#include "postern/must.h"
#include "process.h"
#include "service_private.h"

#define DRAIN_MARGIN 5000 /* ms beyond the deadline until we stop waiting */

static unsigned count_workers(const struct config *c)
{
	long n = c->workers ? (long)c->workers : sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > WORKERS_MAX ? WORKERS_MAX : (unsigned)n;
}

/* The configuration's files are read as whoever started us, who may read more than the relay's
 * user.
 */
static int load_first(struct service *s, struct config *c)
{
	struct buf errors;
	int r;

	buf_init(&errors, 1 << 16);
	service_number_listeners(s, c);
	r = generation_new(&s->first, c, &errors);
	if (r)
		snprintf(s->error, s->error_max, "%.*s", (int)buf_size(&errors),
			buf_size(&errors) ? buf_slice(&errors).p : "out of memory");
	else
		s->now = generation_ref(s->first);
	buf_deinit(&errors);
	return r;
}

/* ---- start ---- */

static int listen_first(struct service *s)
{
	const struct listening_from from = { .inherited = &s->inherited, .nworkers = s->nworkers };
	int r = inherited_init(&s->inherited, s->error, s->error_max);

	if (r == EX_OK)
		r = listening_new(&s->listening, s->first, &from, s->error, s->error_max);
	if (r == EX_OK)
		r = inherited_check(&s->inherited, &s->listening, s->error, s->error_max);
	return r;
}

static int open_queue(struct service *s)
{
	int r = queue_open(&s->queue, &s->first->config->queue, s->error, s->error_max);

	if (r && !*s->error)
		snprintf(s->error, s->error_max, "queue %s: %s", s->first->config->queue.path,
			strerror(-r));
	return r ? EX_CANTCREAT : EX_OK;
}

/* The queue belongs to the user that the relay becomes, also when root makes its directory. */
static int make_queue_directory(struct service *s)
{
	const char *path = s->first->config->queue.path;

	if (mkdir(path, 0700) && errno != EEXIST) {
		snprintf(s->error, s->error_max,
			"queue path %s: %s: make it, owned by the relay's user", path,
			strerror(errno));
		return EX_CANTCREAT;
	}
	return EX_OK;
}

static int start_workers(struct service *s)
{
	const struct config *c = s->first->config;
	int r = 0;

	for (unsigned i = 0; !r && i < s->nworkers; i++) {
		struct worker_params p = {
			.index = i,
			.queue = s->queue,
			.log = s->log,
			.events = dispatch_events(s->dispatch),
			.outbound_max = s->outbound_max / s->nworkers + 1,
			.ahead_max = c->outbound_memory_max / s->nworkers,
			.body_memory_max = c->body_memory_max,
			.limits = s->limits,
		};

		r = worker_new(&s->workers[i], &p);
	}
	for (unsigned i = 0; !r && i < s->listening.n; i++) {
		struct bound *b = &s->listening.bound[i];
		const struct credentials *k = &s->first->credentials[b->listener];

		r = worker_listen(
			s->workers[b->worker], &c->listeners[b->listener], b->fd, k->tls, k->users);
		b->ours = r != 0;
	}
	if (!r)
		r = dispatch_start(s->dispatch, s->workers, s->nworkers);
	for (unsigned i = 0; !r && i < s->nworkers; i++)
		r = worker_start(s->workers[i]);
	if (r)
		snprintf(s->error, s->error_max, "cannot start the workers: %s", strerror(-r));
	return r ? EX_OSERR : EX_OK;
}

static int start_dispatch(struct service *s)
{
	struct config *c = s->first->config;
	struct dispatch_endpoint *listening;
	int r;

	if (getrandom(&c->dispatch.transcript_secret, sizeof(c->dispatch.transcript_secret), 0) !=
		sizeof(c->dispatch.transcript_secret))
		return EX_OSERR;
	c->dispatch.outbound_max = s->outbound_max;
	listening = listening_endpoints(&s->listening, &c->dispatch.nlistening);
	c->dispatch.listening = listening;
	c->dispatch.nlistening = listening ? c->dispatch.nlistening : 0;
	r = dispatch_new(&s->dispatch, &c->dispatch, &c->policy, s->first->rules, s->queue, s->log,
		s->error, s->error_max);
	c->dispatch.listening = NULL;
	free(listening);
	if (r && !*s->error)
		snprintf(s->error, s->error_max, "cannot start the dispatcher: %s", strerror(-r));
	return r ? EX_OSERR : EX_OK;
}

/* ---- for operators ---- */

static int reload_for_ops(void *arg, struct buf *why, struct buf *restart)
{
	return service_reload(arg, why, restart);
}

static int running_for_ops(void *arg, struct buf *out)
{
	return service_running(arg, out);
}

static int rules_for_ops(void *arg, struct buf *out)
{
	struct service *s = arg;
	int r;

	pthread_mutex_lock(&s->reload_lock); /* a reload frees the rules, or keeps them for long */
	r = classifier_describe(s->now->rules, out);
	pthread_mutex_unlock(&s->reload_lock);
	return r;
}

static void files_for_ops(void *arg, struct ops_files *ret)
{
	service_files(arg, ret);
}

static void hostname_for_ops(void *arg, char out[256])
{
	struct service *s = arg;

	pthread_mutex_lock(&s->reload_lock);
	snprintf(out, 256, "%s", s->now->config->hostname);
	pthread_mutex_unlock(&s->reload_lock);
}

static int start_ops(struct service *s)
{
	const struct config *c = s->first->config;
	struct http_params p;
	char text[ADDR_TEXT_MAX];
	uint16_t port;

	s->reloaded = clock_wall_ms();
	if ((c->control_socket || c->http.enabled) &&
		survey_start(&s->survey, s->queue, s->dispatch)) {
		snprintf(s->error, s->error_max, "a thread cannot be started");
		return EX_OSERR;
	}
	s->ops = (struct ops_context){
		.queue = s->queue,
		.dispatch = s->dispatch,
		.workers = s->workers,
		.nworkers = s->nworkers,
		.limits = s->limits,
		.log = s->log,
		.hostname = hostname_for_ops,
		.started = clock_wall_ms(),
		.reload = reload_for_ops,
		.running = running_for_ops,
		.rules = rules_for_ops,
		.files = files_for_ops,
		.survey = s->survey,
		.transcript_addresses = c->dispatch.transcript_addresses,
		.secret = c->dispatch.transcript_secret,
		.arg = s,
	};
	if (c->control_socket && control_start(&s->control, &s->ops, c->control_socket,
					 c->control_mode, s->error, s->error_max))
		return EX_OSERR;
	if (!c->http.enabled)
		return EX_OK;
	p = (struct http_params){ c->http.addr, c->http.port, c->http_token_file };
	if (http_start(&s->http, &s->ops, &p, &port, s->error, s->error_max))
		return EX_OSERR;
	addr_format(text, &c->http.addr);
	log_event(s->log, LOG_INFO, EVENT_HTTP,
		c->http.addr.family == ADDR_V6 ? "http://[%s]:%u" : "http://%s:%u", text, port);
	return EX_OK;
}

/* As the relay's user, so that what is opened is what it may open. */
static int open_log(struct service *s)
{
	int r = log_open(&s->log, &s->first->config->log);

	if (r)
		snprintf(s->error, s->error_max, "log file %s: %s%s", s->first->config->log.file,
			r == -ELOOP ? "is a symbolic link: name the file itself" : strerror(-r),
			r == -EACCES ? ": it must be the relay's user's, or in a directory of it"
				     : "");
	return r ? EX_CANTCREAT : EX_OK;
}

static int share_descriptors(struct service *s)
{
	struct config *c = s->first->config;
	struct descriptors d;
	int r = descriptors_share(&d, c, s->nworkers, s->log, s->error, s->error_max);

	if (r != EX_OK)
		return r;
	s->outbound_max = d.outbound; /* the option stays what it was: a reload compares it */
	s->limits = session_limits_new();
	if (!s->limits) {
		snprintf(s->error, s->error_max, "%s", strerror(ENOMEM));
		return EX_OSERR;
	}
	session_limits_bound(s->limits, d.inbound, c->envelope_memory_max);
	return EX_OK;
}

/* Read by root at the start, and never again: better said now than found when it is renewed. */
static void say_unreadable(struct service *s, const char *path)
{
	if (path && access(path, R_OK))
		log_event(s->log, LOG_WARN, EVENT_UNREADABLE,
			"%s: the relay's user cannot read it, so no reload will take it over: give "
			"it that user's group, and chmod 0640",
			path);
}

static void say_files(struct service *s)
{
	const struct config *c = s->first->config;

	say_unreadable(s, c->path);
	say_unreadable(s, c->rules_file);
	say_unreadable(s, c->http_token_file);
	for (unsigned i = 0; i < c->nlisteners; i++) {
		say_unreadable(s, c->listeners[i].certificate);
		say_unreadable(s, c->listeners[i].key);
		say_unreadable(s, c->listeners[i].client_ca);
		for (unsigned k = 0; k < c->listeners[i].ncertificates; k++)
			say_unreadable(s, c->listeners[i].certificates[k]);
		say_unreadable(s, c->listeners[i].users_file);
	}
	for (unsigned i = 0; i < c->ndkims; i++)
		say_unreadable(s, c->dkims[i].key);
	for (unsigned i = 0; i < c->policy.nproviders; i++) {
		say_unreadable(s, c->policy.providers[i].transport.ca_file);
		say_unreadable(s, c->policy.providers[i].transport.certificate);
		say_unreadable(s, c->policy.providers[i].transport.key);
	}
}

static void say_start(struct service *s)
{
	if (privilege_stays_root(s->first->config->user))
		log_event(s->log, LOG_WARN, EVENT_ROOT,
			"running as root: what breaks in here may do anything on this machine: "
			"name a user = \"postern\", or start as that user; user = \"root\" "
			"accepts it");
	say_files(s);
	listening_say(&s->listening, s->first, s->log, NULL);
}

int service_start(struct service **ret, struct config *c, char *error, size_t error_max)
{
	struct service *s = calloc(1, sizeof(*s));
	int r;

	*error = 0;
	if (!s) {
		config_free(c);
		return EX_OSERR;
	}
	s->error = error;
	s->error_max = error_max;
	s->nworkers = count_workers(c);
	pthread_mutex_init(&s->reload_lock, NULL);
	/* As root: what only root may do. Then as the relay's user: what must belong to it. Ports
	 * and the queue's lock come first: whoever starts beside another relay touches nothing of
	 * that one's. */
	r = load_first(s, c);
	if (r == EX_OK)
		r = listen_first(s);
	if (r == EX_OK)
		r = privilege_drop(c->user, c->group, error, error_max) ? EX_NOPERM : EX_OK;
	if (r == EX_OK)
		r = open_log(s);
	if (r == EX_OK)
		say_start(s);
	if (r == EX_OK)
		r = share_descriptors(s);
	if (r == EX_OK)
		r = make_queue_directory(s);
	if (r == EX_OK)
		r = open_queue(s);
	if (r == EX_OK)
		r = start_dispatch(s);
	if (r == EX_OK)
		r = start_workers(s);
	if (r == EX_OK)
		r = start_ops(s);
	if (r != EX_OK) {
		service_free(s);
		return r;
	}
	*ret = s;
	return EX_OK;
}

struct log *service_log(struct service *s)
{
	return s->log;
}

const char *service_pid_file(const struct service *s)
{
	return s->first->config->pid_file;
}

/* ---- end ---- */

static void tell_fd(void *arg)
{
	uint64_t one = 1;

	must(write(*(int *)arg, &one, sizeof(one)) == sizeof(one));
}

/* Waits for n signals on done; false when stop became readable or the time is over. */
static bool wait_for(int done, unsigned n, int stop, ms_t deadline)
{
	struct pollfd fds[2] = { { .fd = done, .events = POLLIN },
		{ .fd = stop, .events = POLLIN } };
	uint64_t got;
	ms_t left;

	while (n) {
		left = deadline - clock_mono_ms();
		if (left <= 0 || poll(fds, stop >= 0 ? 2 : 1, (int)left) == 0)
			return false;
		if (stop >= 0 && fds[1].revents)
			return false;
		if (fds[0].revents && read(done, &got, sizeof(got)) == sizeof(got))
			n -= got < n ? (unsigned)got : n;
	}
	return true;
}

void service_drain(struct service *s, int stop)
{
	ms_t limit = s->now->config->dispatch.drain_deadline;
	ms_t deadline = clock_mono_ms() + limit + DRAIN_MARGIN;
	/* lives until the process ends: a late answer must not find a closed descriptor */
	static int done;
	bool ok;

	done = eventfd(0, EFD_CLOEXEC);
	if (done < 0)
		return;
	s->control = control_stop(s->control);
	for (unsigned i = 0; i < s->nworkers; i++)
		worker_drain(s->workers[i], limit, tell_fd, &done);
	dispatch_drain(s->dispatch, tell_fd, &done);
	ok = wait_for(done, s->nworkers + 1, stop, deadline);
	log_event(s->log, LOG_NOTICE, EVENT_DRAINED,
		ok ? "all sessions ended" : "stopped with sessions open");
}

struct service *service_free(struct service *s)
{
	if (!s)
		return NULL;
	control_stop(s->control);
	http_stop(s->http);
	survey_stop(s->survey);
	dispatch_quiet(s->dispatch);
	/* workers first: their events need the dispatcher's mailbox, their messages the queue's */
	for (unsigned i = 0; i < s->nworkers; i++)
		worker_free(s->workers[i]);
	session_limits_free(s->limits);
	dispatch_free(s->dispatch);
	queue_close(s->queue);
	listening_close(&s->listening);
	generation_unref(s->now);
	generation_unref(s->first);
	log_close(s->log);
	pthread_mutex_destroy(&s->reload_lock);
	free(s);
	return NULL;
}
