/* A queue in a directory of its own, and a mailbox whose answers are waited for. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "postern/queue_check.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MIB	 (1024ull * 1024)

struct box {
	struct mpsc mpsc;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool woken;
	unsigned wakes;
	struct mpsc_node *rest; /* taken, not yet asked for */
};
void box_init(struct box *b);
struct mpsc_node *box_wait(struct box *b); /* the next node */
struct mpsc_node *box_poll(struct box *b); /* or NULL */

struct fixture {
	char dir[200];
	struct queue_params params;
	struct queue *q;
	struct box box, fresh;
};
int fixture_setup(void **state);
int fixture_teardown(void **state);
void fixture_reopen(struct fixture *f);
/* Runs its own process's fresh box empty, dropping references. */
unsigned fixture_drop_fresh(struct fixture *f);

int run_job(struct fixture *f, struct queue_job *job); /* posts, waits, gives the result */
void fence(struct fixture *f);

/* recipients: "a@x.example b@y.example"; the body is size bytes that depend on the id and their
 * place. */
struct message *make_message(struct fixture *f, const char *recipients, uint64_t size);
char body_byte(uint64_t id, uint64_t offset);
int accept_message(struct fixture *f, struct message *m, ms_t due);
/* make, accept, drop; its id */
uint64_t put_message(struct fixture *f, const char *recipients, uint64_t size, ms_t due);
int settle_gone(struct fixture *f, uint64_t id, uint32_t index, const char *domain, ms_t due);
int settle_defer(struct fixture *f, uint64_t id, uint32_t index, const char *domain, ms_t due,
	const struct queue_rcpt_state *state);
/* Entries of the domain due by now. */
unsigned count_due(struct fixture *f, const char *domain, ms_t now);
void check_body(struct fixture *f, uint64_t id, uint64_t size);
/* queue_check says nothing; what the totals say is what a count finds. */
void check_clean(struct fixture *f, uint64_t messages, uint64_t recipients);
