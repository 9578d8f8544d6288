#include "service.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "cli.h"
#include "descriptors.h"
#include "postern/must.h"
#include "process.h"

#define WORKERS_MAX  64
#define BACKLOG	     1024
#define DRAIN_MARGIN 5000 /* ms beyond the deadline until we stop waiting */

/* One listening address of one worker. */
struct bound {
	const struct listener_params *params;
	struct tls_context *tls;
	struct users *users;
	struct addr addr;
	uint16_t port;
	unsigned worker;
	int fd;
};

struct service {
	struct config *config;
	/* Configurations and rules replaced by a reload: parts of them may still be referred to by
	 * sessions, so they live until the end. A reload is rare and costs kilobytes. */
	struct config **old;
	struct classifier **old_rules;
	unsigned nold;
	pthread_mutex_t reload_lock;
	struct log *log;
	struct queue *queue;
	struct classifier *rules;
	struct dispatch *dispatch;
	struct worker *workers[WORKERS_MAX];
	unsigned nworkers;
	struct session_limits *limits; /* counted over all workers */
	struct bound *bound;
	unsigned nbound;
	struct control *control;
	struct http *http;
	struct ops_context ops;
	char *error;
	size_t error_max;
};

static unsigned count_workers(const struct config *c)
{
	long n = c->workers ? (long)c->workers : sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > WORKERS_MAX ? WORKERS_MAX : (unsigned)n;
}

static int load_rules_at_start(struct service *s)
{
	struct buf errors;
	int r;

	buf_init(&errors, 1 << 16);
	r = config_classifier(s->config, &s->rules, &errors);
	if (r)
		snprintf(s->error, s->error_max, "%.*s", (int)buf_size(&errors),
			buf_slice(&errors).p);
	buf_deinit(&errors);
	return r ? EX_CONFIG : EX_OK;
}

/* ---- listeners ---- */

/* The state machines are pure: what they need of the library is handed to them. */
static void bind_functions(struct config *c)
{
	for (unsigned i = 0; i < c->nlisteners; i++)
		c->listeners[i].smtp.domain_to_ascii = domain_to_ascii;
}

static int load_credentials(struct service *s, const struct listener_params *p,
	struct tls_context **tls, struct users **users)
{
	struct tls_server_params tp = {
		.certificate = p->certificate, .key = p->key, .min_version = p->min_tls
	};

	if (p->certificate && tls_server_new(tls, &tp, s->error, s->error_max))
		return EX_CONFIG;
	if (p->users_file && users_load(users, p->users_file, s->error, s->error_max))
		return EX_CONFIG;
	return EX_OK;
}

static int bind_address(struct service *s, const struct listener_params *p, unsigned a,
	struct tls_context *tls, struct users *users)
{
	uint16_t port = p->addresses[a].port;
	char text[ADDR_TEXT_MAX];
	int r;

	for (unsigned w = 0; w < s->nworkers; w++) {
		struct bound *b = &s->bound[s->nbound];

		*b = (struct bound){
			.params = p, .worker = w, .fd = -1, .addr = p->addresses[a].addr
		};
		/* the first decides the port, when the kernel is to choose: the others join it */
		r = listen_open(&b->fd, &p->addresses[a].addr, port, BACKLOG,
			w ? LISTEN_JOIN : LISTEN_FIRST, &port);
		if (r) {
			addr_format(text, &p->addresses[a].addr);
			snprintf(s->error, s->error_max,
				"listener \"%s\": cannot listen on %s port %u: %s%s", p->name, text,
				port, strerror(-r),
				r == -EACCES
					? ": ports below 1024 need root or CAP_NET_BIND_SERVICE"
				: r == -EADDRINUSE ? ": another program has it"
						   : "");
			return r == -EACCES ? EX_NOPERM : EX_OSERR;
		}
		b->port = port;
		b->tls = tls ? tls_context_ref(tls) : NULL;
		b->users = users ? users_ref(users) : NULL;
		s->nbound++;
	}
	return EX_OK;
}

