/* Rules, limits and DNS incidents, from their sections. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "postern/text.h"
#include "scenario_loader.h"

bool scenario_reply_valid(const char *s)
{
	return s[0] >= '2' && s[0] <= '5' && isdigit((unsigned char)s[1]) &&
	       isdigit((unsigned char)s[2]);
}

void scenario_strings(struct strings *l, cfg_t *sec, const char *key)
{
	for (unsigned i = 0; i < cfg_size(sec, key); i++)
		strings_add(l, cfg_getnstr(sec, key, i));
}

static void load_filter(struct filter *f, cfg_t *sec)
{
	f->nsources = cfg_size(sec, "source");
	f->sources = xcalloc(f->nsources, sizeof(*f->sources));
	for (size_t i = 0; i < f->nsources; i++)
		net_parse(&f->sources[i], slice_of(cfg_getnstr(sec, "source", (unsigned)i)));
	scenario_strings(&f->clusters, sec, "cluster");
	scenario_strings(&f->tenants, sec, "tenant");
	scenario_strings(&f->recipients, sec, "recipient");
	scenario_strings(&f->senders, sec, "sender");
}

/* What a filter names must be known in its phase, or it would silently never match. */
static void check_filter(
	struct loader *ld, cfg_t *sec, const struct filter *f, enum phase ph, const char *what)
{
	for (size_t i = 0; i < f->clusters.n; i++) {
		bool found = false;

		for (size_t j = 0; j < ld->s->nclusters; j++)
			found |= glob_match(
				slice_of(f->clusters.v[i]), slice_of(ld->s->clusters[j]->name));
		if (!found)
			fail(ld, sec, "%s \"%s\": no cluster \"%s\"", what, cfg_title(sec),
				f->clusters.v[i]);
	}
	if ((f->tenants.n || f->recipients.n) && ph != PH_RCPT && ph != PH_DATA && ph != PH_EOD)
		fail(ld, sec, "%s \"%s\": tenant and recipient are not known yet in phase %s", what,
			cfg_title(sec), phase_names[ph]);
	if (f->senders.n && ph < PH_MAIL)
		fail(ld, sec, "%s \"%s\": the sender is not known yet in phase %s", what,
			cfg_title(sec), phase_names[ph]);
}

static void check_rule(struct loader *ld, cfg_t *sec, const struct rule *r)
{
	bool replies = r->action == ACT_REPLY || r->action == ACT_CLOSE;

	if (replies && !r->reply)
		fail(ld, sec, "rule \"%s\" has no reply", r->name);
	if (replies && r->reply && !scenario_reply_valid(r->reply))
		fail(ld, sec, "rule \"%s\": a reply begins with a three-digit code", r->name);
	if (r->action == ACT_RAW && !r->reply)
		fail(ld, sec, "rule \"%s\": action raw needs a reply", r->name);
	if ((r->action == ACT_ACCEPT_DROP || r->action == ACT_ACCEPT_STALL) && r->phase != PH_EOD)
		fail(ld, sec, "rule \"%s\": action %s belongs to phase eod", r->name,
			action_words[r->action]);
	if (r->phase == PH_TLS && r->action != ACT_GARBAGE && r->action != ACT_STALL &&
		r->action != ACT_DROP && r->action != ACT_RESET)
		fail(ld, sec, "rule \"%s\": phase tls knows garbage, stall, drop and reset only",
			r->name);
	if (r->until_us <= r->from_us)
		fail(ld, sec, "rule \"%s\" ends before it begins", r->name);
	check_filter(ld, sec, &r->filter, r->phase, "rule");
}

struct rule *scenario_load_rule(struct loader *ld, cfg_t *sec)
{
	struct rule *r = xcalloc(1, sizeof(*r));
	const char *phase = cfg_getstr(sec, "phase");

	r->name = xstrdup(cfg_title(sec));
	load_filter(&r->filter, sec);
	if (!phase)
		fail(ld, sec, "rule \"%s\" has no phase", r->name);
	r->phase = phase ? (enum phase)word_index(phase_names, PH_N, phase) : PH_MAIL;
	r->action = (enum action)word_index(action_words, ACT_N, cfg_getstr(sec, "action"));
	r->reply = cfg_getstr(sec, "reply") ? xstrdup(cfg_getstr(sec, "reply")) : NULL;
	r->from_us = duration_us(cfg_getstr(sec, "from"));
	r->until_us = cfg_getstr(sec, "until") ? duration_us(cfg_getstr(sec, "until")) : UINT64_MAX;
	if (cfg_getstr(sec, "delay"))
		r->delay_us = duration_us(cfg_getstr(sec, "delay"));
	else if (r->action == ACT_SLOW)
		r->delay_us = 100000;
	else if (r->action == ACT_DELAY)
		r->delay_us = 1000000;
	r->share = cfg_getfloat(sec, "share");
	r->every = cfg_getint(sec, "every") > 0 ? (uint64_t)cfg_getint(sec, "every") : 1;
	r->limit = (uint64_t)cfg_getint(sec, "limit");
	r->after = (uint64_t)cfg_getint(sec, "after");
	r->enabled = cfg_getbool(sec, "enabled");
	check_rule(ld, sec, r);
	return r;
}

static void load_limit_rate(struct limit *l, const char *rate)
{
	struct rate r = { 0 };

	rate_parse(&r, slice_of(rate));
	l->max = r.count;
	l->window_us = (uint64_t)r.per * 1000;
}

