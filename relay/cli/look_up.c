/* One question to DNS through c-ares, waited for. Called by postern dkim check, evidence and doctor.
 * Main thread of a tool. */
#include "look_up.h"

#include <ares.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

#define RECORD_MAX 16384u /* bytes; a key of 4096 bits needs 750 */
#define WAIT_MAX   60	  /* s */
#define CLASS_IN   1
#define EDNS_SIZE  1232

struct question {
	struct look_up *found;
	enum look_up_type type;
	int status;
	bool done;
};

/* The next record, or the one being put together. */
static struct buf *record_of(struct look_up *l, bool next)
{
	if (next && l->n < LOOK_UP_MAX)
		buf_init(&l->records[l->n++], RECORD_MAX);
	else if (next)
		return NULL;
	return l->n ? &l->records[l->n - 1] : NULL;
}

static void add_text(struct question *q, const char *text)
{
	struct buf *b = record_of(q->found, true);

	if (b && buf_add_str(b, text))
		q->status = ARES_ENOMEM;
}

static void read_txt(struct question *q, unsigned char *answer, int n)
{
	struct ares_txt_ext *all = NULL;

	q->status = ares_parse_txt_reply_ext(answer, n, &all);
	for (const struct ares_txt_ext *t = all; t; t = t->next) {
		struct buf *b = record_of(q->found, t->record_start);

		if (!b)
			break;
		if (buf_add(b, t->txt, t->length))
			q->status = ARES_ENOMEM;
	}
	ares_free_data(all);
}

static void read_addresses(struct question *q, unsigned char *answer, int n)
{
	struct hostent *h = NULL;
	char text[64];

	q->status = q->type == LOOK_UP_A ? ares_parse_a_reply(answer, n, &h, NULL, NULL)
					 : ares_parse_aaaa_reply(answer, n, &h, NULL, NULL);
	for (char **a = h ? h->h_addr_list : NULL; a && *a; a++)
		if (ares_inet_ntop(h->h_addrtype, *a, text, sizeof(text)))
			add_text(q, text);
	if (h)
		ares_free_hostent(h);
}

static void read_names(struct question *q, unsigned char *answer, int n)
{
	struct hostent *h = NULL;

	q->status = ares_parse_ptr_reply(answer, n, NULL, 0, AF_INET, &h);
	for (char **a = h ? h->h_aliases : NULL; a && *a; a++)
		add_text(q, *a);
	if (h && !q->found->n && h->h_name)
		add_text(q, h->h_name);
	if (h)
		ares_free_hostent(h);
}

static void read_mx(struct question *q, unsigned char *answer, int n)
{
	struct ares_mx_reply *all = NULL;
	char text[300];

	q->status = ares_parse_mx_reply(answer, n, &all);
	for (const struct ares_mx_reply *m = all; m; m = m->next) {
		snprintf(text, sizeof(text), "%u %.255s", m->priority, m->host);
		add_text(q, text);
	}
	ares_free_data(all);
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *answer, int n)
{
	struct question *q = arg;

	(void)timeouts;
	q->done = true;
	q->status = status;
	if (status != ARES_SUCCESS)
		return;
	switch (q->type) {
	case LOOK_UP_A:
	case LOOK_UP_AAAA:
		read_addresses(q, answer, n);
		return;
	case LOOK_UP_PTR:
		read_names(q, answer, n);
		return;
	case LOOK_UP_MX:
		read_mx(q, answer, n);
		return;
	case LOOK_UP_TXT:
	default:
		read_txt(q, answer, n);
	}
}

static int open_channel(ares_channel *ret, const struct dns_params *p)
{
	struct ares_options o = {
		.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS,
		.timeout = p->timeout ? (int)p->timeout : 3000,
		.tries = p->tries ? (int)p->tries : 3,
		.ednspsz = EDNS_SIZE,
	};
	struct buf csv;
	int r = ares_init_options(
		ret, &o, ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ);

	if (r != ARES_SUCCESS || !p->nservers)
		return r;
	buf_init(&csv, 4096);
	for (unsigned i = 0; i < p->nservers && r == ARES_SUCCESS; i++)
		if (buf_printf(&csv, "%s%s", i ? "," : "", p->servers[i]))
			r = ARES_ENOMEM;
	if (r == ARES_SUCCESS && buf_add(&csv, "", 1))
		r = ARES_ENOMEM;
	if (r == ARES_SUCCESS)
		r = ares_set_servers_ports_csv(*ret, buf_slice(&csv).p);
	buf_deinit(&csv);
	if (r != ARES_SUCCESS)
		ares_destroy(*ret);
	return r;
}

