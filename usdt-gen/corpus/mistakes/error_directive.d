#ifndef CONFIGURED
#error run configure first
#endif
provider app { probe a(); };
