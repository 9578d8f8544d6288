/* A configuration back to text, and two of them compared by it: what a reload takes over, and what
 * it cannot. Called by `postern check`, and by whoever reloads. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "option.h"

int value_format_default(
	const struct section *kind, const struct option *o, const char *provider, struct buf *out)
{
	const char *text = provider ? option_builtin(provider, o->name) : NULL;
	struct buf why;
	void *scratch;
	int r;

	if (!text)
		text = o->fallback;
	if (o->flags & OPTION_UNBOUND)
		return text ? buf_add_str(out, text) : 0;
	if (!text)
		return 0;
	scratch = calloc(1, kind->titled ? kind->size : sizeof(struct config));
	if (!scratch)
		return -ENOMEM;
	buf_init(&why, 0);
	r = value_set_text(o, scratch, text, &why);
	if (!r)
		r = value_format(o, scratch, out);
	value_free(o, scratch);
	buf_deinit(&why);
	free(scratch);
	return r;
}

/* What an option that is left out gets from other options. */
static int format_derived(const struct config *c, const struct section *kind,
	const struct option *o, const void *base, struct buf *out)
{
	const struct source_params *source = base;
	char text[ADDR_TEXT_MAX + 4];
	struct net subnet;

	if (kind == &sections[SECTION_SOURCE] && strcmp(o->name, "ehlo") == 0)
		return value_quote(slice_of(c->hostname), out);
	if (kind == &sections[SECTION_SOURCE] && strcmp(o->name, "subnet") == 0) {
		subnet = net_of(&source->address, 24, 64);
		net_format(text, &subnet);
		return value_quote(slice_of(text), out);
	}
	if (kind == &sections[SECTION_CLASS]) { /* the queue's of the same name */
		const struct option *q = option_find(&sections[SECTION_QUEUE], slice_of(o->name));

		return q ? value_format(q, c, out) : 0;
	}
	if (kind == &sections[SECTION_LISTENER] && strcmp(o->name, "pool") == 0 &&
		c->policy.npools == 1)
		return value_quote(slice_of(c->policy.pools[0].name), out);
	return 0;
}

static bool has_value(const struct option *o, const void *base)
{
	const void *p;

	if (o->type == OPTION_HTTP)
		return ((const struct config_http *)((const char *)base + o->at))->enabled;
	if (o->type > OPTION_FILE && !option_is_list(o))
		return true;
	memcpy(&p, (const char *)base + o->at, sizeof(p));
	/* an empty text is worth a line only where there is a default that it overrides */
	return p || (o->fallback && !option_is_list(o));
}

static int dump_members(const struct config *c, const struct pool_params *p, struct buf *out)
{
	int r = buf_add_str(out, "{");

	for (unsigned i = 0; i < p->nmembers && !r; i++) {
		r = buf_printf(
			out, "%s\"%s", i ? ", " : "", c->policy.sources[p->members[i].source].name);
		if (!r && p->members[i].weight != 1)
			r = buf_printf(out, ":%u", p->members[i].weight);
		if (!r)
			r = buf_add_str(out, "\"");
	}
	return r ? r : buf_add_str(out, "}");
}

/* Options that have no place of their own in the parameters. */
static int format_unbound(
	const struct config *c, const struct section *kind, const void *base, struct buf *out)
{
	const struct listener_params *listener = base;
	bool world = false;

	if (kind == &sections[SECTION_POOL])
		return dump_members(c, base, out);
	for (unsigned i = 0; i < listener->nallow; i++)
		world |= net_is_world(&listener->allow[i]);
	return buf_add_str(out, world ? "true" : "false");
}

/* The value of an option; nothing when there is none. */
static int format_effective(const struct config *c, const struct section *kind,
	const struct option *o, const void *base, struct buf *out)
{
	if (o->flags & OPTION_UNBOUND)
		return format_unbound(c, kind, base, out);
	return has_value(o, base) ? value_format(o, base, out) : 0;
}

static int dump_option(struct buf *out, const struct config *c, const struct section *kind,
	const struct option *o, const void *base, bool only_changed)
{
	const char *provider = kind == &sections[SECTION_PROVIDER]
				       ? ((const struct provider_params *)base)->name
				       : NULL;
	struct buf value, usual;
	int r;

	buf_init(&value, 0);
	buf_init(&usual, 0);
	r = format_effective(c, kind, o, base, &value);
	if (!r && only_changed)
		r = value_format_default(kind, o, provider, &usual);
	if (!r && only_changed && buf_size(&usual) == 0)
		r = format_derived(c, kind, o, base, &usual);
	if (!r && buf_size(&value) > 0 && !slice_eq(buf_slice(&value), buf_slice(&usual)))
		r = buf_printf(out, "%s%s = %.*s\n", kind->name[0] ? "\t" : "", o->name,
			(int)buf_size(&value), buf_slice(&value).p);
	buf_deinit(&value);
	buf_deinit(&usual);
	return r;
}

