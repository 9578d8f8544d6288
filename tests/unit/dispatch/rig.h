/* A whole dispatcher in one process: real queue, worker and DNS client; name server and receiver of
 * the tests' own. */
#pragma once

#include "../../peers/dns_table.h"
#include "../../peers/mx.h"
#include "../wait.h"
#include "postern/dispatch.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct rig {
	char dir[200], log_path[256];
	struct mx mx;
	struct dns_server dns;
	struct dns_row rows[64];
	unsigned nrows;
	const char *servers[1];
	struct source_params sources[3];
	struct pool_params pool;
	struct provider_params providers[2];
	ms_t schedule[2];
	struct policy_params policy;
	struct dispatch_params dp;
	struct queue *queue;
	struct log *log;
	struct classifier *rules;
	struct worker *worker;
	struct dispatch *dispatch;
	struct mpsc answers;
};

/* Sources s1 127.0.1.1, s2 127.0.2.1 (another subnet), s3 unusable and not in the pool. a.test and
 * b.test have one MX with the first receiver's address, two.test two hosts, of which the better
 * does not listen. Retry after 300 ms. */
void rig_init(struct rig *r, struct mx_rule *rules, unsigned nrules);
/* On the dispatcher's thread. */
void rig_reload(struct dispatch *d, const struct policy_params *policy, struct classifier *rules);
void rig_row(struct rig *r, const char *name, unsigned type, unsigned rcode, const char *data,
	unsigned preference);
void rig_start(struct rig *r);
void rig_stop_dispatch(struct rig *r); /* drains, stops worker and dispatcher; the queue stays */
void rig_stop(struct rig *r);
char *rig_log(struct rig *r); /* after rig_stop_dispatch; the caller frees */
/* Commits a message to the recipients (NULL at the end); its id. */
uint64_t rig_send(struct rig *r, const char *sender, const char *const *recipients);
uint64_t rig_send_to(struct rig *r, const char *recipient);
/* The same with what the test sets in between. */
struct message *rig_message(
	struct rig *r, const char *sender, const char *const *recipients, size_t size);
void rig_commit(struct rig *r, struct message *m, ms_t due);
struct dispatch_stats rig_stats(struct rig *r);
uint64_t rig_waiting(struct rig *r); /* recipients in the queue */
/* The stored state of recipient 0. */
struct queue_rcpt_state rig_state(struct rig *r, uint64_t id, struct message **m);
/* Runs fn on the dispatcher's thread, and waits for it. */
void rig_call(struct rig *r, void (*fn)(struct dispatch *d, void *arg), void *arg);
int rig_operate(
	struct rig *r, enum dispatch_op op, uint64_t id, const char *domain, uint64_t *changed);
