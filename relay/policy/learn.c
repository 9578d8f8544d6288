/* Which cluster a host belongs to: learned from banners and error tails, by host; what is known of
 * its neighbours, and its network, before that. Called with each banner and refusal (admit.c,
 * verdict.c), and by choose.c. Pure. What is learned moves open connections to their cluster
 * (slot.c). */
#include <stdio.h>
#include <stdlib.h>

#include "cluster.h"
#include "events.h"
#include "learn.h"
#include "limit.h"
#include "names.h"
#include "persist.h"
#include "policy_impl.h"
#include "postern/must.h"
#include "slot.h"
#include "table.h"

#define CONSUMER_SIZE 49283072u	      /* what consumer mail offers; tenants have 157286400 */
#define REFRESH	      (6 * 3600000ll) /* ms between notes that a host is still in use */
#define FORGET	      (30 * 86400000ll)
#define PTR_AGAIN     3600000	    /* ms */
#define QUIET	      (3600 * 1000) /* mono; a network without hosts */

/* ---- tables ---- */

static struct host_key key_of(const struct policy *p, unsigned provider, const struct addr *a)
{
	struct host_key key;

	memset(&key, 0, sizeof(key));
	key.addr = *a;
	key.uid = p->providers[provider].uid;
	return key;
}

struct host *host_find(const struct policy *p, unsigned provider, const struct addr *a)
{
	struct host_key key = key_of(p, provider, a);
	struct host *h;

	HASH_FIND(hh, p->hosts, &key, sizeof(key), h);
	return h;
}

static bool microsoft(const struct policy *p, unsigned provider)
{
	return p->params->providers[provider].clusters == CLUSTERS_MICROSOFT;
}

void network_free(struct policy *p, struct network *n)
{
	HASH_DEL(p->networks, n);
	n->own->refs--;
	if (n->agreed)
		n->agreed->refs--;
	free(n);
}

static void networks_sweep(struct policy *p, ms_t before)
{
	struct network *n, *next;

	HASH_ITER (hh, p->networks, n, next)
		if (!n->hosts && !n->own->uses.in_use && n->used <= before)
			network_free(p, n);
}

static struct network *network_get(
	struct policy *p, unsigned provider, const struct addr *a, ms_t mono)
{
	struct net net = net_of(a, CLUSTER_NET_V4, CLUSTER_NET_V6);
	struct host_key key = key_of(p, provider, &net.addr);
	char text[ADDR_TEXT_MAX + 4], geography[8];
	struct network *n;

	HASH_FIND(hh, p->networks, &key, sizeof(key), n);
	if (n) {
		n->used = mono;
		return n;
	}
	if (HASH_COUNT(p->networks) >= CLUSTERS_MAX)
		networks_sweep(p, mono);
	if (HASH_COUNT(p->networks) >= CLUSTERS_MAX)
		return NULL;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->key = key;
	n->provider = provider;
	n->used = mono;
	net_format(text, &net);
	n->own = cluster_get(p, provider, text);
	if (!n->own) {
		free(n);
		return NULL;
	}
	n->own->refs++;
	geography_of_addr(geography, a);
	if (geography[0])
		cluster_set_geography(p, n->own, geography);
	HASH_ADD(hh, p->networks, key, sizeof(n->key), n);
	if (!n->hh.tbl) {
		n->own->refs--;
		free(n);
		return NULL;
	}
	return n;
}

static void host_key_text(const struct policy *p, const struct host *h, char *out, size_t max)
{
	char addr[ADDR_TEXT_MAX];

	addr_format(addr, &h->key.addr);
	save_key(out, max, "host", addr, "", p->params->providers[h->provider].name);
}

void host_untroubled(struct policy *p, struct host *h)
{
	if (!h->trouble)
		return;
	free(h->trouble);
	h->trouble = NULL;
	must(p->ntroubled > 0);
	p->ntroubled--;
}

