struct wire { uint8_t kind; uint32_t length; } __attribute__((packed));
provider w { probe sent(struct wire *w); };
