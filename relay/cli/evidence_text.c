/* The text of postern evidence: for people who decide at the receiver, in the order in which they
 * ask. Pure but for memory. Texts of others go in as they are; who prints escapes them. */
#include <string.h>

#include "evidence.h"

/* Where a refusal is taken to, by what its text has in it; the first that fits. */
static const struct {
	const char *sign, *where;
} ways[] = {
	{ "5.7.511",
		"mail this whole text to delist@microsoft.com: it has the non-delivery text that they want" },
	{ "5.7.60", "enter the address at https://sender.office.com" },
	{ "5.7.61", "enter the address at https://sender.office.com" },
	{ "5.7.62", "enter the address at https://sender.office.com" },
	{ "5.7.63", "enter the address at https://sender.office.com" },
	{ "5.7.64", "enter the address at https://sender.office.com" },
	{ "S3140", "the form of Outlook.com Deliverability Support; paste address and refusal" },
	{ "S3150", "the form of Outlook.com Deliverability Support; paste address and refusal" },
	{ "spamhaus", "https://check.spamhaus.org for the address first: this is their list" },
	{ "", "a support request at Microsoft by a tenant that misses mail, with this text" },
};

static int put_counts(struct buf *b, const json_t *hours)
{
	json_t *h;
	size_t i;
	int r = buf_printf(b,
		"\nCOUNTS BY HOUR (recipients)       this source or subnet        other subnets, same place\n"
		"hour                  attempts delivered deferred bounced   attempts delivered deferred bounced\n");

	json_array_foreach(hours, i, h)
	{
		const json_t *o = json_object_get(h, "ours"), *e = json_object_get(h, "others");

		if (!r)
			r = buf_printf(b,
				"%.16sZ     %8lld %9lld %8lld %7lld   %8lld %9lld %8lld %7lld\n",
				text_of(h, "start"), number_of(o, "attempts"),
				number_of(o, "delivered"), number_of(o, "deferred"),
				number_of(o, "bounced"), number_of(e, "attempts"),
				number_of(e, "delivered"), number_of(e, "deferred"),
				number_of(e, "bounced"));
	}
	return r;
}

static const char *yes_no(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key)) ? "yes" : "no";
}

static int put_source(struct buf *b, const json_t *s)
{
	const json_t *names = json_object_get(s, "ptr");
	json_t *n;
	size_t i;
	int r = buf_printf(b, "\nSOURCE %s: %s, greets as %s\n", text_of(s, "source"),
		text_of(s, "address"), text_of(s, "ehlo"));

	if (!r && !json_array_size(names))
		r = buf_printf(b, "  PTR: none\n");
	json_array_foreach(names, i, n) if (!r) r =
		buf_printf(b, "  PTR: %s, leads back to the address: %s\n", text_of(n, "name"),
			yes_no(n, "leads_back"));
	if (!r)
		r = buf_printf(b, "  EHLO name leads to the address: %s; is the PTR name: %s\n",
			yes_no(s, "ehlo_leads_here"), yes_no(s, "ehlo_is_ptr"));
	if (!r && *text_of(s, "unknown"))
		r = buf_printf(b, "  DNS gave no answer to all of it: %s\n", text_of(s, "unknown"));
	return r;
}

static int put_comparison(struct buf *b, const json_t *rows)
{
	json_t *row;
	size_t i;
	int r = buf_printf(b, "\nREFUSED BESIDE GOOD (what differs is marked with !)\n");

	json_array_foreach(rows, i, row) if (!r) r = buf_printf(b, "%c %-14s %s\n  %-14s %s\n",
		json_is_true(json_object_get(row, "differs")) ? '!' : ' ', text_of(row, "what"),
		text_of(row, "refused"), "", text_of(row, "good"));
	return r;
}

static int put_session(struct buf *b, const char *title, const json_t *s)
{
	json_t *l;
	size_t i;
	int r = buf_printf(b, "\n%s: %s (%s) to %s at %s, session %s, ended %s\n", title,
		text_of(s, "source"), text_of(s, "subnet"), text_of(s, "address"),
		text_of(s, "cluster"), text_of(s, "session"), text_of(s, "at"));

	json_array_foreach(json_object_get(s, "lines"), i, l)
	{
		const char *who = text_of(l, "who");

		if (!r)
			r = buf_printf(b, "%9.3f %c %s\n", (double)number_of(l, "ms") / 1000,
				!strcmp(who, "us")     ? '>'
				: !strcmp(who, "them") ? '<'
						       : '*',
				text_of(l, "line"));
	}
	return r;
}

static int put_refusal(struct buf *b, const char *text)
{
	size_t i = 0;

	while (ways[i].sign[0] && !strcasestr(text, ways[i].sign))
		i++;
	return buf_printf(b, "\nTHE LAST REFUSAL, IN FULL\n%s\n\nWhere to take it: %s.\n", text,
		ways[i].where);
}

int evidence_text(struct buf *out, const json_t *e)
{
	const json_t *bad = json_object_get(e, "refused"), *good = json_object_get(e, "good");
	const json_t *rows = json_object_get(e, "comparison");
	json_t *s;
	size_t i;
	int r = buf_printf(out, "Mail from %s%s%s at %s; written %s\n", text_of(e, "source"),
		*text_of(e, "source") ? ", " : "subnet ", text_of(e, "subnet"), text_of(e, "at"),
		text_of(e, "written"));

	if (!r && *text_of(e, "refusal"))
		r = put_refusal(out, text_of(e, "refusal"));
	json_array_foreach(json_object_get(e, "sources"), i, s) if (!r) r = put_source(out, s);
	if (!r)
		r = put_counts(out, json_object_get(e, "counts"));
	if (!r && json_is_array(rows))
		r = put_comparison(out, rows);
	if (!r && json_is_object(bad))
		r = put_session(out, "REFUSED SESSION", bad);
	if (!r && json_is_object(good))
		r = put_session(out, "GOOD SESSION", good);
	if (!r && !json_is_object(bad))
		r = buf_printf(out, "\nNo refused session is kept of it.\n");
	return r;
}
