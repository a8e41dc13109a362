struct flags {
	unsigned ready : 1;
	unsigned closing : 1, : 6, level : 4;
	unsigned : 0;
	int signed_one : 5;
	uint64_t wide : 40;
	char tail;
};
provider bits { probe changed(struct flags *f); };
