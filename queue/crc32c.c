/* CRC-32C (Castagnoli): the polynomial that x86 has an instruction for. */
#include <stdbool.h>
#include <string.h>

#include "codec.h"

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc_hardware(
	uint32_t crc, const char *p, size_t n)
{
	uint64_t c = crc;

	for (; n >= 8; p += 8, n -= 8) {
		uint64_t v;

		memcpy(&v, p, sizeof(v));
		c = __builtin_ia32_crc32di(c, v);
	}
	for (; n > 0; p++, n--)
		c = __builtin_ia32_crc32qi((uint32_t)c, (unsigned char)*p);
	return (uint32_t)c;
}

static bool has_hardware(void)
{
	return __builtin_cpu_supports("sse4.2");
}
#else
static uint32_t crc_hardware(uint32_t crc, const char *p, size_t n)
{
	(void)p;
	(void)n;
	return crc;
}

static bool has_hardware(void)
{
	return false;
}
#endif

/* Four bits at a time: sixteen words of table, which stay in the cache. */
static uint32_t crc_software(uint32_t crc, const char *p, size_t n)
{
	static const uint32_t table[16] = { 0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
		0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6,
		0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75 };

	for (; n > 0; p++, n--) {
		crc ^= (unsigned char)*p;
		crc = (crc >> 4) ^ table[crc & 15];
		crc = (crc >> 4) ^ table[crc & 15];
	}
	return crc;
}

uint32_t crc32c_software(uint32_t crc, const void *p, size_t n)
{
	return ~crc_software(~crc, p, n);
}

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
	if (!has_hardware())
		return crc32c_software(crc, p, n);
	return ~crc_hardware(~crc, p, n);
}
