/* Built-in warm-up plans: messages a day from one source to one provider. Beyond the last rung a
 * source is warm. Called by warmup.c and describe.c; a table without state. */
#include "ladders.h"

#include <stddef.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Ours, for Microsoft, on the careful side of what is known. Microsoft publishes no plan; what
 * senders collected: start near 500 a day and address, or lower; steps of 10 to 25 % are left
 * alone and steps of 75 to 100 % were throttled although the reputation was green; a new sender
 * was held to about 20,000 a day in its first week; a settled reputation takes four weeks to some
 * months. Hence: a start of 200; steps of 40 % at most while the numbers are too small to matter
 * (to 1,000), of 30 % to 10,000, of 25 % to 50,000 and of 20 % to about
 * 100,000. 26 days when every one
 * advances, and 20,000 a day not before the 19th. */
static const uint32_t outlook[] = {
	/* days 1 to 6 */ 200, 280, 390, 540, 750, 1000,
	/* 7 to 15 */ 1300, 1690, 2190, 2840, 3690, 4790, 6200, 8000, 10000,
	/* 16 to 22 */ 12500, 15600, 19500, 24300, 30300, 37800, 47200,
	/* 23 to 26 */ 56600, 67900, 81400, 97600
};

/* Twilio SendGrid's automatic warm-up ("Warming up an IP address", hourly send schedule): 20 an
 * hour on the first day, 1.4 times as many on each further one; here by the day (24 hours).
 * SendGrid goes on until millions an hour; this ends where a single address has reached a million
 * a day. */
static const uint32_t sendgrid[] = { 480, 672, 941, 1317, 1844, 2582, 3614, 5060, 7084, 9917, 13884,
	19438, 27213, 38098, 53338, 74673, 104542, 146358, 204902, 286863, 401608, 562251, 787151,
	1102011 };

/* SparkPost's (Bird's) automatic warm-up, stages by address and day. The stages 15, 17 and 19 are
 * the middle between their neighbours; it ends at 1,000,000, SparkPost's at 10,000,000. */
static const uint32_t sparkpost[] = { 200, 500, 1000, 2000, 5000, 10000, 20000, 40000, 50000, 75000,
	100000, 150000, 200000, 250000, 325000, 400000, 500000, 600000, 800000, 1000000 };

/* Amazon SES warms a dedicated address in 45 days to 50,000 a day, and does not publish the days
 * between: the same end and length in equal steps of 17 % from 50. */
static const uint32_t ses[] = { 50, 58, 68, 80, 94, 110, 128, 150, 176, 205, 240, 281, 329, 385,
	450, 527, 616, 721, 844, 987, 1155, 1351, 1581, 1850, 2164, 2532, 2963, 3466, 4056, 4745,
	5552, 6495, 7600, 8891, 10403, 12171, 14240, 16661, 19493, 22807, 26683, 31219, 36526,
	42735, 50000 };

const struct ladder ladders[LADDERS] = {
	{ "outlook",
		"the default, made for Microsoft and careful: 200 on the first day, steps of 40 % "
		"at most, of 25 % from 10,000 on, 97,600 on the 26th",
		outlook, COUNT(outlook) },
	{ "sendgrid",
		"Twilio SendGrid's hourly schedule by the day: 480 on the first day, 40 % more on "
		"each, a million on the 24th",
		sendgrid, COUNT(sendgrid) },
	{ "sparkpost",
		"SparkPost's stages: 200 on the first day, steep, 100,000 on the 11th and a "
		"million on the 20th",
		sparkpost, COUNT(sparkpost) },
	{ "ses",
		"as long as Amazon SES takes: 50 on the first day, 17 % more on each, 50,000 on "
		"the 45th",
		ses, COUNT(ses) },
};

const struct ladder *ladder_find(const char *name)
{
	for (unsigned i = 0; i < LADDERS; i++) {
		if (strcmp(ladders[i].name, name) == 0)
			return &ladders[i];
	}
	return NULL;
}
