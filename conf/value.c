/* Values: text to typed members of the parameters. Each parser writes one item; lists are built
 * from items, and put in place only when all of them are right. Called by bind.c, on the thread
 * that loads the configuration. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "option.h"
#include "postern/text.h"
#include "value.h"

_Static_assert(sizeof(struct endpoint) == sizeof(*((struct listener_params *)0)->addresses),
	"the form of listener_params.addresses");
_Static_assert(sizeof(enum tls_mode) == sizeof(unsigned) &&
		       sizeof(enum log_level) == sizeof(unsigned) &&
		       sizeof(enum bare_newline) == sizeof(unsigned) &&
		       sizeof(enum warmup_pace) == sizeof(unsigned),
	"choices are read and written as unsigned");

bool name_valid(struct slice s)
{
	if (s.n == 0 || s.n > 63)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    c == '-' || c == '_' || c == '.'))
			return false;
	}
	return true;
}

bool host_name_valid(struct slice s)
{
	size_t label = 0;
	bool dot = false;

	if (s.n == 0 || s.n > 253)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i], lower = c | 0x20;

		if (c == '.') {
			if (label == 0 || s.p[i - 1] == '-')
				return false;
			label = 0;
			dot = true;
			continue;
		}
		if (!((lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') ||
			    (c == '-' && label > 0)))
			return false;
		if (++label > 63)
			return false;
	}
	return dot && label > 0 && s.p[s.n - 1] != '-';
}

static int refuse(struct buf *why, struct slice v, const char *what)
{
	int r = value_quote(v, why);

	if (!r)
		r = buf_printf(why, " %s", what);
	return r ? r : -EINVAL;
}

static bool in_bounds(const struct option *o, uint64_t v)
{
	if (v == 0 && (o->flags & OPTION_ZERO))
		return true;
	return v <= INT64_MAX && (int64_t)v >= o->min && (int64_t)v <= o->max;
}

static int refuse_bounds(const struct option *o, struct slice v, struct buf *why)
{
	int r = refuse(why, v, "is out of bounds: it must be from ");

	value_format_number(o, o->min, why);
	buf_add_str(why, " to ");
	value_format_number(o, o->max, why);
	if (o->flags & OPTION_ZERO)
		buf_add_str(why, ", or 0");
	return r;
}

static int file_check(const char *path, struct buf *why)
{
	struct stat st;
	/* not blocking: it might be a pipe */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), r = 0;

	if (fd < 0)
		r = refuse(why, slice_of(path), "cannot be read: ");
	if (r) {
		buf_add_str(why, strerror(errno));
		return r;
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		r = refuse(why, slice_of(path), "is not a regular file");
	close(fd);
	return r;
}

static int text_set(const struct option *o, char **ret, struct slice v, struct buf *why)
{
	char *copy = NULL;
	int r = 0;

	if (v.n > 0 && o->type == OPTION_NAME && !name_valid(v))
		return refuse(why, v,
			"is not a name: use letters, digits, \"-\", \"_\" and \".\" (at most 63)");
	if (v.n > 0 && o->type == OPTION_HOST && !host_name_valid(v))
		return refuse(
			why, v, "is not a fully qualified domain name such as \"out.example.net\"");
	if (memchr(v.p, '\n', v.n) || memchr(v.p, '\r', v.n))
		return refuse(why, v, "must not contain a line end");
	if (v.n > 0) {
		copy = slice_dup(v);
		if (!copy)
			return -ENOMEM;
		if (o->type == OPTION_FILE)
			r = file_check(copy, why);
	}
	if (r) {
		free(copy);
		return r;
	}
	*ret = copy;
	return 0;
}

static int bool_set(bool *ret, struct slice v, struct buf *why)
{
	static const char *const words[] = { "false", "true", "no", "yes", "off", "on" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (slice_case_eq(v, slice_of(words[i]))) {
			*ret = i & 1;
			return 0;
		}
	}
	return refuse(why, v, "is neither true nor false");
}

static int number_parse(const struct option *o, uint64_t *ret, struct slice v, struct buf *why)
{
	int r = slice_u64(v, ret);

	if (r == -ERANGE || (r == 0 && !in_bounds(o, *ret)))
		return refuse_bounds(o, v, why);
	return r ? refuse(why, v, "is not a whole number") : 0;
}

