/* The option tables. Help is one or two plain sentences: it is printed by `postern check
 * --defaults` and becomes the manual page. Read by scan.c, bind.c, describe.c and dump.c; no code
 * of its own. */
#define ROWS_OF struct config
#include "rows.h"

static const char *const log_levels[] = { "error", "warning", "notice", "info", "debug", NULL };
static const char *const tls_modes[] = { "none", "opportunistic", "require", "verify", NULL };
static const char *const cluster_namings[] = { "network", "microsoft", NULL };
static const char *const bare_newlines[] = { "reject", "fix", NULL };
static const char *const canonical_forms[] = { "relaxed/relaxed", "relaxed/simple",
	"simple/relaxed", "simple/simple", NULL };
static const char *const warmup_paces[] = { "even", "hours", "none", NULL };

static const struct option root_options[] = {
	TEXT("hostname", struct config, hostname, HOST, NULL, LIVE,
		"Name of this relay: in its greeting, in Received fields and in bounces. A fully "
		"qualified "
		"domain name; default: the system's host name."),
	TEXT("postmaster", struct config, postmaster, STRING, NULL, LIVE,
		"Address in the From field of bounces, and to which mail for <postmaster> goes. "
		"Default: MAILER-DAEMON at hostname for the first, and for the second postmaster "
		"at hostname without its first label."),
	TEXT("user", struct config, user, STRING, NULL, 0,
		"User to become once all ports are bound. Only when started as root; \"root\": "
		"stays "
		"root, and is not warned of."),
	TEXT("group", struct config, group, STRING, NULL, 0,
		"Group to become, when it is not the user's own."),
	TEXT("pid_file", struct config, pid_file, STRING, NULL, 0,
		"File that names the process id while the relay runs."),
	NUMBER("workers", struct config, workers, "0", 0, 256, 0,
		"Threads for sessions. 0: one per processor core."),
	NUMBER("outbound_max", struct config, outbound_max, "2000", 1, 1000000, 0,
		"Outbound connections in all at the same time."),
	LIST("never_connect", struct config, policy.never_connect, policy.nnever_connect, NETS,
		struct net *, NULL, 1024, LIVE,
		"Networks that no connection is made to: addresses of MX hosts in them are passed "
		"over, and mail for a domain that has no others is returned. Addresses that cannot "
		"be a host (0.0.0.0/8, multicast, broadcast, link-local IPv6 and the like) never "
		"are connected to. Default: no more than those, since next hops may be inside; a "
		"relay for the Internet alone should name its own and the private networks."),
	SIZE("outbound_memory_max", struct config, outbound_memory_max, "32MiB", MIB, TIB, 0,
		"Message content on its way to receivers, in this process and in the kernel's send "
		"buffers, in all. What finds no room waits before it is begun; while something "
		"waits, receivers that take nothing for 15 s are given up."),
	SIZE("body_memory_max", struct config, body_memory_max, "16MiB", MIB, TIB, 0,
		"Message content kept in memory. What is over it is read from the queue again when "
		"it is "
		"sent."),
	SIZE("envelope_memory_max", struct config, envelope_memory_max, "64MiB", MIB, TIB, 0,
		"Memory of the envelopes of open inbound transactions. One client may hold a "
		"quarter of it, and clients that had no message accepted within an hour half of it "
		"together. Above: 452 to RCPT."),
	LIST("block_lists", struct config, block_lists, nblock_lists, STRINGS, char **,
		"zen.spamhaus.org,bl.spamcop.net", 16, LIVE,
		"Zones of DNS block lists that `postern doctor` asks about the sources; mail is not "
		"judged by them. {}: none."),
	TEXT("rules_file", struct config, rules_file, FILE, NULL, LIVE,
		"Rules that classify the replies of receivers, asked before those built in; with a "
		"line \"builtin off\" instead of them. Their syntax heads replies.rules."),
	TEXT("timezone", struct config, timezone, STRING, "system", LIVE,
		"Time zone in which the days and hours of a warm-up are counted: \"system\" for "
		"the machine's own, \"UTC\", or a name such as \"Europe/Berlin\"."),
	DURATION("drain_timeout", struct config, dispatch.drain_deadline, "30s", SECOND, HOUR, LIVE,
		"How long running transactions may take to end after SIGTERM."),
};

