/* Answers of name servers. The first byte chooses the type that was asked for. */
#include <stddef.h>
#include <stdint.h>

#include "../../relay/dns/dns_wire.h"
#include "postern/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum dns_type types[] = { DNS_TYPE_A, DNS_TYPE_PTR, DNS_TYPE_MX,
		DNS_TYPE_AAAA };
	static struct dns_answer answer;

	if (size == 0)
		return 0;
	if (dns_wire_parse(&answer, data + 1, size - 1, types[data[0] % 4]))
		return 0;
	must(answer.nmx <= DNS_MX_MAX && answer.naddrs <= DNS_ADDRS_MAX);
	for (unsigned i = 0; i < answer.nmx; i++) {
		must(i == 0 || answer.mx[i - 1].preference <= answer.mx[i].preference);
		must(strlen(answer.mx[i].name) < DNS_NAME_MAX - 2);
	}
	must(strlen(answer.ptr) < DNS_NAME_MAX - 2);
	return 0;
}
