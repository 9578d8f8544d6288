/* Values back to text, in the file's syntax, without loss: what is printed parses to the same.
 * Called by dump.c and describe.c; pure. */
#include <errno.h>
#include <string.h>

#include "option.h"
#include "value.h"

/* Six places are what is read. By whole numbers, as printf follows the locale. */
static int format_millionths(uint64_t v, struct buf *out)
{
	unsigned places = 6;
	uint64_t part = v % 1000000;

	for (; places > 1 && part % 10 == 0; places--)
		part /= 10;
	return buf_printf(out, "%llu.%0*llu", (unsigned long long)(v / 1000000), (int)places,
		(unsigned long long)part);
}

/* "90%", "0.5%" */
static int format_percent(uint64_t millionths, struct buf *out)
{
	int r = millionths % 1000000
			? format_millionths(millionths, out)
			: buf_printf(out, "%llu", (unsigned long long)(millionths / 1000000));

	return r ? r : buf_add_str(out, "%");
}

struct scale {
	int64_t unit;
	const char *name;
};

/* v in the largest unit that divides it */
static int scaled(int64_t v, const struct scale *scales, struct buf *out)
{
	while (v % scales->unit != 0)
		scales++;
	return buf_printf(out, "%lld%s", (long long)(v / scales->unit), scales->name);
}

int value_format_number(const struct option *o, int64_t v, struct buf *out)
{
	static const struct scale times[] = { { 86400000, "d" }, { 3600000, "h" }, { 60000, "m" },
		{ 1000, "s" }, { 1, "ms" } };
	static const struct scale sizes[] = { { 1ll << 40, "TiB" }, { 1ll << 30, "GiB" },
		{ 1ll << 20, "MiB" }, { 1ll << 10, "KiB" }, { 1, "" } };

	switch ((int)o->type) {
	case OPTION_DURATION:
	case OPTION_DURATIONS:
		return v == 0 ? buf_add_str(out, "0") : scaled(v, times, out);
	case OPTION_SIZE:
		return v == 0 ? buf_add_str(out, "0") : scaled(v, sizes, out);
	case OPTION_MODE:
		return buf_printf(out, "%04o", (unsigned)v);
	case OPTION_SHARE:
		return format_millionths((uint64_t)v * 1000, out);
	case OPTION_PERCENT:
		return format_percent((uint64_t)v * 100000, out);
	default:
		return buf_printf(out, "%lld", (long long)v);
	}
}

int value_quote(struct slice s, struct buf *out)
{
	int r = buf_add_str(out, "\"");

	for (size_t i = 0; i < s.n && !r; i++) {
		unsigned char c = (unsigned char)s.p[i];

		/* "${" would be read as a variable of the environment */
		if (c == '"' || c == '\\' || c == '$')
			r = buf_printf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			r = buf_printf(out, "\\x%02x", c);
		else
			r = buf_add(out, &s.p[i], 1);
	}
	return r ? r : buf_add_str(out, "\"");
}

static int quote_number(const struct option *o, int64_t v, struct buf *out)
{
	int r = buf_add_str(out, "\"");

	if (!r)
		r = value_format_number(o, v, out);
	return r ? r : buf_add_str(out, "\"");
}

static int format_rate(const struct rate *rate, struct buf *out)
{
	static const struct option duration = { .type = OPTION_DURATION };
	int r;

	if (rate->count == 0)
		return buf_add_str(out, "\"none\"");
	r = buf_printf(out, "\"%u/", rate->count);
	if (!r)
		r = value_format_number(&duration, rate->per, out);
	return r ? r : buf_add_str(out, "\"");
}

static int format_endpoint(const struct addr *a, uint16_t port, struct buf *out)
{
	char text[ADDR_TEXT_MAX];

	addr_format(text, a);
	return buf_printf(out, a->family == ADDR_V6 ? "\"[%s]:%u\"" : "\"%s:%u\"", text, port);
}

static int format_net(const struct net *n, struct buf *out)
{
	char text[ADDR_TEXT_MAX + 4];

	net_format(text, n);
	return buf_printf(out, "\"%s\"", text);
}

static int format_address(const struct addr *a, struct buf *out)
{
	char text[ADDR_TEXT_MAX];

	addr_format(text, a);
	return buf_printf(out, "\"%s\"", text);
}

static int format_text(const void *place, struct buf *out)
{
	const char *s;

	memcpy(&s, place, sizeof(s));
	return value_quote(slice_of(s ? s : ""), out);
}

static int format_double(const struct option *o, double d, struct buf *out)
{
	int r = buf_add_str(out, "\"");

	if (!r && o->type == OPTION_PERCENT)
		r = format_percent((uint64_t)(d * 100000000 + 0.5), out);
	else if (!r)
		r = format_millionths((uint64_t)(d * 1000000 + 0.5), out);
	return r ? r : buf_add_str(out, "\"");
}

static int format_http(const struct config_http *h, struct buf *out)
{
	return h->enabled ? format_endpoint(&h->addr, h->port, out) : buf_add_str(out, "\"\"");
}

static int format_item(const struct option *o, const void *place, struct buf *out)
{
	switch (o->type) {
	case OPTION_STRING:
	case OPTION_NAME:
	case OPTION_HOST:
	case OPTION_FILE:
	case OPTION_STRINGS:
	case OPTION_SERVERS:
		return format_text(place, out);
	case OPTION_BOOL:
		return buf_add_str(out, *(const bool *)place ? "true" : "false");
	case OPTION_PORT:
		return buf_printf(out, "%u", *(const uint16_t *)place);
	case OPTION_NUMBER:
	case OPTION_NUMBERS:
		return buf_printf(out, "%u", *(const uint32_t *)place);
	case OPTION_MODE:
		return quote_number(o, *(const uint32_t *)place, out);
	case OPTION_SIZE:
	case OPTION_DURATION:
	case OPTION_DURATIONS:
		return quote_number(o, *(const int64_t *)place, out);
	case OPTION_SHARE:
	case OPTION_PERCENT:
		return format_double(o, *(const double *)place, out);
	case OPTION_RATE:
		return format_rate(place, out);
	case OPTION_CHOICE:
		return buf_printf(out, "\"%s\"", o->choices[*(const unsigned *)place]);
	case OPTION_ADDRESS:
		return format_address(place, out);
	case OPTION_NET:
	case OPTION_NETS:
		return format_net(place, out);
	case OPTION_HTTP:
		return format_http(place, out);
	case OPTION_ENDPOINTS:
		return format_endpoint(&((const struct endpoint *)place)->addr,
			((const struct endpoint *)place)->port, out);
	}
	return -EINVAL;
}

int value_format(const struct option *o, const void *base, struct buf *out)
{
	const char *place = (const char *)base + o->at;
	const char *items;
	unsigned n;
	int r;

	if (!option_is_list(o))
		return format_item(o, place, out);
	memcpy(&items, place, sizeof(items));
	n = *(const unsigned *)((const char *)base + o->count_at);
	r = buf_add_str(out, "{");
	for (unsigned i = 0; i < n && !r; i++) {
		if (i > 0)
			r = buf_add_str(out, ", ");
		if (!r)
			r = format_item(o, items + i * value_item_size(o), out);
	}
	return r ? r : buf_add_str(out, "}");
}
