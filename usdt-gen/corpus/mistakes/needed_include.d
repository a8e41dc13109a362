#include "app/types.h"
provider app {
	probe a(conn_id id);
	probe b(conn_state *s);
};
