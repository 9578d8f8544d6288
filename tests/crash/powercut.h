/* Power cuts on the queue: what a workload wrote is recorded write by write, then the disk is
 * rebuilt as it could look had the power failed at some moment, and the queue is opened on it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "postern/queue.h"
#include "postern/rng.h"

#define PAGE   4096u
#define SECTOR 512u
#define NEVER  UINT32_MAX

/* ---- record.c: the log ---- */

enum op_kind {
	OP_WRITE,  /* into the page cache */
	OP_WSYNC,  /* the write before it was through a synchronous descriptor, and has returned */
	OP_SYNC,   /* begins: what was written so far is meant */
	OP_SYNCED, /* has returned */
	OP_SIZE,   /* the file's length changes */
	OP_RENAME, /* the file, made beside, gets its name */
	OP_REMOVE, /* the file beside is thrown away */
	OP_NAMED,  /* the directory was synced */
	OP_MARK,   /* something happened outside; its meaning is in the model */
};
struct op {
	enum op_kind kind;
	bool failed; /* OP_WSYNC, OP_SYNCED, OP_NAMED */
	uint64_t offset;
	size_t n;
	unsigned char *data; /* OP_WRITE */
};
extern struct op *ops;
extern uint32_t nops;

void record_begin(uint64_t seed, double sync_errors);
void record_end(void);
uint32_t record_mark(void); /* its number */

/* ---- drive.c: the workload, and what it was told ---- */

#define RECIPIENTS 3u
struct model_message {
	uint64_t id, size;
	uint32_t nrecipients;
	/* numbers of marks; NEVER */
	uint32_t posted, accepted, refused;
	struct {
		uint32_t posted, gone; /* its removal */
	} recipients[RECIPIENTS];
	uint32_t parent; /* of a notification: stored with the removal of that message's recipient …
			  */
	uint32_t parent_recipient;
};
extern struct model_message *model;
extern uint32_t nmodel;

char content_byte(uint64_t id, uint64_t offset);
void drive(const char *dir, uint32_t messages, uint64_t seed);

/* ---- disk.c: images ---- */

void disk_begin(void);
/* Goes on to the moment before op number `at` (never back). */
void disk_advance(uint32_t at);
/* Writes the directory as it could look now: the file under its name, or beside. */
void disk_image(const char *dir, struct rng *rng);
bool disk_exists(void); /* the file had been made by then */

/* ---- verify.c ---- */

extern uint32_t returned; /* messages that were refused and are there, by images */
/* 0, or -1 after having said what is wrong. */
int verify(const char *dir, uint32_t at);
