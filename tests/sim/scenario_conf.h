/* The option tables of scenario files, and what is checked while the file is read. */
#pragma once

#include <confuse.h>
#include <stdarg.h>

#include "scenario.h"

cfg_t *scenario_conf_new(void);
/* Reads text into cfg. Errors go to errors as "name:line: message". 0, -1. */
int scenario_conf_parse(cfg_t *cfg, const char *name, const char *text, struct buf *errors);
/* An error about a section, found later. */
void scenario_conf_error(struct buf *errors, const char *name, const cfg_t *sec, const char *fmt,
	...) __attribute__((format(printf, 4, 5)));

/* "NAME TYPE DATA". 0, -1; ret->name and ret->data are the caller's. */
int record_parse(struct record *ret, const char *text);
int word_index(const char *const *words, size_t n, const char *s); /* -1: not among them */
extern const char *const form_words[3],
	*const kind_words[2], *const tls_words[4],
				      *const cert_words[4],
					      *const listen_words[3],
						      *const action_words[ACT_N],
							      *const per_words[PER_N],
								      *const dns_action_words[];
#define DNS_ACTIONS 10
uint64_t duration_us(const char *s); /* checked before */