void host_free(struct policy *p, struct host *h)
{
	must(!h->uses.in_use);
	host_untroubled(p, h);
	free(h->limits);
	HASH_DEL(p->hosts, h);
	if (h->cluster)
		h->cluster->refs--;
	h->network->hosts--;
	free(h);
}

static void host_forget(struct policy *p, struct host *h)
{
	char key[200], addr[ADDR_TEXT_MAX];

	host_key_text(p, h, key, sizeof(key));
	forget_key(p, key);
	addr_format(addr, &h->key.addr);
	limits_forget(p, h->limits, addr, h->provider);
	host_free(p, h);
}

/* The longest unused first. */
static void hosts_trim(struct policy *p, unsigned keep)
{
	struct host *h, *next;

	HASH_ITER (hh, p->hosts, h, next) {
		if (HASH_COUNT(p->hosts) <= keep)
			break;
		if (h->uses.in_use)
			continue;
		host_forget(p, h);
	}
}

/* To the end of the table's order, which is that of the last use; seldom, for what it costs. */
static void host_touch(struct policy *p, struct host *h, ms_t wall)
{
	if (wall - h->seen < REFRESH)
		return;
	h->seen = wall;
	h->dirty = h->how != HOW_NONE;
	HASH_TO_END(struct host, p->hosts, h);
}

struct host *host_get(
	struct policy *p, unsigned provider, const struct addr *a, struct policy_now now)
{
	struct host *h = host_find(p, provider, a);
	struct network *n;

	if (h) {
		host_touch(p, h, now.wall);
		return h;
	}
	n = network_get(p, provider, a, now.mono);
	if (!n)
		return NULL;
	if (HASH_COUNT(p->hosts) >= HOSTS_MAX)
		hosts_trim(p, HOSTS_MAX - HOSTS_MAX / 20);
	if (HASH_COUNT(p->hosts) >= HOSTS_MAX)
		return NULL;
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->key = key_of(p, provider, a);
	h->provider = provider;
	h->network = n;
	h->learned = h->seen = now.wall;
	HASH_ADD(hh, p->hosts, key, sizeof(h->key), h);
	if (!h->hh.tbl) {
		free(h);
		return NULL;
	}
	n->hosts++;
	return h;
}

/* ---- where it counts ---- */

static struct cluster *network_place(const struct network *n)
{
	return n->agreed ? n->agreed : n->own;
}

struct cluster *host_place(const struct host *h)
{
	return h->cluster ? h->cluster : network_place(h->network);
}

static bool network_known(const struct policy *p, const struct network *n)
{
	return n->agreed || n->settled || !microsoft(p, n->provider);
}

struct host_standing host_standing(
	struct policy *p, unsigned provider, const struct addr *a, ms_t mono)
{
	const struct host *h = host_find(p, provider, a);
	const struct network *n = h ? h->network : network_get(p, provider, a, mono);

	if (!n)
		return (struct host_standing){ 0 };
	return (struct host_standing){ .cluster = h ? host_place(h) : network_place(n),
		.known = (h && h->cluster) || network_known(p, n),
		.guessed = !(h && h->cluster) && n->agreed && n->tails };
}

const char *how_name(const struct host *h)
{
	static const char *const names[] = { "network", "PTR", "banner host", "banner",
		"error tail" };

	if (h->how == HOW_NONE && h->network->agreed)
		return "neighbours";
	return names[h->how];
}

/* ---- learning ---- */

/* Do all hosts of the network that are known agree? */
static void network_agree(struct policy *p, struct network *n)
{
	struct cluster *agreed = NULL;
	bool mixed = false, tails = false;

	for (unsigned i = 0; i < 256 && n->key.addr.family == ADDR_V4; i++) {
		struct addr a = n->key.addr;
		struct host *h;

		a.ip[3] = (uint8_t)i;
		h = host_find(p, n->provider, &a);
		if (!h || !h->cluster)
			continue;
		tails |= h->how == HOW_TAIL || h->how == HOW_NAME;
		mixed |= agreed && agreed != h->cluster;
		agreed = h->cluster;
	}
	if (mixed)
		agreed = NULL;
	if (agreed)
		agreed->refs++;
	if (n->agreed)
		n->agreed->refs--;
	n->agreed = agreed;
	n->mixed = mixed;
	n->tails = tails;
}

