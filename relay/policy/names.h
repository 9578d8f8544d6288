/* What banners, tails of replies and reverse names say of a host: its cluster and geography. Texts of
 * others: what comes out is printable and fits. Pure functions. */
#pragma once

#include "postern/policy.h"

#define CLUSTER_NAME 40u
#define BANNER_NAME  32u

struct host_name {
	char host[BANNER_NAME];	    /* upper case, without its domain */
	char cluster[CLUSTER_NAME]; /* "" when it does not say */
	char geography[8];	    /* "" when it does not say */
};
void name_of_banner(struct host_name *ret, const char *banner);
/* HOST.eop-EUR01, HOST.eurprd05: the server that the classifier found in a reply. False: none. */
bool name_of_server(struct host_name *ret, const struct classification *c);
bool name_of_ptr(struct host_name *ret, struct slice ptr);
void geography_of_cluster(char out[8], const char *cluster);
bool name_is_cluster(const char *name); /* has the form of one */
bool name_is_geography(const char *name);
/* Clusters without a name are networks of so many bits. */
#define CLUSTER_NET_V4 24
#define CLUSTER_NET_V6 48
void geography_of_addr(char out[8], const struct addr *a);

#define SENDER_NAME 254u
/* The domain that sends, in lower case. False: none, or none that can be told and saved. */
bool sender_name(char out[SENDER_NAME], const char *domain);
