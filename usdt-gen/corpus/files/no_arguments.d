provider daemon {
	probe started();
	probe stopped(void);
};
