// usdt-attach itself: usdt-attach/src/own_probes.rs.

provider usdt_attach {
	probe attach(uint64_t sites, uint64_t files, uint64_t duration_ns);
	probe detach(uint64_t delivered, uint64_t attached_ns, uint64_t duration_ns);
	probe drain(uint64_t events, uint64_t duration_ns);
	probe drop(uint64_t dropped, uint64_t hits);
	probe export(uint64_t series, uint64_t duration_ns);
};
