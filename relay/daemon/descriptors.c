/* File descriptors: how many sessions may be open, so that what must never fail for want of one
 * does not: deliveries, names, the queue, the log, the control socket. Called once, by
 * service_start. */
#include "descriptors.h"

#include <sysexits.h>

#include "process.h"

#define RESERVED_FIXED	   160u /* queue, log, control, HTTP, resolver, files */
#define RESERVED_BY_WORKER 8u
#define OUTBOUND_LEAST	   16u
#define INBOUND_LEAST	   16u

static uint64_t sessions_wanted(const struct config *c)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < c->nlisteners; i++)
		n += c->listeners[i].sessions_max;
	return n;
}

void descriptors_divide(struct descriptors *d, uint64_t limit, uint64_t reserved, uint64_t outbound,
	uint64_t inbound)
{
	uint64_t rest = limit > reserved ? limit - reserved : 0;
	/* a tenth of the inbound share is for sockets that are being closed */
	uint64_t places = inbound + inbound / 10;

	*d = (struct descriptors){ .limit = limit, .reserved = reserved };
	d->enough = rest >= OUTBOUND_LEAST + INBOUND_LEAST;
	d->all = rest >= outbound + places;
	if (d->all) {
		d->outbound = (uint32_t)outbound;
		d->inbound = (uint32_t)inbound;
		return;
	}
	/* who is asked to take mail must be able to deliver it: outbound has half, if it wants that
	 */
	d->outbound = (uint32_t)(outbound < rest / 2 ? outbound : rest / 2);
	rest -= d->outbound;
	d->inbound = (uint32_t)(places < rest ? inbound : rest - rest / 11);
}

static void tell(struct log *log, const struct descriptors *d, const struct config *c)
{
	log_event(log, d->all ? LOG_INFO : LOG_WARN, EVENT_DESCRIPTORS,
		"%llu file descriptors: %llu reserved, %u for outbound connections (outbound_max "
		"%u), "
		"%u for inbound sessions (sessions_max %llu)%s",
		(unsigned long long)d->limit, (unsigned long long)d->reserved, d->outbound,
		c->outbound_max, d->inbound, (unsigned long long)sessions_wanted(c),
		d->all ? "" : ": raise the limit (LimitNOFILE=, ulimit -n)");
}

int descriptors_share(struct descriptors *d, const struct config *c, unsigned workers,
	struct log *log, char *error, size_t error_max)
{
	unsigned listening = 0;

	for (unsigned i = 0; i < c->nlisteners; i++)
		listening += c->listeners[i].naddresses * workers;
	descriptors_divide(d, raise_file_limit(),
		RESERVED_FIXED + listening + workers * RESERVED_BY_WORKER, c->outbound_max,
		sessions_wanted(c));
	if (!d->enough) {
		snprintf(error, error_max,
			"%llu file descriptors are too few: %llu are needed beside those of "
			"sessions; "
			"raise the limit (LimitNOFILE=, ulimit -n)",
			(unsigned long long)d->limit, (unsigned long long)d->reserved);
		return EX_OSERR;
	}
	tell(log, d, c);
	return EX_OK;
}
