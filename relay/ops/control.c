/* The control socket: one thread accepts, one more for each client, CLIENTS_MAX at most; beyond it
 * the answer is "try again" (75).
 *
 * A client's life: one request, a line of JSON that comes whole within ten seconds → its command's
 * answer, one or more lines → {"done": …} with the exit code → closed. Who takes nothing of the
 * answer for CLIENT_TIMEOUT_S is given up. Commands are in commands_*.c. */
#include "control.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "postern/must.h"

#define CLIENTS_MAX	 64
#define REQUEST_MAX	 (64 * 1024)
#define CLIENT_TIMEOUT_S 30 /* without taking anything of the answer */
#define REQUEST_TIME_US	 10000000u

struct control {
	struct ops_context ctx;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	dev_t dev; /* of the socket's name */
	ino_t ino;
	int fd, stop;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t idle; /* running became 0 */
	unsigned running;
};

struct client_thread {
	struct control *control;
	struct control_client client;
};

static const struct control_command *find_command(const char *name)
{
	const struct control_command *tables[] = { commands_queue, commands_traffic,
		commands_warmup, commands_why, commands_history, commands_transcript,
		commands_service };

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
		for (const struct control_command *c = tables[i]; c->name; c++)
			if (!strcmp(c->name, name))
				return c;
	return NULL;
}

/* Waits until there is something to read, or the request's time is over. */
static bool wait_input(const struct control_client *c, uint64_t deadline_us)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };
	uint64_t now;
	int r;

	do {
		now = clock_mono_us();
		r = now < deadline_us ? poll(&p, 1, (int)((deadline_us - now) / 1000) + 1) : 0;
	} while (r < 0 && errno == EINTR);
	return r > 0;
}

/* One line, at most REQUEST_MAX bytes, within REQUEST_TIME; NULL when the client went away, or sent
 * nonsense, or nothing. */
static json_t *read_request(struct control_client *c)
{
	uint64_t deadline = clock_mono_us() + REQUEST_TIME_US;
	const char *why = NULL;
	json_t *request = NULL;
	char *end = NULL;
	struct buf in;
	ssize_t n;

	buf_init(&in, REQUEST_MAX);
	while (!end) {
		if (buf_reserve(&in, 4096)) {
			control_fail(c, EX_USAGE, "request over %d bytes", REQUEST_MAX);
			goto out;
		}
		if (!wait_input(c, deadline)) {
			control_fail(c, EX_USAGE, "no request came within %u s",
				REQUEST_TIME_US / 1000000);
			goto out;
		}
		n = recv(c->fd, in.p + in.len, in.cap - in.len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			c->broken = true;
			goto out;
		}
		end = memchr(in.p + in.len, '\n', (size_t)n);
		in.len += (size_t)n;
	}
	request = request_parse((struct slice){ in.p, (size_t)(end - in.p) }, &why);
	if (!request)
		control_fail(c, EX_USAGE, "%s", why);
out:
	buf_deinit(&in);
	return request;
}

static void serve(struct control_client *c)
{
	json_t *request = read_request(c);
	const struct control_command *command;

	if (request) {
		command = find_command(request_str(request, "command"));
		if (command)
			command->run(c, request);
		else
			control_fail(c, EX_USAGE,
				"this relay does not know the command '%s': is it older than the "
				"tool?",
				request_str(request, "command"));
	}
	json_decref(request);
	if (c->lost && !c->error[0])
		control_fail(c, EX_SOFTWARE,
			"a part of the answer is missing: the relay could not write it as JSON, "
			"for "
			"want of memory or by an error of its own");
	if (c->error[0])
		control_say(c, json_pack("{sbsiso}", "done", 1, "exit", c->exit, "error",
				       json_text(c->error)));
	else
		control_say(c, json_pack("{sbsi}", "done", 1, "exit", c->exit));
	control_flush(c);
}

/* What was sent beyond the request: closing over it would take the answer back from the client. */
static void drain(int fd)
{
	char rest[4096];

	for (unsigned i = 0; i < REQUEST_MAX / sizeof(rest); i++)
		if (recv(fd, rest, sizeof(rest), MSG_DONTWAIT) <= 0)
			return;
}

static void *client_main(void *arg)
{
	struct client_thread *t = arg;
	struct control *control = t->control;

	serve(&t->client);
	drain(t->client.fd);
	close(t->client.fd);
	buf_deinit(&t->client.out);
	free(t);
	pthread_mutex_lock(&control->lock);
	if (--control->running == 0)
		pthread_cond_broadcast(&control->idle);
	pthread_mutex_unlock(&control->lock);
	return NULL;
}

static bool claim_slot(struct control *c)
{
	bool ok;

	pthread_mutex_lock(&c->lock);
	ok = c->running < CLIENTS_MAX;
	if (ok)
		c->running++;
	pthread_mutex_unlock(&c->lock);
	return ok;
}

