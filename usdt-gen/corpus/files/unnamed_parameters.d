provider anon { probe a(int, char *, struct x *, unsigned long, string, uint8_t []); };
