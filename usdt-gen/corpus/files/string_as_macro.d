#ifdef __APPLE__
#define text string
#else
#define text char *
#endif
provider display {
	probe request(text name, int opcode, int client);
};
