/* postern doctor, of this machine: name servers, clock, descriptors, the disk's time for a sync, ends
 * of certificates. Main thread of a tool. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "doctor.h"

#define SYNCS	    15u
#define SYNC_SLOW   20.0 /* ms */
#define DAYS_WARN   14
#define OTHER_FILES 200u

static bool is_local(struct slice server)
{
	struct addr a;
	uint16_t port;

	return !addr_parse_port(&a, &port, server) || !addr_parse(&a, server)
		       ? (a.family == ADDR_V4 ? a.ip[0] == 127 : a.ip[15] == 1 && a.ip[0] == 0)
		       : false;
}

/* Those of the system, when the configuration names none. */
static unsigned system_servers(bool *local)
{
	FILE *f = fopen("/etc/resolv.conf", "re");
	char line[512], server[128];
	unsigned n = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "nameserver %127s", server) == 1) {
			n++;
			*local = *local || is_local(slice_of(server));
		}
	if (f)
		fclose(f);
	return n;
}

static void resolver(struct doctor *d)
{
	bool local = false;
	unsigned n = d->dns->nservers;

	for (unsigned i = 0; i < n; i++)
		local = local || is_local(slice_of(d->dns->servers[i]));
	if (!n)
		n = system_servers(&local);
	if (local)
		doctor_good(d, "resolver", "dns", "one of %u name servers is on this machine", n);
	else
		doctor_tell(d,
			&(struct finding){ FINDING_WARNING, "resolver", "dns",
				"every message needs look-ups; block lists do not answer resolvers that "
				"many share",
				"run unbound here, and let dns { servers } name it" },
			"none of %u name servers is on this machine", n);
}

static void clock_of(struct doctor *d)
{
	struct timex t = { 0 };
	int state = adjtimex(&t);

	if (state < 0)
		return;
	if (state == TIME_ERROR || (t.status & STA_UNSYNC))
		doctor_tell(d,
			&(struct finding){ FINDING_WARNING, "clock", "machine",
				"a clock that is wrong shows in Date and Received, ends certificates "
				"early, and moves retries",
				"run chrony or systemd-timesyncd" },
			"the kernel says that the clock is not kept by anybody");
	else
		doctor_good(d, "clock", "machine", "it is kept in time");
}

static void descriptors(struct doctor *d)
{
	uint64_t need = OTHER_FILES + d->config->outbound_max;
	struct rlimit l;

	for (unsigned i = 0; i < d->config->nlisteners; i++)
		need += d->config->listeners[i].sessions_max;
	if (getrlimit(RLIMIT_NOFILE, &l))
		return;
	if (l.rlim_max < need)
		doctor_tell(d,
			&(struct finding){ FINDING_WARNING, "files", "machine",
				"without a descriptor no session can be taken, and no connection made; the "
				"relay takes fewer of both then",
				"raise LimitNOFILE in the unit file, as the one that comes with postern" },
			"%llu files may be open from here, and sessions and connections may need %llu",
			(unsigned long long)l.rlim_max, (unsigned long long)need);
	else
		doctor_good(d, "files", "machine", "%llu files may be open",
			(unsigned long long)l.rlim_max);
}

/* ---- the disk ---- */

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The middle of some writes of a page with a sync, in ms; negative: -errno. */
static double sync_time(const char *dir)
{
	char path[4096], page[4096] = { 0 };
	double times[SYNCS];
	int fd;

	snprintf(path, sizeof(path), "%s/doctor-XXXXXX", dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(path);
	for (unsigned i = 0; i < SYNCS; i++) {
		struct timespec a, b;

		clock_gettime(CLOCK_MONOTONIC, &a);
		if (write(fd, page, sizeof(page)) != sizeof(page) || fdatasync(fd)) {
			close(fd);
			return -errno;
		}
		clock_gettime(CLOCK_MONOTONIC, &b);
		times[i] =
			(double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
	}
	close(fd);
	qsort(times, SYNCS, sizeof(times[0]), compare);
	return times[SYNCS / 2];
}

static void disk(struct doctor *d)
{
	const char *dir = d->config->queue.path;
	double ms = sync_time(dir);
	struct finding f = { FINDING_WARNING, "disk", dir,
		"each batch of messages is synced before it is answered: this is the least time to a 250",
		"give the queue a disk with a cache that survives power cuts" };

	if (ms < 0) {
		f.level = FINDING_UNKNOWN;
		f.advice = "run as the relay's user, after its first start";
		doctor_tell(d, &f, "cannot write there: %s", strerror((int)-ms));
	} else if (ms > SYNC_SLOW) {
		doctor_tell(d, &f, "a page takes %.1f ms to be on disk", ms);
	} else {
		doctor_good(d, "disk", dir, "a page takes %.1f ms to be on disk", ms);
	}
}

/* ---- certificates ---- */

static void certificate(struct doctor *d, const char *path)
{
	FILE *f = fopen(path, "re");
	X509 *x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
	struct finding w = { FINDING_WARNING, "cert", path,
		"clients that verify it stop sending when it has ended",
		"renew it, and `postern reload`" };
	int days = 0, seconds = 0;

	if (!x || !ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x))) {
		w.level = FINDING_UNKNOWN;
		w.advice = "run as the relay's user";
		doctor_tell(d, &w, "cannot be read");
	} else if (days < 0 || seconds < 0) {
		w.level = FINDING_WRONG;
		doctor_tell(d, &w, "ended %d days ago", -days);
	} else if (days < DAYS_WARN) {
		doctor_tell(d, &w, "ends in %d days", days);
	} else {
		doctor_good(d, "cert", path, "is good for %d days", days);
	}
	X509_free(x);
	if (f)
		fclose(f);
}

void doctor_machine(struct doctor *d)
{
	resolver(d);
	clock_of(d);
	descriptors(d);
	disk(d);
	for (unsigned i = 0; i < d->config->nlisteners; i++)
		if (d->config->listeners[i].certificate)
			certificate(d, d->config->listeners[i].certificate);
}
