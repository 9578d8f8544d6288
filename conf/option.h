/* What an option is: one row of a table gives its name, type, place in the parameters, default,
 * bounds and help. All reading, checking, printing and freeing of values goes by these rows. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "postern/buf.h"
#include "postern/config.h"

#define LADDER_MAX 400 /* rungs of a warm-up */

enum option_type {
	OPTION_STRING,	  /* char *; NULL when empty */
	OPTION_NAME,	  /* the same, with the characters of a name only */
	OPTION_HOST,	  /* the same, a domain name */
	OPTION_FILE,	  /* the same, a regular file that can be read */
	OPTION_BOOL,	  /* bool */
	OPTION_PORT,	  /* uint16_t */
	OPTION_NUMBER,	  /* uint32_t */
	OPTION_SIZE,	  /* uint64_t, bytes */
	OPTION_MODE,	  /* uint32_t, octal file mode */
	OPTION_SHARE,	  /* double; bounds in thousandths */
	OPTION_PERCENT,	  /* double; written "0.5%"; bounds in thousandths */
	OPTION_DURATION,  /* ms_t */
	OPTION_RATE,	  /* struct rate; "none" is count 0 */
	OPTION_CHOICE,	  /* an enum; place of the word in choices */
	OPTION_ADDRESS,	  /* struct addr */
	OPTION_NET,	  /* struct net */
	OPTION_HTTP,	  /* struct config_http */
	OPTION_STRINGS,	  /* from here on lists: pointer and count; char ** */
	OPTION_SERVERS,	  /* char **, each "address:port" */
	OPTION_NUMBERS,	  /* uint32_t * */
	OPTION_DURATIONS, /* ms_t * */
	OPTION_NETS,	  /* struct net * */
	OPTION_ENDPOINTS, /* struct endpoint * */
};

/* The form of listener_params.addresses */
struct endpoint {
	struct addr addr;
	uint16_t port;
};

enum option_flag {
	OPTION_REQUIRED = 1,
	OPTION_LIVE = 2, /* may change in a reload */
	OPTION_ZERO = 4, /* 0 is allowed below the minimum; the help says what it means */
	OPTION_UNBOUND =
		8, /* has no place in the parameters: the reader of its section asks for it */
};

struct option {
	const char *name;
	enum option_type type;
	size_t at, count_at;  /* offsets in the section's struct */
	const char *fallback; /* default as text; items of lists separated by commas; NULL: none */
	int64_t min, max;     /* of numbers, or the number of items of a list */
	const char *help;
	unsigned flags;
	const char *const *choices; /* OPTION_CHOICE: NULL-terminated */
};

enum section_id {
	SECTION_ROOT,
	SECTION_QUEUE,
	SECTION_DISPATCH,
	SECTION_DNS,
	SECTION_CONTROL,
	SECTION_HTTP,
	SECTION_LOG,
	SECTION_LISTENER,
	SECTION_SOURCE,
	SECTION_POOL,
	SECTION_PROVIDER,
	SECTION_SENDER,
	SECTION_CLASS,
	SECTION_WARMUP,
	SECTION_DKIM,
	SECTION_COUNT
};

struct section {
	const char *name; /* "" for what stands outside all sections */
	const char *help;
	const struct option *options;
	unsigned noptions;
	/* titled sections may be given any number of times and fill an array of structs */
	bool titled;
	bool repeats; /* several may have one title */
	size_t size, array_at, count_at, name_at;
};
extern const struct section sections[SECTION_COUNT];
/* What a kind of file may hold; the first section is what stands outside all others. */
struct schema {
	const struct section *sections;
	unsigned n;
	const char *names; /* where they can be looked up */
};
#define SCHEMA_SECTIONS_MAX 20
extern const struct schema config_schema;

const struct option *option_find(const struct section *s, struct slice name);
bool option_is_list(const struct option *o);
/* The value that a provider of this name has built in, or NULL. */
const char *option_builtin(const char *provider, const char *option);
#define BUILTIN_PROVIDERS 3
extern const char
	*const builtin_providers[BUILTIN_PROVIDERS]; /* in the order in which they are matched */

/* The elements of a titled section in a configuration. */
void *section_element(const struct section *s, const void *base, unsigned i);
unsigned section_count(const struct section *s, const void *base);

/* ---- values ---- */

/* Parses n values into base. 0, -ENOMEM, or -EINVAL with the reason, and what would be right,
 * appended to why and the number of the bad value in *bad. On failure the place is unchanged. */
int value_set(const struct option *o, void *base, const char *const *values, unsigned n,
	unsigned *bad, struct buf *why);
/* The same from one text with commas between the items of a list. */
int value_set_text(const struct option *o, void *base, const char *text, struct buf *why);
void value_free(const struct option *o, void *base);
/* The default as it is when text is left out; provider: its name, else NULL. Scratch memory is made
 * and freed inside. Nothing is appended when there is none. */
int value_format_default(
	const struct section *kind, const struct option *o, const char *provider, struct buf *out);
/* Does this network cover so much of the Internet that it is nobody's own? */
bool net_is_world(const struct net *n);
/* A section with its options, as text for people or (roff) for the manual page. */
int section_describe(struct buf *out, const struct section *kind, bool roff);
/* In the file's syntax. */
int value_format(const struct option *o, const void *base, struct buf *out);
/* A bound or a default of a numeric option as people write it. */
int value_format_number(const struct option *o, int64_t v, struct buf *out);
/* "string", with what the syntax wants escaped. */
int value_quote(struct slice s, struct buf *out);
bool host_name_valid(struct slice s);
bool name_valid(struct slice s);
