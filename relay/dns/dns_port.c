/* Channels of c-ares. A channel sends all its questions from one UDP port as long as any of them is
 * under way, and a relay under load always has some: who wants to slip false answers in would have
 * to guess the query's number only. So each channel serves a few questions, and then another one
 * with another port (the kernel's random choice) does. A channel that is used up and has its last
 * answer closes its socket; then it serves again, with another port, or is destroyed. Neither inside
 * c-ares, where the socket is still open: the first by the next question, the second in the tick,
 * which also lets c-ares look for time-outs and runs while there is any channel. One set of channels for each patience, as c-ares
 * knows time-outs by channel only.
 *
 * Called by dns_query.c, on the resolver's loop. */
#include "dns_port.h"

#include <ares.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postern/loop.h"
#include "postern/must.h"

#include <utlist.h>

#define TIMEOUT_MS  3000
#define TRIES	    3
#define QUICK_MS    2000
#define BRISK_MS    400
#define PER_PORT    16u /* questions */
#define PORTS_MAX   64u /* a channel is 74 KiB of memory; when all are in use they serve more */
#define CLASS_IN    1
#define EDNS_SIZE   1232 /* fits where fragments do not (DNS flag day 2020) */
#define TICK_MIN_MS 10
#define TICK_MAX_MS 100

/* One socket of c-ares; freed when its handle is closed. */
struct dns_socket {
	uv_poll_t poll;
	struct dns_port *port; /* NULL: gone */
	struct dns_ports *ports;
	int fd;
	struct dns_socket *prev, *next;
};

struct dns_port {
	struct dns_port *prev, *next;
	struct dns_ports *ports;
	ares_channel ares;
	struct dns_socket *sockets;
	unsigned asked, running;
	enum dns_patience patience;
	bool unwatched; /* some socket of c-ares may have no handle */
};

struct dns_ports {
	struct loop *loop;
	uv_timer_t timer;
	uint64_t tick;
	unsigned open_handles;
	struct dns_port *all, *current[DNS_PATIENCES];
	unsigned n;
	int timeout[DNS_PATIENCES], tries[DNS_PATIENCES], flags;
	struct ares_addr_port_node *servers;
	bool one_server;
	struct dns_ports_ops ops;
	char text[128];
};

/* ---- sockets ---- */

static void on_handle_closed(struct dns_ports *s)
{
	if (--s->open_handles == 0)
		free(s);
}

static void on_socket_closed(uv_handle_t *h)
{
	struct dns_socket *k = h->data;
	struct dns_ports *s = k->ports;

	free(k);
	on_handle_closed(s);
}

static void on_timer_closed(uv_handle_t *h)
{
	on_handle_closed(h->data);
}

static void on_socket_ready(uv_poll_t *h, int status, int events)
{
	struct dns_socket *k = h->data;
	/* on an error c-ares reads it from the socket */
	bool in = status < 0 || (events & UV_READABLE), out = status < 0 || (events & UV_WRITABLE);

	ares_process_fd(k->port->ares, in ? k->fd : ARES_SOCKET_BAD, out ? k->fd : ARES_SOCKET_BAD);
}

static struct dns_socket *socket_new(struct dns_port *p, int fd)
{
	struct dns_socket *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	if (uv_poll_init(loop_uv(p->ports->loop), &k->poll, fd)) {
		free(k);
		return NULL;
	}
	k->poll.data = k;
	k->port = p;
	k->ports = p->ports;
	k->fd = fd;
	p->ports->open_handles++;
	DL_APPEND(p->sockets, k);
	return k;
}

/* A socket that could not be watched for lack of memory serves later questions too: the tick tries
 * again. */
static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
	struct dns_port *p = data;
	struct dns_socket *k;

	DL_FOREACH (p->sockets, k) {
		if (k->fd == fd)
			break;
	}
	if (!readable && !writable) {
		if (k) {
			DL_DELETE(p->sockets, k);
			uv_poll_stop(&k->poll);
			uv_close((uv_handle_t *)&k->poll, on_socket_closed);
		}
		return;
	}
	if (!k)
		k = socket_new(p, fd);
	if (!k ||
		uv_poll_start(&k->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0),
			on_socket_ready))
		p->unwatched = true;
}

static void watch_again(struct dns_port *p)
{
	ares_socket_t fds[ARES_GETSOCK_MAXNUM];
	unsigned mask = (unsigned)ares_getsock(p->ares, fds, ARES_GETSOCK_MAXNUM);

	p->unwatched = false;
	for (unsigned i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
		/* not c-ares' macros, which shift into the sign */
		bool readable = (mask >> i & 1u) != 0;
		bool writable = (mask >> (i + ARES_GETSOCK_MAXNUM) & 1u) != 0;

		if (readable || writable)
			on_socket_state(p, fds[i], readable, writable);
	}
}

