/* The client side of the control socket. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli.h"

#define LINE_MAX_BYTES (4 << 20)

static int connect_control(const struct config *c)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(c->control_socket) >= sizeof(sun.sun_path)) {
		fprintf(stderr, "postern: control socket path is too long: %s\n",
			c->control_socket);
		return -1;
	}
	strcpy(sun.sun_path, c->control_socket);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	fprintf(stderr, "postern: no answer at control socket %s: %s\n%s\n", c->control_socket,
		strerror(errno),
		errno == EACCES ? "run this as root or as a member of the relay's group"
				: "is the relay running, and with this configuration file?");
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

/* A line of its own on a terminal, written over by the next and by what comes after it. */
static bool progress_shown;

static void progress(long long so_far)
{
	if (!isatty(STDERR_FILENO))
		return;
	progress_shown = true;
	fprintf(stderr, "\r%lld recipients so far …", so_far);
}

static void progress_end(void)
{
	if (progress_shown)
		fputs("\r\033[K", stderr);
	progress_shown = false;
}

/* -1: go on with the next line */
static int take_line(struct slice line, void (*each)(void *arg, const json_t *line), void *arg)
{
	json_t *j = json_loadb(line.p, line.n, 0, NULL);
	int exit = -1;

	if (!j) {
		fprintf(stderr, "postern: the relay's answer makes no sense\n");
		return EX_PROTOCOL;
	}
	if (!json_object_get(j, "so_far"))
		progress_end();
	if (json_is_true(json_object_get(j, "done"))) {
		exit = (int)number_of(j, "exit");
		if (*text_of(j, "error"))
			fprintf(stderr, "postern: %s\n", text_of(j, "error"));
	} else if (json_object_get(j, "so_far")) {
		progress(number_of(j, "so_far"));
	} else {
		each(arg, j);
	}
	json_decref(j);
	return exit;
}

static int read_answers(int fd, void (*each)(void *arg, const json_t *line), void *arg)
{
	struct buf in;
	int exit = -1;
	char *end;
	ssize_t n;

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

			exit = take_line(line, each, arg);
			buf_consume(&in, line.n + 1);
		}
	}
	buf_deinit(&in);
	if (exit >= 0)
		return exit;
	fprintf(stderr, "postern: the relay ended the answer before it was complete\n");
	return EX_IOERR;
}

int cli_ask(const struct config *c, json_t *request, void (*each)(void *arg, const json_t *line),
	void *arg)
{
	char *text = json_dumps(request, JSON_COMPACT);
	int fd, r = EX_UNAVAILABLE;

	json_decref(request);
	fd = text ? connect_control(c) : -1;
	if (fd >= 0) {
		if (send_all(fd, text, strlen(text)) && send_all(fd, "\n", 1))
			r = read_answers(fd, each, arg);
		close(fd);
	}
	free(text);
	return r;
}

void cli_print_json(const json_t *j)
{
	json_dumpf(j, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
	putchar('\n');
}

static void print_json(void *arg, const json_t *line)
{
	(void)arg;
	cli_print_json(line);
}

int cli_ask_and_print(const struct cli_arguments *a, json_t *request, bool json,
	void (*each)(void *arg, const json_t *line), void *arg)
{
	struct config *c = cli_config(a, true);
	int r = EX_CONFIG;

	if (c)
		r = cli_ask(c, request, json ? print_json : each, arg);
	else
		json_decref(request);
	config_free(c);
	return r;
}
