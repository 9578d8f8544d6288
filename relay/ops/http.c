/* HTTP by libmicrohttpd: one internal thread, a few clients, GET only. Who may look is asked before
 * what at: from other machines nobody without the token, but for metrics. */
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "history.h"
#include "page.h"
#include "postern/ops.h"

#define HTTP_CLIENTS_MAX 64
#define HTTP_TIMEOUT_S	 15
#define HISTORY_MAX	 (8u << 20)
#define METRICS_MAX	 (4u << 20)

#define TOKEN_MIN 16u
#define TOKEN_MAX 200u

struct http {
	struct ops_context ctx;
	struct MHD_Daemon *daemon;
	bool local;		   /* only this machine comes here */
	char token[TOKEN_MAX + 3]; /* "": none */
};

static enum MHD_Result answer(
	struct MHD_Connection *c, unsigned code, const char *type, const char *text, size_t n)
{
	struct MHD_Response *response;
	enum MHD_Result r;

	/* MHD's older API takes a non-const pointer, but copies with MUST_COPY */
	union {
		const char *in;
		void *out;
	} body = { .in = text };

	response = MHD_create_response_from_buffer(n, body.out, MHD_RESPMEM_MUST_COPY);
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
	/* nothing runs or is loaded but the style and the script, nobody frames it */
	MHD_add_response_header(response, "Content-Security-Policy",
		"default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
	if (code == MHD_HTTP_UNAUTHORIZED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
			"Basic realm=\"Postern\", charset=\"UTF-8\"");
	if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	r = MHD_queue_response(c, code, response);
	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result answer_text(struct MHD_Connection *c, unsigned code, const char *text)
{
	return answer(c, code, "text/plain; charset=utf-8", text, strlen(text));
}

static enum MHD_Result serve_metrics(struct MHD_Connection *c, const struct ops_context *ctx)
{
	enum MHD_Result r = MHD_NO;
	struct buf b;

	buf_init(&b, METRICS_MAX);
	if (metrics_render(&b, ctx) == 0)
		r = answer(c, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8",
			buf_slice(&b).p, buf_size(&b));
	buf_deinit(&b);
	return r;
}

/* ---- /history.json ---- */

struct rows {
	struct buf *out;
	const struct history_answer *a;
	bool first;
	int r;
};

static int put_json(struct buf *out, json_t *j)
{
	char *text = j ? json_dumps(j, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
	int r = text ? buf_add_str(out, text) : -ENOMEM;

	free(text);
	json_decref(j);
	return r;
}

static bool put_row(void *arg, ms_t start, const struct history_cell *c)
{
	struct rows *rows = arg;

	if (!rows->first)
		rows->r = buf_add_str(rows->out, ",\n");
	rows->first = false;
	if (!rows->r)
		rows->r = put_json(rows->out, history_row(rows->a, start, c));
	return !rows->r;
}

/* 0, -ENOMEM, -ENOBUFS over HISTORY_MAX, -E2BIG as history_view_each. */
static int render_history(struct buf *out, const struct history_answer *a)
{
	struct rows rows = { out, a, .first = true };
	int r;

	r = buf_add_str(out, "{\"about\":");
	r = r ? r : put_json(out, history_about(a));
	r = r ? r : buf_add_str(out, ",\n\"rows\":[");
	r = r ? r : history_view_each(a->view, put_row, &rows);
	r = r ? r : rows.r;
	return r ? r : buf_add_str(out, "]}\n");
}

static const char *argument(struct MHD_Connection *c, const char *key)
{
	return MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, key);
}

static enum MHD_Result serve_history(struct MHD_Connection *c, const struct ops_context *ctx)
{
	const struct history_asked asked = { argument(c, "by"), argument(c, "step"),
		argument(c, "since"), argument(c, "of"), argument(c, "sum") != NULL };
	enum MHD_Result r = MHD_NO;
	struct history_answer a;
	char error[200] = "out of memory";
	struct buf b;
	int e = history_ask(&a, ctx, &asked, error, sizeof(error) - 2);

	if (e) {
		strcat(error, "\n");
		return answer_text(c,
			e == -EINVAL ? MHD_HTTP_BAD_REQUEST : MHD_HTTP_SERVICE_UNAVAILABLE, error);
	}
	buf_init(&b, HISTORY_MAX);
	e = render_history(&b, &a);
	if (!e)
		r = answer(c, MHD_HTTP_OK, "application/json", buf_slice(&b).p, buf_size(&b));
	else if (e == -ENOBUFS || e == -E2BIG)
		r = answer_text(c, MHD_HTTP_BAD_REQUEST,
			"too much at once: ask for a shorter time, longer steps, or with of=NAME\n");
	buf_deinit(&b);
	history_answer_free(&a);
	return r;
}

static enum MHD_Result serve_page(
	struct MHD_Connection *c, const struct ops_context *ctx, const char *path)
{
	const struct page_asked asked = { argument(c, "span"), argument(c, "subnet"),
		argument(c, "cluster") };
	enum MHD_Result r = MHD_NO;
	struct buf b;
	bool json;
	int e;

	buf_init(&b, PAGE_MAX);
	e = page_render(&b, ctx, path, &asked, &json);
	if (!e)
		r = answer(c, MHD_HTTP_OK, json ? "application/json" : "text/html; charset=utf-8",
			buf_slice(&b).p, buf_size(&b));
	else if (e == -ENOENT)
		r = answer_text(c, MHD_HTTP_NOT_FOUND,
			"not here: see /, /metrics, /history.json and /health\n");
	buf_deinit(&b);
	return r;
}

static enum MHD_Result serve_health(struct MHD_Connection *c, const struct ops_context *ctx)
{
	char why[400];

	if (health_check(ctx, why, sizeof(why) - 1)) {
		strcat(why, "\n");
		return answer_text(c, MHD_HTTP_SERVICE_UNAVAILABLE, why);
	}
	return answer_text(c, MHD_HTTP_OK, "ok\n");
}

/* ---- who may look ---- */

/* Takes as long whatever the guess has in common with the token. */
static bool is_token(const struct http *h, const char *guess)
{
	size_t n = strlen(h->token), m = strlen(guess);
	unsigned char differs = n != m;

	for (size_t i = 0; i < n; i++)
		differs |= (unsigned char)(h->token[i] ^ guess[i < m ? i : m]);
	return !differs;
}

static bool may_look(const struct http *h, struct MHD_Connection *c)
{
	const char *header =
		MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
	char *password = NULL, *user;
	bool ok;

	if (header && !strncasecmp(header, "Bearer ", 7))
		return is_token(h, header + 7);
	user = MHD_basic_auth_get_username_password(c, &password);
	ok = password && is_token(h, password);
	MHD_free(user);
	MHD_free(password);
	return ok;
}

/* 0: it may; else the answer is queued, or could not be. */
static bool refused(
	const struct http *h, struct MHD_Connection *c, const char *url, enum MHD_Result *r)
{
	if (!strcmp(url, "/health"))
		return false;
	if (h->token[0]) {
		if (may_look(h, c))
			return false;
		*r = answer_text(c, MHD_HTTP_UNAUTHORIZED,
			"the token of http { token_file } is asked for\n");
		return true;
	}
	if (h->local || !strcmp(url, "/metrics"))
		return false;
	*r = answer_text(c, MHD_HTTP_FORBIDDEN,
		"the pages are shown at a loopback address, or to who has the token of http { token_file }; "
		"here are /metrics and /health alone\n");
	return true;
}

static int load_token(struct http *h, const char *path, char *error, size_t error_max)
{
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(h->token, 1, sizeof(h->token) - 1, f) : 0;
	bool failed = !f || ferror(f);

	if (failed)
		snprintf(error, error_max, "http: token_file %s: %s", path, strerror(errno));
	if (f)
		fclose(f);
	while (n > 0 && (h->token[n - 1] == '\n' || h->token[n - 1] == '\r'))
		n--;
	h->token[n] = '\0';
	if (failed)
		return -EIO;
	for (size_t i = 0; i < n; i++)
		if (h->token[i] <= ' ' || h->token[i] > '~')
			n = 0;
	if (n >= TOKEN_MIN && n <= TOKEN_MAX)
		return 0;
	snprintf(error, error_max,
		"http: token_file %s: holds no single line of %u to %u visible characters", path,
		TOKEN_MIN, TOKEN_MAX);
	return -EINVAL;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url,
	const char *method, const char *version, const char *upload, size_t *upload_size,
	void **state)
{
	const struct http *h = arg;
	enum MHD_Result r;
	static int seen;

	(void)version;
	(void)upload;
	if (strcmp(method, "GET") && strcmp(method, "HEAD")) {
		*upload_size = 0;
		return answer_text(c, MHD_HTTP_METHOD_NOT_ALLOWED, "read only\n");
	}
	if (!*state) { /* MHD calls first with headers alone, then to be answered */
		*state = &seen;
		return MHD_YES;
	}
	if (refused(h, c, url, &r))
		return r;
	if (!strcmp(url, "/metrics"))
		return serve_metrics(c, &h->ctx);
	if (!strcmp(url, "/health"))
		return serve_health(c, &h->ctx);
	if (!strcmp(url, "/history.json"))
		return serve_history(c, &h->ctx);
	if (!strcmp(url, "/style.css"))
		return answer(
			c, MHD_HTTP_OK, "text/css; charset=utf-8", page_style, strlen(page_style));
	if (!strcmp(url, "/script.js"))
		return answer(c, MHD_HTTP_OK, "text/javascript; charset=utf-8", page_script,
			strlen(page_script));
	return serve_page(c, &h->ctx, url);
}

int http_start(struct http **ret, const struct ops_context *ctx, const struct http_params *p,
	uint16_t *bound, char *error, size_t error_max)
{
	const struct addr *a = &p->addr;
	uint16_t port = p->port;
	const union MHD_DaemonInfo *info;
	struct sockaddr_storage sa;
	char text[ADDR_TEXT_MAX];
	struct http *h;
	unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL;

	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->ctx = *ctx;
	h->local = addr_is_loopback(a);
	if (p->token_file && load_token(h, p->token_file, error, error_max)) {
		free(h);
		return -EINVAL;
	}
	addr_to_sockaddr(&sa, a, port);
	if (a->family == ADDR_V6)
		flags |= MHD_USE_IPv6;
	h->daemon = MHD_start_daemon(flags, port, NULL, NULL, on_request, h, MHD_OPTION_SOCK_ADDR,
		(struct sockaddr *)&sa, MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CLIENTS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_TIMEOUT_S, MHD_OPTION_END);
	if (!h->daemon) {
		addr_format(text, a);
		snprintf(error, error_max, "http: cannot listen on %s port %u: %s", text, port,
			strerror(errno));
		free(h);
		return errno ? -errno : -EIO;
	}
	info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_BIND_PORT);
	*bound = info && info->port ? info->port : port;
	*ret = h;
	return 0;
}

struct http *http_stop(struct http *h)
{
	if (!h)
		return NULL;
	MHD_stop_daemon(h->daemon);
	free(h);
	return NULL;
}
