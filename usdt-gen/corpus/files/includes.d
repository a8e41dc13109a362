#include <stdint.h>
#include <sys/types.h>
#include "types.h"
#include <nested/more.h>
provider net {
	probe accepted(endpoint_t *peer, fd_type fd);
	probe closed(enum close_reason why, more_t more);
};
