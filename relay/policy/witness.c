/* Receivers that say the same of one of ours. One may lie, or speak of itself alone; what several
 * say that have nothing in common is believed. Called by block.c, ban.c and sender.c. */
#include <stddef.h>

#include "postern/hash.h"
#include "postern/text.h"
#include "witness.h"

static uint32_t hash_of(const char *p, size_t n)
{
	return hash32_bytes(HASH32_START, p, n) | 1;
}

/* Names below these belong to different people. */
static bool registry(struct slice label)
{
	static const char *const names[] = { "com", "net", "org", "gov", "edu", "mil", "ac", "co",
		"or", "ne", "go", "ltd", "plc", "gob", "gouv", "gv", "nom", "sch" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (label.n == strlen(names[i]) && !memcmp(label.p, names[i], label.n))
			return true;
	return false;
}

static const char *label_before(const char *start, const char *end)
{
	while (end > start && end[-1] != '.')
		end--;
	return end;
}

/* Who answers for a domain, as far as its name tells: EXAMPLE.com of a.b.EXAMPLE.com. No list of
 * public suffixes is carried; the few kinds known here are enough to keep one owner from counting
 * as many. */
uint32_t organisation(const char *domain)
{
	static const char tenants[] = ".onmicrosoft.com";
	const size_t n = strlen(domain), m = sizeof(tenants) - 1;
	const char *end = domain + n, *top, *second, *own;

	if (domain[0] == '[' || !n)
		return hash_of(domain, n);
	if (n > m && !strcmp(end - m, tenants)) {
		own = label_before(domain, end - m);
		return hash_of(own, (size_t)(end - own));
	}
	top = label_before(domain, end);
	second = top > domain ? label_before(domain, top - 1) : top;
	own = second;
	if (end - top == 2 && top > domain && second > domain &&
		registry((struct slice){ second, (size_t)(top - 1 - second) }))
		own = label_before(domain, second - 1);
	return hash_of(own, (size_t)(end - own));
}

unsigned witness_add(struct witnesses *w, uint32_t org, uint32_t net)
{
	for (unsigned i = 0; i < w->n; i++)
		if (w->org[i] == org || (net && w->net[i] == net))
			return w->n;
	if (w->n < WITNESSES) {
		w->org[w->n] = org;
		w->net[w->n++] = net;
	}
	return w->n;
}