static void release_slot(struct control *c)
{
	pthread_mutex_lock(&c->lock);
	c->running--;
	pthread_mutex_unlock(&c->lock);
}

static void start_client(struct control *c, int fd)
{
	static const char busy[] =
		"{\"done\":true,\"exit\":75,\"error\":\"too many control clients: try again\"}\n";
	struct timeval limit = { .tv_sec = CLIENT_TIMEOUT_S };
	struct client_thread *t;
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	t = claim_slot(c) ? calloc(1, sizeof(*t)) : NULL;
	if (!t) {
		(void)!send(fd, busy, sizeof(busy) - 1, MSG_NOSIGNAL);
		close(fd);
		return;
	}
	t->control = c;
	t->client.ctx = &c->ctx;
	t->client.fd = fd;
	buf_init(&t->client.out,
		0); /* bounded by what control_say gathers, and the size of one answer */
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attr, client_main, t);
	pthread_attr_destroy(&attr);
	if (r) {
		close(fd);
		free(t);
		release_slot(c);
	}
}

static void *control_main(void *arg)
{
	struct control *c = arg;
	struct pollfd fds[2] = { { .fd = c->fd, .events = POLLIN },
		{ .fd = c->stop, .events = POLLIN } };
	int fd;

	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (fds[1].revents)
			break;
		if (!fds[0].revents)
			continue;
		fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			start_client(c, fd);
		else if (errno == EMFILE || errno == ENFILE)
			poll(&fds[1], 1, 100); /* wait for descriptors instead of spinning */
	}
	return NULL;
}

/* A socket left by a process that died is removed; one that answers is not. */
static int claim_path(const struct sockaddr_un *sun, char *error, size_t error_max)
{
	struct stat st;
	int fd, r = 0;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0) {
		snprintf(error, error_max,
			"%s: another relay answers there: stop it first, or give this one another "
			"control socket",
			sun->sun_path);
		r = -EADDRINUSE;
	} else if (errno == ECONNREFUSED) {
		/* what is no socket refuses, too */
		if (lstat(sun->sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
			unlink(sun->sun_path);
	}
	close(fd);
	return r;
}

static int open_socket(struct control *c, uint32_t mode, char *error, size_t error_max)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct stat st;
	int r;

	memcpy(sun.sun_path, c->path, sizeof(sun.sun_path));
	r = claim_path(&sun, error, error_max);
	if (r)
		return r;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0 || bind(c->fd, (struct sockaddr *)&sun, sizeof(sun)) ||
		chmod(c->path, mode) || listen(c->fd, CLIENTS_MAX)) {
		r = -errno;
		snprintf(error, error_max,
			"control socket %s: %s: does its directory exist, and may this user write "
			"there?",
			c->path, strerror(errno));
	}
	if (!r && lstat(c->path, &st) == 0) {
		c->dev = st.st_dev;
		c->ino = st.st_ino;
	}
	return r;
}

/* Another relay may have put its own there since. */
static void remove_path(const struct control *c)
{
	struct stat st;

	if (lstat(c->path, &st) == 0 && st.st_dev == c->dev && st.st_ino == c->ino)
		unlink(c->path);
}

int control_start(struct control **ret, const struct ops_context *ctx, const char *path,
	uint32_t mode, char *error, size_t error_max)
{
	struct control *c;
	int r = -ENOMEM;

	c = calloc(1, sizeof(*c));
	if (!c)
		return r;
	c->ctx = *ctx;
	c->fd = c->stop = -1;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->idle, NULL);
	if (strlen(path) >= sizeof(c->path)) {
		snprintf(error, error_max, "control socket %s: path over %zu bytes", path,
			sizeof(c->path) - 1);
		r = -ENAMETOOLONG;
		goto out;
	}
	strcpy(c->path, path);
	r = open_socket(c, mode, error, error_max);
	if (r)
		goto out;
	c->stop = eventfd(0, EFD_CLOEXEC);
	r = c->stop < 0 ? -errno : -pthread_create(&c->thread, NULL, control_main, c);
	if (r) {
		remove_path(c);
		goto out;
	}
	*ret = c;
	c = NULL;
out:
	if (c) {
		if (c->fd >= 0)
			close(c->fd);
		if (c->stop >= 0)
			close(c->stop);
		free(c);
	}
	return r;
}

struct control *control_stop(struct control *c)
{
	uint64_t one = 1;

	if (!c)
		return NULL;
	must(write(c->stop, &one, sizeof(one)) == sizeof(one));
	pthread_join(c->thread, NULL);
	remove_path(c);
	close(c->fd);
	pthread_mutex_lock(&c->lock);
	while (c->running)
		pthread_cond_wait(&c->idle, &c->lock);
	pthread_mutex_unlock(&c->lock);
	close(c->stop);
	pthread_cond_destroy(&c->idle);
	pthread_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}
