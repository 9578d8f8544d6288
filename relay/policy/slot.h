/* A slot is a connection, from the moment it is chosen until it has ended. It is counted in its
 * provider, geography, cluster, path and lane at the same time, so that no cap is passed while a
 * connection is being made. */
#pragma once

#include "cluster.h"
#include "lane.h"
#include "learn.h"
#include "names.h"

/* What the results of a transaction have done already, so that its second recipient does not do it
 * again. */
struct txn_told {
	bool good, bad;		/* it is in the evidence */
	bool accepted, refused; /* a warm-up has counted it */
};

struct slot {
	bool used, up, unknown, surplus, in_probe;
	bool blamed;	  /* a refusal of this session is in the evidence */
	bool foreign;	  /* its host is none of the provider's */
	bool host_told;	  /* its host's failure was */
	bool probes_host; /* it finds out whether its host is well again */
	unsigned source, provider;
	unsigned pool; /* of the mail that it was asked for, or whose results are told */
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
	uint32_t first_serial; /* transactions before this one were another connection's */
	uint32_t telling;      /* the transaction whose results are being told; 0: none */
	uint32_t weight;       /* messages that the one told of last stands for */
	struct txn_told told;  /* of the one being told of */
	/* warm-up */
	uint32_t reserved; /* of the ramp's allowance, by the transactions under way */
	bool expects;	   /* counted in the ramp: a connection that has not carried anything yet */
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