static const struct option queue_options[] = {
	TEXT("path", struct config, queue.path, STRING, "/var/lib/postern", 0,
		"Directory of the queue; made when it is missing. On a local file system."),
	SIZE("max_size", struct config, queue.max_size, "64GiB", 16 * MIB, 64 * TIB, 0,
		"Size that the queue may grow to. When it is reached new mail gets 452 4.3.1, and "
		"deliveries "
		"go on."),
	SIZE("reserve", struct config, queue.reserve, "0", MIB, TIB, ZERO,
		"Part of max_size kept for settling deliveries when the queue is full. 0: a 64th, "
		"at least "
		"4 MiB."),
	NUMBER("batch_max", struct config, queue.batch_max, "4096", 1, 65536, 0,
		"Jobs in one transaction, so behind one sync, at most."),
	NUMBER("gather_us", struct config, queue.gather_us, "2500", 0, 100000, 0,
		"Microseconds for which a batch waits for company before it is committed, when "
		"others were "
		"there just before: fewer syncs, for a little latency. One sender alone never "
		"waits. "
		"0: off."),
	LIST("retry", struct config, policy.retry.schedule, policy.retry.nschedule, DURATIONS,
		ms_t *, "5m,10m,20m,40m,1h,2h", 100, LIVE,
		"Delays before the second attempt, the third, and so on. The last one repeats."),
	{ "retry_jitter", OPTION_SHARE, AT(struct config, policy.retry.jitter, double), 0, "0.2", 0,
		900,
		"Share by which each delay is made longer or shorter at random, so that retries do "
		"not come "
		"in waves.",
		LIVE, NULL },
	NUMBER("in_doubt_max", struct config, policy.retry.in_doubt_max, "3", 1, 7, LIVE,
		"How often the answer to a message's content may stay away before the message is "
		"returned: each time it may have been delivered."),
	DURATION("expire", struct config, policy.retry.expire, "48h", 10 * SECOND, 30 * DAY, LIVE,
		"Age at which a message is given up and bounced. Usual are 24h to 72h."),
	DURATION("delay_notice", struct config, policy.retry.delay_notice, "4h", 10 * SECOND,
		30 * DAY, LIVE | ZERO,
		"Age at which the sender is told that a message is late. 0: never."),
	NUMBER("subnets_per_cycle", struct config, policy.retry.subnets_per_cycle, "3", 1,
		POLICY_TRIED_MAX, LIVE,
		"Source subnets that one message may try at once before it waits for its next "
		"retry."),
};

static const struct option dispatch_options[] = {
	NUMBER("window", struct config, dispatch.window, "200", 1, 100000, LIVE,
		"Recipients of one domain in memory at most; the others wait in the queue."),
	NUMBER("work_max", struct config, dispatch.work_max, "4000", 100, 10000000, LIVE,
		"Recipients in memory in all."),
	SIZE("transcript_memory", struct config, dispatch.transcript_memory, "8MiB", 0, GIB, LIVE,
		"Memory for the last good and the last refused session of each lane, which the "
		"page and `postern transcript` show: commands and replies with their times, never "
		"content. 0: none are kept."),
	SIZE("transcript_disk", struct config, dispatch.transcript_disk, "4MiB", 0, GIB, LIVE,
		"Part of the queue's file for those sessions, so that they are there after a "
		"restart: the newest. 0: none are kept there."),
	FLAG("transcript_addresses", struct config, dispatch.transcript_addresses, "no", 0,
		"Keep and show addresses in them as they are. Otherwise their local parts are "
		"hashes, the same for the same address until the relay ends."),
};

