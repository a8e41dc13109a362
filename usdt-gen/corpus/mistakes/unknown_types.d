provider app {
	probe a(uint46_t id);
	probe b(u64 id);
	probe c(my_typ t, my_typ again);
	probe d(int128_t big);
};
typedef int my_type;
