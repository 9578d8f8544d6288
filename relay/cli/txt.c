/* TXT records of a name: one question through c-ares, waited for. Called by postern dkim check.
 * Main thread of a tool. */
#include "txt.h"

#include <ares.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

#define RECORD_MAX 16384u /* bytes; a key of 4096 bits needs 750 */
#define WAIT_MAX   60	  /* s */
#define CLASS_IN   1
#define TYPE_TXT   16
#define EDNS_SIZE  1232

struct question {
	struct txt *txt;
	int status;
	bool done;
};

static void on_answer(void *arg, int status, int timeouts, unsigned char *answer, int n)
{
	struct question *q = arg;
	struct ares_txt_ext *all = NULL;

	(void)timeouts;
	q->done = true;
	q->status = status == ARES_SUCCESS ? ares_parse_txt_reply_ext(answer, n, &all) : status;
	for (const struct ares_txt_ext *t = all; t; t = t->next) {
		if (t->record_start) {
			if (q->txt->n == TXT_RECORDS_MAX)
				break;
			buf_init(&q->txt->records[q->txt->n++], RECORD_MAX);
		}
		if (q->txt->n && buf_add(&q->txt->records[q->txt->n - 1], t->txt, t->length))
			q->status = ARES_ENOMEM;
	}
	ares_free_data(all);
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

int txt_look_up(
	struct txt *ret, const struct dns_params *p, const char *name, char *why, size_t why_max)
{
	struct question q = { .txt = ret, .status = ARES_ETIMEOUT };
	ares_channel ares;
	int r;

	*ret = (struct txt){ 0 };
	r = ares_library_init(ARES_LIB_INIT_ALL);
	if (r == ARES_SUCCESS)
		r = open_channel(&ares, p);
	if (r != ARES_SUCCESS) {
		snprintf(why, why_max, "%s", ares_strerror(r));
		return -EIO;
	}
	ares_query(ares, name, CLASS_IN, TYPE_TXT, on_answer, &q);
	wait_for(ares, &q);
	r = q.status; /* destroying answers what still runs */
	ares_destroy(ares);
	ares_library_cleanup();
	if (r == ARES_ENOTFOUND)
		return -ENOENT;
	if (r == ARES_SUCCESS || r == ARES_ENODATA)
		return 0;
	snprintf(why, why_max, "%s", ares_strerror(r));
	return -EIO;
}

void txt_deinit(struct txt *t)
{
	for (unsigned i = 0; i < t->n; i++)
		buf_deinit(&t->records[i]);
	t->n = 0;
}