static void say_listening(struct service *s, const struct bound *b)
{
	char text[ADDR_TEXT_MAX], full[ADDR_TEXT_MAX + 16];
	struct log_line ln;

	addr_format(text, &b->addr);
	snprintf(
		full, sizeof(full), b->addr.family == ADDR_V6 ? "[%s]:%u" : "%s:%u", text, b->port);
	log_line_init(&ln);
	log_line_begin(&ln, clock_wall_ms(), "listening");
	log_line_cstr(&ln, "listener", b->params->name);
	log_line_cstr(&ln, "address", full);
	log_line_bool(&ln, "tls", b->params->certificate != NULL);
	log_emit(s->log, &ln);
	log_line_deinit(&ln);
}

static int bind_listeners(struct service *s)
{
	unsigned total = 0;
	int r = EX_OK;

	for (unsigned i = 0; i < s->config->nlisteners; i++)
		total += s->config->listeners[i].naddresses * s->nworkers;
	s->bound = calloc(total + 1, sizeof(*s->bound));
	if (!s->bound)
		return EX_OSERR;
	for (unsigned i = 0; r == EX_OK && i < s->config->nlisteners; i++) {
		const struct listener_params *p = &s->config->listeners[i];
		struct tls_context *tls = NULL;
		struct users *users = NULL;

		r = load_credentials(s, p, &tls, &users);
		for (unsigned a = 0; r == EX_OK && a < p->naddresses; a++)
			r = bind_address(s, p, a, tls, users);
		tls_context_unref(tls);
		users_unref(users);
	}
	return r;
}

/* ---- start ---- */

static int open_queue(struct service *s)
{
	int r = queue_open(&s->queue, &s->config->queue, s->error, s->error_max);

	if (r && !*s->error)
		snprintf(s->error, s->error_max, "queue %s: %s", s->config->queue.path,
			strerror(-r));
	return r ? EX_CANTCREAT : EX_OK;
}

/* The queue belongs to the user that the relay becomes, also when root makes its directory. */
static int make_queue_directory(struct service *s)
{
	const char *path = s->config->queue.path;

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
	const struct config *c = s->config;
	int r = 0;

	for (unsigned i = 0; !r && i < s->nworkers; i++) {
		struct worker_params p = {
			.index = i,
			.queue = s->queue,
			.log = s->log,
			.events = dispatch_events(s->dispatch),
			.outbound_max = c->outbound_max / s->nworkers + 1,
			.body_memory_max = c->body_memory_max,
			.limits = s->limits,
		};

		r = worker_new(&s->workers[i], &p);
	}
	for (unsigned i = 0; !r && i < s->nbound; i++) {
		struct bound *b = &s->bound[i];

		r = worker_listen(s->workers[b->worker], b->params, b->fd, b->tls, b->users);
		if (!r)
			b->fd = -1; /* the worker's now */
	}
	if (!r)
		r = dispatch_start(s->dispatch, s->workers, s->nworkers);
	for (unsigned i = 0; !r && i < s->nworkers; i++)
		r = worker_start(s->workers[i]);
	if (r)
		snprintf(s->error, s->error_max, "cannot start the workers: %s", strerror(-r));
	return r ? EX_OSERR : EX_OK;
}

/* What is listened on, with the ports that the kernel chose. NULL: no memory, and none. */
static struct dispatch_endpoint *endpoints(const struct service *s, unsigned *n)
{
	struct dispatch_endpoint *e = calloc(s->nbound + 1, sizeof(*e));

	*n = 0;
	for (unsigned i = 0; e && i < s->nbound; i++) {
		struct sockaddr_storage sa;
		socklen_t size = sizeof(sa);

		if (s->bound[i].fd >= 0 && !getsockname(s->bound[i].fd, (void *)&sa, &size) &&
			!addr_from_sockaddr(&e[*n].addr, &e[*n].port, (void *)&sa))
			++*n;
	}
	return e;
}

