provider gpu {
	probe launch(const void **args, void ***deep, const char **names, char *const name, const char *const other);
};