/* ---- ports ---- */

static int ares_open(const struct dns_ports *s, struct dns_port *p, ares_channel *ret)
{
	char lookups[] = "b";
	struct ares_options o = {
		.flags = s->flags,
		.timeout = s->timeout[p->patience],
		.tries = s->tries[p->patience],
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = p,
		.ednspsz = EDNS_SIZE,
		.lookups = lookups,
		.ndots = 1,
	};
	/* with all of these given it reads no files */
	int r = ares_init_options(ret, &o,
		ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB |
			ARES_OPT_EDNSPSZ | ARES_OPT_LOOKUPS | ARES_OPT_NDOTS | ARES_OPT_DOMAINS |
			ARES_OPT_SORTLIST | ARES_OPT_SERVERS);

	if (r == ARES_SUCCESS) {
		r = ares_set_servers_ports(*ret, s->servers);
		if (r != ARES_SUCCESS)
			ares_destroy(*ret);
	}
	return r;
}

static struct dns_port *port_new(struct dns_ports *s, enum dns_patience patience)
{
	struct dns_port *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->ports = s;
	p->patience = patience;
	if (ares_open(s, p, &p->ares) != ARES_SUCCESS) {
		free(p);
		return NULL;
	}
	DL_APPEND(s->all, p);
	s->n++;
	return p;
}

static void port_free(struct dns_port *p)
{
	struct dns_ports *s = p->ports;

	ares_destroy(p->ares); /* answers what runs, and closes its sockets */
	must(!p->sockets && !p->running);
	DL_DELETE(s->all, p);
	s->n--;
	free(p);
}

static bool used_up(const struct dns_port *p)
{
	return p->asked >= PER_PORT;
}

/* One without a socket gets another port with the next question. */
static struct dns_port *port_again(struct dns_ports *s, enum dns_patience patience)
{
	struct dns_port *p;

	DL_FOREACH (s->all, p) {
		if (p->patience == patience && !p->running && !p->sockets && !p->unwatched)
			return p;
	}
	return NULL;
}

static struct dns_port *port_for(struct dns_ports *s, enum dns_patience patience)
{
	struct dns_port *p = s->current[patience];

	if (p && !used_up(p))
		return p;
	p = port_again(s, patience);
	if (p)
		p->asked = 0;
	else if (s->n < PORTS_MAX || !s->current[patience])
		p = port_new(s, patience);
	if (p)
		s->current[patience] = p;
	return s->current[patience];
}

