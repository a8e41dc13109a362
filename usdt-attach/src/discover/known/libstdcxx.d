// GCC: the PROBE2 lines of libstdc++-v3/libsupc++.

provider libstdcxx {
	probe throw(void *object, void *type_info);
	probe rethrow(void *object, void *type_info);
	probe catch(void *object, void *type_info);
};
