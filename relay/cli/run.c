/* postern run: the relay's main thread. It starts the service, then sleeps in signalfd until it is
 * to reload, to reopen the log, or to end.
 *
 * Order: configuration → signals blocked (all threads inherit that) → service → pid file → READY →
 * signals → drain → free. The pid file comes last, so that a second relay that fails to start
 * leaves the first one's alone. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli.h"
#include "process.h"
#include "service.h"

/* Signals are read from a descriptor by the main thread; all other threads inherit the mask. */
static int open_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static int next_signal(int fd)
{
	struct signalfd_siginfo si;
	ssize_t n;

	do
		n = read(fd, &si, sizeof(si));
	while (n < 0 && errno == EINTR);
	return n == sizeof(si) ? (int)si.ssi_signo : SIGTERM;
}

static void reload(struct service *s)
{
	struct buf why, restart;

	buf_init(&why, 64 * 1024);
	buf_init(&restart, 64 * 1024);
	notify_manager("RELOADING=1");
	service_reload(s, &why, &restart); /* logs its outcome */
	notify_manager("READY=1");
	buf_deinit(&restart);
	buf_deinit(&why);
}

static void serve(struct service *s, int signals)
{
	for (;;) {
		switch (next_signal(signals)) {
		case SIGHUP:
			reload(s);
			break;
		case SIGUSR1:
			if (log_reopen(service_log(s)))
				log_event(service_log(s), LOG_ERR, "log-reopen",
					"the log file cannot be opened again: the old one stays in "
					"use");
			break;
		default: /* SIGTERM, SIGINT */
			notify_manager("STOPPING=1\nSTATUS=Finishing running transactions");
			log_event(service_log(s), LOG_NOTICE, "stopping",
				"a second SIGTERM stops at once");
			service_drain(s, signals);
			return;
		}
	}
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	struct service *s = NULL;
	struct config *c;
	char error[1024] = "";
	struct pid_file pid = { .fd = -1 };
	int signals, r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	c = cli_config(&a, false);
	if (!c)
		return EX_CONFIG;
	signals = open_signals();
	privilege_harden();
	if (signals < 0) {
		config_free(c);
		return EX_OSERR;
	}
	r = service_start(&s, c, error, sizeof(error));
	/* only now: whoever fails to start, say because another relay runs, leaves that one's alone
	 */
	if (!r && pid_file_write(&pid, service_pid_file(s), error, sizeof(error)))
		r = EX_CANTCREAT;
	if (r) {
		fprintf(stderr, "postern: %s\n", error);
	} else {
		log_event(service_log(s), LOG_NOTICE, "started", "Postern %s", POSTERN_VERSION);
		notify_manager("READY=1\nSTATUS=Relaying");
		serve(s, signals);
	}
	service_free(s);
	pid_file_remove(&pid);
	close(signals);
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