static void on_tick(uv_timer_t *t)
{
	struct dns_ports *s = t->data;
	struct dns_port *p, *next;

	DL_FOREACH_SAFE (s->all, p, next) {
		if (p->unwatched)
			watch_again(p);
		if (p->running)
			ares_process_fd(p->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	}
	DL_FOREACH_SAFE (s->all, p, next) {
		if (p->running || !p->asked)
			continue;
		/* one that rests has no port any more, and gets another */
		if (used_up(p)) {
			if (s->current[p->patience] == p)
				s->current[p->patience] = NULL;
			port_free(p);
		}
	}
	s->ops.tick(s->ops.arg);
	DL_FOREACH (s->all, p) {
		if (p->running)
			return;
	}
	uv_timer_stop(t);
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *answer, int n)
{
	struct dns_query *q = arg;
	struct dns_port *p = q->port;

	q->port = NULL;
	p->running--;
	p->ports->ops.done(q, status, answer, n);
}

void dns_port_ask(struct dns_ports *s, struct dns_query *q, enum dns_patience patience)
{
	struct dns_port *p = port_for(s, patience);

	if (!p) {
		s->ops.done(q, ARES_ENOMEM, NULL, 0);
		return;
	}
	p->asked++;
	p->running++;
	q->port = p;
	if (!uv_is_active((uv_handle_t *)&s->timer))
		uv_timer_start(&s->timer, on_tick, s->tick, s->tick);
	ares_query(p->ares, q->name, CLASS_IN, (int)q->type, on_answer, q);
}

void dns_port_renew(struct dns_ports *s, enum dns_patience patience)
{
	struct dns_port *p = s->current[patience];

	if (p && s->n < PORTS_MAX)
		p->asked = PER_PORT;
}

/* ---- life ---- */

static int servers_of_system(struct dns_ports *s)
{
	ares_channel ares;
	int r = ares_init(&ares);

	if (r != ARES_SUCCESS)
		return r;
	r = ares_get_servers_ports(ares, &s->servers);
	ares_destroy(ares);
	snprintf(s->text, sizeof(s->text), "the system's name server");
	return r;
}

static int servers_given(
	struct dns_ports *s, const struct dns_params *p, char *error, size_t error_max)
{
	ares_channel ares;
	struct buf csv;
	int r = 0, e = ARES_SUCCESS;

	buf_init(&csv, 4096);
	for (unsigned i = 0; i < p->nservers && !r; i++)
		r = buf_printf(&csv, "%s%s", i ? "," : "", p->servers[i]);
	if (!r)
		r = buf_add(&csv, "", 1);
	if (r) {
		snprintf(error, error_max, "too many name servers");
		buf_deinit(&csv);
		return r;
	}
	e = ares_init(&ares);
	if (e == ARES_SUCCESS) {
		e = ares_set_servers_ports_csv(ares, buf_slice(&csv).p);
		if (e == ARES_SUCCESS)
			e = ares_get_servers_ports(ares, &s->servers);
		ares_destroy(ares);
	}
	snprintf(s->text, sizeof(s->text), "%s", buf_slice(&csv).p);
	if (e != ARES_SUCCESS) {
		snprintf(error, error_max, "name servers not understood: %s", s->text);
		r = e == ARES_ENOMEM ? -ENOMEM : -EINVAL;
	}
	buf_deinit(&csv);
	return r;
}

static int find_servers(
	struct dns_ports *s, const struct dns_params *p, char *error, size_t error_max)
{
	int r;

	if (p->nservers)
		return servers_given(s, p, error, error_max);
	r = servers_of_system(s);
	if (r == ARES_SUCCESS && s->servers)
		return 0;
	snprintf(error, error_max, "name resolution: %s",
		r == ARES_SUCCESS ? "the system has no name server" : ares_strerror(r));
	return r == ARES_ENOMEM ? -ENOMEM : -EINVAL;
}

static int less(int a, int b)
{
	return a < b ? a : b;
}

static void set_times(struct dns_ports *s, const struct dns_params *p)
{
	int timeout = p->timeout ? (int)p->timeout : TIMEOUT_MS;
	int tries = p->tries ? (int)p->tries : TRIES;

	s->timeout[DNS_BRISK] = less(timeout, BRISK_MS);
	s->timeout[DNS_QUICK] = less(timeout, QUICK_MS);
	s->timeout[DNS_PATIENT] = timeout;
	s->tries[DNS_BRISK] = s->tries[DNS_QUICK] = 1;
	/* the quick try was one of them */
	s->tries[DNS_PATIENT] = tries > 1 ? tries - 1 : tries;
	if (tries == 1 && timeout <= QUICK_MS)
		s->tries[DNS_PATIENT] = 0;
	s->tick = (uint64_t)s->timeout[DNS_BRISK] / 8;
	s->tick = s->tick < TICK_MIN_MS ? TICK_MIN_MS : s->tick;
	s->tick = s->tick > TICK_MAX_MS ? TICK_MAX_MS : s->tick;
}

int dns_ports_new(struct dns_ports **ret, struct loop *l, const struct dns_params *p,
	const struct dns_ports_ops *ops, char *error, size_t error_max)
{
	struct dns_ports *s = calloc(1, sizeof(*s));
	int r = ares_library_init(ARES_LIB_INIT_ALL);

	if (!s || r != ARES_SUCCESS) {
		snprintf(error, error_max, "name resolution: %s",
			s ? ares_strerror(r) : "out of memory");
		free(s);
		return s && r != ARES_ENOMEM ? -EINVAL : -ENOMEM;
	}
	s->loop = l;
	s->ops = *ops;
	set_times(s, p);
	r = find_servers(s, p, error, error_max);
	if (r) {
		ares_free_data(s->servers);
		ares_library_cleanup();
		free(s);
		return r;
	}
	/* c-ares tries SERVFAIL and REFUSED again at the next server. Where there is no other it
	 * would only repeat the question at once, and then report a refused connection: there the
	 * answer is taken as it is. */
	s->one_server = s->servers && !s->servers->next;
	s->flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS |
		   (s->one_server ? ARES_FLAG_NOCHECKRESP : 0);
	must(uv_timer_init(loop_uv(l), &s->timer) == 0);
	s->timer.data = s;
	s->open_handles = 1;
	*ret = s;
	return 0;
}

void dns_ports_end(struct dns_ports *s)
{
	while (s->all)
		port_free(s->all);
}

void dns_ports_close(struct dns_ports *s)
{
	must(!s->all);
	ares_free_data(s->servers);
	ares_library_cleanup();
	uv_timer_stop(&s->timer);
	uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}

bool dns_ports_patient(const struct dns_ports *s)
{
	return s->tries[DNS_PATIENT] > 0;
}

const char *dns_ports_servers(const struct dns_ports *s)
{
	return s->text;
}

bool dns_ports_one_server(const struct dns_ports *s)
{
	return s->one_server;
}
