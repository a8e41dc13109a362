provider std {
	probe a(int8_t a, uint8_t b, int16_t c, uint16_t d, int32_t e, uint32_t f, int64_t g, uint64_t h);
	probe b(size_t a, ssize_t b, uintptr_t c, intptr_t d, pid_t e, uid_t f, off_t g, time_t h, ptrdiff_t i);
	probe c(uint_t a, ulong_t b, hrtime_t c, boolean_t d);
};
