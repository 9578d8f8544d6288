/* The option tables as text for people: `check --defaults`, and the manual page. Called by
 * commands and by the build; pure. */
#include <string.h>

#include "ladders.h"
#include "option.h"

#define WIDTH 88u

static const char *const type_names[] = {
	[OPTION_STRING] = "text",
	[OPTION_NAME] = "name",
	[OPTION_HOST] = "domain name",
	[OPTION_FILE] = "file",
	[OPTION_BOOL] = "true or false",
	[OPTION_PORT] = "port",
	[OPTION_NUMBER] = "number",
	[OPTION_SIZE] = "size",
	[OPTION_MODE] = "file mode",
	[OPTION_SHARE] = "fraction",
	[OPTION_PERCENT] = "percentage",
	[OPTION_DURATION] = "duration",
	[OPTION_RATE] = "rate",
	[OPTION_CHOICE] = "",
	[OPTION_ADDRESS] = "IP address",
	[OPTION_NET] = "network",
	[OPTION_HTTP] = "address:port",
	[OPTION_STRINGS] = "list",
	[OPTION_SERVERS] = "list of addresses",
	[OPTION_NUMBERS] = "list of numbers",
	[OPTION_DURATIONS] = "list of durations",
	[OPTION_NETS] = "list of networks",
	[OPTION_ENDPOINTS] = "list of address:port",
};

/* "size, 16MiB to 64TiB" */
static int add_type(struct buf *out, const struct option *o)
{
	int r = buf_add_str(out, type_names[o->type]);

	for (unsigned i = 0; o->choices && o->choices[i] && !r; i++)
		r = buf_printf(out, "%s\"%s\"", i ? ", " : "", o->choices[i]);
	if (r || option_is_list(o) || o->max == 0)
		return r;
	r = buf_add_str(out, ", ");
	if (!r)
		r = value_format_number(o, o->min, out);
	if (!r)
		r = buf_add_str(out, " to ");
	if (!r)
		r = value_format_number(o, o->max, out);
	if (!r && (o->flags & OPTION_ZERO))
		r = buf_add_str(out, ", or 0");
	return r;
}

/* Text broken at spaces. */
static int add_wrapped(struct buf *out, const char *text, unsigned indent)
{
	unsigned column = 0;
	int r = 0;

	while (*text && !r) {
		size_t n = strcspn(text, " ");

		if (column > indent && column + 1 + n > WIDTH) {
			r = buf_add_str(out, "\n");
			column = 0;
		}
		if (!r)
			r = column == 0 ? buf_printf(out, "%*s", (int)indent, "")
					: buf_add_str(out, " ");
		column = column == 0 ? indent : column + 1;
		if (!r)
			r = buf_add(out, text, n);
		column += (unsigned)n;
		text += n + (text[n] == ' ');
	}
	return r ? r : buf_add_str(out, "\n");
}

/* For roff: hyphens and backslashes are said plainly, and no line begins with a control character.
 */
static int add_roff(struct buf *out, struct slice s)
{
	int r = 0;

	for (size_t i = 0; i < s.n && !r; i++) {
		if (s.p[i] == '\\')
			r = buf_add_str(out, "\\e");
		else if (s.p[i] == '-')
			r = buf_add_str(out, "\\-");
		else if (i == 0 && (s.p[i] == '.' || s.p[i] == '\''))
			r = buf_printf(out, "\\&%c", s.p[i]);
		else
			r = buf_add(out, s.p + i, 1);
	}
	return r;
}

static int roff_line(struct buf *out, const char *before, struct slice s, const char *after)
{
	int r = buf_add_str(out, before);

	if (!r)
		r = add_roff(out, s);
	return r ? r : buf_add_str(out, after);
}

static int option_text(
	struct buf *out, const struct option *o, struct slice usual, struct slice type)
{
	int r = buf_printf(out, "    %s%s%.*s   (%.*s%s)\n", o->name, usual.n ? " = " : "",
		(int)usual.n, usual.n ? usual.p : "", (int)type.n, type.p,
		o->flags & OPTION_REQUIRED ? "; required" : "");

	return r ? r : add_wrapped(out, o->help, 8);
}

static int option_roff(
	struct buf *out, const struct option *o, struct slice usual, struct slice type)
{
	int r = roff_line(out, ".TP\n.B ", slice_of(o->name), "\n");

