// PostgreSQL up to 10: src/backend/utils/probes.d.

provider postgresql {
	probe sort__start(int sort_type, bool unique, int columns, int memory_kib, int random_access);
};
