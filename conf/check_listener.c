/* Listeners: who may relay, over what, and that no two want the same port. Called by check.c, on
 * the thread that loads the configuration; pool_known and pool_for_sender are asked by sessions
 * while they run. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "class.h"
#include "source.h"

static unsigned line(const struct source *s, unsigned i, const char *option)
{
	return scan_line(scan_find(&s->scan, &sections[SECTION_LISTENER], i), option);
}

/* So much of the Internet that it is no network of one's own: more than a /8, or more than what a
 * registry gives to anyone. */
bool net_is_world(const struct net *n)
{
	return n->bits < (n->addr.family == ADDR_V4 ? 8 : 16);
}

static void check_relay(struct source *s, unsigned i, const struct listener_params *p)
{
	const struct scan_section *lines = scan_find(&s->scan, &sections[SECTION_LISTENER], i);
	bool world_allowed = source_flag(lines, "allow_world");
	char text[ADDR_TEXT_MAX + 4];

	for (unsigned k = 0; k < p->nallow; k++) {
		if (world_allowed || !net_is_world(&p->allow[k]))
			continue;
		net_format(text, &p->allow[k]);
		diag_error(s->diag, scan_value_line(lines, "allow", k),
			"listener \"%s\": allow: %s would make this an open relay, which spammers "
			"find within "
			"hours: name your own networks, or use users_file; if a firewall guards "
			"this port, write "
			"allow_world = true as well",
			p->name, text);
	}
	/* a value that was refused leaves an empty list behind, which is told already */
	if (p->nallow == 0 && !p->users_file && !p->client_ca &&
		scan_values(scan_find(&s->scan, &sections[SECTION_LISTENER], i), "allow") == 0 &&
		!scan_given(lines, "users_file") && !scan_given(lines, "client_ca"))
		diag_error(s->diag, line(s, i, ""),
			"listener \"%s\": nobody may relay here: write allow = {\"10.0.0.0/8\"} "
			"with your clients' "
			"networks, or users_file = \"...\"",
			p->name);
	if (p->smtp.require_auth && !scan_given(lines, "users_file") &&
		!scan_given(lines, "client_ca"))
		diag_error(s->diag, line(s, i, "require_auth"),
			"listener \"%s\": require_auth: without users_file nobody can authenticate",
			p->name);
}

/* Who may relay by a certificate is said in full, or not at all. */
static void check_client_names(struct source *s, unsigned i, const struct listener_params *p)
{
	const struct scan_section *lines = scan_find(&s->scan, &sections[SECTION_LISTENER], i);

	if (scan_given(lines, "client_ca") && scan_values(lines, "client_names") == 0)
		diag_error(s->diag, line(s, i, "client_ca"),
			"listener \"%s\": client_ca: name the clients that may relay in "
			"client_names; \"*\" is every certificate that these authorities have signed",
			p->name);
	if (p->nclient_names > 0 && !scan_given(lines, "client_ca"))
		diag_error(s->diag, line(s, i, "client_names"),
			"listener \"%s\": client_names: means nothing without client_ca", p->name);
}

static void check_tls(struct source *s, unsigned i, const struct listener_params *p)
{
	const char *needs = p->implicit_tls	  ? "implicit_tls"
			    : p->smtp.require_tls ? "require_tls"
			    : p->client_ca	  ? "client_ca"
			    : p->ncertificates	  ? "certificates"
						  : NULL;
	bool loopback_only = true;

	if (!p->certificate != !p->key)
		diag_error(s->diag, line(s, i, p->certificate ? "certificate" : "key"),
			"listener \"%s\": certificate and key belong together: give both", p->name);
	if (needs && !p->certificate &&
		scan_values(scan_find(&s->scan, &sections[SECTION_LISTENER], i), "certificate") ==
			0)
		diag_error(s->diag, line(s, i, needs),
			"listener \"%s\": %s: certificate and key are needed for it", p->name,
			needs);
	if (p->min_tls && strcmp(p->min_tls, "1.2") != 0 && strcmp(p->min_tls, "1.3") != 0)
		diag_error(s->diag, line(s, i, "min_tls"),
			"listener \"%s\": min_tls: \"%.20s\" is none of \"1.2\", \"1.3\"", p->name,
			p->min_tls);
	for (unsigned k = 0; k < p->naddresses; k++)
		loopback_only &= addr_is_loopback(&p->addresses[k].addr);
	if (p->users_file && !p->certificate && !loopback_only && !p->smtp.offer_auth_plain_text)
		diag_warning(s->diag, line(s, i, "users_file"),
			"listener \"%s\": users_file: AUTH is offered over TLS only (and to this "
			"machine): give "
			"certificate and key",
			p->name);
	if (p->smtp.offer_auth_plain_text && !p->users_file)
		diag_warning(s->diag, line(s, i, "offer_auth_plain_text"),
			"listener \"%s\": offer_auth_plain_text: means nothing without users_file",
			p->name);
}