	if (!r)
		r = roff_line(out, "", slice_of(o->help), "\n");
	if (!r)
		r = roff_line(out, "(", type, "");
	if (!r && usual.n)
		r = roff_line(out, "; default ", usual, "");
	if (!r && (o->flags & OPTION_REQUIRED))
		r = buf_add_str(out, "; required");
	return r ? r : buf_add_str(out, ")\n");
}

static int describe_option(
	struct buf *out, const struct section *kind, const struct option *o, bool roff)
{
	struct buf usual, type;
	int r;

	buf_init(&usual, 0);
	buf_init(&type, 0);
	r = value_format_default(kind, o, NULL, &usual);
	if (!r)
		r = add_type(&type, o);
	if (!r)
		r = (roff ? option_roff : option_text)(out, o, buf_slice(&usual), buf_slice(&type));
	buf_deinit(&usual);
	buf_deinit(&type);
	return r;
}

static int describe_head(struct buf *out, const struct section *kind, bool roff)
{
	struct buf head;
	int r;

	buf_init(&head, 0);
	if (kind->name[0])
		r = buf_printf(&head, "%s%s { }", kind->name, kind->titled ? " \"NAME\"" : "");
	else
		r = buf_add_str(&head, "Outside sections");
	if (!r && roff)
		r = roff_line(out, ".SS ", buf_slice(&head), "\n");
	else if (!r)
		r = buf_printf(out, "\n%.*s\n", (int)buf_size(&head), buf_slice(&head).p);
	if (!r && kind->name[0])
		r = roff ? roff_line(out, "", slice_of(kind->help), "\n")
			 : add_wrapped(out, kind->help, 4);
	buf_deinit(&head);
	return r;
}

/* What the built-in providers have of their own. */
static int describe_builtin(struct buf *out, const char *provider, bool roff)
{
	const struct section *kind = &sections[SECTION_PROVIDER];
	struct buf usual;
	int r = 0;

	buf_init(&usual, 0);
	for (unsigned i = 0; i < kind->noptions && !r; i++) {
		const struct option *o = &kind->options[i];

		if (!option_builtin(provider, o->name))
			continue;
		buf_reset(&usual);
		r = value_format_default(kind, o, provider, &usual);
		if (r)
			break;
		if (roff)
			r = roff_line(out, ".br\n", slice_of(o->name), " = ");
		else
			r = buf_printf(out, "        %s = ", o->name);
		if (!r)
			r = roff ? add_roff(out, buf_slice(&usual))
				 : buf_add_slice(out, buf_slice(&usual));
		if (!r)
			r = buf_add_str(out, "\n");
	}
	buf_deinit(&usual);
	return r;
}

static int describe_ladders(struct buf *out, bool roff)
{
	int r = buf_add_str(out, roff ? ".PP\nBuilt-in ladders:\n" : "    Built-in ladders:\n");

	for (unsigned i = 0; i < LADDERS && !r; i++) {
		struct buf line;

		buf_init(&line, 0);
		r = buf_printf(&line, "\"%s\": %s.", ladders[i].name, ladders[i].help);
		if (!r)
			r = roff ? roff_line(out, ".br\n", buf_slice(&line), "\n")
				 : buf_add(&line, "", 1);
		if (!r && !roff)
			r = add_wrapped(out, buf_slice(&line).p, 8);
		buf_deinit(&line);
	}
	return r;
}

int section_describe(struct buf *out, const struct section *kind, bool roff)
{
	int r = describe_head(out, kind, roff);

	for (unsigned i = 0; i < kind->noptions && !r; i++)
		r = describe_option(out, kind, &kind->options[i], roff);
	return r;
}

int config_describe(struct buf *out, bool roff)
{
	int r = 0;

	for (unsigned id = 0; id < SECTION_COUNT && !r; id++) {
		r = section_describe(out, &sections[id], roff);
		for (unsigned i = 0; id == SECTION_PROVIDER && i + 1 < BUILTIN_PROVIDERS && !r;
			i++) {
			r = buf_printf(out,
				roff ? ".PP\nBuilt in for \"%s\":\n" : "    Built in for \"%s\":\n",
				builtin_providers[i]);
			if (!r)
				r = describe_builtin(out, builtin_providers[i], roff);
		}
		if (id == SECTION_WARMUP && !r)
			r = describe_ladders(out, roff);
	}
	return r;
}
