/* m365sim: a receiver as Microsoft 365 is one, on loopback, for the tests of a sender. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "conn.h"
#include "postern/clock.h"

static const char usage[] =
	"m365sim [OPTIONS] SCENARIO      run; one JSON line with the addresses when ready\n"
	"m365sim check SCENARIO          say what is wrong with a scenario, with line numbers\n"
	"\n"
	"  --port N          SMTP port of all front ends (0: chosen by the kernel)\n"
	"  --dns ADDR:PORT   DNS server, UDP and TCP (127.0.0.1:0)\n"
	"  --control ADDR    control socket: ADDR:PORT, or a path with a slash (127.0.0.1:0)\n"
	"  --ca-file FILE    write the certificate authority there\n"
	"  --detail          keep an event for every delivery and refusal\n"
	"  --detail-max N    that many at most (200000)\n"
	"  --hash            SHA-256 of each message's content (in events)\n"
	"  --store DIR       keep the content of each message as DIR/NNNNNNNN.eml\n"
	"  --expect N        make room for N deliveries at once\n"
	"  --threads N       event loops (1); caps and peaks are exact with one only\n"
	"  --seed N          of the random numbers (the scenario's)\n"
	"  --quiet           no summary at the end\n"
	"  --help\n"
	"\n"
	"SIGTERM or SIGINT ends it; the summary goes to standard output.\n"
	"Scenario syntax and control commands: tests/sim/README.md.\n";

enum {
	OPT_PORT = 256,
	OPT_DNS,
	OPT_CONTROL,
	OPT_CA,
	OPT_DETAIL,
	OPT_DETAIL_MAX,
	OPT_HASH,
	OPT_STORE,
	OPT_EXPECT,
	OPT_THREADS,
	OPT_SEED,
	OPT_QUIET,
	OPT_HELP
};

static const struct option options[] = {
	{ "port", required_argument, NULL, OPT_PORT },
	{ "dns", required_argument, NULL, OPT_DNS },
	{ "control", required_argument, NULL, OPT_CONTROL },
	{ "ca-file", required_argument, NULL, OPT_CA },
	{ "detail", no_argument, NULL, OPT_DETAIL },
	{ "detail-max", required_argument, NULL, OPT_DETAIL_MAX },
	{ "hash", no_argument, NULL, OPT_HASH },
	{ "store", required_argument, NULL, OPT_STORE },
	{ "expect", required_argument, NULL, OPT_EXPECT },
	{ "threads", required_argument, NULL, OPT_THREADS },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "quiet", no_argument, NULL, OPT_QUIET },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

static uint64_t number(const char *option, const char *text, uint64_t max)
{
	char *end;
	unsigned long long v = strtoull(text, &end, 10);

	if (!*text || *end || *text == '-' || v > max)
		die("--%s: '%s' is no number up to %llu", option, text, (unsigned long long)max);
	return v;
}

static void parse_options(struct sim_options *o, int argc, char **argv)
{
	int c;

	*o = (struct sim_options){
		.dns = "127.0.0.1:0", .control = "127.0.0.1:0", .threads = 1, .detail_max = 200000
	};
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case OPT_PORT:
			o->port = (int)number("port", optarg, 65535);
			break;
		case OPT_DNS:
			o->dns = optarg;
			break;
		case OPT_CONTROL:
			o->control = optarg;
			break;
		case OPT_CA:
			o->ca_file = optarg;
			break;
		case OPT_DETAIL:
			o->detail = true;
			break;
		case OPT_DETAIL_MAX:
			o->detail_max = number("detail-max", optarg, 100000000);
			break;
		case OPT_HASH:
			o->hash = true;
			break;
		case OPT_STORE:
			o->store = optarg;
			break;
		case OPT_EXPECT:
			o->expect = number("expect", optarg, 1000000000);
			break;
		case OPT_THREADS:
			o->threads = (int)number("threads", optarg, 64);
			break;
		case OPT_SEED:
			o->seed = number("seed", optarg, UINT64_MAX);
			o->seed_given = true;
			break;
		case OPT_QUIET:
			o->quiet = true;
			break;
		case OPT_HELP:
			fputs(usage, stdout);
			exit(0);
		default:
			fputs(usage, stderr);
			exit(64);
		}
	}
	if (optind + 1 != argc) {
		fputs(usage, stderr);
		exit(64);
	}
	o->scenario = argv[optind];
	if (o->threads < 1)
		o->threads = 1;
}

static struct scenario *load(const char *path)
{
	struct scenario *sc;
	struct buf errors;

	buf_init(&errors, 0);
	if (scenario_load(&sc, path, NULL, &errors)) {
		fwrite(buf_slice(&errors).p, 1, buf_size(&errors), stderr);
		exit(78);
	}
	buf_deinit(&errors);
	return sc;
}

static int check(const char *path)
{
	struct scenario *sc = load(path);

	printf("%s: %zu clusters, %zu front ends, %zu tenant patterns\n", path, sc->nclusters,
		sc->nby_ip, sc->ntenants);
	scenario_unref(sc);
	return 0;
}

struct signals {
	struct io io;
	struct sim *sim;
};

static void on_signal(struct loop *lp, struct io *io, uint32_t events)
{
	struct signalfd_siginfo si;

	if (read(io->fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		lp->sim->quit = true;
}

static void signals_start(struct sim *s, struct signals *sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	sig->sim = s;
	sig->io = (struct io){ .fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC),
		.fn = on_signal };
	if (sig->io.fd < 0)
		die("signalfd: %s", strerror(errno));
	io_add(&s->loops[0], &sig->io, EPOLLIN);
}

static void more_files(void)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
}

static bool loop_ended(const struct loop *lp)
{
	return lp->sim->quit;
}

static int loop_wait_most(const struct loop *lp)
{
	return lp->index == 0 && lp->sim->nloops > 1 && control_waiting(lp->sim) ? 2 : 500;
}

static void loop_round(struct loop *lp)
{
	if (lp->conns->advance_seen != lp->sim->advances) {
		lp->conns->advance_seen = lp->sim->advances;
		conn_rearm_all(lp);
	}
	if (lp->index == 0)
		control_tick(lp->sim);
	conn_reap(lp);
}

static void loop_begin(struct sim *s, int index)
{
	static const struct loop_ops ops = { loop_ended, loop_wait_most, loop_round };
	struct loop *lp = &s->loops[index];

	lp->sim = s;
	lp->index = index;
	lp->conns = xcalloc(1, sizeof(*lp->conns));
	lp->conns->rbuf = xcalloc(1, READ_MAX);
	lp->conns->pbuf = xcalloc(1, READ_MAX);
	loop_init(lp, &ops);
}

static void loop_end(struct loop *lp)
{
	loop_deinit(lp);
	free(lp->conns->rbuf);
	free(lp->conns->pbuf);
	free(lp->conns);
}

static void start(struct sim *s, char **dns, char **control)
{
	struct buf errors;
	int r;

	buf_init(&errors, 0);
	s->loops = xcalloc((size_t)s->opt.threads, sizeof(*s->loops));
	s->nloops = s->opt.threads;
	pthread_mutex_init(&s->lock, NULL);
	for (int i = 0; i < s->nloops; i++)
		loop_begin(s, i);
	s->t0 = s->loops[0].now;
	ledger_init(&s->ledger, s->opt.detail, s->opt.detail_max, s->opt.expect);
	sim_bind_names(s, s->sc);
	rng_seed(&s->rng, s->opt.seed_given ? s->opt.seed : s->sc->seed);
	s->smtp_port = s->opt.port;
	if (tls_init(s))
		die("cannot write %s: %s", s->opt.ca_file, strerror(errno));
	r = dns_open(&s->dns, &s->loops[0], s->opt.dns, sim_dns_answer, s, dns);
	if (r)
		die("cannot serve DNS at %s: %s", s->opt.dns, strerror(-r));
	r = control_start(s, s->opt.control, control);
	if (r)
		die("cannot listen at %s: %s", s->opt.control, strerror(-r));
	if (sim_listen(s, &errors)) {
		put(&errors, "", 1);
		die("%s", buf_slice(&errors).p);
	}
	buf_deinit(&errors);
}

static void say_ready(struct sim *s, const char *dns, const char *control)
{
	struct buf b;

	buf_init(&b, 0);
	put_fmt(&b, "{\"ready\":true,\"dns\":\"%s\",\"smtp_port\":%d,\"control\":", dns,
		s->smtp_port);
	put_json(&b, control);
	PUT_LIT(&b, ",\"ca_file\":");
	put_json(&b, s->opt.ca_file);
	put_fmt(&b, ",\"pid\":%d}\n", (int)getpid());
	fwrite(buf_slice(&b).p, 1, buf_size(&b), stdout);
	fflush(stdout);
	buf_deinit(&b);
}

static void say_summary(struct sim *s)
{
	struct buf b;

	if (s->opt.quiet)
		return;
	buf_init(&b, 0);
	summary_json(s, &b);
	fwrite(buf_slice(&b).p, 1, buf_size(&b), stdout);
	fflush(stdout);
	buf_deinit(&b);
}

static void stop(struct sim *s)
{
	control_stop(s);
	s->dns = dns_close(s->dns);
	sim_unlisten(s);
	for (int i = 0; i < s->nloops; i++)
		conn_close_all(&s->loops[i]);
	for (int i = 0; i < s->nloops; i++)
		loop_end(&s->loops[i]);
	tls_deinit(s);
	ledger_deinit(&s->ledger);
	scenario_unref(s->sc);
	pthread_mutex_destroy(&s->lock);
	free(s->loops);
}

static void *thread_main(void *arg)
{
	loop_run(arg);
	return NULL;
}

static int run(struct sim *s)
{
	struct signals sig;
	char *dns = NULL, *control = NULL;

	more_files();
	start(s, &dns, &control);
	signals_start(s, &sig);
	for (int i = 1; i < s->nloops; i++) {
		if (pthread_create(&s->loops[i].thread, NULL, thread_main, &s->loops[i]))
			die("cannot start a thread");
	}
	say_ready(s, dns, control);
	loop_run(&s->loops[0]);
	for (int i = 1; i < s->nloops; i++)
		pthread_join(s->loops[i].thread, NULL);
	say_summary(s);
	stop(s);
	close(sig.io.fd);
	free(dns);
	free(control);
	return 0;
}

int main(int argc, char **argv)
{
	static struct sim sim;

	if (argc == 3 && strcmp(argv[1], "check") == 0)
		return check(argv[2]);
	parse_options(&sim.opt, argc, argv);
	sim.sc = load(sim.opt.scenario);
	return run(&sim);
}
