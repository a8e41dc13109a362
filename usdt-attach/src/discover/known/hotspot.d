// OpenJDK: src/hotspot/os/posix/dtrace/hotspot.d and hs_private.d, and the names in "DTrace Probes
// in HotSpot VM". Strings are a pointer and a length.

provider hotspot {
	probe class__loaded(string class, void *loader, bool is_shared);
	probe class__unloaded(string class, void *loader, bool is_shared);
	probe class__initialization__required(string class, void *loader, intptr_t thread);
	probe class__initialization__recursive(string class, void *loader, intptr_t thread, bool wait);
	probe class__initialization__concurrent(string class, void *loader, intptr_t thread, bool wait);
	probe class__initialization__erroneous(string class, void *loader, intptr_t thread, bool wait);
	probe class__initialization__super__failed(string class, void *loader, intptr_t thread, bool wait);
	probe class__initialization__clinit(string class, void *loader, intptr_t thread, bool wait);
	probe class__initialization__error(string class, void *loader, intptr_t thread, bool wait);
	probe class__initialization__end(string class, void *loader, intptr_t thread, bool wait);

	probe vm__init__begin();
	probe vm__init__end();
	probe vm__shutdown();
	probe vmops__request(string operation, int mode);
	probe vmops__begin(string operation, int mode);
	probe vmops__end(string operation, int mode);

	probe gc__begin(bool is_full);
	probe gc__end();
	probe mem__pool__gc__begin(
		string manager,
		string pool,
		uintptr_t initial_size,
		uintptr_t used,
		uintptr_t committed,
		uintptr_t max_size
	);
	probe mem__pool__gc__end(
		string manager,
		string pool,
		uintptr_t initial_size,
		uintptr_t used,
		uintptr_t committed,
		uintptr_t max_size
	);
	probe gc__thread__spawn();
	probe gc__thread__work__start();
	probe gc__thread__work__end();

	probe thread__start(string name, intptr_t java_thread, uintptr_t native_thread, bool is_daemon);
	probe thread__stop(string name, intptr_t java_thread, uintptr_t native_thread, bool is_daemon);
	probe thread__sleep__begin(int64_t duration);
	probe thread__sleep__end(int interrupted);
	probe thread__yield();
	probe thread__park__begin(uintptr_t parker, int is_absolute, int64_t timeout);
	probe thread__park__end(uintptr_t parker);
	probe thread__unpark(uintptr_t parker);

	probe method__compile__begin(string compiler, string class, string method, string signature);
	probe method__compile__end(string compiler, string class, string method, string signature, bool success);
	probe compiled__method__load(string class, string method, string signature, void *code, int code_size);
	probe compiled__method__unload(string class, string method, string signature);

	probe monitor__contended__enter(intptr_t java_thread, uintptr_t monitor, string class);
	probe monitor__contended__entered(intptr_t java_thread, uintptr_t monitor, string class);
	probe monitor__contended__exit(intptr_t java_thread, uintptr_t monitor, string class);
	probe monitor__wait(intptr_t java_thread, uintptr_t monitor, string class, int64_t timeout);
	probe monitor__waited(intptr_t java_thread, uintptr_t monitor, string class);
	probe monitor__notify(intptr_t java_thread, uintptr_t monitor, string class);
	probe monitor__notifyAll(intptr_t java_thread, uintptr_t monitor, string class);

	probe object__alloc(intptr_t java_thread, string class, int size);
	probe method__entry(intptr_t java_thread, string class, string method, string signature);
	probe method__return(intptr_t java_thread, string class, string method, string signature);
};

provider hs_private {
	probe safepoint__begin();
	probe safepoint__end();
};
