/* What lanes have found out at doors, and the ramps' parts that are held, over restarts. */
#pragma once

#include "postern/policy.h"

struct cluster;
struct saver;

/* What has changed since the last call. */
void doors_save(struct policy *p, const struct saver *s, struct cluster *c);
void shares_save(struct policy *p, const struct saver *s, struct cluster *c);
/* Back: 0; -EINVAL: not an entry of ours; -ENOMEM. Until doors_begin the times of doors are wall
 * times. subnet NULL: the source's. */
int door_load(struct policy *p, struct cluster *c, unsigned source, const char *subnet,
	const int64_t n[4]);
int door_all_load(struct cluster *c, const int64_t n[4]);
int share_load(
	struct policy *p, struct cluster *c, unsigned source, const int64_t n[4], const char *rest);
void doors_begin(const struct policy *p, struct cluster *c, struct policy_now now);
/* The cluster is no more: nor are its entries of these kinds and of pace. */
void lanes_forget(struct policy *p, const struct cluster *c);
/* Something of it is not on disk, or still holds. */
bool lanes_kept(const struct policy *p, const struct cluster *c);
