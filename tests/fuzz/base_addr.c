/* Addresses, networks and ports as they come from PROXY headers, literals and configuration: what
 * is accepted prints as something that is accepted again and means the same. */
#include "postern/addr.h"
#include "postern/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_addr(struct slice s)
{
	char text[ADDR_TEXT_MAX];
	struct sockaddr_storage ss;
	struct addr a, b;
	uint16_t port;
	size_t n;

	if (addr_parse(&a, s))
		return;
	n = addr_format(text, &a);
	must(n > 0 && n < ADDR_TEXT_MAX);
	must(addr_parse(&b, (struct slice){ text, n }) == 0);
	must(addr_eq(&a, &b) && addr_hash(&a) == addr_hash(&b));
	addr_to_sockaddr(&ss, &a, 25);
	must(addr_from_sockaddr(&b, &port, (const struct sockaddr *)&ss) == 0);
	must(addr_eq(&a, &b) && port == 25);
}

static void check_net(struct slice s)
{
	char text[ADDR_TEXT_MAX + 4];
	struct net n, m;
	size_t len;

	if (net_parse(&n, s))
		return;
	len = net_format(text, &n);
	must(net_parse(&m, (struct slice){ text, len }) == 0);
	must(addr_eq(&n.addr, &m.addr) && n.bits == m.bits);
	must(net_contains(&n, &n.addr));
	m = net_of(&n.addr, n.bits, n.bits);
	must(addr_eq(&n.addr, &m.addr) && n.bits == m.bits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice s = { (const char *)data, size };
	struct addr a;
	uint16_t port;

	check_addr(s);
	check_net(s);
	if (addr_parse_port(&a, &port, s) == 0)
		must(a.family == ADDR_V4 || a.family == ADDR_V6);
	return 0;
}