void scenario_load_limit(struct loader *ld, cfg_t *sec)
{
	struct scenario *s = ld->s;
	struct limit l = { .grow = cfg_getfloat(sec, "grow"),
		.grow_at = cfg_getfloat(sec, "grow_at") };
	const char *phase = cfg_getstr(sec, "phase"), *reply = cfg_getstr(sec, "reply");
	const char *connects = cfg_getstr(sec, "connects"), *messages = cfg_getstr(sec, "messages");
	const char *recipients = cfg_getstr(sec, "recipients");
	bool connections = cfg_getint(sec, "connections") > 0;

	if (connections + !!connects + !!messages + !!recipients != 1)
		fail(ld, sec,
			"limit \"%s\" needs one of connections, connects, messages, recipients",
			cfg_title(sec));
	l.name = xstrdup(cfg_title(sec));
	load_filter(&l.filter, sec);
	l.per = (enum per)word_index(per_words, PER_N, cfg_getstr(sec, "per"));
	l.ceiling = (uint64_t)cfg_getint(sec, "ceiling");
	if (connections) {
		l.kind = LIMIT_CONNECTIONS;
		l.max = (uint64_t)cfg_getint(sec, "connections");
	} else if (connects) {
		l.kind = LIMIT_CONNECTS;
		load_limit_rate(&l, connects);
	} else if (messages) {
		l.kind = LIMIT_MESSAGES;
		l.phase = PH_MAIL;
		load_limit_rate(&l, messages);
	} else if (recipients) {
		l.kind = LIMIT_RECIPIENTS;
		l.phase = PH_RCPT;
		load_limit_rate(&l, recipients);
	}
	if (phase)
		l.phase = (enum phase)word_index(phase_names, PH_N, phase);
	else if (l.kind == LIMIT_MESSAGES &&
		 (l.per == PER_TENANT || l.filter.tenants.n || l.filter.recipients.n))
		l.phase = PH_DATA;
	if (l.per == PER_TENANT && l.phase != PH_RCPT && l.phase != PH_DATA && l.phase != PH_EOD)
		fail(ld, sec, "limit \"%s\": the tenant is not known yet in phase %s", l.name,
			phase_names[l.phase]);
	check_filter(ld, sec, &l.filter, l.phase, "limit");
	l.reply = xstrdup(reply ? reply
				: "451 4.7.650 The mail server [{ip}] has been temporarily rate "
				  "limited due to IP "
				  "reputation. For e-mail delivery information, see "
				  "https://aka.ms/postmaster (S775) "
				  "{tail}");
	if (!scenario_reply_valid(l.reply))
		fail(ld, sec, "limit \"%s\": a reply begins with a three-digit code", l.name);
	s->limits = xrealloc(s->limits, (s->nlimits + 1) * sizeof(*s->limits));
	s->limits[s->nlimits++] = l;
}

void scenario_load_dns(struct loader *ld, cfg_t *sec)
{
	struct scenario *s = ld->s;
	struct dns_rule d = { .share = cfg_getfloat(sec, "share"), .until_us = UINT64_MAX };
	const char *action = cfg_getstr(sec, "action");

	d.name = xstrdup(cfg_title(sec));
	scenario_strings(&d.names, sec, "name");
	scenario_strings(&d.types, sec, "type");
	d.slow = strcmp(action, "slow") == 0;
	d.action = d.slow ? DNS_OK : (enum dns_mode)word_index(dns_mode_names, DNS_MODE_N, action);
	d.from_us = duration_us(cfg_getstr(sec, "from"));
	if (cfg_getstr(sec, "until"))
		d.until_us = duration_us(cfg_getstr(sec, "until"));
	d.delay_us = cfg_getstr(sec, "delay") ? duration_us(cfg_getstr(sec, "delay"))
		     : d.slow		      ? 2000000
					      : 0;
	d.every = cfg_getint(sec, "every") > 0 ? (uint64_t)cfg_getint(sec, "every") : 1;
	d.limit = (uint64_t)cfg_getint(sec, "limit");
	s->dns = xrealloc(s->dns, (s->ndns + 1) * sizeof(*s->dns));
	s->dns[s->ndns++] = d;
}

int scenario_add_rules(struct scenario *s, const char *text, bool first, struct buf *errors)
{
	struct loader ld = { .name = "rule", .errors = errors, .s = s, .cfg = scenario_conf_new() };
	struct rule *head = NULL, **tail = &head;

	if (scenario_conf_parse(ld.cfg, ld.name, text, errors) == 0) {
		for (unsigned i = 0; i < cfg_size(ld.cfg, "rule"); i++) {
			*tail = scenario_load_rule(&ld, cfg_getnsec(ld.cfg, "rule", i));
			tail = &(*tail)->next;
		}
		if (!head)
			fail(&ld, NULL, "no rule in it");
	}
	cfg_free(ld.cfg);
	for (struct rule *r = head, *next; r; r = next) {
		struct rule **at = &s->rules;

		next = r->next;
		if (buf_size(errors)) { /* all or none */
			r->next = s->graveyard;
			s->graveyard = r;
			continue;
		}
		scenario_remove_rule(s, r->name);
		while (!first && *at)
			at = &(*at)->next;
		r->next = *at;
		*at = r;
	}
	return buf_size(errors) ? -1 : 0;
}