static const struct option dns_options[] = {
	{ "servers", OPTION_SERVERS, AT(struct config, dispatch.dns.servers, const char *const *),
		AT(struct config, dispatch.dns.nservers, unsigned), NULL, 0, 16,
		"Resolvers, as address or address:port. Default: the system's. One on the same "
		"machine is "
		"best.",
		0, NULL },
	DURATION("timeout", struct config, dispatch.dns.timeout, "3s", 100, MINUTE, 0,
		"Time-out of one try."),
	NUMBER("tries", struct config, dispatch.dns.tries, "3", 1, 10, 0,
		"Tries before a look-up fails."),
	NUMBER("running_max", struct config, dispatch.dns.running_max, "500", 1, 60000, 0,
		"Look-ups at the same time."),
	NUMBER("waiting_max", struct config, dispatch.dns.waiting_max, "100000", 100, 10000000, 0,
		"Look-ups that may wait for others to end. Above it more are asked for later, or "
		"fail for the time being."),
	NUMBER("cache_max", struct config, dispatch.dns.cache_max, "8000", 100, 100000000, 0,
		"Names kept. The least recently used go first."),
	DURATION("ttl_min", struct config, dispatch.dns.ttl_min, "5s", 0, HOUR, 0,
		"Answers are kept for this long even when their TTL is shorter."),
	DURATION("ttl_max", struct config, dispatch.dns.ttl_max, "1h", SECOND, 7 * DAY, 0,
		"Answers are kept for no longer than this."),
	DURATION("negative_ttl", struct config, dispatch.dns.negative_ttl, "1m", SECOND, DAY, 0,
		"How long it is remembered that a name does not exist."),
	DURATION("keep_addresses", struct config, dispatch.dns.keep_addresses, "5m", SECOND, DAY, 0,
		"How long a host's earlier addresses are used on after they left the answer. "
		"Microsoft "
		"rotates them within seconds."),
};

static const struct option control_options[] = {
	TEXT("socket", struct config, control_socket, STRING, "/run/postern/control.sock", 0,
		"Unix socket through which the other commands reach the running relay. Empty: "
		"none."),
	{ "mode", OPTION_MODE, AT(struct config, control_mode, uint32_t), 0, "0660", 0, 0777,
		"File mode of the socket: who may use it.", 0, NULL },
};

static const struct option http_options[] = {
	{ "address", OPTION_HTTP, AT(struct config, http, struct config_http), 0, NULL, 0, 0,
		"Address and port of metrics, health and the web page, all read only. Default: "
		"none.",
		0, NULL },
	TEXT("token_file", struct config, http_token_file, STRING, NULL, 0,
		"File with a token of 16 to 200 visible characters, read at the start, that "
		"everything but /health then asks for: as password of any user, or as \"Bearer\". "
		"Without one, an address that is not loopback shows /metrics and /health alone, "
		"since the pages name whom mail goes to."),
};

static const struct option log_options[] = {
	TEXT("file", struct config, log.file, STRING, "-", 0,
		"File of JSON lines, opened again on SIGUSR1. \"-\" is standard output."),
	CHOICE("level", struct config, log.level, enum log_level, "info", log_levels, LIVE,
		"Least important level that is written."),
	SIZE("buffer_max", struct config, log.buffer_max, "16MiB", 64 * KIB, GIB, 0,
		"Lines waiting to be written. Above it lines are dropped and counted, never waited "
		"for."),
	LIST("headers", struct config, log_headers, nlog_headers, STRINGS, char **, NULL,
		HEADER_KEPT_MAX, LIVE,
		"Names of header fields, such as \"X-Campaign\", whose text stands as \"headers\" "
		"in the lines of each message: the first of each name, 200 bytes at most. Of mail "
		"that comes in from then on."),
};