bool host_guessed(const struct host *h)
{
	return h && !h->cluster && h->network->agreed && h->network->tails;
}

/* Open connections to what was just learned about count where they belong from now on. heirs_of:
 * what those sent from there is counted already. */
static void move_slots(
	struct policy *p, const struct network *n, const struct cluster *heirs_of, ms_t mono)
{
	for (uint32_t i = 0; i < p->nslots; i++) {
		struct slot *s = &p->slots[i];
		struct cluster *to;

		if (!s->used || !s->host || s->host->network != n || !s->cluster)
			continue;
		to = host_place(s->host);
		if (to != s->cluster)
			slot_move(p, s, to, s->cluster != heirs_of, mono);
	}
}

void host_learn(
	struct policy *p, struct host *h, const char *name, enum how how, struct policy_now now)
{
	struct cluster *c, *before = host_place(h);
	bool heir;

	if (h->cluster && how < (enum how)h->how && now.wall - h->seen < FORGET)
		return;
	c = cluster_get(p, h->provider, name);
	if (!c)
		return;
	if (h->cluster == c) {
		h->dirty |= h->how != (uint8_t)how;
		h->how = (uint8_t)(how > (enum how)h->how ? how : h->how);
		return;
	}
	c->refs++;
	if (h->cluster)
		h->cluster->refs--;
	h->cluster = c;
	h->how = (uint8_t)how;
	h->learned = h->seen = now.wall;
	h->dirty = true;
	if (now.wall) { /* else it is being loaded */
		struct policy_event *e = event_add(p, POLICY_EVENT_CLUSTER_LEARNED, now);
		char addr[ADDR_TEXT_MAX];

		addr_format(addr, &h->key.addr);
		snprintf(e->provider, sizeof(e->provider), "%.31s",
			p->params->providers[h->provider].name);
		snprintf(e->cluster, sizeof(e->cluster), "%s", c->key.name);
		snprintf(e->text, sizeof(e->text), "%s belongs to %s, by %s", addr, c->key.name,
			how_name(h));
	}
	network_agree(p, h->network);
	/* all of the network under another name */
	heir = before == h->network->own && h->network->agreed == c;
	if (heir)
		cluster_inherit(p, before, c, now.mono);
	move_slots(p, h->network, heir ? before : NULL, now.mono);
}

struct name *name_get(
	struct policy *p, const char *host, const char *cluster, struct policy_now now)
{
	struct name *n, *oldest;
	char key[200];

	HASH_FIND_STR(p->names, host, n);
	if (n) {
		if (strcmp(n->cluster, cluster) || now.wall - n->seen > REFRESH) {
			if (strcmp(n->cluster, cluster))
				n->learned = now.wall;
			snprintf(n->cluster, sizeof(n->cluster), "%s", cluster);
			n->seen = now.wall;
			n->dirty = true;
			HASH_TO_END(struct name, p->names, n);
		}
		return n;
	}
	oldest = p->names;
	if (HASH_COUNT(p->names) >= NAMES_MAX) {
		save_key(key, sizeof(key), "name", oldest->host, "", "");
		forget_key(p, key);
		HASH_DEL(p->names, oldest);
		free(oldest);
	}
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	snprintf(n->host, sizeof(n->host), "%s", host);
	snprintf(n->cluster, sizeof(n->cluster), "%s", cluster);
	n->learned = n->seen = now.wall;
	n->dirty = true;
	HASH_ADD_STR(p->names, host, n);
	if (!n->hh.tbl) {
		free(n);
		return NULL;
	}
	return n;
}

/* Consumer mail at a tenants' provider has limits of its own. */
static void full_name(char out[CLUSTER_NAME], const char *cluster, bool consumer)
{
	snprintf(out, CLUSTER_NAME, "%.28s%s", cluster, consumer ? "/consumer" : "");
}

