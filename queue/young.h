/* Recipients accepted lately, by domain, in memory: the part of the due index that is not on disk
 * in order.
 *
 * The due index is ordered by domain. With many domains each new recipient would dirty a leaf page
 * of its own there, and most recipients are gone again a moment later. So a new one is only noted
 * in the `young` tree, keyed by message (a few pages at its right edge, shared by all of a batch),
 * and found through this index. When it grows full the entries move into the due index in its
 * order, several to a page; many never do. After a restart it is built again from the tree.
 *
 * The same bare loop with 200,000 messages waiting in 20,000 domains: 8.8 KB written and 22 us a
 * message; with each new recipient straight in the due index 26.4 KB and 88 us.
 *
 * Changed by the writer after each commit, read by any thread; locked inside. A reader looks here
 * first and into the database after: what moves meanwhile is then seen twice, never missed. */
#pragma once

#include <pthread.h>

#include "keys.h"

#define YOUNG_MAX 65536u

struct young;
struct young_entry {
	uint64_t id;
	ms_t due;
	uint32_t index;
};

struct young *young_new(void);
struct young *young_free(struct young *y);

/* 0; -EEXIST; -ENOBUFS: full, or too far out of order: the entry belongs into the due index;
 * -ENOMEM. */
int young_add(struct young *y, struct slice domain, const struct young_entry *e);
bool young_has(struct young *y, uint64_t id, uint32_t index);
bool young_remove(struct young *y, uint64_t id, uint32_t index); /* whether it was there */
uint32_t young_count(struct young *y);
/* No entry's id is below; UINT64_MAX when there is none. */
uint64_t young_min_id(struct young *y);

/* By (due, id, index). */
int young_order(const struct young_entry *a, const struct young_entry *b);

/* The first entries of a domain in that order, behind `after` (NULL: of all); how many. */
uint32_t young_peek(struct young *y, struct slice domain, const struct young_entry *after,
	struct young_entry *out, uint32_t max);

struct young_domain {
	char *name;
	ms_t due;
};
/* All domains in byte order with their earliest due. 0, -ENOMEM; then young_domains_free. */
int young_domains(struct young *y, struct young_domain **ret, uint32_t *n);
void young_domains_free(struct young_domain *d, uint32_t n);
