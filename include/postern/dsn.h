/* Delivery status notifications (RFC 3464, RFC 3462/6522, RFC 3461; RFC 6533 for UTF-8 addresses).
 * Pure. */
#pragma once

#include "postern/message.h"

enum dsn_action { DSN_FAILED, DSN_DELAYED, DSN_DELIVERED, DSN_RELAYED, DSN_EXPANDED };

struct dsn_recipient {
	const struct recipient *recipient;
	enum dsn_action action;
	const char *status;	/* "5.1.1" */
	const char *remote_mta; /* host name, NULL when none was reached */
	const char *diagnostic; /* reply text "550 5.1.1 …", NULL when our own finding */
	const char *reason;	/* one sentence for people, NULL for none */
	bool address_invalid;	/* the reply was about the address, whatever its code says */
	bool ours;		/* what kept it is a matter of the system that sends */
	ms_t last_attempt;	/* wall; 0: none */
	ms_t will_retry_until;	/* wall; DELAYED only; 0: none */
};

struct dsn_params {
	const char *hostname;	/* Reporting-MTA, and domain of the From address */
	const char *postmaster; /* From mailbox; NULL: MAILER-DAEMON@hostname */
	uint64_t id; /* queue id of the notification itself: for Message-ID and boundary */
	ms_t wall;
	int zone_minutes;
	uint64_t return_max; /* bytes of the original returned at most with RET=FULL; default 64 KiB
			      */
	const char *sender_domain; /* key of the sender's domain (A-labels), which will be the
				    * notification's recipient's; NULL: taken from the address,
				    * lower case */
};

/* Should this recipient be reported with this action? NOTIFY rules of RFC 3461 section 4.1: default
 * is FAILURE and DELAY; nothing for a null sender. */
bool dsn_wanted(const struct message *m, const struct recipient *r, enum dsn_action action);

/* Builds the notification as a message from <> to m's sender: id, pool of m, body,
 * MESSAGE_FROM_RELAY, expires. original: the first bytes of m's content (header section at least as
 * far as kept), for message/rfc822 or text/rfc822-headers: the whole message is returned only with
 * RET=FULL, for failures, and when it is not larger than return_max and given whole; else its
 * header section. Nothing that a host, a client or an address says can break out of the field or
 * part it stands in. n > 0; m's sender is not "". 0, -ENOMEM. */
int dsn_build(struct message **ret, const struct message *m, const struct dsn_recipient *r,
	size_t n, struct slice original, const struct dsn_params *p);
