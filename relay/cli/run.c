/* postern run: the configuration is read, then the daemon has the process. Main thread. */
#include "cli.h"
#include "postern/daemon.h"

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	struct config *c;
	char error[1024] = "";
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	c = cli_config(&a, false);
	if (!c)
		return EX_CONFIG;
	r = daemon_run(c, POSTERN_VERSION, error, sizeof(error));
	if (*error)
		print_error("postern: %s\n", error);
	return r;
}

const struct cli_command command_run = {
	.name = "run",
	.arguments = "",
	.summary = "Run the relay in the foreground.",
	.help = "SIGTERM drains: no new mail, running transactions finish; a second one stops at "
		"once. SIGHUP reads the configuration again,\n"
		"SIGUSR1 opens the log file again.",
	.run = run,
};
