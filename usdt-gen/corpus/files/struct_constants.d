#define NAME_MAX_LENGTH 31
enum { ROWS = 2 + 1, COLUMNS };
inline int EXTRA = 2;
struct grid { char name[NAME_MAX_LENGTH + 1]; uint8_t cell[ROWS][COLUMNS * EXTRA]; char pad[sizeof(long) - 1]; char flexible[]; };
provider grids { probe drawn(struct grid *g); };
