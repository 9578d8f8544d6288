/* Listening sockets of servers that tests run. All of them are non-blocking. */
#pragma once

#include <netinet/in.h>
#include <stdint.h>

struct sockaddr_in socket_address(uint32_t ip, int port); /* ip in host order */
int socket_port(int fd);				  /* as bound; 0: none */
/* A TCP socket that listens. fd or -errno. */
int socket_listen_at(uint32_t ip, int port, int backlog);
/* A socket of this type, bound to "127.0.0.1:0" (and only to loopback), or a Unix socket at a path.
 * fd or -errno; *text (caller frees): as bound. */
int socket_listen(const char *address, int type, char **text);