#define L struct listener_params
static const struct option listener_options[] = {
	{ "address", OPTION_ENDPOINTS, offsetof(L, addresses), AT(L, naddresses, unsigned), NULL, 0,
		64, "Addresses and ports to listen on, such as \"0.0.0.0:25\" or \"[::]:25\".",
		REQUIRED, NULL },
	LIST("allow", L, allow, nallow, NETS, struct net *, NULL, 1024, 0,
		"Networks whose clients may relay without authentication."),
	UNBOUND("allow_world", BOOL, "false", 0, 0,
		"Must be true to allow nearly the whole Internet. Such a listener is an open relay "
		"unless "
		"something else guards it."),
	TEXT("pool", L, smtp.pool, NAME, NULL, 0,
		"Source pool of mail that comes in here. Default: the only pool there is."),
	FLAG("pool_header", L, smtp.pool_header, "false", 0,
		"Let the header field X-Postern-Pool choose the pool. The field is taken out in "
		"any case."),
	FLAG("class_header", L, smtp.class_header, "false", 0,
		"Let the header field X-Postern-Class choose the class. The field is taken out in "
		"any case."),
	TEXT("certificate", L, certificate, FILE, NULL, 0,
		"Certificate with its chain (PEM): offers TLS."),
	TEXT("key", L, key, FILE, NULL, 0, "Private key of the certificate (PEM)."),
	LIST("certificates", L, certificates, ncertificates, STRINGS, char **, NULL, 64, 0,
		"Further files (PEM), each with a certificate, its chain and its key, for clients "
		"that ask for another name (SNI)."),
	TEXT("client_ca", L, client_ca, FILE, NULL, 0,
		"Authorities (PEM) of client certificates: clients are asked for one. Those in "
		"client_names may relay. Others are like clients without one."),
	LIST("client_names", L, client_names, nclient_names, STRINGS, char **, NULL, 1024, 0,
		"Names in certificates of clients that may relay, such as \"app1.example\" or "
		"\"*.apps.example\"; \"*\": whatever client_ca has signed. Compared with the DNS "
		"names and mail addresses of the certificate, or else with its common name."),
	TEXT("min_tls", L, min_tls, STRING, "1.2", 0, "Lowest version of TLS, \"1.2\" or \"1.3\"."),
	FLAG("implicit_tls", L, implicit_tls, "false", 0,
		"TLS from the first byte (port 465) instead of STARTTLS."),
	FLAG("require_tls", L, smtp.require_tls, "false", 0, "Take no mail without TLS."),
	TEXT("users_file", L, users_file, FILE, NULL, 0,
		"Users who may relay after AUTH, one line each: name:crypt-hash, or "
		"name:crypt-hash:pool."),
	FLAG("require_auth", L, smtp.require_auth, "false", 0,
		"Take no mail without AUTH or a certificate of client_names, also from the networks "
		"in allow."),
	FLAG("offer_auth_plain_text", L, smtp.offer_auth_plain_text, "false", 0,
		"Offer AUTH without TLS to all clients, not only to this machine."),
	FLAG("pool_by_user", L, pool_by_user, "true", 0,
		"A user's own pool wins over the listener's."),
	FLAG("proxy", L, proxy, "false", 0, "Expect a PROXY protocol preface (version 1 or 2)."),
	LIST("proxy_from", L, proxy_from, nproxy_from, NETS, struct net *, NULL, 1024, 0,
		"Proxies that are believed. Other clients are refused."),
	NUMBER("sessions_max", L, sessions_max, "2000", 1, 1000000, 0,
		"Sessions of this listener."),
	NUMBER("sessions_per_client", L, sessions_per_client, "200", 1, 1000000, 0,
		"Sessions from one client address."),
	NUMBER("auth_failures_max", L, auth_failures_max, "10", 0, 1000000, 0,
		"Failed passwords of late, by client network or by user, from which on none is "
		"looked at: 421 4.7.0. One counts half after 10 minutes; from the sixth on each is "
		"looked at later, too. A user who logged in from a network before is not shut out "
		"there by failures elsewhere. 0: no limit."),
	DURATION("command_timeout", L, command_timeout, "5m", SECOND, HOUR, 0,
		"How long a client may stay silent between commands."),
	DURATION("data_timeout", L, data_timeout, "3m", SECOND, HOUR, 0,
		"How long a client may stay silent within a message."),
	DURATION("session_max", L, session_max, "0", SECOND, 7 * DAY, ZERO,
		"Life of a session. 0: no limit."),
	SIZE("rate_min", L, rate_min, "64", 0, GIB, 0,
		"Bytes a second that a message must keep up over a minute, or the session ends. 0: "
		"none."),
	SIZE("message_size_max", L, smtp.size_max, "50MiB", KIB, 2 * GIB, 0, "Size of a message."),
	NUMBER("recipients_max", L, smtp.recipients_max, "1000", 1, 50000, 0,
		"Recipients of a message; at least 100 are to be taken by RFC 5321. Above: 452 "
		"4.5.3."),
	NUMBER("messages_per_session", L, smtp.transactions_max, "0", 0, 1000000000, 0,
		"Messages in one session. Above: 421. 0: no limit."),
	NUMBER("command_line_max", L, smtp.line_max, "4096", 512, 65536, 0,
		"Bytes of a command line."),
	NUMBER("content_line_max", L, smtp.content_line_max, "0", 998, 1000000, ZERO,
		"Bytes of a line of content. RFC 5322 knows 998. 0: no limit."),
	NUMBER("header_max", L, smtp.header_max, "262144", 4096, 16777216, 0,
		"Bytes of a header section that are looked at."),
	NUMBER("errors_max", L, smtp.errors_max, "20", 1, 10000, 0,
		"Bad commands before the session ends with 421 4.7.0. One is forgotten each 30 "
		"seconds, all with a message that is accepted."),
	FLAG("strict_addresses", L, smtp.strict_addresses, "false", 0,
		"Take only the addresses that RFC 5321 knows. Else also those with dots anywhere "
		"in "
		"the local part (a..b@example.com), which some providers have given out, and those "
		"without angle brackets. They are sent on as they came."),
	NUMBER("received_max", L, smtp.received_max, "50", 5, 1000, 0,
		"Received fields in a message before it is refused as a loop, 554 5.4.6."),
	CHOICE("bare_newline", L, smtp.bare_newline, enum bare_newline, "reject", bare_newlines, 0,
		"What to do with a bare CR or LF in content: \"reject\" the message, or \"fix\" it "
		"to CR LF. "
		"It never ends a message and never passes as it came (SMTP smuggling)."),
	SIZE("stream_over", L, smtp.stream_over, "256KiB", 8 * KIB, GIB, 0,
		"Content over this size is moved to the queue while it comes in."),
};
#undef L

