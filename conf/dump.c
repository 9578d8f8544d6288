/* A configuration back to text, and two of them compared by it. */
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

/* Names in why what differs and may not. */
static bool compare_section(const struct config *now, const struct config *next,
	const struct section *kind, const void *a, const void *b, struct buf *why)
{
	const char *title = NULL;
	bool same = true;

	if (kind->titled)
		memcpy(&title, (const char *)a + kind->name_at, sizeof(title));
	for (unsigned i = 0; i < kind->noptions; i++) {
		const struct option *o = &kind->options[i];

		if ((o->flags & (OPTION_LIVE | OPTION_UNBOUND)) ||
			same_option(now, next, kind, o, a, b))
			continue;
		same = false;
		buf_printf(why, "%s%s%s%s%s: a change needs a restart\n", kind->name,
			title ? " " : "", title ? title : "", kind->name[0] ? ": " : "", o->name);
	}
	return same;
}

/* Listeners cannot be added, taken away or reordered while running. */
static bool same_listeners(const struct config *now, const struct config *next, struct buf *why)
{
	bool same = now->nlisteners == next->nlisteners;

	for (unsigned i = 0; same && i < now->nlisteners; i++)
		same = strcmp(now->listeners[i].name, next->listeners[i].name) == 0;
	if (!same)
		buf_add_str(why, "listener: to add, remove or rename one needs a restart\n");
	return same;
}

bool config_reloadable(const struct config *now, const struct config *next, struct buf *why)
{
	const struct section *listener = &sections[SECTION_LISTENER];
	bool same = true;

	for (unsigned id = 0; id < SECTION_COUNT; id++) {
		if (!sections[id].titled)
			same &= compare_section(now, next, &sections[id], now, next, why);
	}
	if (!same_listeners(now, next, why))
		return false;
	for (unsigned i = 0; i < now->nlisteners; i++)
		same &= compare_section(now, next, listener, section_element(listener, now, i),
			section_element(listener, next, i), why);
	return same;
}
