// GNU libc: manual/probes.texi, and the LIBC_PROBE lines of malloc/, nptl/ and elf/.

#define JUMPS \
	probe setjmp(void *env, int value, void *return_address); \
	probe longjmp(void *env, int value, void *return_address); \
	probe longjmp_target(void *env, int value, void *return_address)

// Part of libpthread until 2.33, of libc from 2.34 on.
#define THREADS \
	probe pthread_create(void *thread, void *attributes, void *start_routine, void *argument); \
	probe pthread_start(uintptr_t thread, void *start_routine, void *argument); \
	probe pthread_join(uintptr_t thread); \
	probe pthread_join_ret(uintptr_t thread, int error, void *result); \
	probe mutex_init(void *mutex); \
	probe mutex_destroy(void *mutex); \
	probe mutex_entry(void *mutex); \
	probe mutex_acquired(void *mutex); \
	probe mutex_timedlock_entry(void *mutex, void *deadline); \
	probe mutex_clocklock_entry(void *mutex, int clock, void *deadline); \
	probe mutex_timedlock_acquired(void *mutex); \
	probe mutex_release(void *mutex); \
	probe cond_init(void *cond, void *attributes); \
	probe cond_destroy(void *cond); \
	probe cond_wait(void *cond, void *mutex); \
	probe cond_signal(void *cond); \
	probe cond_broadcast(void *cond); \
	probe rwlock_destroy(void *rwlock); \
	probe rdlock_entry(void *rwlock); \
	probe rdlock_acquire_read(void *rwlock); \
	probe wrlock_entry(void *rwlock); \
	probe wrlock_acquire_write(void *rwlock); \
	probe rwlock_unlock(void *rwlock); \
	probe lll_lock_wait_private(void *futex); \
	probe lll_lock_wait(void *futex)

provider libc {
	JUMPS;
	THREADS;

	probe memory_sbrk_more(void *end, uintptr_t size);
	probe memory_sbrk_less(void *end, uintptr_t size);
	probe memory_heap_new(void *heap, uintptr_t size);
	probe memory_heap_free(void *heap, uintptr_t size);
	probe memory_heap_more(void *heap, uintptr_t size);
	probe memory_heap_less(void *heap, uintptr_t size);
	probe memory_malloc_retry(uintptr_t size);
	probe memory_realloc_retry(uintptr_t size, void *pointer);
	probe memory_memalign_retry(uintptr_t size, uintptr_t alignment);
	probe memory_calloc_retry(uintptr_t size);
	probe memory_arena_retry(uintptr_t size, void *arena);
	probe memory_arena_new(void *arena, uintptr_t size);
	probe memory_arena_reuse(void *arena, void *previous_arena);
	probe memory_arena_reuse_wait(void *mutex, void *arena, void *previous_arena);
	probe memory_arena_reuse_free_list(void *arena);
	probe memory_tcache_double_free(void *pointer, int bin);

	probe memory_mallopt(int parameter, int value);
	probe memory_mallopt_mxfast(int value, int previous);
	probe memory_mallopt_trim_threshold(int value, int previous, int dynamic_disabled);
	probe memory_mallopt_top_pad(int value, int previous, int dynamic_disabled);
	probe memory_mallopt_mmap_threshold(int value, int previous, int dynamic_disabled);
	probe memory_mallopt_mmap_max(int value, int previous, int dynamic_disabled);
	probe memory_mallopt_perturb(int value, int previous);
	probe memory_mallopt_arena_test(int value, int previous);
	probe memory_mallopt_arena_max(int value, int previous);
	probe memory_mallopt_free_dyn_thresholds(uintptr_t mmap_threshold, uintptr_t trim_threshold);
	probe memory_tunable_tcache_max_bytes(uintptr_t value, uintptr_t previous);
	probe memory_tunable_tcache_count(uintptr_t value, uintptr_t previous);
	probe memory_tunable_tcache_unsorted_limit(uintptr_t value, uintptr_t previous);
};

provider libpthread {
	THREADS;
};

provider rtld {
	JUMPS;

	probe init_start(long namespace, void *debug);
	probe init_complete(long namespace, void *debug);
	probe map_start(long namespace, void *debug);
	probe map_complete(long namespace, void *debug, void *link_map);
	probe reloc_start(long namespace, void *debug);
	probe reloc_complete(long namespace, void *debug, void *link_map);
	probe unmap_start(long namespace, void *debug);
	probe unmap_complete(long namespace, void *debug);
};