static const struct option source_options[] = {
	{ "address", OPTION_ADDRESS, AT(struct source_params, address, struct addr), 0, NULL, 0, 0,
		"IP address that mail leaves from.", REQUIRED | LIVE, NULL },
	TEXT("ehlo", struct source_params, ehlo, HOST, NULL, LIVE,
		"EHLO name; should be the PTR name of the address. Default: hostname."),
	{ "subnet", OPTION_NET, AT(struct source_params, subnet, struct net), 0, NULL, 0, 0,
		"Network with which receivers will see this address as one. Default: its /24 or "
		"/64.",
		LIVE, NULL },
};

static const struct option pool_options[] = {
	UNBOUND("sources", STRINGS, NULL, 4096, REQUIRED | LIVE,
		"Names of the sources in this pool; \"NAME:3\" gives one three times the weight of "
		"others."),
};

#define P struct provider_params
static const struct option provider_options[] = {
	LIST("mx", P, mx, nmx, STRINGS, char **, NULL, 256, LIVE,
		"Patterns of MX host names by which the provider is known; \"*\" stands for any "
		"text."),
	{ "port", OPTION_PORT, AT(P, transport.port, uint16_t), 0, "25", 1, 65535,
		"Port of its MX hosts.", LIVE, NULL },
	CHOICE("tls", P, transport.tls, enum tls_mode, "opportunistic", tls_modes, LIVE,
		"\"none\", \"opportunistic\" (clear text when TLS fails), \"require\" (any "
		"certificate) or "
		"\"verify\" (the certificate must fit the MX host)."),
	TEXT("ca_file", P, transport.ca_file, FILE, NULL, LIVE,
		"Certificate authorities for tls = \"verify\". Default: the system's."),
	TEXT("certificate", P, transport.certificate, FILE, NULL, LIVE,
		"Certificate of ours with its chain (PEM), shown to hosts that ask for one: a "
		"connector of a tenant, or a partner's gateway, may know the relay by it."),
	TEXT("key", P, transport.key, FILE, NULL, LIVE, "Private key of the certificate (PEM)."),
	FLAG("pipelining", P, transport.pipelining, "true", LIVE,
		"Use PIPELINING where it is offered."),
	FLAG("chunking", P, transport.chunking, "true", LIVE,
		"Use CHUNKING (BDAT) where it is offered."),
	NUMBER("recipients_per_transaction", P, recipients_per_transaction, "100", 1, 10000, LIVE,
		"Recipients of one message in one transaction."),
	CHOICE("clusters", P, clusters, enum cluster_naming, "network", cluster_namings, LIVE,
		"What shares limits. \"network\": the hosts of one /24 (or /48). \"microsoft\": "
		"what "
		"Microsoft's banners and error replies name, and the network where they do not."),
	NUMBER("connections", P, connections, "0", 0, 1000000, LIVE,
		"Connections to the provider in all. 0: no limit of this kind."),
	NUMBER("connections_per_geography", P, connections_per_geography, "0", 0, 1000000, LIVE,
		"Connections to one of its geographies (EUR, NAM and so on). 0: no limit of this "
		"kind."),
	NUMBER("connections_per_cluster", P, connections_per_cluster, "20", 0, 1000000, LIVE,
		"Connections to one of its clusters. 0: no limit of this kind."),
	NUMBER("connections_per_cluster_subnet", P, connections_per_cluster_subnet, "0", 0, 1000000,
		LIVE,
		"Connections to one of its clusters from one of our subnets. 0: no limit of this "
		"kind."),
	NUMBER("connections_per_lane", P, connections_per_lane, "5", 0, 1000000, LIVE,
		"Connections from one source to one cluster. 0: no limit of this kind."),
	NUMBER("messages_per_connection", P, messages_per_connection, "100", 1, 1000000, LIVE,
		"Messages after which a connection is ended."),
	DURATION("connection_age_max", P, connection_age_max, "15m", SECOND, DAY, LIVE,
		"Age at which a connection is ended. Microsoft ends it after some 20 minutes "
		"itself."),
	DURATION("connection_idle_max", P, connection_idle_max, "10s", 0, HOUR, LIVE,
		"How long a connection without work is kept. It never blocks other work."),
	RATE("lane_message_rate", P, lane_message_rate, "none", LIVE,
		"Messages from one source to one cluster, such as \"600/1m\", or \"none\"."),
	RATE("lane_connect_rate", P, lane_connect_rate, "none", LIVE,
		"New connections from one source to one cluster, such as \"60/1m\", or \"none\"."),
	RATE("recipient_message_rate", P, recipient_message_rate, "none", LIVE,
		"Messages to one recipient, a third of them from one sender, such as \"3600/1h\", "
		"or \"none\". What is over waits, and nobody else's mail with it."),
	DURATION("tls_failure_memory", P, transport.tls_failure_memory, "1h", 0, 7 * DAY, LIVE,
		"With tls = \"opportunistic\": how long clear text is used from a source to a host "
		"between which TLS failed."),
	DURATION("extension_memory", P, transport.extension_memory, "6h", 0, 7 * DAY, LIVE,
		"How long a host is used without what it offers and cannot do: CHUNKING, "
		"PIPELINING, parameters of MAIL and RCPT, SMTPUTF8. 0: not remembered."),
	DURATION("timeout_connect", P, transport.timeouts.connect, "30s", SECOND, HOUR, LIVE,
		"TCP connection."),
	DURATION("timeout_banner", P, transport.timeouts.banner, "2m", SECOND, HOUR, LIVE,
		"Greeting."),
	DURATION("timeout_ehlo", P, transport.timeouts.ehlo, "2m", SECOND, HOUR, LIVE,
		"Reply to EHLO."),
	DURATION("timeout_starttls", P, transport.timeouts.starttls, "1m", SECOND, HOUR, LIVE,
		"Reply to STARTTLS."),
	DURATION("timeout_tls", P, transport.timeouts.tls, "1m", SECOND, HOUR, LIVE,
		"TLS handshake."),
	DURATION("timeout_mail", P, transport.timeouts.mail, "5m", SECOND, HOUR, LIVE,
		"Reply to MAIL."),
	DURATION("timeout_rcpt", P, transport.timeouts.rcpt, "5m", SECOND, HOUR, LIVE,
		"Reply to RCPT."),
	DURATION("timeout_data", P, transport.timeouts.data, "2m", SECOND, HOUR, LIVE,
		"Reply to DATA."),
	DURATION("timeout_body", P, transport.timeouts.body, "3m", SECOND, HOUR, LIVE,
		"Time in which the receiver must take some of the content."),
	DURATION("timeout_eod", P, transport.timeouts.eod, "10m", SECOND, HOUR, LIVE,
		"Reply to the end of the content. Giving up early makes duplicates."),
	DURATION("timeout_rset", P, transport.timeouts.rset, "20s", SECOND, HOUR, LIVE,
		"Reply to RSET."),
	DURATION("timeout_quit", P, transport.timeouts.quit, "5s", 100, HOUR, LIVE,
		"Reply to QUIT."),
};
#undef P

