/* Inside relay/cli: commands that act on chosen mail. */
#pragma once

#include "cli.h"
#include "postern/selector.h"

#define SELECTOR_ROW(word, text, value, says)                                                      \
	{ .name = text, .argument = value, .help = says, .selects = true },
#define SELECTOR_OPTIONS                                                                           \
	SELECTOR_WORDS(SELECTOR_ROW)                                                               \
	{                                                                                          \
		.name = "domain", .argument = "NAME", .help = "the same as --to @NAME"             \
	}

bool cli_selects(const struct cli_arguments *a);
/* Asks the relay base (taken; NULL: an argument is no UTF-8) for what the arguments select, as
 * cli_ask_and_print does. */
int cli_select_and_ask(const struct cli_arguments *a, json_t *base, bool json,
	void (*each)(void *arg, const json_t *line), void *arg);
/* Asks whoever sits at the terminal; without one the answer is no. */
bool cli_sure(const struct cli_command *self, const char *what);
