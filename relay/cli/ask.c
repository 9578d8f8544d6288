/* The client side of the control socket. Called by every command that asks the running relay. It
 * needs nothing of the configuration but the socket's path: whatever else is wrong in the file, an
 * operator can look and act. Each step has a time-out: a relay that stands still is told of, not
 * waited for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli.h"
#include "postern/text.h"

#define LINE_MAX_BYTES	(16 << 20)
#define TIMEOUT_DEFAULT 30000 /* ms without a line of the answer */
#define DEFAULT_SOCKET	"/run/postern/control.sock"

struct asking {
	char path[512];
	const char *why; /* the path is a guess: the file said nothing. NULL: it is not */
	ms_t timeout;
};

static void find_path(const struct cli_arguments *a, struct asking *to)
{
	int r;

	if (a->socket) {
		snprintf(to->path, sizeof(to->path), "%s", a->socket);
		return;
	}
	r = config_setting(a->config, "control", "socket", to->path, sizeof(to->path));
	if (r == 0)
		return;
	to->why = r == -ENOENT ? "there is no such file"
		  : r < 0      ? strerror(-r)
			       : "it names no control socket";
	snprintf(to->path, sizeof(to->path), "%s", DEFAULT_SOCKET);
}

static const char *advice(int error)
{
	switch (error) {
	case EACCES:
	case EPERM:
		return "run this as root or as a member of the relay's group";
	case EAGAIN:
		return "the relay is there and takes no more questions: it is stopped, out of "
		       "descriptors, or too busy; its log and `systemctl status postern` tell more";
	default:
		return "is the relay running, and is that its socket? --socket PATH names another";
	}
}

static int connect_control(const struct cli_arguments *a, const struct asking *to)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = to->timeout / 1000,
		.tv_usec = to->timeout % 1000 * 1000 };
	int fd, error;

	if (strlen(to->path) >= sizeof(sun.sun_path)) {
		print_error("postern: control socket path is too long: %s\n", to->path);
		return -1;
	}
	strcpy(sun.sun_path, to->path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0) { /* of connecting, too */
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	}
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	error = errno;
	print_error("postern: no answer at control socket %s: %s\n%s\n", to->path,
		error == EAGAIN ? "timed out" : strerror(error), advice(error));
	if (to->why)
		print_error("(%s: %s; this is the default socket)\n", a->config, to->why);
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool send_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return false;
		p += k;
		n -= (size_t)k;
	}
	return true;
}

struct reading {
	void (*each)(void *arg, const json_t *line);
	void *arg;
	bool shown; /* for people: texts are escaped first */
};

static void hand_over(const struct reading *rd, json_t *j)
{
	json_t *shown = rd->shown ? print_shown(j) : json_incref(j);

	if (shown)
		rd->each(rd->arg, shown);
	else
		print_error("postern: out of memory: a part of the answer is missing\n");
	json_decref(shown);
}

/* -1: go on with the next line */
static int take_line(struct slice line, const struct reading *rd)
{
	json_t *j = json_loadb(line.p, line.n, 0, NULL);
	int exit = -1;

	if (!json_is_object(j)) {
		print_error("postern: the relay's answer makes no sense\n");
		json_decref(j);
		return EX_PROTOCOL;
	}
	if (!json_object_get(j, "so_far"))
		print_progress_end();
	if (json_is_true(json_object_get(j, "done"))) {
		exit = (int)number_of(j, "exit");
		if (*text_of(j, "error"))
			print_error("postern: %s\n", text_of(j, "error"));
	} else if (json_object_get(j, "so_far")) {
		print_progress("%lld recipients so far …", number_of(j, "so_far"));
	} else {
		hand_over(rd, j);
	}
	json_decref(j);
	return exit;
}

static int no_more(ssize_t n, int error, const struct asking *to)
{
	char text[32];

	print_progress_end();
	if (n < 0 && (error == EAGAIN || error == EWOULDBLOCK)) {
		duration_format(text, to->timeout);
		print_error(
			"postern: the relay has said nothing for %s at %s\n"
			"it is stopped, out of descriptors, or waits for its disk: its log tells "
			"more. --timeout 5m waits longer\n",
			text, to->path);
		return EX_TEMPFAIL;
	}
	print_error("postern: the relay ended the answer before it was complete\n");
	return EX_IOERR;
}

static int read_answers(int fd, const struct reading *rd, const struct asking *to)
{
	struct buf in;
	int exit = -1;
	ssize_t n = 0;
	char *end;

	buf_init(&in, LINE_MAX_BYTES);
	while (exit < 0) {
		if (buf_reserve(&in, 64 * 1024))
			break;
		n = recv(fd, in.p + in.len, in.cap - in.len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		in.len += (size_t)n;
		while (exit < 0 && buf_size(&in) &&
			(end = memchr(in.p + in.off, '\n', in.len - in.off))) {
			struct slice line = { in.p + in.off, (size_t)(end - in.p) - in.off };

			exit = take_line(line, rd);
			buf_consume(&in, line.n + 1);
		}
	}
	if (exit < 0)
		exit = no_more(n, errno, to);
	buf_deinit(&in);
	return exit;
}

static void print_as_is(void *arg, const json_t *line)
{
	(void)arg;
	print_json(line);
}

static int ask_and_read(const struct cli_arguments *a, json_t *request, struct reading rd)
{
	char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	struct asking to = { .timeout = a->timeout ? a->timeout : TIMEOUT_DEFAULT };
	int fd, r = EX_UNAVAILABLE;

	json_decref(request);
	if (!text) {
		print_error("postern: an argument is not valid UTF-8, so no name of the relay's\n");
		return EX_USAGE;
	}
	find_path(a, &to);
	fd = connect_control(a, &to);
	if (fd >= 0) {
		if (send_all(fd, text, strlen(text)) && send_all(fd, "\n", 1))
			r = read_answers(fd, &rd, &to);
		else
			r = no_more(-1, errno, &to);
		close(fd);
	}
	free(text);
	return r;
}

int cli_ask_and_print(const struct cli_arguments *a, json_t *request, bool json,
	void (*each)(void *arg, const json_t *line), void *arg)
{
	return ask_and_read(a, request, (struct reading){ json ? print_as_is : each, arg, !json });
}

int cli_ask_and_collect(const struct cli_arguments *a, json_t *request,
	void (*each)(void *arg, const json_t *line), void *arg)
{
	return ask_and_read(a, request, (struct reading){ each, arg, false });
}
