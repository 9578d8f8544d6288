/* Throw-away certificates for tests, as PEM files in a directory of their own. */
#pragma once

#include <stdbool.h>

struct certificates {
	char dir[200];
	char ca[240]; /* root, to be trusted */
	char good[240], expired[240],
		foreign[240]; /* for mx.example.test and 127.0.0.1; foreign: another root */
	char other[240];      /* for other.example.test, with its key in the same file */
	char key[240];	      /* of all of them */
};
void certificates_make(struct certificates *c);
void certificates_remove(struct certificates *c);
