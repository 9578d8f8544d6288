/* The relay's main thread, called by `postern run`. It starts the service, then sleeps in signalfd until it is
 * to reload, to reopen the log, or to end.
 *
 * Order: signals blocked (all threads inherit that) → service → pid file → READY →
 * signals → drain → free. The pid file comes last, so that a second relay that fails to start
 * leaves the first one's alone. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include "postern/daemon.h"
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

/* Meanwhile the manager is told that all is well. */
static void wait_for_signal(int fd, struct watchdog *w)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (poll(&p, 1, watchdog_wait(w)) <= 0)
		watchdog_tick(w);
}

static int next_signal(int fd, struct watchdog *w)
{
	struct signalfd_siginfo si;
	ssize_t n;

	wait_for_signal(fd, w);
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

static void serve(struct service *s, int signals, struct watchdog *w)
{
	for (;;) {
		switch (next_signal(signals, w)) {
		case SIGHUP:
			reload(s);
			break;
		case SIGUSR1:
			if (log_reopen(service_log(s)))
				log_event(service_log(s), LOG_ERR, EVENT_LOG_REOPEN,
					"the log file cannot be opened again: the old one stays in "
					"use");
			break;
		default: /* SIGTERM, SIGINT */
			notify_manager("STOPPING=1\nSTATUS=Finishing running transactions");
			log_event(service_log(s), LOG_NOTICE, EVENT_STOPPING,
				"a second SIGTERM stops at once");
			service_drain(s, signals);
			return;
		}
	}
}

int daemon_run(struct config *c, const char *version, char *error, size_t error_max)
{
	struct service *s = NULL;
	struct watchdog *w = NULL;
	struct pid_file pid = { .fd = -1 };
	int r, signals = open_signals();

	privilege_harden();
	if (signals < 0) {
		snprintf(error, error_max, "cannot receive signals: %s", strerror(errno));
		config_free(c);
		return EX_OSERR;
	}
	r = service_start(&s, c, error, error_max);
	/* only now: whoever fails to start, say because another relay runs, leaves that one's alone
	 */
	if (!r && pid_file_write(&pid, service_pid_file(s), error, error_max))
		r = EX_CANTCREAT;
	if (!r) {
		log_event(service_log(s), LOG_NOTICE, EVENT_STARTED, "Postern %s", version);
		notify_manager("READY=1\nSTATUS=Relaying");
		w = watchdog_new(s);
		serve(s, signals, w);
	}
	service_free(s);
	watchdog_free(w); /* a thread may have answered until now */
	pid_file_remove(&pid);
	close(signals);
	return r;
}
