/* How a session to a provider is led: what sessions and their dispatcher read, and the policy does not.
 * Filled in by conf/ with the provider's other parameters; immutable. */
#pragma once

#include "postern/smtp_client.h"

struct transport_params {
	uint16_t port; /* 25 */
	enum tls_mode tls;
	char *ca_file;		 /* for verify; NULL: the system's */
	char *certificate, *key; /* of ours, shown where it is asked for; NULL: none */
	bool pipelining, chunking;
	ms_t tls_failure_memory; /* opportunistic: clear text for this long after TLS broke between
				    a source and a host */
	ms_t extension_memory;	 /* what else a host offers and cannot do is not used for this long
				  */
	struct client_timeouts timeouts;
};
