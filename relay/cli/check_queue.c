/* postern check-queue: opens the queue's file beside the relay, or alone for --repair, and prints
 * what queue/repair/check.c finds. Main thread of a tool. */
#include <signal.h>
#include <string.h>

#include "cli.h"
#include "postern/queue_check.h"

static void say(void *arg, const char *line)
{
	const bool *json = arg;
	json_t *j;

	if (!*json) {
		print("%s\n", line);
		return;
	}
	j = json_pack("{so}", "finding", json_text(line));
	print_json(j);
	json_decref(j);
}

static void say_outcome(const char *path, bool damaged, bool repaired, bool json)
{
	json_t *j;

	if (!json) {
		print("%s: %s\n", path,
			!damaged   ? "no damage found"
			: repaired ? "damaged records were set aside"
				   : "damage found: --repair sets it aside");
		return;
	}
	j = json_pack("{so sb sb}", "path", json_text(path), "damaged", damaged, "repaired",
		damaged && repaired);
	print_json(j);
	json_decref(j);
}

static int run(const struct cli_command *self, int argc, char **argv)
{
	struct cli_arguments a;
	struct queue_params p;
	char path[512];
	struct queue *q = NULL;
	struct config *c;
	char error[512] = "";
	bool repair, json;
	int r = cli_parse(self, argc, argv, &a);

	if (r >= 0)
		return r;
	repair = cli_value(self, &a, "repair") != NULL;
	json = cli_value(self, &a, "json") != NULL;
	c = cli_config(&a, true);
	if (c) {
		p = c->queue;
	} else if (config_setting(a.config, "queue", "path", path, sizeof(path)) == 0) {
		/* what is wrong was said; a reader takes the size from the file */
		p = (struct queue_params){ .path = path, .max_size = 1ull << 30 };
	} else {
		return EX_CONFIG;
	}
	p.read_only = !repair;
	/* a stopped reader keeps all that the relay frees: there is nothing to suspend, it is short
	 */
	signal(SIGTSTP, SIG_IGN);
	r = queue_open(&q, &p, error, sizeof(error));
	if (r) {
		print_error("postern: %s\n", *error ? error : strerror(-r));
		config_free(c);
		return EX_NOINPUT;
	}
	r = queue_check(q, repair, say, &json);
	if (r < 0)
		print_error("postern: %s: check ended early: %s\n", p.path, strerror(-r));
	else
		say_outcome(p.path, r > 0, repair, json);
	queue_close(q);
	config_free(c);
	return r < 0 ? EX_IOERR : r == 0 ? EX_OK : EX_DATAERR;
}

static const struct cli_option options[] = {
	{ "repair", 0, NULL, "set damaged records aside (the relay must not be running)" },
	{ "json", 'j', NULL, "one JSON object a line" },
	{ 0 },
};
const struct cli_command command_check_queue = {
	.name = "check-queue",
	.arguments = "",
	.summary = "Verify the queue's file and say what was found.",
	.help = "Without --repair the queue is only read, in short snapshots, and the relay may be "
		"running. Damaged "
		"records are never dropped: --repair moves\n"
		"them to a database of their own inside the queue file.",
	.options = options,
	.run = run,
};