static bool consumer(const struct slot *s)
{
	const char *name = s->cluster ? s->cluster->key.name : "";
	size_t n = strlen(name);

	return n > 9 && !strcmp(name + n - 9, "/consumer");
}

void learn_banner(struct policy *p, struct slot *s, const struct smtp_client_info *info,
	struct policy_now now)
{
	bool is_consumer = info->ehlo.size_given && info->ehlo.size == CONSUMER_SIZE;
	char cluster[CLUSTER_NAME];
	struct host_name b;
	struct name *n;

	if (!s->host || !microsoft(p, s->provider))
		return;
	name_of_banner(&b, info->banner);
	snprintf(s->banner, sizeof(s->banner), "%s", b.host);
	if (b.cluster[0]) {
		full_name(cluster, b.cluster, is_consumer);
		host_learn(p, s->host, cluster, HOW_BANNER, now);
		return;
	}
	HASH_FIND_STR(p->names, b.host, n);
	if (n && b.host[0]) {
		full_name(cluster, n->cluster, is_consumer);
		host_learn(p, s->host, cluster, HOW_NAME, now);
		return;
	}
	s->host->network->settled = true;
	if (b.geography[0] && s->host->network->own->geography == 0)
		cluster_set_geography(p, s->host->network->own, b.geography);
}

/* The front end's name is that of the banner, or it is another machine's text. */
void learn_tail(
	struct policy *p, struct slot *s, const struct classification *c, struct policy_now now)
{
	char cluster[CLUSTER_NAME];
	struct host_name t;

	if (!s->host || s->provider == ~0u || !microsoft(p, s->provider) || !name_of_server(&t, c))
		return;
	name_get(p, t.host, t.cluster, now);
	if (s->banner[0] && strcmp(s->banner, t.host))
		return;
	full_name(cluster, t.cluster, consumer(s));
	host_learn(p, s->host, cluster, HOW_TAIL, now);
}

bool policy_wants_ptr(struct policy *p, struct policy_now now, uint32_t slot)
{
	struct slot *s = slot_get(p, slot);
	struct host *h = s->host;

	if (!h || h->cluster || s->provider == ~0u || !microsoft(p, s->provider) ||
		(h->ptr_at && now.mono - h->ptr_at < PTR_AGAIN))
		return false;
	h->ptr_at = now.mono ? now.mono : 1;
	return true;
}

void policy_ptr(struct policy *p, struct policy_now now, unsigned provider, const struct addr *host,
	struct slice name)
{
	struct host_name n;
	struct host *h;

	if (!microsoft(p, provider) || !name_of_ptr(&n, name))
		return;
	h = host_get(p, provider, host, now);
	if (h && !h->cluster)
		host_learn(p, h, n.cluster, HOW_PTR, now);
}

/* ---- ageing ---- */

void learned_sweep(struct policy *p, struct policy_now now)
{
	struct name *n, *next_name;
	struct host *h, *next;
	char key[200];

	HASH_ITER (hh, p->hosts, h, next) {
		if (now.wall - h->seen < FORGET)
			break; /* in the order of use */
		if (h->uses.in_use)
			continue;
		host_forget(p, h);
	}
	HASH_ITER (hh, p->names, n, next_name) {
		if (now.wall - n->seen < FORGET)
			break;
		save_key(key, sizeof(key), "name", n->host, "", "");
		forget_key(p, key);
		HASH_DEL(p->names, n);
		free(n);
	}
	networks_sweep(p, now.mono - QUIET);
}

void policy_host_cluster(const struct policy *p, const struct addr *host, char out[40])
{
	const struct cluster *c = NULL;

	for (unsigned i = 0; i < p->params->nproviders && !c; i++) {
		const struct host *h = host_find(p, i, host);

		c = h ? host_place(h) : NULL;
	}
	snprintf(out, 40, "%s", c ? c->key.name : "");
}
