/* Throw-away certificates for tests, as PEM files in a directory of their own. */
#pragma once

#include <stdbool.h>

struct certificates {
	char dir[64];
	char ca[96]; /* root, to be trusted */
	char good[96], expired[96],
		foreign[96]; /* for mx.example.test and 127.0.0.1; foreign: another root */
	char key[96];	     /* of all of them */
};
void certificates_make(struct certificates *c);
void certificates_remove(struct certificates *c);
