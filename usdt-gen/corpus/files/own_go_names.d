/* Names of Go that the file declares itself. */
typedef struct { int a; } rune;
#define uint64 unsigned long

provider app {
	probe own(rune *r, uint64 n, int64 m, byte *b);
};
typedef short int64;
typedef unsigned short byte;
