#include "dns_query.h"

#include <ares.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "loop_private.h"
#include "postern/must.h"

#include <utlist.h>

#define TIMEOUT_MS  3000
#define TRIES	    3
#define RUNNING_MAX 500u
#define CLASS_IN    1
#define EDNS_SIZE   1232 /* fits where fragments do not (DNS flag day 2020) */
#define TICK_MIN_MS 10
#define TICK_MAX_MS 200

/* One socket of c-ares; freed when its handle is closed. */
struct dns_socket {
	uv_poll_t poll;
	struct dns_channel *channel;
	int fd;
	struct dns_socket *prev, *next;
};

struct dns_channel {
	ares_channel ares;
	struct loop *loop;
	uv_timer_t timer; /* c-ares looks for time-outs; runs while questions do */
	uint64_t tick;
	struct dns_socket *sockets;
	unsigned open_handles;
	struct dns_query *line; /* waiting, oldest first */
	unsigned running_max;
	bool starting, closing, one_server;
	bool unwatched; /* some socket of c-ares may have no handle */
	struct dns_channel_stats stats;
	struct dns_answer answer; /* scratch: too large for the stack at each level */
	char servers[128];
};

static void on_handle_closed(struct dns_channel *c)
{
	if (--c->open_handles == 0)
		free(c);
}

static void on_socket_closed(uv_handle_t *h)
{
	struct dns_socket *s = h->data;
	struct dns_channel *c = s->channel;

	free(s);
	on_handle_closed(c);
}

static void on_timer_closed(uv_handle_t *h)
{
	on_handle_closed(h->data);
}

static void on_socket_ready(uv_poll_t *h, int status, int events)
{
	struct dns_socket *s = h->data;
	/* on an error c-ares reads it from the socket */
	bool in = status < 0 || (events & UV_READABLE), out = status < 0 || (events & UV_WRITABLE);

	ares_process_fd(
		s->channel->ares, in ? s->fd : ARES_SOCKET_BAD, out ? s->fd : ARES_SOCKET_BAD);
}

static struct dns_socket *socket_new(struct dns_channel *c, int fd)
{
	struct dns_socket *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	if (uv_poll_init(&c->loop->uv, &s->poll, fd)) {
		free(s);
		return NULL;
	}
	s->poll.data = s;
	s->channel = c;
	s->fd = fd;
	c->open_handles++;
	DL_APPEND(c->sockets, s);
	return s;
}

/* A socket that could not be watched for lack of memory serves all later questions too: the tick
 * tries again. */
static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
	struct dns_channel *c = data;
	struct dns_socket *s;

	DL_FOREACH (c->sockets, s) {
		if (s->fd == fd)
			break;
	}
	if (!readable && !writable) {
		if (s) {
			DL_DELETE(c->sockets, s);
			uv_poll_stop(&s->poll);
			uv_close((uv_handle_t *)&s->poll, on_socket_closed);
		}
		return;
	}
	if (!s)
		s = socket_new(c, fd);
	if (!s ||
		uv_poll_start(&s->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0),
			on_socket_ready))
		c->unwatched = true;
}

static void watch_again(struct dns_channel *c)
{
	ares_socket_t fds[ARES_GETSOCK_MAXNUM];
	unsigned mask = (unsigned)ares_getsock(c->ares, fds, ARES_GETSOCK_MAXNUM);

	c->unwatched = false;
	for (unsigned i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
		bool readable = ARES_GETSOCK_READABLE(mask, i) != 0;
		bool writable = ARES_GETSOCK_WRITABLE(mask, i) != 0;

		if (readable || writable)
			on_socket_state(c, fds[i], readable, writable);
	}
}

