/* Shared by the files of the session. */
#pragma once

#include "conn.h"

void smtp_early_check(
	struct conn *c, const char *p, size_t n); /* input while a reply is awaited? */
void smtp_echo(
	struct conn *c, const char *text); /* 503 behind a refusal: no verdict, and no violation */
void smtp_sync_point(struct conn *c);