static int size_set(const struct option *o, uint64_t *ret, struct slice v, struct buf *why)
{
	uint64_t n;
	int r = size_parse(&n, v);

	if (r == -ERANGE || (r == 0 && !in_bounds(o, n)))
		return refuse_bounds(o, v, why);
	if (r)
		return refuse(
			why, v, "is not a size: write bytes, or \"10KiB\", \"64MiB\", \"3GiB\"");
	*ret = n;
	return 0;
}

static int duration_set(const struct option *o, ms_t *ret, struct slice v, struct buf *why)
{
	ms_t d;
	int r = duration_parse(&d, v);

	if (r == -ERANGE || (r == 0 && !in_bounds(o, (uint64_t)d)))
		return refuse_bounds(o, v, why);
	if (r)
		return refuse(why, v,
			"is not a duration: write it like \"90s\", \"5m\", \"4h\" or \"2d\"");
	*ret = d;
	return 0;
}

static int rate_set(struct rate *ret, struct slice v, struct buf *why)
{
	struct rate rate = { 0 };

	if (!slice_case_eq(v, SLICE_LIT("none")) && rate_parse(&rate, v))
		return refuse(why, v,
			"is not a rate: write it like \"30/1m\" (30 in a minute), or \"none\"");
	*ret = rate;
	return 0;
}

/* Octal, as chmod takes it. */
static int mode_set(const struct option *o, uint32_t *ret, struct slice v, struct buf *why)
{
	uint32_t mode = 0;

	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] < '0' || v.p[i] > '7' || v.n > 4)
			return refuse(why, v, "is not a file mode such as \"0660\"");
		mode = mode * 8 + (uint32_t)(v.p[i] - '0');
	}
	if (v.n == 0 || mode > o->max)
		return refuse(why, v, "is not a file mode such as \"0660\"");
	*ret = mode;
	return 0;
}

/* A decimal fraction by hand: strtod follows the locale. 0, -EINVAL. */
static int fraction_parse(double *ret, struct slice v)
{
	uint64_t whole = 0, part = 0, scale = 1;
	const char *dot = v.n ? memchr(v.p, '.', v.n) : NULL;
	struct slice head = { v.p, dot ? (size_t)(dot - v.p) : v.n };
	struct slice tail = dot ? slice_from(v, head.n + 1) : (struct slice){ "0", 1 };

	if (slice_u64(head, &whole) || slice_u64(tail, &part) || tail.n > 6)
		return -EINVAL;
	for (size_t i = 0; i < tail.n; i++)
		scale *= 10;
	*ret = (double)whole + (double)part / (double)scale;
	return 0;
}

static int share_set(const struct option *o, double *ret, struct slice v, struct buf *why)
{
	double d;

	if (fraction_parse(&d, v))
		return refuse(why, v, "is not a fraction such as \"0.2\"");
	if (d * 1000 < (double)o->min || d * 1000 > (double)o->max)
		return refuse_bounds(o, v, why);
	*ret = d;
	return 0;
}

static int percent_set(const struct option *o, double *ret, struct slice v, struct buf *why)
{
	double d;

	if (v.n < 2 || v.p[v.n - 1] != '%' || fraction_parse(&d, (struct slice){ v.p, v.n - 1 }))
		return refuse(why, v, "is not a percentage such as \"0.5%\"");
	if (d * 10 < (double)o->min || d * 10 > (double)o->max)
		return refuse_bounds(o, v, why);
	*ret = d / 100;
	return 0;
}

static int choice_set(const struct option *o, unsigned *ret, struct slice v, struct buf *why)
{
	int r;

	for (unsigned i = 0; o->choices[i]; i++) {
		if (slice_eq(v, slice_of(o->choices[i]))) {
			*ret = i;
			return 0;
		}
	}
	r = refuse(why, v, "is none of ");
	for (unsigned i = 0; o->choices[i]; i++)
		buf_printf(why, "%s\"%s\"", i ? ", " : "", o->choices[i]);
	return r;
}

static int address_set(struct addr *ret, struct slice v, struct buf *why)
{
	return addr_parse(ret, v) ? refuse(why, v, "is not an IP address") : 0;
}

