#define DEPTH 4
typedef unsigned char mac_t[6];
typedef char name_t[16];
provider arrays {
	probe frame(mac_t source, uint8_t payload[], int table[DEPTH][3], name_t name);
};
