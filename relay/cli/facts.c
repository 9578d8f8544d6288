/* DNS facts of a source address: PTR, the names' addresses, and the name in EHLO. Called by evidence
 * and doctor. Main thread of a tool. */
#include "facts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "look_up.h"
#include "postern/answer.h"

struct asking {
	const struct source_params *s;
	const struct dns_params *dns;
	char why[300]; /* "": all was answered */
};

/* Does the name have the source's address among its own? */
static bool leads_here(struct asking *a, const char *name)
{
	enum look_up_type type = a->s->address.family == ADDR_V6 ? LOOK_UP_AAAA : LOOK_UP_A;
	struct look_up found;
	struct addr one;
	char why[128];
	bool here = false;
	int r = look_up(&found, a->dns, type, name, why, sizeof(why));

	if (r && r != -ENOENT)
		snprintf(a->why, sizeof(a->why), "%.100s: %.100s", name, why);
	for (unsigned i = 0; i < found.n && !here; i++)
		here = !addr_parse(&one, slice_of(look_up_text(&found, i))) &&
		       addr_eq(&one, &a->s->address);
	look_up_deinit(&found);
	return here;
}

json_t *facts_of(const struct source_params *s, const struct dns_params *dns)
{
	struct asking a = { s, dns, "" };
	char name[REVERSED_MAX], text[ADDR_TEXT_MAX], why[128];
	json_t *ptr = json_array(), *all;
	struct look_up found;
	bool is_ptr = false;
	int r;

	look_up_reversed(name, &s->address, NULL);
	r = look_up(&found, dns, LOOK_UP_PTR, name, why, sizeof(why));
	if (r && r != -ENOENT)
		snprintf(a.why, sizeof(a.why), "%.100s: %.100s", name, why);
	for (unsigned i = 0; i < found.n; i++) {
		const char *host = look_up_text(&found, i);

		answers_add(ptr, json_pack("{so sb}", "name", json_text(host), "leads_back",
					 leads_here(&a, host)));
		is_ptr = is_ptr || !strcasecmp(host, s->ehlo);
	}
	look_up_deinit(&found);
	addr_format(text, &s->address);
	all = json_pack("{so so so so sb sb}", "source", json_text(s->name), "address",
		json_text(text), "ehlo", json_text(s->ehlo), "ptr", ptr, "ehlo_leads_here",
		leads_here(&a, s->ehlo), "ehlo_is_ptr", is_ptr);
	if (all && a.why[0])
		json_object_set_new(all, "unknown", json_text(a.why));
	return all;
}
