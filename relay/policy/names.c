/* What Microsoft's texts say about clusters: banners, the last group of an error's tail, reverse
 * DNS. Texts are hostile: what does not fit a known form says nothing. Called by learn.c,
 * cluster.c and operate.c; pure, no state. */
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "names.h"

struct word {
	const char *p;
	size_t n;
};

static bool alnum(char c)
{
	return isalnum((unsigned char)c) != 0;
}

static bool digits(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isdigit((unsigned char)p[i]))
			return false;
	return n > 0;
}

static bool hex(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isxdigit((unsigned char)p[i]))
			return false;
	return n > 0;
}

static bool letters(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isalpha((unsigned char)p[i]))
			return false;
	return n > 0;
}

static void copy_case(char *out, size_t max, const char *p, size_t n, bool upper)
{
	size_t i;

	for (i = 0; i < n && i + 1 < max; i++)
		out[i] =
			(char)(upper ? toupper((unsigned char)p[i]) : tolower((unsigned char)p[i]));
	out[i] = '\0';
}

/* ---- geographies ---- */

static const struct {
	const char *sites, *geography; /* two letters each */
} by_site[] = {
	{ "AM DB VI VE HE DU MW", "EUR" },
	{ "CH BN BL SN CY DM SA CO BY SJ DS PH MN", "NAM" },
	{ "LN LO CW", "GBR" },
	{ "SG HK KL PS", "APC" },
	{ "TY OS", "JPN" },
	{ "ME SY ML", "AUS" },
	{ "YT YQ", "CAN" },
	{ "BO MA PN", "IND" },
	{ "SE PU", "KOR" },
	{ "ZR GV", "CHE" },
	{ "FR BE", "DEU" },
	{ "PR MR", "FRA" },
	{ "CP GR SC", "LAM" },
	{ "JN CT", "ZAF" },
	{ "DX AU", "ARE" },
	{ "OL SV", "NOR" },
};

static void geography_of_site(char out[8], const char *site)
{
	out[0] = '\0';
	for (size_t i = 0; i < sizeof(by_site) / sizeof(*by_site); i++)
		for (const char *s = by_site[i].sites; *s; s += s[2] ? 3 : 2)
			if (toupper((unsigned char)site[0]) == s[0] &&
				toupper((unsigned char)site[1]) == s[1]) {
				snprintf(out, 8, "%s", by_site[i].geography);
				return;
			}
}

/* EUR01, eurprd05, JPNP286, GCC02 */
void geography_of_cluster(char out[8], const char *cluster)
{
	if (!strncmp(cluster, "ptr-", 4))
		cluster += 4;
	if (letters(cluster, 3) && strlen(cluster) > 3)
		copy_case(out, 4, cluster, 3, true);
	else
		out[0] = '\0';
}

bool name_is_geography(const char *name)
{
	for (size_t i = 0; i < sizeof(by_site) / sizeof(*by_site); i++)
		if (!strcasecmp(name, by_site[i].geography))
			return true;
	return false;
}

/* EUR01, eurprd05, JPNP286: three letters of where, up to three of what, and a number. */
bool name_is_cluster(const char *name)
{
	const char *p = name + (strncmp(name, "ptr-", 4) ? 0 : 4);
	size_t n = strlen(p), last = n;

	while (last && isdigit((unsigned char)p[last - 1]))
		last--;
	return last >= 3 && last <= 6 && letters(p, last) && n - last >= 2 && n - last <= 4;
}

/* MX addresses as they are used now: 52.101.0.0/16, by site. */
void geography_of_addr(char out[8], const struct addr *a)
{
	static const struct {
		uint8_t low, high;
		const char *geography;
	} rows[] = { { 8, 11, "NAM" }, { 40, 42, "NAM" }, { 68, 68, "EUR" }, { 73, 73, "EUR" },
		{ 89, 89, "GBR" }, { 99, 99, "GBR" }, { 132, 132, "APC" }, { 137, 137, "APC" },
		{ 185, 185, "CHE" }, { 187, 187, "CHE" }, { 194, 194, "NAM" } };

	out[0] = '\0';
	if (a->family != ADDR_V4 || a->ip[0] != 52 || a->ip[1] != 101)
		return;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (a->ip[2] >= rows[i].low && a->ip[2] <= rows[i].high)
			snprintf(out, 8, "%s", rows[i].geography);
}

/* ---- host names ---- */

