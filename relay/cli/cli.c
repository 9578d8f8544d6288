/* What all commands share: options, usage, reading the configuration, values of an answer for
 * people. Main thread of a tool; cli_config also at the start of the relay. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OPTIONS_MAX (CLI_VALUES_MAX + 5)

static const char default_config[] = "/etc/postern/postern.conf";

static unsigned count_options(const struct cli_command *self)
{
	unsigned n = 0;

	while (self->options && self->options[n].name)
		n++;
	return n;
}

void cli_usage(const struct cli_command *self, FILE *to)
{
	char left[64];

	fprintf(to, "usage: postern %s%s%s%s%s\n\n%s\n", self->name,
		self->no_config ? "" : " [-c FILE]", count_options(self) ? " [OPTION…]" : "",
		*self->arguments ? " " : "", self->arguments, self->summary);
	if (self->help)
		fprintf(to, "\n%s\n", self->help);
	fprintf(to, "\n");
	if (!self->no_config)
		fprintf(to, "  %-26s %s (default %s)\n", "-c, --config FILE", "the configuration",
			default_config);
	if (self->asks) {
		fprintf(to, "  %-26s %s\n", "    --socket PATH",
			"the relay's control socket (default: as the configuration says)");
		fprintf(to, "  %-26s %s\n", "    --timeout DURATION",
			"how long it may say nothing (default 30s)");
	}
	for (unsigned i = 0; i < count_options(self); i++) {
		const struct cli_option *o = &self->options[i];
		const char letter[5] = { '-', o->letter, ',', ' ', 0 };

		snprintf(left, sizeof(left), "%s--%s%s%s", o->letter ? letter : "", o->name,
			o->argument ? " " : "", o->argument ? o->argument : "");
		fprintf(to, "  %-26s %s\n", left, o->help);
	}
	fprintf(to, "  %-26s %s\n", "-h, --help", "this text");
}

static void fill_options(
	const struct cli_command *self, unsigned n, struct option *longs, char *shorts)
{
	size_t s = 0;

	shorts[s++] = '+'; /* but permute by hand below: options may follow arguments */
	shorts[s++] = ':';
	for (unsigned i = 0; i < n; i++) {
		const struct cli_option *o = &self->options[i];

		longs[i] = (struct option){ o->name, o->argument ? required_argument : no_argument,
			NULL, 256 + (int)i };
		if (o->letter) {
			shorts[s++] = o->letter;
			if (o->argument)
				shorts[s++] = ':';
		}
	}
	longs[n] = (struct option){ "help", no_argument, NULL, 'h' };
	longs[n + 1] = (struct option){ "config", required_argument, NULL, 'c' };
	longs[n + 2] = (struct option){ "socket", required_argument, NULL, 'S' };
	longs[n + 3] = (struct option){ "timeout", required_argument, NULL, 'T' };
	longs[self->asks ? n + 4 : n + 2] = (struct option){ 0 };
	memcpy(shorts + s, "hc:", 4);
}

static int find_letter(const struct cli_command *self, unsigned n, int c)
{
	for (unsigned i = 0; i < n; i++)
		if (self->options[i].letter == c)
			return (int)i;
	return -1;
}

/* Options that several commands have. -1: it was one; 0: it was none; else the exit code. */
static int common_option(const struct cli_command *self, int c, struct cli_arguments *ret)
{
	if (c == 'c') {
		ret->config = optarg;
		return -1;
	}
	if (c == 'S') {
		ret->socket = optarg;
		return -1;
	}
	if (c != 'T')
		return 0;
	if (!duration_parse(&ret->timeout, slice_of(optarg)) && ret->timeout > 0)
		return -1;
	print_error("postern %s: --timeout '%s' is not a duration such as \"10s\" or \"5m\"\n",
		self->name, optarg);
	return EX_USAGE;
}

static int usage_error(const struct cli_command *self, int c, char **argv)
{
	const char *word = argv[optind - 1];

	print_error("postern %s: %s '%s'\n", self->name,
		c == ':' ? "an argument is missing after" : "there is no option", word);
	print_error("postern %s --help tells which there are\n", self->name);
	return EX_USAGE;
}

static int unexpected(const struct cli_command *self, const char *word)
{
	print_error("postern %s: '%s' is not expected here\n", self->name, word);
	print_error("postern %s --help tells what is\n", self->name);
	return EX_USAGE;
}

