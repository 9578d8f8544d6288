/* postern completion bash: a script that completes commands, their options and verbs in a shell. It
 * is made of the tables by which main.c finds commands and cli.c parses options, so it cannot say
 * others than there are. Main thread of a tool; packages run it when they are built. */
#include <ctype.h>
#include <string.h>

#include "cli.h"

/* Arguments of options and commands that are files, by what the tables call them. */
static bool is_file(const char *argument)
{
	static const char *const names[] = { "FILE", "PATH", "DIR", "DIRECTORY", "SCENARIO" };

	for (size_t i = 0; argument && i < sizeof(names) / sizeof(*names); i++)
		if (strstr(argument, names[i]))
			return true;
	return false;
}

/* Words in lower case are verbs, to be written as they are: "keygen DOMAIN | check [DOMAIN]". */
static void print_verbs(const char *arguments)
{
	const char *p = arguments;

	while (*p) {
		size_t n = strcspn(p, " |[]");

		if (n && islower((unsigned char)*p))
			print(" %.*s", (int)n, p);
		p += n ? n : 1;
	}
}

enum wanted { ALL, WITH_FILE, WITH_VALUE };

static bool is_wanted(const char *argument, enum wanted which)
{
	return which == ALL || (argument && is_file(argument) == (which == WITH_FILE));
}

static void print_option(const char *name, char letter, const char *argument, enum wanted which)
{
	if (!is_wanted(argument, which))
		return;
	print(" --%s", name);
	if (letter)
		print(" -%c", letter);
}

static void print_options(const struct cli_command *c, enum wanted which)
{
	if (!c->no_config)
		print_option("config", 'c', "FILE", which);
	if (c->asks) {
		print_option("socket", 0, "PATH", which);
		print_option("timeout", 0, "DURATION", which);
	}
	for (const struct cli_option *o = c->options; o && o->name; o++)
		print_option(o->name, o->letter, o->argument, which);
	print_option("help", 'h', NULL, which);
}

static void print_command(const struct cli_command *c)
{
	print("\t%s)\n\t\twords='", c->name);
	print_options(c, ALL);
	print_verbs(c->arguments);
	print("'\n\t\tfiles='");
	print_options(c, WITH_FILE);
	print(" '\n\t\tvalues='");
	print_options(c, WITH_VALUE);
	print(" '\n\t\tplain=%s\n\t\t;;\n", is_file(c->arguments) ? "files" : "");
}

static const char head[] =
	"# bash completion of postern, printed by `postern completion bash`.\n"
	"_postern()\n{\n"
	"\tlocal words='' files='' values='' plain='' cur=${COMP_WORDS[COMP_CWORD]}\n"
	"\tlocal before=${COMP_WORDS[COMP_CWORD - 1]}\n"
	"\tCOMPREPLY=()\n"
	"\tif ((COMP_CWORD == 1)); then\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -W '--help --version";
static const char middle[] = "' -- \"$cur\")\n\t\treturn\n\tfi\n\tcase ${COMP_WORDS[1]} in\n";
static const char tail[] =
	"\tesac\n"
	"\tif [[ $values == *\" $before \"* ]]; then\n\t\treturn\n\tfi\n"
	"\tif [[ $files == *\" $before \"* || ($plain && $cur != -*) ]]; then\n"
	"\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n\t\treturn\n\tfi\n"
	"\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
	"}\n"
	"complete -o filenames -F _postern postern\n";

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	if (a.nrest != 1 || strcmp(a.rest[0], "bash")) {
		print_error("postern completion: say for which shell: bash\n");
		return EX_USAGE;
	}
	print("%s", head);
	for (size_t i = 0; cli_commands[i]; i++)
		print(" %s", cli_commands[i]->name);
	print("%s", middle);
	for (size_t i = 0; cli_commands[i]; i++)
		print_command(cli_commands[i]);
	print("%s", tail);
	return EX_OK;
}

const struct cli_command command_completion = {
	.name = "completion",
	.arguments = "bash",
	.summary = "Print a script that completes commands and options in a shell.",
	.help = "Packages install it; by hand: source <(postern completion bash)",
	.run = run,
	.no_config = true,
	.takes_id = true,
};