static const struct option sender_options[] = {
	TEXT("pool", struct config_sender_pool, pool, NAME, NULL, REQUIRED | LIVE,
		"Source pool of mail from senders at this domain, unless the user or "
		"X-Postern-Pool chose."),
};

#define C		     struct class_params
#define WHICH(name, m, help) LIST(name, C, m, n##m, STRINGS, char **, NULL, 256, LIVE, help)
static const struct option class_options[] = {
	WHICH("from", from,
		"Mail of these senders: an address, or \"@example.com\" for a domain, in the "
		"envelope or the From field. In this and the next ones \"*\" stands for any text. "
		"All "
		"that are given must fit, of each any of the values; a class with none of them is "
		"for mail that names it in X-Postern-Class."),
	WHICH("user", user, "Mail of who authenticated so."),
	WHICH("client", client, "Mail of clients at these addresses or networks."),
	WHICH("listener", listener, "Mail that these listeners took."),
	WHICH("pool", pool, "Mail that leaves from these source pools."),
	WHICH("tag", tag, "Mail with one of these in X-Postern-Tag."),
	NUMBER("priority", C, priority, "3", 1, 5, LIVE,
		"Who goes first where a receiver takes only so much: 1 before all others, 5 after "
		"them; mail without a class has 3. While both wait, a class gets four times the "
		"places of the next lower priority, so that none waits for ever."),
	DURATION("expire", C, expire, NULL, 10 * SECOND, 30 * DAY, LIVE,
		"Age at which it is given up and bounced, for mail that comes in from then on. "
		"Default: the queue's."),
	LIST("retry", C, schedule, nschedule, DURATIONS, ms_t *, NULL, 100, LIVE,
		"Delays before the second attempt, the third, and so on; the last one repeats. "
		"Default: the queue's."),
	DURATION("delay_notice", C, delay_notice, NULL, 10 * SECOND, 30 * DAY, LIVE | ZERO,
		"Age at which the sender is told that a message is late. 0: never. Default: the "
		"queue's."),
};
#undef WHICH
#undef C