static bool add_select(
	const struct cli_command *self, const struct cli_option *o, struct cli_arguments *ret)
{
	if (ret->nselects == CLI_SELECTS_MAX) {
		print_error("postern %s: more than %d selectors: give ids by --id -\n", self->name,
			CLI_SELECTS_MAX);
		return false;
	}
	ret->selects[ret->nselects].word = o->name;
	ret->selects[ret->nselects++].value = optarg;
	return true;
}

int cli_parse(const struct cli_command *self, int argc, char **argv, struct cli_arguments *ret)
{
	struct option longs[OPTIONS_MAX];
	char shorts[3 * OPTIONS_MAX];
	unsigned n = count_options(self);
	int c, i, kept = 1;

	*ret = (struct cli_arguments){ .config = getenv("POSTERN_CONFIG") };
	if (!ret->config)
		ret->config = default_config;
	fill_options(self, n, longs, shorts);
	opterr = 0;
	optind = 1;
	while (optind < argc) {
		c = getopt_long(argc, argv, shorts, longs, NULL);
		if (c == -1) {
			if (optind < argc)
				argv[kept++] =
					argv[optind++]; /* not an option: kept, go on behind it */
			continue;
		}
		if (c == 'h') {
			cli_usage(self, stdout);
			return EX_OK;
		}
		if (c == '?' || c == ':' || (c == 'c' && self->no_config))
			return usage_error(self, c, argv);
		i = common_option(self, c, ret);
		if (i > 0)
			return i;
		if (i < 0)
			continue;
		i = c >= 256 ? c - 256 : find_letter(self, n, c);
		if (self->options[i].selects && !add_select(self, &self->options[i], ret))
			return EX_USAGE;
		ret->values[i] = optarg ? optarg : "";
	}
	ret->rest = argv + 1;
	ret->nrest = kept - 1;
	return ret->nrest && !self->takes_id ? unexpected(self, ret->rest[0]) : -1;
}

const char *cli_value(
	const struct cli_command *self, const struct cli_arguments *a, const char *name)
{
	for (unsigned i = 0; self->options && self->options[i].name; i++)
		if (!strcmp(self->options[i].name, name))
			return a->values[i];
	return NULL;
}

int cli_number(const struct cli_command *self, const struct cli_arguments *a, const char *name,
	long long *ret)
{
	const char *text = cli_value(self, a, name);
	char *end;

	*ret = 0;
	if (!text)
		return -1;
	errno = 0;
	*ret = strtoll(text, &end, 10);
	if (*text >= '0' && *text <= '9' && !*end && !errno)
		return -1;
	print_error("postern %s: --%s: '%s' is not a whole number\n", self->name, name, text);
	return EX_USAGE;
}

/* Errors, or without them the warnings, a line each. */
static void say_findings(const struct buf *errors, bool ok, bool quiet_warnings)
{
	if (buf_size(errors) && (!ok || !quiet_warnings))
		print_text(stderr, buf_slice(errors));
}

struct config *cli_config(const struct cli_arguments *a, bool quiet_warnings)
{
	struct config *c = NULL;
	struct buf errors;
	int r;

	buf_init(&errors, 1 << 20);
	r = config_load(&c, a->config, &errors);
	if (r && !buf_size(&errors))
		print_error("%s: %s\n", a->config, strerror(-r));
	else
		say_findings(&errors, r == 0, quiet_warnings);
	buf_deinit(&errors);
	return r ? NULL : c;
}

const char *text_of(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

long long number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

const char *human_size(char out[24], long long bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double v = (double)bytes;
	unsigned u = 0;

	while (v >= 1024 && u < 4) {
		v /= 1024;
		u++;
	}
	snprintf(out, 24, u ? "%.1f %s" : "%.0f %s", v, units[u]);
	return out;
}

const char *human_until(char out[32], const char *rfc3339)
{
	struct tm tm = { 0 };
	time_t left;

	out[0] = 0;
	if (!*rfc3339 || !strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &tm))
		return out;
	left = timegm(&tm) - time(NULL);
	if (left <= 0)
		snprintf(out, 32, "now");
	else
		duration_format(out, (ms_t)left * 1000);
	return out;
}
