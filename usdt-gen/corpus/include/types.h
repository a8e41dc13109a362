#ifndef TYPES_H
#define TYPES_H
typedef int fd_type;
typedef struct endpoint {
	uint32_t address;
	uint16_t port;
} endpoint_t;
enum close_reason { CLOSE_BY_PEER, CLOSE_BY_US };
enum never_used { NEVER };
#endif
