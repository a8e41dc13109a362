#include "noise.h"
provider p { probe x(noise_t n, struct noisy *s); };