static int net_set(struct net *ret, struct slice v, struct buf *why)
{
	const char *slash = v.n ? memchr(v.p, '/', v.n) : NULL;
	struct addr a;

	if (net_parse(ret, v) == 0)
		return 0;
	if (slash && addr_parse(&a, (struct slice){ v.p, (size_t)(slash - v.p) }) == 0)
		return refuse(why, v,
			"is not a network: its length is too great, or bits behind it are set "
			"(write "
			"\"10.0.0.0/8\", not \"10.0.0.1/8\")");
	return refuse(why, v, "is not a network such as \"10.0.0.0/8\" or \"2001:db8::/32\"");
}

static int endpoint_set(struct endpoint *ret, struct slice v, struct buf *why)
{
	struct endpoint e = { 0 };

	if (addr_parse_port(&e.addr, &e.port, v))
		return refuse(why, v,
			"is not an address with a port such as \"127.0.0.1:2525\" or "
			"\"[::1]:2525\"");
	*ret = e;
	return 0;
}

static int http_set(struct config_http *ret, struct slice v, struct buf *why)
{
	struct endpoint e = { 0 };
	int r = v.n ? endpoint_set(&e, v, why) : 0;

	if (r)
		return r;
	*ret = (struct config_http){ .addr = e.addr, .port = e.port, .enabled = v.n > 0 };
	return 0;
}

/* A resolver: the port may be left out. Kept as text in one spelling. */
static int server_set(char **ret, struct slice v, struct buf *why)
{
	struct endpoint e = { .port = 53 };
	char text[ADDR_TEXT_MAX];
	struct buf b;
	int r;

	if (addr_parse(&e.addr, v) && (addr_parse_port(&e.addr, &e.port, v) || e.port == 0))
		return refuse(why, v,
			"is not a resolver's address such as \"127.0.0.1\" or \"127.0.0.1:53\"");
	addr_format(text, &e.addr);
	buf_init(&b, 0);
	r = buf_printf(&b, e.addr.family == ADDR_V6 ? "[%s]:%u" : "%s:%u", text, e.port);
	if (!r) {
		*ret = slice_dup(buf_slice(&b));
		r = *ret ? 0 : -ENOMEM;
	}
	buf_deinit(&b);
	return r;
}

static int item_text_set(char **ret, struct slice v, struct buf *why)
{
	if (v.n == 0)
		return refuse(why, v, "is empty");
	if (memchr(v.p, '\n', v.n) || memchr(v.p, '\r', v.n))
		return refuse(why, v, "must not contain a line end");
	*ret = slice_dup(v);
	return *ret ? 0 : -ENOMEM;
}

/* One value, or one item of a list, into place. */
static int item_set(const struct option *o, void *place, struct slice v, struct buf *why)
{
	struct option plain = { .max = INT64_MAX };
	uint64_t n = 0;
	int r;

	switch (o->type) {
	case OPTION_STRING:
	case OPTION_NAME:
	case OPTION_HOST:
	case OPTION_FILE:
		return text_set(o, place, v, why);
	case OPTION_BOOL:
		return bool_set(place, v, why);
	case OPTION_PORT:
		r = number_parse(o, &n, v, why);
		if (!r)
			*(uint16_t *)place = (uint16_t)n;
		return r;
	case OPTION_NUMBER:
		r = number_parse(o, &n, v, why);
		if (!r)
			*(uint32_t *)place = (uint32_t)n;
		return r;
	case OPTION_SIZE:
		return size_set(o, place, v, why);
	case OPTION_MODE:
		return mode_set(o, place, v, why);
	case OPTION_SHARE:
		return share_set(o, place, v, why);
	case OPTION_PERCENT:
		return percent_set(o, place, v, why);
	case OPTION_DURATION:
		return duration_set(o, place, v, why);
	case OPTION_RATE:
		return rate_set(place, v, why);
	case OPTION_CHOICE:
		return choice_set(o, place, v, why);
	case OPTION_ADDRESS:
		return address_set(place, v, why);
	case OPTION_NET:
	case OPTION_NETS:
		return net_set(place, v, why);
	case OPTION_HTTP:
		return http_set(place, v, why);
	case OPTION_STRINGS:
		return item_text_set(place, v, why);
	case OPTION_SERVERS:
		return server_set(place, v, why);
	case OPTION_NUMBERS:
		plain = (struct option){ .type = OPTION_NUMBER, .min = 1, .max = UINT32_MAX };
		r = number_parse(&plain, &n, v, why);
		if (!r)
			*(uint32_t *)place = (uint32_t)n;
		return r;
	case OPTION_DURATIONS:
		plain = (struct option){
			.type = OPTION_DURATION, .min = 1000, .max = 30ll * 86400000
		};
		return duration_set(&plain, place, v, why);
	case OPTION_ENDPOINTS:
		return endpoint_set(place, v, why);
	}
	return -EINVAL;
}

