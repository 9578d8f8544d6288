/* Listening sockets on loopback. Called by whatever serves: listeners of the simulator, its control
 * socket, name servers. */
#include "socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util.h"

struct sockaddr_in socket_address(uint32_t ip, int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(ip),
		.sin_port = htons((uint16_t)port) };
}

int socket_port(int fd)
{
	struct sockaddr_in sin = { 0 };
	socklen_t n = sizeof(sin);

	return getsockname(fd, (struct sockaddr *)&sin, &n) ? 0 : ntohs(sin.sin_port);
}

/* No SO_REUSEPORT: two simulators must never share a port. */
int socket_listen_at(uint32_t ip, int port, int backlog)
{
	struct sockaddr_in sin = socket_address(ip, port);
	int one = 1, r, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (port)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) || listen(fd, backlog)) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

static int listen_unix(const char *path, char **text)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int r, fd;

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	memcpy(sun.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) || listen(fd, 64)) {
		r = -errno;
		close(fd);
		return r;
	}
	*text = xstrdup(path);
	return fd;
}

int socket_listen(const char *address, int type, char **text)
{
	const char *colon = strrchr(address, ':');
	struct sockaddr_in sin;
	char ip[IP_TEXT] = "", shown[64];
	uint32_t host;
	int fd, r;

	if (strchr(address, '/'))
		return listen_unix(address, text);
	if (!colon || (size_t)(colon - address) >= sizeof(ip))
		return -EINVAL;
	memcpy(ip, address, (size_t)(colon - address));
	if (ip_parse(&host, ip) || host >> 24 != 127)
		return -EINVAL;
	sin = socket_address(host, atoi(colon + 1));
	if (type == SOCK_STREAM) {
		fd = socket_listen_at(host, atoi(colon + 1), 256);
		if (fd < 0)
			return fd;
	} else {
		fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (fd < 0)
			return -errno;
		if (bind(fd, (struct sockaddr *)&sin, sizeof(sin))) {
			r = -errno;
			close(fd);
			return r;
		}
	}
	snprintf(shown, sizeof(shown), "%s:%d", ip, socket_port(fd));
	*text = xstrdup(shown);
	return fd;
}
