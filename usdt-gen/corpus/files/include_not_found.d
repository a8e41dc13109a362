#include "generated/config.h"
provider p { probe x(int a, struct from_there *there); };
