#include "once.h"
#include "once.h"
provider p { probe x(once_t a); };
