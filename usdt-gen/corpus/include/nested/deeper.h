typedef unsigned long more_t;