static void on_tick(uv_timer_t *t)
{
	struct dns_channel *c = t->data;

	if (c->unwatched)
		watch_again(c);
	ares_process_fd(c->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

static const char *type_name(enum dns_type t)
{
	switch (t) {
	case DNS_TYPE_A:
		return "A";
	case DNS_TYPE_CNAME:
		return "CNAME";
	case DNS_TYPE_PTR:
		return "PTR";
	case DNS_TYPE_MX:
		return "MX";
	case DNS_TYPE_AAAA:
		return "AAAA";
	}
	return "?";
}

static const char *failure_name(const struct dns_channel *c, int status)
{
	switch (status) {
	case ARES_ESERVFAIL:
		return "SERVFAIL";
	case ARES_EREFUSED:
		return "REFUSED";
	case ARES_EFORMERR:
		return "FORMERR";
	case ARES_ENOTIMP:
		return "NOTIMP";
	case ARES_ETIMEOUT:
		return "no answer in time";
	case ARES_ECONNREFUSED:
		return c->one_server ? "name server not reachable" : "SERVFAIL, REFUSED or nothing";
	case ARES_EDESTRUCTION:
	case ARES_ECANCELLED:
		return "shutting down";
	default:
		return ares_strerror(status);
	}
}

static void finish(struct dns_query *q, enum dns_status status, const char *what)
{
	struct dns_channel *c = q->channel;
	char detail[160];

	if (status != DNS_TEMPORARY && status != DNS_BAD) {
		q->done(q, status, &c->answer, NULL);
		return;
	}
	c->stats.failures++;
	snprintf(detail, sizeof(detail), "%s from %.40s for %s %.60s", what, c->servers,
		type_name(q->type), q->name);
	q->done(q, status, NULL, detail);
}

static void start_more(struct dns_channel *c);

static void on_answer(void *arg, int status, int timeouts, unsigned char *p, int n)
{
	struct dns_query *q = arg;
	struct dns_channel *c = q->channel;

	c->stats.running--;
	switch (status) {
	case ARES_SUCCESS:
		if (n > 0 && dns_wire_parse(&c->answer, p, (size_t)n, q->type) == 0)
			finish(q, DNS_OK, NULL);
		else
			finish(q, DNS_BAD, "malformed answer");
		break;
	case ARES_ENODATA:
		c->answer.nmx = c->answer.naddrs = c->answer.skipped = 0;
		c->answer.ptr[0] = '\0';
		finish(q, DNS_OK, NULL);
		break;
	case ARES_ENOTFOUND:
		finish(q, DNS_NXDOMAIN, NULL);
		break;
	default:
		c->stats.timeouts += status == ARES_ETIMEOUT;
		finish(q, DNS_TEMPORARY, failure_name(c, status));
		break;
	}
	start_more(c);
	if (c->stats.running == 0 && !c->closing)
		uv_timer_stop(&c->timer);
}

/* Answers may come inside ares_query, and their owners ask on: the flag keeps that from nesting. */
static void start_more(struct dns_channel *c)
{
	if (c->starting || c->closing)
		return;
	c->starting = true;
	while (c->line && c->stats.running < c->running_max) {
		struct dns_query *q = c->line;

		DL_DELETE(c->line, q);
		c->stats.waiting--;
		c->stats.running++;
		c->stats.queries++;
		if (!uv_is_active((uv_handle_t *)&c->timer))
			uv_timer_start(&c->timer, on_tick, c->tick, c->tick);
		ares_query(c->ares, q->name, CLASS_IN, (int)q->type, on_answer, q);
	}
	c->starting = false;
}

void dns_query_start(struct dns_channel *c, struct dns_query *q, const char *name,
	enum dns_type type, dns_query_done *done)
{
	*q = (struct dns_query){ .channel = c, .name = name, .type = type, .done = done };
	if (c->closing) {
		finish(q, DNS_TEMPORARY, "shutting down");
		return;
	}
	DL_APPEND(c->line, q);
	c->stats.waiting++;
	start_more(c);
}

static int set_servers(
	struct dns_channel *c, const struct dns_params *p, char *error, size_t error_max)
{
	struct buf csv;
	int r = 0;

	buf_init(&csv, 4096);
	for (unsigned i = 0; i < p->nservers && !r; i++)
		r = buf_printf(&csv, "%s%s", i ? "," : "", p->servers[i]);
	if (!r)
		r = buf_add(&csv, "", 1);
	if (r) {
		snprintf(error, error_max, "too many name servers");
	} else if (ares_set_servers_ports_csv(c->ares, buf_slice(&csv).p) != ARES_SUCCESS) {
		snprintf(error, error_max, "name servers not understood: %s", buf_slice(&csv).p);
		r = -EINVAL;
	} else {
		snprintf(c->servers, sizeof(c->servers), "%s", buf_slice(&csv).p);
	}
	buf_deinit(&csv);
	return r;
}

static int open_channel(struct dns_channel *c, const struct dns_params *p, int more_flags)
{
	struct ares_options o = {
		.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS | more_flags,
		.timeout = p->timeout ? (int)p->timeout : TIMEOUT_MS,
		.tries = p->tries ? (int)p->tries : TRIES,
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = c,
		.ednspsz = EDNS_SIZE,
	};

	c->tick = (uint64_t)o.timeout / 8;
	c->tick = c->tick < TICK_MIN_MS ? TICK_MIN_MS : c->tick;
	c->tick = c->tick > TICK_MAX_MS ? TICK_MAX_MS : c->tick;
	return ares_init_options(&c->ares, &o,
		ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB |
			ARES_OPT_EDNSPSZ);
}

static bool has_one_server(struct dns_channel *c)
{
	struct ares_addr_port_node *servers = NULL;
	bool one;

	ares_get_servers_ports(c->ares, &servers);
	one = servers && !servers->next;
	ares_free_data(servers);
	return one;
}

/* c-ares tries SERVFAIL and REFUSED again at the next server. Where there is no other it would only
 * repeat the question at once, and then report a refused connection: there the answer is taken as
 * it is. */
static int init_ares(struct dns_channel *c, const struct dns_params *p)
{
	int r = ares_library_init(ARES_LIB_INIT_ALL);

	if (r != ARES_SUCCESS)
		return r;
	c->one_server = p->nservers == 1;
	r = open_channel(c, p, c->one_server ? ARES_FLAG_NOCHECKRESP : 0);
	if (r == ARES_SUCCESS && p->nservers == 0 && has_one_server(c)) {
		c->one_server = true;
		ares_destroy(c->ares);
		c->ares = NULL;
		r = open_channel(c, p, ARES_FLAG_NOCHECKRESP);
	}
	if (r != ARES_SUCCESS)
		ares_library_cleanup();
	return r;
}

static int set_up(struct dns_channel *c, const struct dns_params *p, char *error, size_t error_max)
{
	int r = init_ares(c, p);

	if (r != ARES_SUCCESS) {
		snprintf(error, error_max, "name resolution: %s", ares_strerror(r));
		return r == ARES_ENOMEM ? -ENOMEM : -EINVAL;
	}
	snprintf(c->servers, sizeof(c->servers), "the system's name server");
	r = p->nservers > 0 ? set_servers(c, p, error, error_max) : 0;
	if (r) {
		ares_destroy(c->ares);
		ares_library_cleanup();
	}
	return r;
}

int dns_channel_new(struct dns_channel **ret, struct loop *l, const struct dns_params *p,
	char *error, size_t error_max)
{
	struct dns_channel *c = calloc(1, sizeof(*c));
	int r;

	if (!c) {
		snprintf(error, error_max, "out of memory");
		return -ENOMEM;
	}
	c->loop = l;
	c->running_max = p->running_max ? p->running_max : RUNNING_MAX;
	r = set_up(c, p, error, error_max);
	if (r) {
		free(c);
		return r;
	}
	must(uv_timer_init(&l->uv, &c->timer) == 0);
	c->timer.data = c;
	c->open_handles = 1;
	*ret = c;
	return 0;
}

void dns_channel_close(struct dns_channel *c)
{
	if (!c)
		return;
	c->closing = true;
	/* answers what runs, and closes the sockets */
	ares_destroy(c->ares);
	ares_library_cleanup();
	while (c->line) {
		struct dns_query *q = c->line;

		DL_DELETE(c->line, q);
		c->stats.waiting--;
		finish(q, DNS_TEMPORARY, failure_name(c, ARES_EDESTRUCTION));
	}
	uv_timer_stop(&c->timer);
	uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

const struct dns_channel_stats *dns_channel_stats(const struct dns_channel *c)
{
	return &c->stats;
}
