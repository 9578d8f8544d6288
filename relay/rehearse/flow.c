/* What waits, by flow: letters put in and taken out. Called by everything that gives mail back or takes
 * some; what becomes of a flow that waits: wait.c. */
#include "state.h"

void mail_push(struct rehearsal *r, struct flow *f, struct letter *g, bool front)
{
	g->flow = (uint32_t)(f - r->flows);
	if (!front && f->match.nready && g->arrived < letter_of(f->match.ready.prev)->arrived)
		is_astray(f, g);
	match_push(&r->match, &f->match, &g->match, front);
}

bool mail_take(struct rehearsal *r, struct flow *f, uint32_t n, struct list *ret)
{
	while (n && f->match.nready) {
		struct letter *g = letter_of(f->match.ready.next), *rest = NULL;
		uint32_t count = g->match.count < n ? g->match.count : n;

		if (g->match.count > n) {
			rest = letter_rest(r, g, n);
			if (!rest)
				return false;
			mail_push(r, f, rest, true);
		}
		match_remove(&r->match, &f->match, &g->match);
		g->match.count = count;
		n -= count;
		list_add(ret, &g->match.in_flow);
	}
	return true;
}

uint64_t mail_bytes(const struct rehearsal *r, const struct list *letters, uint32_t n)
{
	uint64_t bytes = 0;

	for (struct list *l = letters->next; n && l != letters; l = l->next) {
		const struct letter *g = letter_of(l);
		uint32_t k = g->match.count < n ? g->match.count : n;

		bytes += letter_volume(r, g, k).bytes;
		n -= k;
	}
	return bytes;
}
