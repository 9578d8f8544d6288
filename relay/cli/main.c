/* main(): finds the command by its name and runs it. The exit code is the command's, unless its
 * output could not be written. */
#include <errno.h>
#include <string.h>

#include "cli.h"

const struct cli_command *const cli_commands[] = {
	&command_run,
	&command_check,
	&command_check_queue,
	&command_queue,
	&command_show,
	&command_retry,
	&command_hold,
	&command_release,
	&command_orders,
	&command_remove,
	&command_bounce,
	&command_why,
	&command_history,
	&command_transcript,
	&command_evidence,
	&command_doctor,
	&command_lanes,
	&command_clusters,
	&command_warmup,
	&command_suspend,
	&command_resume,
	&command_classify,
	&command_dkim,
	&command_import,
	&command_rehearse,
	&command_stats,
	&command_reload,
	&command_completion,
	&command_version,
	NULL,
};

static void usage(FILE *to)
{
	fprintf(to, "usage: postern COMMAND [OPTION…]\n\nPostern relays mail of application "
		    "servers to Microsoft 365 and elsewhere.\n\n");
	for (size_t i = 0; cli_commands[i]; i++)
		fprintf(to, "  %-12s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
	fprintf(to, "\npostern COMMAND --help tells more. Manual page: postern(8).\n");
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	int r;

	if (!*name || !strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
		usage(*name ? stdout : stderr);
		return *name ? EX_OK : EX_USAGE;
	}
	if (!strcmp(name, "--version") || !strcmp(name, "-V"))
		name = "version";
	for (size_t i = 0; cli_commands[i]; i++) {
		if (strcmp(cli_commands[i]->name, name))
			continue;
		r = cli_commands[i]->run(cli_commands[i], argc - 1, argv + 1);
		if (fflush(stdout) && r == EX_OK && errno != EPIPE)
			r = EX_IOERR;
		return r;
	}
	print_error("postern: there is no command '%s': postern --help lists them\n", name);
	return EX_USAGE;
}
