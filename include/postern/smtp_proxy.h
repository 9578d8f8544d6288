/* PROXY protocol v1 and v2 preface (HAProxy's specification, proxy-protocol.txt). Pure. */
#pragma once

#include "postern/addr.h"
#include "postern/buf.h"

enum proxy_status { PROXY_MORE, PROXY_DONE, PROXY_BAD };
struct proxy_header {
	bool local; /* LOCAL command or UNKNOWN: keep the socket's own address */
	struct addr client;
	uint16_t client_port;
};
#define PROXY_V1_MAX 107
#define PROXY_V2_MAX (16 + 2048) /* longer TLV areas are refused */
/* in: all bytes received so far. On PROXY_DONE *used bytes belong to the preface. */
enum proxy_status proxy_parse(struct proxy_header *ret, struct slice in, size_t *used);
