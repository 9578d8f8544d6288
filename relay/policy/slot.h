/* A slot is a connection, from the moment it is chosen until it has ended. It is counted in its
 * provider, geography, cluster, path and lane at the same time, so that no cap is passed while a
 * connection is being made. */
#pragma once

#include "cluster.h"
#include "lane.h"
#include "learn.h"
#include "names.h"

struct slot {
	bool used, up, unknown, surplus, in_probe;
	bool good_told, bad_told; /* this transaction's outcome is in the evidence */
	bool blamed;		  /* a refusal of this session is in the evidence */
	bool foreign;		  /* its host is none of the provider's */
	bool host_told;		  /* its host's failure was */
	bool probes_host;	  /* it finds out whether its host is well again */
	unsigned source, provider, pool;
	struct host *host;
	struct cluster *cluster;
	struct lane *lane;
	struct path *path;
	ms_t opened;   /* mono */
	ms_t began[2]; /* mono; the last transaction, and the one before it */
	uint32_t messages, outstanding;
	uint32_t taken;	       /* messages, in this session */
	bool session_ended;    /* by the receiver */
	uint32_t probes_limit; /* it may carry so many, more than was learned; 0: none */
	char banner[BANNER_NAME];
	/* warm-up */
	uint32_t weight;   /* messages that a transaction stands for */
	uint32_t reserved; /* of the ramp's allowance, by the transactions under way */
	bool expects;	   /* counted in the ramp: a connection that has not carried anything yet */
	bool reached, accepted, refused; /* the transaction, by its receiver */
	uint32_t next_free;
};

/* A number that is none in use is a fault of the caller's: must. */
struct slot *slot_get(struct policy *p, uint32_t number);
/* -ENOMEM: no memory, or more slots than there may be. */
int slot_new(struct policy *p, uint32_t *ret);
void slot_release(struct policy *p, uint32_t number);
/* From here on it is counted; host, provider, source and unknown are set. */
void slot_attach(struct policy *p, struct slot *s, struct cluster *c, struct lane *l);
void slot_detach(struct policy *p, struct slot *s);
void slot_up(struct policy *p, struct slot *s);			      /* it is connected */
void slot_transaction(struct policy *p, struct slot *s, bool begins); /* one begins, or ends */
/* Its source is gone, or in another subnet; the provider too. It stays counted at what is left. */
void slot_orphan(struct policy *p, struct slot *s, bool provider_gone);
/* charge: what it has sent counts against the lane that it turned out to be on. */
void slot_move(struct policy *p, struct slot *s, struct cluster *c, bool charge, ms_t mono);
void slot_known(struct policy *p, struct slot *s); /* it counts at its cluster alone */
/* Do all counts say what the slots are? For tests, and for builds with
 * POSTERN_CHECKS: walks all there is. Restores what
 * it takes apart. */
bool slots_counted(struct policy *p);