#define W struct config_warmup
#define PERCENT(name, m, def, help)                                                                \
	{                                                                                          \
		name, OPTION_PERCENT, AT(W, m, double), 0, def, 0, 1000, help, LIVE, NULL          \
	}
static const struct option warmup_options[] = {
	TEXT("provider", W, provider, NAME, "microsoft365", LIVE,
		"Provider at which the sources are new."),
	LIST("sources", W, sources, nsources, STRINGS, char **, NULL, 4096, REQUIRED | LIVE,
		"Names of the sources that are warmed up. A source has one plan at most at a "
		"provider."),
	TEXT("start", W, start, STRING, NULL, REQUIRED | LIVE,
		"First day, as \"2026-11-01\". Before it nothing goes from these sources to this "
		"provider."),
	TEXT("ladder", W, ladder, NAME, NULL, LIVE,
		"Built-in plan by name, see below. Instead of it daily may be given, or first. "
		"Default: \"outlook\"."),
	LIST("daily", W, daily, ndaily, NUMBERS, uint32_t *, NULL, LADDER_MAX, LIVE,
		"Messages on the first day, the second, and so on. After the last one a source is "
		"warm and has no daily limit any more."),
	NUMBER("first", W, first, "0", 1, UINT32_MAX, LIVE | ZERO,
		"Messages on the first day; on each further one growth times as many, until "
		"ceiling. 0: the plan is a ladder or daily."),
	{ "growth", OPTION_SHARE, AT(W, growth, double), 0, "1.25", 1010, 10000,
		"With first: factor from one day to the next.", LIVE, NULL },
	NUMBER("ceiling", W, ceiling, "100000", 1, UINT32_MAX, LIVE,
		"With first: messages on the last day of the plan."),
	CHOICE("pace", W, pace, enum warmup_pace, "even", warmup_paces, LIVE,
		"How a day's amount is spread: \"even\" over the whole day, over the \"hours\" "
		"given, or \"none\": it may go at once."),
	TEXT("hours", W, hours, STRING, NULL, LIVE,
		"With pace = \"hours\": from and to, as \"08-18\", \"08:30-18\" or, over midnight, "
		"\"22-06\"."),
	PERCENT("advance_at", advance_at, "90%",
		"Part of a day's amount that must have been used for the next day to be a step up. "
		"Days without mail never are."),
	PERCENT("hold_at", hold_at, "0.5%",
		"Share of messages deferred for the source's sake, beyond that of warm sources at "
		"the same clusters and times and beyond chance, from which on the next day is no "
		"step up."),
	PERCENT("step_back_at", step_back_at, "5%",
		"The same share, from which on the next day is a step down."),
	PERCENT("pause_at", pause_at, "20%",
		"The same share of the last messages, from which on, if most clusters refuse the "
		"source, nothing goes for some hours, and then a little to see."),
	DURATION("idle_reset", W, idle_reset, "30d", DAY, 365 * DAY, LIVE | ZERO,
		"After so many days without mail a source starts lower again. 0: never."),
	TEXT("overflow", W, overflow, STRING, "pool", LIVE,
		"Where mail over the day's amount goes: to the other sources of its \"pool\", "
		"inside their own limits; \"wait\": nowhere, it waits for the next day; or "
		"\"pool:NAME\", the sources of another pool."),
};
#undef PERCENT
#undef W