static int start_dispatch(struct service *s)
{
	struct config *c = s->config;
	struct dispatch_endpoint *listening;
	int r;

	c->dispatch.outbound_max = c->outbound_max;
	listening = endpoints(s, &c->dispatch.nlistening);
	c->dispatch.listening = listening;
	c->dispatch.nlistening = listening ? c->dispatch.nlistening : 0;
	r = dispatch_new(&s->dispatch, &c->dispatch, &c->policy, s->rules, s->queue, s->log,
		s->error, s->error_max);
	c->dispatch.listening = NULL;
	free(listening);
	if (r && !*s->error)
		snprintf(s->error, s->error_max, "cannot start the dispatcher: %s", strerror(-r));
	return r ? EX_OSERR : EX_OK;
}

static int rules_for_ops(void *arg, struct buf *out)
{
	struct service *s = arg;
	int r;

	pthread_mutex_lock(&s->reload_lock); /* a reload frees the rules, or keeps them for long */
	r = classifier_describe(s->rules, out);
	pthread_mutex_unlock(&s->reload_lock);
	return r;
}

static int reload_for_ops(void *arg, struct buf *why)
{
	return service_reload(arg, why);
}

static int start_ops(struct service *s)
{
	const struct config *c = s->config;
	char text[ADDR_TEXT_MAX];
	uint16_t port;

	s->ops = (struct ops_context){
		.queue = s->queue,
		.dispatch = s->dispatch,
		.workers = s->workers,
		.nworkers = s->nworkers,
		.limits = s->limits,
		.log = s->log,
		.hostname = c->hostname,
		.started = clock_wall_ms(),
		.reload = reload_for_ops,
		.rules = rules_for_ops,
		.arg = s,
	};
	if (c->control_socket && control_start(&s->control, &s->ops, c->control_socket,
					 c->control_mode, s->error, s->error_max))
		return EX_OSERR;
	if (!c->http.enabled)
		return EX_OK;
	if (http_start(
		    &s->http, &s->ops, &c->http.addr, c->http.port, &port, s->error, s->error_max))
		return EX_OSERR;
	addr_format(text, &c->http.addr);
	log_event(s->log, LOG_INFO, "http",
		c->http.addr.family == ADDR_V6 ? "http://[%s]:%u" : "http://%s:%u", text, port);
	return EX_OK;
}

/* As the relay's user, so that what is opened is what it may open. */
static int open_log(struct service *s)
{
	int r = log_open(&s->log, &s->config->log);

	if (r)
		snprintf(s->error, s->error_max, "log file %s: %s%s", s->config->log.file,
			r == -ELOOP ? "is a symbolic link: name the file itself" : strerror(-r),
			r == -EACCES ? ": it must be the relay's user's, or in a directory of it"
				     : "");
	return r ? EX_CANTCREAT : EX_OK;
}

static int share_descriptors(struct service *s)
{
	struct config *c = s->config;
	struct descriptors d;
	int r = descriptors_share(&d, c, s->nworkers, s->log, s->error, s->error_max);

	if (r != EX_OK)
		return r;
	c->outbound_max = d.outbound;
	s->limits = session_limits_new();
	if (!s->limits) {
		snprintf(s->error, s->error_max, "%s", strerror(ENOMEM));
		return EX_OSERR;
	}
	session_limits_bound(s->limits, d.inbound, c->envelope_memory_max);
	return EX_OK;
}

static void say_start(struct service *s)
{
	if (privilege_stays_root(s->config->user))
		log_event(s->log, LOG_WARN, "root",
			"running as root: what breaks in here may do anything on this machine: "
			"name a user = \"postern\", or start as that user; user = \"root\" "
			"accepts it");
	for (unsigned i = 0; i < s->nbound; i++)
		if (s->bound[i].worker == 0)
			say_listening(s, &s->bound[i]);
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
	s->config = c;
	s->error = error;
	s->error_max = error_max;
	s->nworkers = count_workers(c);
	bind_functions(c);
	pthread_mutex_init(&s->reload_lock, NULL);
	/* As root: what only root may do. Then as the relay's user: what must belong to it. Ports
	 * and the queue's lock come first: whoever starts beside another relay touches nothing of
	 * that one's. */
	r = bind_listeners(s);
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
		r = load_rules_at_start(s);
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
	return s->config->pid_file;
}

