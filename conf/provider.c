/* The providers that everybody has. Microsoft's limits are its own secret; these are values at
 * which senders of good standing are left alone, and lanes adapt below them. Called by bind.c,
 * describe.c and dump.c. */
#include <string.h>

#include "option.h"

const char *const builtin_providers[BUILTIN_PROVIDERS] = { "microsoft365", "outlook", "default" };

static const struct builtin {
	const char *provider, *option, *value;
} builtins[] = {
	/* tenants: one MX name each, old and new zones */
	{ "microsoft365", "mx",
		"*.mail.protection.outlook.com,*.mx.microsoft,*.mail.eo.outlook.com" },
	{ "microsoft365", "clusters", "microsoft" },
	{ "microsoft365", "connections", "400" },
	{ "microsoft365", "connections_per_geography", "100" },
	{ "microsoft365", "connections_per_cluster", "20" },
	{ "microsoft365", "connections_per_cluster_subnet", "10" },
	{ "microsoft365", "connections_per_lane", "5" },
	{ "microsoft365", "messages_per_connection", "50" },
	{ "microsoft365", "lane_message_rate", "600/1m" },
	{ "microsoft365", "lane_connect_rate", "60/1m" },
	{ "microsoft365", "recipient_message_rate", "3600/1h" }, /* Exchange Online's */
	/* consumer mail: other agents and limits, and transactions must not mix regions (ATTR38),
	 * which nothing shows beforehand: one recipient each */
	{ "outlook", "mx", "*.olc.protection.outlook.com,*.pamx1.hotmail.com" },
	{ "outlook", "recipients_per_transaction", "1" },
	{ "outlook", "clusters", "microsoft" },
	{ "outlook", "connections", "100" },
	{ "outlook", "connections_per_geography", "40" },
	{ "outlook", "connections_per_cluster", "10" },
	{ "outlook", "connections_per_cluster_subnet", "5" },
	{ "outlook", "connections_per_lane", "3" },
	{ "outlook", "messages_per_connection", "50" },
	{ "outlook", "lane_message_rate", "300/1m" },
	{ "outlook", "lane_connect_rate", "30/1m" },
};

const char *option_builtin(const char *provider, const char *option)
{
	for (size_t i = 0; i < sizeof(builtins) / sizeof(builtins[0]); i++) {
		if (strcmp(builtins[i].provider, provider) == 0 &&
			strcmp(builtins[i].option, option) == 0)
			return builtins[i].value;
	}
	return NULL;
}