#define D struct config_dkim
static const struct option dkim_options[] = {
	TEXT("selector", D, selector, NAME, NULL, REQUIRED | LIVE,
		"Name under which the public key is published: SELECTOR._domainkey.DOMAIN."),
	TEXT("key", D, key, FILE, NULL, REQUIRED | LIVE,
		"Private key (PEM), RSA of 1024 to 4096 bits or Ed25519, such as `openssl genpkey "
		"-algorithm rsa -pkeyopt rsa_keygen_bits:2048` makes. Others than the relay must "
		"not be able to read it."),
	TEXT("sign_as", D, sign_as, HOST, NULL, LIVE,
		"Domain that the signature names (d=). Default: the section's title. A provider "
		"signs his customers' mail as his own domain with it, together with from."),
	LIST("from", D, from, nfrom, STRINGS, char **, NULL, 4096, LIVE,
		"From domains whose mail is signed, as patterns: \"*\" stands for any text. "
		"Default: the title and all domains below it that have no section of their own."),
	CHOICE("canonicalization", D, canonicalization, enum config_forms, "relaxed/relaxed",
		canonical_forms, LIVE,
		"Forms of header and body that are signed. \"simple\" does not stand the least "
		"change on the way."),
};
#undef D

const struct section sections[SECTION_COUNT] = {
	[SECTION_ROOT] = SINGLE("", "Options outside all sections.", root_options),
	[SECTION_QUEUE] = SINGLE("queue", "Where mail waits, and how long.", queue_options),
	[SECTION_DISPATCH] =
		SINGLE("dispatch", "How much waiting mail is held in memory.", dispatch_options),
	[SECTION_DNS] = SINGLE("dns", "Look-ups of MX hosts and addresses.", dns_options),
	[SECTION_CONTROL] =
		SINGLE("control", "The operator's way into the running relay.", control_options),
	[SECTION_HTTP] = SINGLE("http", "Metrics, health and the web page.", http_options),
	[SECTION_LOG] = SINGLE("log", "Events and deliveries.", log_options),
	[SECTION_LISTENER] = TITLED("listener", "Where and from whom mail is taken.",
		listener_options, struct listener_params, listeners, nlisteners, name),
	[SECTION_SOURCE] = TITLED("source", "One address that mail leaves from.", source_options,
		struct source_params, policy.sources, policy.nsources, name),
	[SECTION_POOL] = TITLED("pool", "A set of sources.", pool_options, struct pool_params,
		policy.pools, policy.npools, name),
	[SECTION_PROVIDER] = TITLED("provider",
		"A receiver with limits of its own, known by its MX hosts. \"microsoft365\", "
		"\"outlook\" "
		"(Microsoft's consumer mail) and \"default\" (all others) are built in; what is "
		"given here "
		"overrides their values.",
		provider_options, struct provider_params, policy.providers, policy.nproviders,
		name),
	[SECTION_SENDER] = TITLED("sender",
		"Pool by sender domain. The title is a domain or a pattern such as "
		"\"*.example.com\"; the "
		"first that fits wins.",
		sender_options, struct config_sender_pool, sender_pools, nsender_pools, pattern),
	[SECTION_CLASS] = TITLED("class",
		"Mail that goes before other mail or after it, with a life of its own. A message "
		"has one class at most, given when it comes in: the one that X-Postern-Class names "
		"where the listener has class_header, else the first section that fits it.",
		class_options, struct class_params, policy.classes, policy.nclasses, name),
	[SECTION_WARMUP] = TITLED("warmup", "How new sources are brought up to volume.",
		warmup_options, struct config_warmup, warmups, nwarmups, name),
	[SECTION_DKIM] = REPEATED("dkim",
		"A key that signs mail that comes in (DKIM). The title is the domain in From; a "
		"domain may have several sections, each with its selector, and mail gets a "
		"signature of each.",
		dkim_options, struct config_dkim, dkims, ndkims, domain),
};

const struct schema config_schema = { sections, SECTION_COUNT, "`postern check --defaults`" };