/* DB5EUR01FT043, HP1EUR02TC012: site (three), cluster (three letters, two digits), FT or TC,
 * number. */
static bool front_end(struct host_name *ret, const char *p, size_t n)
{
	if (n < 12 || n > 14 || !letters(p + 3, 3) || !digits(p + 6, 2) || !digits(p + 10, n - 10))
		return false;
	if (strncasecmp(p + 8, "FT", 2) && strncasecmp(p + 8, "TC", 2))
		return false;
	copy_case(ret->cluster, 6, p + 3, 5, true);
	geography_of_cluster(ret->geography, ret->cluster);
	return true;
}

/* CH3PEPF00000015, AMS0EPF0000019A, BL02EPF00046C14: the site alone. */
static bool edge(struct host_name *ret, const char *p, size_t n)
{
	if (n < 13 || !hex(p + n - 8, 8) || strncasecmp(p + n - 11, "EPF", 3))
		return false;
	geography_of_site(ret->geography, p);
	return true;
}

void name_of_banner(struct host_name *ret, const char *banner)
{
	size_t n = 0;

	*ret = (struct host_name){ 0 };
	while (*banner == ' ')
		banner++;
	while (alnum(banner[n]) || banner[n] == '-')
		n++;
	if (!n || n >= BANNER_NAME)
		return;
	copy_case(ret->host, BANNER_NAME, banner, n, true);
	if (!front_end(ret, ret->host, n) && !edge(ret, ret->host, n) && letters(ret->host, 2))
		ret->geography[0] = '\0';
}

bool name_of_server(struct host_name *ret, const struct classification *c)
{
	const char *at = c->server_cluster;

	if (!c->server[0] || !at[0])
		return false;
	*ret = (struct host_name){ 0 };
	copy_case(ret->host, BANNER_NAME, c->server, strlen(c->server), true);
	if (strlen(at) > 4 && !strncasecmp(at, "eop-", 4))
		copy_case(ret->cluster, CLUSTER_NAME, at + 4, strlen(at) - 4, true);
	else
		copy_case(ret->cluster, CLUSTER_NAME, at, strlen(at), false);
	geography_of_cluster(ret->geography, ret->cluster);
	return true;
}

/* mail-db5eur010036.inbound…: site and cluster, zero, last octet. mail-am7pr02cu00203…: the forest
 * that the address belongs to, which is not the one in tails: a name of its own. */
bool name_of_ptr(struct host_name *ret, struct slice ptr)
{
	const char *p = ptr.p, *dot = memchr(ptr.p, '.', ptr.n);
	size_t n = dot ? (size_t)(dot - ptr.p) : ptr.n, site, forest;

	*ret = (struct host_name){ 0 };
	if (n < 12 || strncasecmp(p, "mail-", 5))
		return false;
	for (size_t i = 0; i < n; i++) /* a label of DNS may hold any byte */
		if (!alnum(p[i]) && p[i] != '-')
			return false;
	p += 5;
	n -= 5;
	if (n >= 12 && letters(p + 3, 3) && digits(p + 6, n - 6)) {
		copy_case(ret->cluster, 6, p + 3, 5, true);
		geography_of_cluster(ret->geography, ret->cluster);
		return true;
	}
	for (site = 2; site <= 4 && site < n; site++) {
		const char *f = p + site;

		if (tolower((unsigned char)f[0]) != 'p')
			continue;
		forest = 1;
		while (site + forest < n && f[forest] != 'c' && f[forest] != 'C')
			forest++;
		if (site + forest + 2 > n || strncasecmp(f + forest, "cu", 2) ||
			!digits(f + forest - 2, 2))
			continue;
		geography_of_site(ret->geography, p);
		if (!ret->geography[0])
			return false;
		snprintf(ret->cluster, CLUSTER_NAME, "ptr-%s%.*s", ret->geography,
			(int)(forest < 20 ? forest : 20), f);
		return true;
	}
	return false;
}

/* The domain in lower case; false: none, or no name that could be told and saved (one that is not
 * in ASCII: its refusals back off one by one). */
bool sender_name(char out[SENDER_NAME], const char *domain)
{
	size_t n = 0;

	if (!domain)
		return false;
	for (; domain[n]; n++) {
		unsigned char c = (unsigned char)domain[n];

		if (n + 1 >= SENDER_NAME || !(isalnum(c) || c == '.' || c == '-' || c == '_'))
			return false;
		out[n] = (char)tolower(c);
	}
	out[n] = '\0';
	return n > 0;
}