/* ---- reload ---- */

struct reload {
	struct dispatch_call call;
	struct config *config;
	struct classifier *rules;
	int result;
	int done; /* eventfd */
};

static void reload_on_dispatcher(struct dispatch *d, void *arg)
{
	struct reload *r = arg;
	uint64_t one = 1;

	r->result = dispatch_reload(d, &r->config->policy, r->rules);
	must(write(r->done, &one, sizeof(one)) == sizeof(one));
}

static int remember_old(struct service *s)
{
	struct config **c = realloc(s->old, (s->nold + 1) * sizeof(*c));
	struct classifier **k;

	if (c)
		s->old = c;
	k = c ? realloc(s->old_rules, (s->nold + 1) * sizeof(struct classifier *)) : NULL;
	if (!k)
		return -ENOMEM;
	s->old_rules = k;
	s->old[s->nold] = s->config;
	s->old_rules[s->nold] = s->rules;
	s->nold++;
	return 0;
}

static int apply(struct service *s, struct config *next, struct classifier *rules)
{
	struct reload r = {
		.call = { .fn = reload_on_dispatcher, .arg = &r }, .config = next, .rules = rules
	};
	uint64_t n;

	r.done = eventfd(0, EFD_CLOEXEC);
	if (r.done < 0)
		return -errno;
	dispatch_call(s->dispatch, &r.call);
	while (read(r.done, &n, sizeof(n)) < 0 && errno == EINTR)
		;
	close(r.done);
	return r.result;
}

int service_reload(struct service *s, struct buf *why)
{
	struct classifier *rules = NULL;
	struct config *next = NULL;
	int r;

	pthread_mutex_lock(&s->reload_lock);
	r = config_load(&next, s->config->path, why);
	if (!r)
		r = config_classifier(next, &rules, why);
	if (!r)
		config_reloadable(s->config, next,
			why); /* says what needs a restart; the rest is taken over */
	if (!r)
		r = apply(s, next, rules);
	if (!r)
		r = remember_old(s);
	if (!r) {
		s->config = next;
		s->rules = rules;
		log_set_level(s->log, next->log.level);
		log_event(s->log, LOG_NOTICE, "reloaded", "%s", next->path);
	} else {
		log_event(s->log, LOG_ERR, "reload-failed", "the old configuration stays: %.*s",
			(int)buf_size(why), buf_slice(why).p);
		config_free(next);
		classifier_free(rules);
	}
	pthread_mutex_unlock(&s->reload_lock);
	return r;
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
	ms_t limit = s->config->dispatch.drain_deadline;
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
	log_event(s->log, LOG_NOTICE, "drained",
		ok ? "all sessions ended" : "stopped with sessions open");
}

struct service *service_free(struct service *s)
{
	if (!s)
		return NULL;
	control_stop(s->control);
	http_stop(s->http);
	dispatch_quiet(s->dispatch);
	/* workers first: their events need the dispatcher's mailbox, their messages the queue's */
	for (unsigned i = 0; i < s->nworkers; i++)
		worker_free(s->workers[i]);
	session_limits_free(s->limits);
	dispatch_free(s->dispatch);
	queue_close(s->queue);
	for (unsigned i = 0; i < s->nbound; i++) {
		if (s->bound[i].fd >= 0)
			close(s->bound[i].fd);
		tls_context_unref(s->bound[i].tls);
		users_unref(s->bound[i].users);
	}
	free(s->bound);
	for (unsigned i = 0; i < s->nold; i++) {
		config_free(s->old[i]);
		classifier_free(s->old_rules[i]);
	}
	free(s->old);
	free(s->old_rules);
	classifier_free(s->rules);
	log_close(s->log);
	config_free(s->config);
	pthread_mutex_destroy(&s->reload_lock);
	free(s);
	return NULL;
}