static void check_proxy(struct source *s, unsigned i, const struct listener_params *p)
{
	if (p->proxy && p->nproxy_from == 0 &&
		scan_values(scan_find(&s->scan, &sections[SECTION_LISTENER], i), "proxy_from") == 0)
		diag_error(s->diag, line(s, i, "proxy"),
			"listener \"%s\": proxy: name the proxies in proxy_from, as anybody could "
			"claim any "
			"address otherwise",
			p->name);
	if (!p->proxy && p->nproxy_from > 0)
		diag_error(s->diag, line(s, i, "proxy_from"),
			"listener \"%s\": proxy_from: means nothing without proxy = true", p->name);
}

/* With a family that no address of the listener serves, an entry of allow never fits. */
static void check_families(struct source *s, unsigned i, const struct listener_params *p)
{
	const struct scan_section *lines = scan_find(&s->scan, &sections[SECTION_LISTENER], i);
	bool served[2] = { false, false };

	for (unsigned k = 0; k < p->naddresses; k++)
		served[p->addresses[k].addr.family == ADDR_V6] = true;
	for (unsigned k = 0; k < p->nallow && p->naddresses > 0 && !p->proxy; k++) {
		bool v6 = p->allow[k].addr.family == ADDR_V6;

		if (!served[v6])
			diag_warning(s->diag, scan_value_line(lines, "allow", k),
				"listener \"%s\": allow: an IPv%d network, but no address of this "
				"listener is IPv%d",
				p->name, v6 ? 6 : 4, v6 ? 6 : 4);
	}
}

/* Keys and password hashes: whoever may read them is the relay, whoever may write them is any user.
 */
static void check_secret(struct source *s, unsigned i, const struct listener_params *p,
	const char *option, const char *path)
{
	struct stat st;

	if (!path || stat(path, &st))
		return;
	if (st.st_mode & S_IWOTH)
		diag_error(s->diag, line(s, i, option),
			"listener \"%s\": %s: everybody may change %s (mode %04o): chmod 0640 it, "
			"with the relay's group",
			p->name, option, path, (unsigned)st.st_mode & 07777u);
	else if (st.st_mode & S_IROTH)
		diag_warning(s->diag, line(s, i, option),
			"listener \"%s\": %s: everybody may read %s (mode %04o): chmod 0640 it, "
			"with the relay's group",
			p->name, option, path, (unsigned)st.st_mode & 07777u);
}

static void check_certificates(struct source *s, unsigned i, const struct listener_params *p)
{
	const struct scan_section *lines = scan_find(&s->scan, &sections[SECTION_LISTENER], i);

	for (unsigned k = 0; k < p->ncertificates; k++) {
		if (access(p->certificates[k], R_OK))
			diag_error(s->diag, scan_value_line(lines, "certificates", k),
				"listener \"%s\": certificates: \"%s\" cannot be read: %s", p->name,
				p->certificates[k], strerror(errno));
		check_secret(s, i, p, "certificates", p->certificates[k]);
	}
}

static void check_users(struct source *s, unsigned i, const struct listener_params *p)
{
	struct users *users = NULL;
	char error[256] = "";

	if (!p->users_file)
		return;
	if (users_load(&users, p->users_file, error, sizeof(error)))
		diag_error(s->diag, line(s, i, "users_file"), "listener \"%s\": users_file: %s",
			p->name, error);
	users_unref(users);
}

static int check_pool(struct source *s, unsigned i, struct listener_params *p)
{
	const struct policy_params *policy = &s->config->policy;

	if (p->smtp.pool) {
		if (!config_has_pool(s->config, p->smtp.pool))
			diag_error(s->diag, line(s, i, "pool"),
				"listener \"%s\": pool: there is no pool \"%s\": write pool \"%s\" "
				"{ sources = ... }",
				p->name, p->smtp.pool, p->smtp.pool);
	} else if (policy->npools == 1) {
		p->smtp.pool = strdup(policy->pools[0].name);
		if (!p->smtp.pool)
			return -ENOMEM;
	} else if (policy->npools > 1) {
		diag_error(s->diag, line(s, i, ""),
			"listener \"%s\": pool: there are several pools: name one of them",
			p->name);
	}
	return 0;
}

