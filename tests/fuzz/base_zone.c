/* Files of time zones: whatever is understood gives days that follow each other without a gap. */
#include "postern/must.h"
#include "postern/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_days(const struct zone *z, ms_t wall)
{
	struct zone_day d, again;

	for (unsigned i = 0; i < 4; i++) {
		zone_day(z, wall, &d);
		must(d.start <= wall && wall < d.next);
		must(zone_minute(z, &d, 0) == d.start && zone_minute(z, &d, 1440) == d.next);
		for (unsigned m = 0; m < 1440; m += 97)
			must(zone_minute(z, &d, m) <= zone_minute(z, &d, m + 97));
		zone_day(z, d.next - 1, &again);
		must(again.number == d.number && again.start == d.start && again.next == d.next);
		zone_day(z, d.next, &again);
		must(again.number > d.number && again.start == d.next);
		wall = d.next;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct zone *z = NULL;
	struct slice s = { (const char *)data, size };
	char text[ZONE_DATE_MAX];
	int32_t n;

	if (zone_parse(&z, s) == 0) {
		check_days(z, 0);
		check_days(z, 1795651200000); /* 2026 */
		check_days(z, 4102444800000); /* 2100 */
	}
	zone_free(z);
	if (zone_date_parse(&n, s) == 0) {
		must(zone_date_format(text, n) == size);
		must(slice_eq(slice_of(text), s));
	}
	return 0;
}
