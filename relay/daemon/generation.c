/* One reading of the configuration and the files it names. Made by the main thread at the start and
 * by whoever reloads; freed by whoever lets go of it last, which may be a worker. */
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "postern/must.h"
#include "service_private.h"

static int load_credentials(
	struct credentials *k, const struct listener_params *p, struct buf *errors)
{
	struct tls_server_params tp = { .certificate = p->certificate,
		.key = p->key,
		.min_version = p->min_tls,
		.certificates = p->certificates,
		.ncertificates = p->ncertificates,
		.client_ca = p->client_ca };
	char error[512] = "";
	int r = 0;

	if (p->certificate)
		r = tls_server_new(&k->tls, &tp, error, sizeof(error));
	if (!r && p->users_file)
		r = users_load(&k->users, p->users_file, error, sizeof(error));
	if (r)
		buf_printf(errors, "listener \"%s\": %s\n", p->name, error);
	return r ? EX_CONFIG : EX_OK;
}

static int load(struct generation *g, struct buf *errors)
{
	const struct config *c = g->config;
	int r;

	g->credentials = calloc(c->nlisteners + 1, sizeof(*g->credentials));
	if (!g->credentials)
		return EX_OSERR;
	/* The state machines are pure: what they need of the library is handed to them. */
	for (unsigned i = 0; i < c->nlisteners; i++)
		c->listeners[i].smtp.domain_to_ascii = domain_to_ascii;
	r = config_classifier(c, &g->rules, errors) ? EX_CONFIG : EX_OK;
	if (r == EX_OK && config_dkim(c, domain_to_ascii, &g->dkim, errors))
		r = EX_CONFIG;
	for (unsigned i = 0; i < c->nlisteners; i++)
		c->listeners[i].dkim = g->dkim;
	for (unsigned i = 0; i < c->nlisteners && r == EX_OK; i++)
		r = load_credentials(&g->credentials[i], &c->listeners[i], errors);
	return r;
}

int generation_new(struct generation **ret, struct config *c, struct buf *errors)
{
	struct generation *g = calloc(1, sizeof(*g));
	int r;

	if (!g) {
		config_free(c);
		return EX_OSERR;
	}
	atomic_init(&g->refs, 1);
	g->config = c;
	r = load(g, errors);
	if (r == EX_OK)
		*ret = g;
	else
		generation_unref(g);
	return r;
}

struct generation *generation_ref(struct generation *g)
{
	must(atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed) > 0);
	return g;
}

struct generation *generation_unref(struct generation *g)
{
	if (!g || atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	for (unsigned i = 0; g->credentials && i < g->config->nlisteners; i++) {
		tls_context_unref(g->credentials[i].tls);
		users_unref(g->credentials[i].users);
	}
	free(g->credentials);
	dkim_set_unref(g->dkim);
	classifier_free(g->rules);
	config_free(g->config);
	free(g);
	return NULL;
}