static void wait_for(ares_channel ares, const struct question *q)
{
	time_t until = time(NULL) + WAIT_MAX;

	while (!q->done && time(NULL) < until) {
		ares_socket_t fds[ARES_GETSOCK_MAXNUM];
		unsigned mask = (unsigned)ares_getsock(ares, fds, ARES_GETSOCK_MAXNUM);
		struct pollfd p[ARES_GETSOCK_MAXNUM];
		nfds_t n = 0;

		for (unsigned i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
			/* not c-ares' macros, which shift into the sign */
			bool in = (mask >> i & 1u) != 0;
			bool out = (mask >> (i + ARES_GETSOCK_MAXNUM) & 1u) != 0;
			short events = (short)((in ? POLLIN : 0) | (out ? POLLOUT : 0));

			if (events)
				p[n++] = (struct pollfd){ .fd = fds[i], .events = events };
		}
		if (poll(p, n, 100) <= 0) /* c-ares looks for time-outs */
			ares_process_fd(ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
		for (nfds_t i = 0; i < n; i++)
			if (p[i].revents)
				ares_process_fd(ares, p[i].fd,
					p[i].events & POLLOUT ? p[i].fd : ARES_SOCKET_BAD);
	}
}

int look_up(struct look_up *ret, const struct dns_params *p, enum look_up_type type,
	const char *name, char *why, size_t why_max)
{
	static const int types[] = { [LOOK_UP_A] = 1,
		[LOOK_UP_AAAA] = 28,
		[LOOK_UP_PTR] = 12,
		[LOOK_UP_TXT] = 16,
		[LOOK_UP_MX] = 15 };
	struct question q = { .found = ret, .type = type, .status = ARES_ETIMEOUT };
	ares_channel ares;
	int r;

	*ret = (struct look_up){ 0 };
	r = ares_library_init(ARES_LIB_INIT_ALL);
	if (r == ARES_SUCCESS)
		r = open_channel(&ares, p);
	if (r != ARES_SUCCESS) {
		snprintf(why, why_max, "%s", ares_strerror(r));
		return -EIO;
	}
	ares_query(ares, name, CLASS_IN, types[type], on_answer, &q);
	wait_for(ares, &q);
	r = q.status; /* destroying answers what still runs */
	ares_destroy(ares);
	ares_library_cleanup();
	for (unsigned i = 0; i < ret->n && r == ARES_SUCCESS; i++)
		if (buf_reserve(&ret->records[i], 1))
			r = ARES_ENOMEM;
		else
			ret->records[i].p[ret->records[i].len] = '\0';
	if (r == ARES_ENOTFOUND)
		return -ENOENT;
	if (r == ARES_SUCCESS || r == ARES_ENODATA)
		return 0;
	snprintf(why, why_max, "%s", ares_strerror(r));
	return -EIO;
}

const char *look_up_text(const struct look_up *l, unsigned i)
{
	return l->records[i].p;
}

void look_up_deinit(struct look_up *l)
{
	for (unsigned i = 0; i < l->n; i++)
		buf_deinit(&l->records[i]);
	l->n = 0;
}

void look_up_reversed(char out[REVERSED_MAX], const struct addr *a, const char *zone)
{
	size_t n = 0;

	if (a->family == ADDR_V4) {
		snprintf(out, REVERSED_MAX, "%u.%u.%u.%u.%.255s", a->ip[3], a->ip[2], a->ip[1],
			a->ip[0], zone ? zone : "in-addr.arpa");
		return;
	}
	for (int i = 15; i >= 0; i--)
		n += (size_t)snprintf(out + n, REVERSED_MAX - n, "%x.%x.", a->ip[i] & 15u,
			(unsigned)a->ip[i] >> 4);
	snprintf(out + n, REVERSED_MAX - n, "%.255s", zone ? zone : "ip6.arpa");
}