static bool is_any(const struct addr *a)
{
	static const uint8_t zero[16];

	return memcmp(a->ip, zero, sizeof(zero)) == 0;
}

static bool overlap(const struct endpoint *a, const struct endpoint *b)
{
	if (a->port == 0 || a->port != b->port || a->addr.family != b->addr.family)
		return false;
	return addr_eq(&a->addr, &b->addr) || is_any(&a->addr) || is_any(&b->addr);
}

/* Address k of listener i against all before it, and against http. */
static void check_endpoint(struct source *s, unsigned i, unsigned k)
{
	const struct config *c = s->config;
	const struct listener_params *p = &c->listeners[i];
	const struct scan_section *lines = scan_find(&s->scan, &sections[SECTION_LISTENER], i);
	const struct endpoint *e = (const struct endpoint *)p->addresses + k;
	struct endpoint http = { c->http.addr, c->http.port };
	char where[DIAG_WHERE_MAX];

	for (unsigned j = 0; j <= i; j++) {
		const struct listener_params *q = &c->listeners[j];

		for (unsigned n = 0; n < (j == i ? k : q->naddresses); n++) {
			if (!overlap(e, (const struct endpoint *)q->addresses + n))
				continue;
			diag_error(s->diag, scan_value_line(lines, "address", k),
				"listener \"%s\": address: listener \"%s\" in %s takes the "
				"same address and "
				"port",
				p->name, q->name,
				diag_where(s->diag,
					scan_value_line(
						scan_find(&s->scan, &sections[SECTION_LISTENER], j),
						"address", n),
					scan_value_line(lines, "address", k), where));
			return;
		}
	}
	if (c->http.enabled && overlap(e, &http))
		diag_error(s->diag, scan_value_line(lines, "address", k),
			"listener \"%s\": address: http takes the same address and port", p->name);
}

/* ---- what listeners ask of the configuration while they run ---- */

static bool pool_known(void *arg, const char *name)
{
	return config_has_pool(arg, name);
}

static const char *pool_for_sender(void *arg, struct slice domain)
{
	const struct config *c = arg;

	for (unsigned i = 0; i < c->nsender_pools; i++) {
		if (glob_match(slice_of(c->sender_pools[i].pattern), domain))
			return c->sender_pools[i].pool;
	}
	return NULL;
}

int source_check_listeners(struct source *s)
{
	struct config *c = s->config;
	int r = 0;

	if (c->nlisteners == 0)
		diag_error(s->diag, 1,
			"there is no listener: no mail can come in. Write listener \"internal\" { "
			"address = "
			"{\"127.0.0.1:2525\"} allow = {\"127.0.0.0/8\"} }");
	for (unsigned i = 0; i < c->nlisteners && !r; i++) {
		struct listener_params *p = &c->listeners[i];
		const struct scan_section *lines =
			scan_find(&s->scan, &sections[SECTION_LISTENER], i);

		if (scan_given(lines, "address") &&
			scan_values(scan_find(&s->scan, &sections[SECTION_LISTENER], i),
				"address") == 0)
			diag_error(s->diag, line(s, i, "address"),
				"listener \"%s\": address: at least one is needed", p->name);
		for (unsigned k = 0; k < p->naddresses; k++)
			check_endpoint(s, i, k);
		check_relay(s, i, p);
		check_tls(s, i, p);
		check_proxy(s, i, p);
		check_families(s, i, p);
		check_users(s, i, p);
		check_client_names(s, i, p);
		check_certificates(s, i, p);
		check_secret(s, i, p, "key", p->key);
		check_secret(s, i, p, "users_file", p->users_file);
		r = check_pool(s, i, p);
		p->smtp.hostname = c->hostname;
		p->smtp.listener = p->name;
		p->smtp.postmaster = c->postmaster;
		p->smtp.keep_headers = (const char *const *)c->log_headers;
		p->smtp.nkeep_headers = c->nlog_headers;
		p->smtp.expire = c->policy.retry.expire;
		p->smtp.pool_known = pool_known;
		p->smtp.pool_for_sender = pool_for_sender;
		p->smtp.class_of = config_class_of;
		p->smtp.arg = c;
	}
	return r;
}
