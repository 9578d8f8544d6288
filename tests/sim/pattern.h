/* Generated names and address sets: "t{0..99999}.example", "*.example", "127.1.1.1-16". */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A domain pattern: literal text around at most one range "{lo..hi}" or one "*". */
struct pattern {
	enum { PATTERN_EXACT, PATTERN_RANGE, PATTERN_STAR } kind;
	char *prefix, *suffix;	 /* as in the domain */
	char *dprefix, *dsuffix; /* the same with dots as dashes, as in an MX name */
	uint32_t lo, hi;
	int width; /* of numbers with leading zeros; 0: none */
};
int pattern_parse(struct pattern *ret, const char *s, const char **why); /* 0, -1 with *why set */
void pattern_deinit(struct pattern *p);
/* Does the name, n bytes in lower case, belong to it? dashed: in its MX form. *index: which one. */
bool pattern_match(
	const struct pattern *p, const char *name, size_t n, bool dashed, uint32_t *index);
/* The domain for an index of a range, or what stood for "*". */
#define NAME_MAX_TEXT 256
void pattern_domain(const struct pattern *p, uint32_t index, const char *star, size_t star_n,
	char out[NAME_MAX_TEXT]);

/* Adds the addresses of "127.1.1.7" or "127.1.1.1-16", "{n}" standing for number. 0, -1. */
int addresses_expand(uint32_t **v, size_t *n, const char *s, uint32_t number);
/* Replaces "{n}" by number and "{i..j}" by number written with the width of i. Caller frees. */
char *number_expand(const char *s, uint32_t number);
/* "{1..40}" in s? Fills lo and hi. */
bool range_find(const char *s, uint32_t *lo, uint32_t *hi, int *width, const char **begin,
	const char **end);