size_t value_item_size(const struct option *o)
{
	switch ((int)o->type) {
	case OPTION_NUMBERS:
		return sizeof(uint32_t);
	case OPTION_DURATIONS:
		return sizeof(ms_t);
	case OPTION_NETS:
		return sizeof(struct net);
	case OPTION_ENDPOINTS:
		return sizeof(struct endpoint);
	default:
		return sizeof(char *);
	}
}

static void items_free(const struct option *o, void *items, unsigned n)
{
	if (items && (o->type == OPTION_STRINGS || o->type == OPTION_SERVERS)) {
		for (unsigned i = 0; i < n; i++)
			free(((char **)items)[i]);
	}
	free(items);
}

static int list_set(const struct option *o, void *base, const char *const *values, unsigned n,
	unsigned *bad, struct buf *why)
{
	size_t size = value_item_size(o);
	char *items = NULL;
	int r = 0;

	if (n > o->max) {
		*bad = (unsigned)o->max;
		buf_printf(why, "has %u items; it may have %d", n, (int)o->max);
		return -EINVAL;
	}
	if (n > 0) {
		items = calloc(n, size);
		if (!items)
			return -ENOMEM;
	}
	for (unsigned i = 0; i < n && !r; i++) {
		*bad = i;
		r = item_set(o, items + i * size, slice_of(values[i]), why);
	}
	if (r) {
		items_free(o, items, n);
		return r;
	}
	value_free(o, base);
	memcpy((char *)base + o->at, &items, sizeof(items));
	*(unsigned *)((char *)base + o->count_at) = n;
	return 0;
}

bool option_is_list(const struct option *o)
{
	return o->type >= OPTION_STRINGS;
}

int value_set(const struct option *o, void *base, const char *const *values, unsigned n,
	unsigned *bad, struct buf *why)
{
	char *before = NULL;
	void *place = (char *)base + o->at;
	bool text = o->type <= OPTION_FILE;
	int r;

	*bad = 0;
	if (option_is_list(o))
		return list_set(o, base, values, n, bad, why);
	if (n == 0)
		return 0;
	if (text)
		memcpy(&before, place, sizeof(before));
	r = item_set(o, place, slice_of(values[n - 1]), why);
	if (!r && text)
		free(before);
	return r;
}

int value_set_text(const struct option *o, void *base, const char *text, struct buf *why)
{
	const char *values[64];
	char *copy = strdup(text), *at = copy, *item;
	unsigned n = 0, bad;
	int r;

	if (!copy)
		return -ENOMEM;
	if (option_is_list(o)) {
		while ((item = strsep(&at, ",")) && n < sizeof(values) / sizeof(values[0]))
			values[n++] = item;
	} else {
		values[n++] = copy;
	}
	r = value_set(o, base, values, n, &bad, why);
	free(copy);
	return r;
}

void value_free(const struct option *o, void *base)
{
	void *p = NULL;

	if (o->flags & OPTION_UNBOUND)
		return;
	if (option_is_list(o)) {
		unsigned *n = (unsigned *)((char *)base + o->count_at);

		memcpy(&p, (char *)base + o->at, sizeof(p));
		items_free(o, p, *n);
		*n = 0;
	} else if (o->type <= OPTION_FILE) {
		memcpy(&p, (char *)base + o->at, sizeof(p));
		free(p);
	} else {
		return;
	}
	memset((char *)base + o->at, 0, sizeof(p));
}
