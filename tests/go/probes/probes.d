/** Probes of the end-to-end tests. */
provider e2e {
	/** Fired in loops, with the goroutine ID, a number and a string that depends on the number. */
	probe hit(uint64_t self, uint64_t n, string text);

	/** Integer arguments. */
	probe types(char c, int8_t i8, int16_t i16, int32_t i32, int64_t i64,
	    uint8_t u8, uint16_t u16, uint32_t u32);
	/** Arguments of the other types. */
	probe more__types(uint64_t u64, float f, double d, bool ok, const char *cstring, bytes data, error err, void *p);

	/** Twelve argument words, the maximum, which leave no register for the goroutine ID. */
	probe twelve(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j, int k, int l);

	/** No arguments. */
	probe nothing();

	/** Never fired, so the linker removes it. */
	probe unused(int x);
};

provider other_provider {
	probe hit(int n);
	probe keywords(int type, int func, int g, int SP, int len, int unsafe, int R14);
};
