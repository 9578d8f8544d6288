/* Inside relay/cli: what the subcommands share. */
#pragma once

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <sysexits.h>

#include "postern/answer.h"
#include "postern/config.h"

struct cli_option {
	const char *name;     /* long name */
	char letter;	      /* 0: none */
	const char *argument; /* what its argument is called; NULL: takes none */
	const char *help;
	bool selects; /* a word of a selector: may be given several times */
};

struct cli_command {
	const char *name, *arguments, *summary;
	const char *help; /* paragraphs for --help */
	const struct cli_option
		*options; /* ended by a row without name; -c and --help are common to all */
	/* sysexits.h code */
	int (*run)(const struct cli_command *self, int argc, char **argv);
	bool no_config; /* does not take -c */
	bool asks;	/* the running relay: takes --socket and --timeout */
	bool takes_id;	/* or a file: words that are no options */
};

extern const struct cli_command command_run, command_check, command_queue, command_show,
	command_retry, command_remove, command_bounce, command_hold, command_release,
	command_orders, command_lanes, command_clusters, command_suspend, command_resume,
	command_classify, command_stats, command_reload, command_rehearse, command_version,
	command_check_queue, command_warmup, command_why, command_history, command_dkim,
	command_transcript, command_evidence, command_doctor, command_completion;
extern const struct cli_command command_import;
/* All of them, in the order of --help; ended by NULL. In main.c. */
extern const struct cli_command *const cli_commands[];

#define CLI_VALUES_MAX	32
#define CLI_SELECTS_MAX 256
struct cli_arguments {
	const char *config;		    /* -c */
	const char *socket;		    /* --socket; NULL: as the configuration says */
	ms_t timeout;			    /* --timeout; 0: the default */
	const char *values[CLI_VALUES_MAX]; /* by position in self->options: its argument, or ""
					       when it was given without */
	struct {
		const char *word, *value;
	} selects[CLI_SELECTS_MAX]; /* options that select, in order */
	unsigned nselects;
	char **rest; /* what is not an option */
	int nrest;
};
/* Parses argv by self->options. Returns -1 to go on, else the exit code (after --help or an error,
 * both said). */
int cli_parse(const struct cli_command *self, int argc, char **argv, struct cli_arguments *ret);
/* The value of option name; NULL when it was not given. */
const char *cli_value(
	const struct cli_command *self, const struct cli_arguments *a, const char *name);
/* A whole number given as option name, 0 when it was not given. Returns -1 to go on, else the exit
 * code. */
int cli_number(const struct cli_command *self, const struct cli_arguments *a, const char *name,
	long long *ret);
/* Loads a->config, or says all errors and returns NULL. quiet_warnings for read commands. */
struct config *cli_config(const struct cli_arguments *a, bool quiet_warnings);
void cli_usage(const struct cli_command *self, FILE *to);

/* A whole command that asks the running relay, found by --socket, else by the file's control
 * section, else at the default path. Takes the reference; NULL: an argument is not UTF-8. json true
 * prints the answers as they are; else each gets them, with all texts escaped. Returns the exit
 * code, after saying the error if there was one. */
int cli_ask_and_print(const struct cli_arguments *a, json_t *request, bool json,
	void (*each)(void *arg, const json_t *line), void *arg);

/* The same for a command that makes something of the answers: each gets them as they came, texts of
 * others and all. */
int cli_ask_and_collect(const struct cli_arguments *a, json_t *request,
	void (*each)(void *arg, const json_t *line), void *arg);

/* ---- print.c: the only way to a terminal. What of a text is no UTF-8, or would be obeyed, is
 * shown escaped; lines and tabs stay ---- */
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void print_error(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* standard error */
void print_text(FILE *to, struct slice s);
/* A line of its own on a terminal, written over by the next one; to nothing else. */
void print_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void print_progress_end(void);
/* A message's bytes: as they are into a file or pipe, escaped on a terminal. */
void print_content(struct slice s);
/* One line of JSON, in which characters that a terminal obeys go by number. NULL: says so. */
void print_json(const json_t *j);
void print_json_take(json_t *j); /* the same, and drops the reference */
/* A new reference to the same with all its texts escaped: for print, in which a line end of another
 * would begin a line of ours. NULL: out of memory. */
json_t *print_shown(json_t *j);

/* Text for people out of answer values: never NULL. */
const char *text_of(const json_t *object, const char *key);
long long number_of(const json_t *object, const char *key);
/* "12.3 MiB" */
const char *human_size(char out[24], long long bytes);
/* "2h05m" until an RFC 3339 time; "" for null */
const char *human_until(char out[32], const char *rfc3339);
