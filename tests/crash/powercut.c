/* powercut [--cuts N] [--messages N] [--seed N] [--sync-errors SHARE] [--dir DIRECTORY] [--keep]
 *
 * One workload, then N moments of it at which the power fails, in each of them one way the disk may
 * look. With
 * --sync-errors some syncs fail, and the workload goes on. Exit status 1 when a promise was broken;
 * the image is kept with --keep. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "postern/must.h"
#include "powercut.h"

static struct {
	uint32_t cuts, messages;
	uint64_t seed;
	double sync_errors;
	const char *dir;
	bool keep;
} opt = { .cuts = 300, .messages = 1500, .dir = "/dev/shm" };

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Steps of the first start: until the file has its name. */
static uint32_t first_start(void)
{
	uint32_t n = 0;

	while (n < nops && (ops[n].kind != OP_NAMED || ops[n].failed))
		n++;
	return n;
}

/* Any moment; half of them close behind an acknowledgement, where a lie would show; and some of the
 * few steps of the first start. */
static uint32_t *choose_cuts(struct rng *rng)
{
	uint32_t *cuts = calloc(opt.cuts, sizeof(*cuts));

	must(cuts);
	for (uint32_t i = 0; i < opt.cuts; i++) {
		cuts[i] = 1 + (uint32_t)rng_below(rng, i % 8 ? nops : first_start() + 2);
		for (uint32_t k = 0;
			i % 2 && k < 200 && cuts[i] < nops && ops[cuts[i] - 1].kind != OP_MARK; k++)
			cuts[i]++;
	}
	qsort(cuts, opt.cuts, sizeof(*cuts), compare);
	return cuts;
}

static void empty(const char *dir)
{
	static const char *const names[] = { "data.mdb", "lock.mdb", "postern.lock", "new/data.mdb",
		"new/lock.mdb" };
	char path[512];

	for (unsigned i = 0; i < 5; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/new", dir);
	rmdir(path);
}

static unsigned try_cuts(const char *dir, struct rng *rng)
{
	uint32_t *cuts = choose_cuts(rng);
	unsigned wrong = 0, opened = 0;

	disk_begin();
	for (uint32_t i = 0; i < opt.cuts && wrong < 10; i++) {
		disk_advance(cuts[i]);
		if (!disk_exists())
			continue;
		empty(dir);
		disk_image(dir, rng);
		opened++;
		if (!verify(dir, cuts[i]))
			continue;
		wrong++;
		fprintf(stderr, "the cut before step %u of %u (number %u, seed %" PRIu64 ")\n",
			cuts[i], nops, i, opt.seed);
		if (opt.keep)
			exit(1);
	}
	printf("%u images of the disk at %u moments of %u steps, %u messages: %u wrong; %u times a "
	       "refused message was there\n",
		opened, opt.cuts, nops, nmodel, wrong, returned);
	free(cuts);
	return wrong;
}

static void parse(int argc, char **argv)
{
	static const struct option longs[] = { { "cuts", 1, NULL, 'c' },
		{ "messages", 1, NULL, 'm' }, { "seed", 1, NULL, 's' },
		{ "sync-errors", 1, NULL, 'e' }, { "dir", 1, NULL, 'd' }, { "keep", 0, NULL, 'k' },
		{ 0 } };
	int c;

	opt.seed = rng_entropy() >> 32;
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			opt.cuts = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'm':
			opt.messages = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 's':
			opt.seed = strtoull(optarg, NULL, 10);
			break;
		case 'e':
			opt.sync_errors = strtod(optarg, NULL);
			break;
		case 'd':
			opt.dir = optarg;
			break;
		case 'k':
			opt.keep = true;
			break;
		default:
			exit(64);
		}
	}
}

int main(int argc, char **argv)
{
	char dir[256], image[300];
	struct rng rng;
	unsigned wrong;

	parse(argc, argv);
	printf("seed %" PRIu64 "\n", opt.seed);
	fflush(stdout);
	snprintf(dir, sizeof(dir), "%s/powercut.XXXXXX", opt.dir);
	must(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/image", dir);
	must(mkdir(image, 0700) == 0);
	record_begin(opt.seed, opt.sync_errors);
	drive(dir, opt.messages, opt.seed);
	record_end();
	empty(dir);
	rng_seed(&rng, opt.seed + 1);
	wrong = try_cuts(image, &rng);
	empty(image);
	rmdir(image);
	rmdir(dir);
	return wrong ? 1 : 0;
}
