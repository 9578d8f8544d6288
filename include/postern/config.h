/* The configuration file, checked and bound to each room's parameters. The option
 * tables in conf/ are the only place that knows names, bounds, defaults and help. */
#pragma once

#include "postern/buf.h"
#include "postern/dispatch.h"
#include "postern/dkim.h"
#include "postern/log.h"
#include "postern/policy.h"
#include "postern/queue.h"
#include "postern/worker.h"

struct config_http {
	struct addr addr;
	uint16_t port;
	bool enabled;
};

/* Pools by sender domain: pattern -> pool, first match wins. */
struct config_sender_pool {
	char *pattern, *pool;
};

/* A warm-up plan as written; policy.warmups has what it means. */
struct config_warmup {
	char *name;
	char *provider;
	char **sources;
	unsigned nsources;
	char *start;	 /* "2026-11-01" */
	char *ladder;	 /* NULL: daily, or first with growth and ceiling */
	uint32_t *daily; /* messages on day 1, 2, … */
	unsigned ndaily;
	uint32_t first; /* 0: not given */
	double growth;
	uint32_t ceiling;
	enum warmup_pace pace;
	char *hours; /* "08-18"; PACE_HOURS */
	double advance_at, hold_at, step_back_at, pause_at;
	ms_t idle_reset;
	char *overflow; /* "pool" "wait" "pool:NAME" */
};

/* A key that signs mail of From domains. */
enum config_forms { /* of header and body */
	FORMS_RELAXED_RELAXED,
	FORMS_RELAXED_SIMPLE,
	FORMS_SIMPLE_RELAXED,
	FORMS_SIMPLE_SIMPLE
};
struct config_dkim {
	char *domain; /* lower case from the check on */
	char *selector, *key;
	char *sign_as; /* NULL: domain */
	char **from;   /* patterns of From domains; none: domain and below */
	unsigned nfrom;
	enum config_forms canonicalization;
};

struct config {
	char *path;
	char *hostname;		      /* default: gethostname; a FQDN */
	char *postmaster;	      /* From of DSNs; NULL: MAILER-DAEMON@hostname */
	char *user, *group;	      /* privileges dropped to after binding; NULL: stay */
	char *pid_file;		      /* NULL: none */
	char *timezone;		      /* in which a day of a warm-up begins */
	unsigned workers;	      /* 0: one per core */
	uint32_t outbound_max;	      /* connections of the process, all providers */
	uint64_t outbound_memory_max; /* bytes of content on its way to receivers */
	uint64_t body_memory_max, envelope_memory_max; /* bytes of content in memory */
	struct queue_params queue;
	struct dispatch_params dispatch; /* with .dns */
	struct log_params log;
	char **block_lists; /* zones of lists that doctor asks about sources */
	unsigned nblock_lists;
	char **log_headers; /* names of fields whose text the log has */
	unsigned nlog_headers;
	char *control_socket;  /* NULL: none */
	uint32_t control_mode; /* of the socket */
	struct config_http http;
	char *http_token_file; /* NULL: none */
	char *rules_file; /* asked before the built-in rules (conf/replies.rules); NULL: none */
	/* .smtp is filled in, functions too; names and pools point into this config, and so does
	 * .smtp.arg */
	struct listener_params *listeners;
	unsigned nlisteners;
	struct policy_params policy; /* sources, pools, providers, retry, warmups, zone */
	struct config_sender_pool *sender_pools;
	unsigned nsender_pools;
	struct config_warmup *warmups;
	unsigned nwarmups;
	struct config_dkim *dkims;
	unsigned ndkims;
};

/* 0, or -EINVAL with one "file:line: what, and what to do" per error in errors (as many as can be
 * found), or -errno when the file cannot be read (said in errors as well). Warnings ("warning: "
 * after the position) are appended on success too. Positions name the included file, if it is that. */
int config_load(struct config **ret, const char *path, struct buf *errors);
/* The same from memory, which includes no files; path is only for the messages. */
int config_parse(struct config **ret, const char *path, struct slice text, struct buf *errors);
struct config *config_free(struct config *c);
/* section { name = "value" } of a file that may be wrong elsewhere, as text. 0; 1: it has none, or it
 * does not fit into max; -errno of reading. */
int config_setting(const char *path, const char *section, const char *name, char *out, size_t max);
/* Every option with type, default, bounds and help: as text for people, or (roff) as sections of
 * the manual page. */
int config_describe(struct buf *out, bool roff);
/* The effective values, all defaults filled in, in the file's own syntax: it parses again to the
 * same. only_changed: without those at their default. */
int config_dump(struct buf *out, const struct config *c, bool only_changed);
/* Does a reload take over all that differs? If not, the options that need a restart are appended to
 * names, "workers, queue.path". now: that of the start, whose values those options have until the
 * end. */
bool config_reloadable(const struct config *now, const struct config *next, struct buf *names);
/* What is in force after a reload: options that need a restart are those of the start. */
int config_dump_running(struct buf *out, const struct config *start, const struct config *now);
struct classifier;
/* The reply rules: rules_file's, then those built in, unless the file says "builtin off". On errors
 * lines "file:line: what" are appended. 0, -EINVAL, -ENOMEM, -errno of reading. */
int config_classifier(const struct config *c, struct classifier **ret, struct buf *errors);
/* The key of a dkim section, from its file. 0, or -EINVAL, -ENOMEM, -errno of reading with the reason
 * in why. */
int config_dkim_key(const struct config_dkim *d, struct dkim_key **ret, char *why, size_t why_max);
/* The signers of all dkim sections; NULL where there is none. to_ascii as in dkim_set_new. On errors
 * a line is appended. 0, -EINVAL, -ENOMEM, -errno of reading. */
int config_dkim(const struct config *c, dkim_to_ascii_fn to_ascii, struct dkim_set **ret,
	struct buf *errors);