static int dump_section(struct buf *out, const struct config *c, const struct section *kind,
	const void *base, bool only_changed)
{
	struct buf body;
	const char *title = NULL;
	int r = 0;

	buf_init(&body, 0);
	for (unsigned i = 0; i < kind->noptions && !r; i++)
		r = dump_option(&body, c, kind, &kind->options[i], base, only_changed);
	if (r || buf_size(&body) == 0 || !kind->name[0]) {
		if (!r)
			r = buf_add_slice(out, buf_slice(&body));
		goto out;
	}
	r = buf_printf(out, "%s ", kind->name);
	if (!r && kind->titled) {
		memcpy(&title, (const char *)base + kind->name_at, sizeof(title));
		r = value_quote(slice_of(title), out);
		if (!r)
			r = buf_add_str(out, " ");
	}
	if (!r)
		r = buf_add_str(out, "{\n");
	if (!r)
		r = buf_add_slice(out, buf_slice(&body));
	if (!r)
		r = buf_add_str(out, "}\n");
out:
	buf_deinit(&body);
	return r;
}

int config_dump(struct buf *out, const struct config *c, bool only_changed)
{
	int r = 0;

	for (unsigned id = 0; id < SECTION_COUNT && !r; id++) {
		const struct section *kind = &sections[id];

		if (!kind->titled) {
			r = dump_section(out, c, kind, c, only_changed);
			continue;
		}
		for (unsigned i = 0; i < section_count(kind, c) && !r; i++)
			r = dump_section(out, c, kind, section_element(kind, c, i), only_changed);
	}
	return r;
}

static bool same_option(const struct config *now, const struct config *next,
	const struct section *kind, const struct option *o, const void *a, const void *b)
{
	struct buf x, y;
	bool same;

	buf_init(&x, 0);
	buf_init(&y, 0);
	same = !format_effective(now, kind, o, a, &x) && !format_effective(next, kind, o, b, &y) &&
	       slice_eq(buf_slice(&x), buf_slice(&y));
	buf_deinit(&x);
	buf_deinit(&y);
	return same;
}

/* Titled sections are taken over whole: each stands for a thing that comes, goes or is made anew.
 */
static bool is_live(const struct section *kind, const struct option *o)
{
	return kind->titled || (o->flags & OPTION_LIVE);
}

/* Appends the names of what differs and is not taken over. */
static bool compare_section(const struct config *now, const struct config *next,
	const struct section *kind, struct buf *names)
{
	bool same = true;

	for (unsigned i = 0; i < kind->noptions; i++) {
		const struct option *o = &kind->options[i];

		if (is_live(kind, o) || same_option(now, next, kind, o, now, next))
			continue;
		same = false;
		buf_printf(names, "%s%s%s%s", buf_size(names) ? ", " : "", kind->name,
			kind->name[0] ? "." : "", o->name);
	}
	return same;
}

bool config_reloadable(const struct config *now, const struct config *next, struct buf *names)
{
	const struct dns_params *a = &now->dispatch.dns, *b = &next->dispatch.dns;
	bool same = true;

	for (unsigned id = 0; id < SECTION_COUNT; id++)
		if (!sections[id].titled)
			same &= compare_section(now, next, &sections[id], names);
	/* no option of its own: what is asked for follows from the sources */
	if (a->ipv4 != b->ipv4 || a->ipv6 != b->ipv6) {
		same = false;
		buf_printf(names, "%slook-ups for sources of another IP version",
			buf_size(names) ? ", " : "");
	}
	return same;
}

int config_dump_running(struct buf *out, const struct config *start, const struct config *now)
{
	int r = 0;

	for (unsigned id = 0; id < SECTION_COUNT && !r; id++) {
		const struct section *kind = &sections[id];
		struct buf body;

		if (kind->titled) {
			for (unsigned i = 0; i < section_count(kind, now) && !r; i++)
				r = dump_section(
					out, now, kind, section_element(kind, now, i), false);
			continue;
		}
		buf_init(&body, 0);
		for (unsigned i = 0; i < kind->noptions && !r; i++) {
			const struct option *o = &kind->options[i];
			const struct config *c = is_live(kind, o) ? now : start;

			r = dump_option(&body, c, kind, o, c, false);
		}
		if (!r && buf_size(&body) > 0)
			r = buf_printf(out, "%s%s%.*s%s", kind->name, kind->name[0] ? " {\n" : "",
				(int)buf_size(&body), buf_slice(&body).p,
				kind->name[0] ? "}\n" : "");
		buf_deinit(&body);
	}
	return r;
}
