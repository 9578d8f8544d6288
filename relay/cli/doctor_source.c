/* postern doctor, of each source: is the address this machine's, do its names lead there and back, is
 * it on a block list? Main thread of a tool. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "doctor.h"
#include "facts.h"
#include "look_up.h"

#define WHY_PTR                                                                                      \
	"receivers look the address up first; Microsoft refuses or defers addresses without a name " \
	"(4.7.25, 5.7.25), and trusts those less whose names do not agree"

static void names(struct doctor *d, const struct source_params *s)
{
	json_t *f = facts_of(s, d->dns), *ptr = json_object_get(f, "ptr"), *p;
	struct finding bad = { FINDING_WRONG, "ptr", s->name, WHY_PTR,
		"let whoever has the network set the PTR record to the EHLO name" };
	bool unknown = text_of(f, "unknown")[0] != '\0', back = false;
	size_t i;

	json_array_foreach(ptr, i, p) back = back || json_is_true(json_object_get(p, "leads_back"));
	if (unknown) {
		bad.level = FINDING_UNKNOWN;
		bad.advice = "ask again; if it stays so, look at the name servers";
		doctor_tell(d, &bad, "DNS gave no answer: %s", text_of(f, "unknown"));
	} else if (!json_array_size(ptr)) {
		doctor_tell(d, &bad, "%s has no PTR name", text_of(f, "address"));
	} else if (!back) {
		bad.advice = "give that name an address record with this address";
		doctor_tell(d, &bad, "the name of %s, %s, does not lead back to it",
			text_of(f, "address"), text_of(json_array_get(ptr, 0), "name"));
	} else if (!json_is_true(json_object_get(f, "ehlo_is_ptr"))) {
		bad.level = FINDING_WARNING;
		bad.advice = "let source { ehlo } and the PTR record say the same name";
		doctor_tell(d, &bad, "it greets as %s, and its PTR name is %s", s->ehlo,
			text_of(json_array_get(ptr, 0), "name"));
	} else {
		doctor_good(
			d, "ptr", s->name, "%s is %s, and back", text_of(f, "address"), s->ehlo);
	}
	bad = (struct finding){ FINDING_WRONG, "ehlo", s->name, WHY_PTR,
		"give the EHLO name an address record with this address" };
	if (!unknown && !json_is_true(json_object_get(f, "ehlo_leads_here")))
		doctor_tell(d, &bad, "the EHLO name %s has no address record with %s", s->ehlo,
			text_of(f, "address"));
	json_decref(f);
}

static void machine_has(struct doctor *d, const struct source_params *s)
{
	struct sockaddr_storage ss;
	int fd, error = 0;

	addr_to_sockaddr(&ss, &s->address, 0);
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&ss,
			      ss.ss_family == AF_INET ? sizeof(struct sockaddr_in)
						      : sizeof(struct sockaddr_in6)))
		error = errno;
	if (fd >= 0)
		close(fd);
	if (error)
		doctor_tell(d,
			&(struct finding){ FINDING_WRONG, "address", s->name,
				"nothing can be sent from an address that the machine does not have; the "
				"relay leaves such a source alone",
				"add the address to an interface of this machine" },
			"cannot be used here: %s", strerror(error));
}

/* ---- block lists ---- */

/* Answers that are none: 127.255.255.252 a typing error, .254 a resolver that many share, .255 too
 * many questions; addresses that are not loopback come from whoever answers for names that are not
 * there. */
static const char *no_answer(const struct addr *a)
{
	if (a->family != ADDR_V4 || a->ip[0] != 127)
		return "the answer is no entry of a list: the resolver, or the list's zone, is "
		       "another's";
	if (a->ip[1] != 255 || a->ip[2] != 255)
		return NULL;
	return a->ip[3] == 254
		       ? "the list does not answer resolvers that many share: you may not ask"
	       : a->ip[3] == 255
		       ? "the list says that too much was asked from here: you may not ask"
		       : "the list says that the question is wrong";
}

static void listed(struct doctor *d, const struct source_params *s, const char *zone,
	const char *name, const char *code)
{
	struct look_up text;
	char why[128];

	look_up(&text, d->dns, LOOK_UP_TXT, name, why, sizeof(why));
	doctor_tell(d,
		&(struct finding){ FINDING_WRONG, "list", s->name,
			"Microsoft asks such lists: mail is refused with 5.7.1 or 5.7.511, naming them",
			"ask the list for removal at the address it names, and find out why; an address "
			"that was dynamic before needs its network's word" },
		"is on %s (%s): %s", zone, code,
		text.n ? look_up_text(&text, 0) : "no reason is given");
	look_up_deinit(&text);
}

static void one_list(struct doctor *d, const struct source_params *s, const char *zone)
{
	struct finding unknown = { FINDING_UNKNOWN, "list", s->name,
		"nobody can say whether the address is listed",
		"ask through a resolver of your own, or look at the list's web page" };
	char name[REVERSED_MAX], why[128];
	struct look_up found;
	struct addr a;
	int r;

	look_up_reversed(name, &s->address, zone);
	r = look_up(&found, d->dns, LOOK_UP_A, name, why, sizeof(why));
	if (r && r != -ENOENT)
		doctor_tell(d, &unknown, "%s gave no answer: %s", zone, why);
	else if (!found.n)
		doctor_good(d, "list", s->name, "is not on %s", zone);
	else if (addr_parse(&a, slice_of(look_up_text(&found, 0))) || no_answer(&a))
		doctor_tell(
			d, &unknown, "%s: %s (%s)", zone, no_answer(&a), look_up_text(&found, 0));
	else
		listed(d, s, zone, name, look_up_text(&found, 0));
	look_up_deinit(&found);
}

void doctor_sources(struct doctor *d)
{
	for (unsigned i = 0; i < d->config->policy.nsources; i++) {
		const struct source_params *s = &d->config->policy.sources[i];

		if (!doctor_wants(d, s))
			continue;
		machine_has(d, s);
		names(d, s);
		for (unsigned k = 0; k < d->config->nblock_lists; k++)
			one_list(d, s, d->config->block_lists[k]);
	}
}
