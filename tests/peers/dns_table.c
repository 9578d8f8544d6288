/* The tests' name server (tests/peers) in a thread of its own, with answers from a table: those, or
 * late, or not at all. */
#include "dns_table.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "dns.h"
#include "postern/must.h"
#include "util.h"

struct serving {
	struct loop_thread thread;
	struct dns_service *service;
};

static void put_record(struct answer *a, const struct dns_record *r)
{
	uint8_t address[16];

	if (r->type != TYPE_A && r->type != TYPE_AAAA) {
		dns_put_host(a, r->owner, (uint16_t)r->type, r->ttl,
			r->type == TYPE_MX ? (int)r->preference : -1, r->data);
		return;
	}
	must(inet_pton(r->type == TYPE_A ? AF_INET : AF_INET6, r->data, address) == 1);
	dns_put_rr(a, r->owner, (uint16_t)r->type, r->ttl, address, r->type == TYPE_A ? 4 : 16);
}

static struct dns_row *find(struct dns_server *s, const char *name, unsigned type, bool *known)
{
	*known = false;
	for (unsigned i = 0; i < s->nrows; i++) {
		if (strcasecmp(s->rows[i].name, name) != 0)
			continue;
		*known = true;
		if (s->rows[i].type == type)
			return &s->rows[i];
	}
	return NULL;
}

struct dns_row *dns_server_row(struct dns_server *s, const char *name, unsigned type)
{
	bool known;
	struct dns_row *row = find(s, name, type, &known);

	must(row);
	return row;
}

static void put_garbage(struct answer *a)
{
	uint8_t junk[40];

	for (unsigned i = 0; i < sizeof(junk); i++)
		junk[i] = (uint8_t)(0xc0 | i);
	must(buf_add(&a->b, junk, sizeof(junk)) == 0);
	a->count = 3;
}

/* Under the lock. */
static void count(struct dns_server *s, const struct dns_query *q, struct dns_row *row)
{
	s->asked++;
	if (row && q->tcp)
		row->by_tcp++;
	else if (row)
		row->by_udp++;
	if (!q->tcp) {
		unsigned n = ++s->by_port[q->port];

		s->nports += n == 1;
		if (n > s->port_most)
			s->port_most = n;
	}
}

/* Under the lock. False: no answer. */
static bool reply(struct dns_server *s, const struct dns_query *q, struct buf *out)
{
	bool known;
	struct dns_row *row = find(s, q->question.name, q->question.type, &known);
	struct dns_form form = { .truncate = row && row->manner == TRUNCATE && !q->tcp };
	struct answer a = { .rcode = row ? (int)row->rcode : known ? RC_OK : RC_NXDOMAIN };

	count(s, q, row);
	if (row && row->manner == DROP)
		return false;
	buf_init(&a.b, 0);
	for (unsigned i = 0; row && i < ROW_RECORDS && row->records[i].data; i++)
		put_record(&a, &row->records[i]);
	if (row && row->manner == GARBAGE)
		put_garbage(&a);
	dns_message(&form, &q->question, q->wire, &a, 65535, out);
	if (row && row->manner == WRONG_NAME)
		out->p[out->off + 13] ^= 1;
	buf_deinit(&a.b);
	return true;
}

static bool on_question(void *arg, const struct dns_query *q, struct buf *out, uint64_t *delay)
{
	struct dns_server *s = arg;
	bool answered;

	pthread_mutex_lock(&s->lock);
	answered = reply(s, q, out);
	pthread_mutex_unlock(&s->lock);
	return answered;
}

void dns_server_start(struct dns_server *s, struct dns_row *rows, unsigned nrows)
{
	struct serving *v = xcalloc(1, sizeof(*v));
	char *address;

	*s = (struct dns_server){ .rows = rows, .nrows = nrows, .serving = v };
	must(pthread_mutex_init(&s->lock, NULL) == 0);
	loop_thread_init(&v->thread, s);
	must(dns_open(&v->service, &v->thread.loop, "127.0.0.1:0", on_question, s, &address) == 0);
	must(strlen(address) < sizeof(s->address));
	strcpy(s->address, address);
	free(address);
	loop_thread_start(&v->thread);
}

void dns_server_stop(struct dns_server *s)
{
	loop_thread_stop(&s->serving->thread);
	dns_close(s->serving->service);
	loop_thread_deinit(&s->serving->thread);
	free(s->serving);
	pthread_mutex_destroy(&s->lock);
}
