provider app {
	probe start(id uint64, path string);
	probe body(body []byte);
	probe elapsed(d time.Duration);
	probe slice([]string all);
	probe wide(__int128 n);
};
