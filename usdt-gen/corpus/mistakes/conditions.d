#if FOO ==
#endif
#else
#if 1
#else
#else
#endif
#ifdef
#endif
provider app { probe a(); };
#if 0
