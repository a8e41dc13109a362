// GLib: glib/glib_probes.d, gobject/gobject_probes.d and their TRACE lines.

#define VARIANT(name) probe variant__##name(void *variant, void *type_info, int ref_count, int state)
#define FLOATING(name) \
	probe variant__##name(void *variant, void *type_info, int ref_count, int state, int floating)
#define CONTEXT(name) probe main__context_##name(void *context)

provider glib {
	probe mem__alloc(void *memory, uintptr_t size, int zeroed, int may_fail);
	probe mem__realloc(void *memory, void *previous, uintptr_t size, int may_fail);
	probe mem__free(void *memory);
	probe slice__alloc(void *memory, uintptr_t size);
	probe slice__free(void *memory, uintptr_t size);
	probe quark__new(const char *string, unsigned int quark);

	probe main__after_prepare(void *source, void *callback, int timeout);
	probe main__after_check(void *source, void *callback, int ready);
	probe main__before_dispatch(const char *name, void *source, void *dispatch, void *callback, void *user_data);
	probe main__after_dispatch(const char *name, void *source, void *dispatch, int need_destroy);
	probe main__source_attach(const char *name, void *source, void *context, unsigned int id);
	probe main__source_destroy(const char *name, void *source, void *context);
	CONTEXT(default);
	CONTEXT(new);
	CONTEXT(release);
	CONTEXT(free);
	CONTEXT(push_thread_default);
	CONTEXT(pop_thread_default);
	CONTEXT(before_prepare);
	CONTEXT(before_dispatch);
	CONTEXT(after_dispatch);
	CONTEXT(wakeup);
	CONTEXT(wakeup_acknowledge);
	probe main__context_acquire(void *context, int success);
	probe main__context_after_prepare(void *context, int priority, int ready);
	probe main__context_before_query(void *context, int max_priority);
	probe main__context_after_query(void *context, int has_timeout, uint64_t timeout_ns, void *fds, int poll_count);
	probe main__context_before_check(void *context, int max_priority, void *fds, int fd_count);
	probe main__context_after_check(void *context, int ready);
	probe main__loop_new(void *loop, void *context);
	probe main__loop_quit(void *loop);

	probe idle__add(void *source, void *context, unsigned int id, int priority, void *function, void *user_data);
	probe idle__dispatch(void *source, void *context, void *callback, void *user_data, int again);
	probe timeout__add(
		void *source,
		void *context,
		unsigned int id,
		int priority,
		unsigned int interval,
		void *function,
		void *user_data
	);
	probe timeout__dispatch(void *source, void *context, void *callback, void *user_data, int again);

	probe source__new(void *source, void *prepare, void *check, void *dispatch, void *finalize, unsigned int size);
	probe source__set_callback(void *source, void *function, void *user_data, void *notify);
	probe source__set_callback_indirect(void *source, void *callback_data, void *ref, void *unref, void *get);
	probe source__set_ready_time(void *source, int64_t ready_time);
	probe source__set_priority(void *source, void *context, int priority);
	probe source__add_child_source(void *source, void *child);
	probe source__set_name(void *source, const char *name);
	probe source__before_free(void *source, void *context, void *finalize);

	probe thread__spawned(void *function, void *user_data, char *name);
	probe rcbox__alloc(void *memory, uintptr_t size, int atomic, int cleared);
	probe rcbox__acquire(void *memory, int atomic);
	probe rcbox__release(void *memory, int atomic);
	probe rcbox__free(void *memory);

	probe variant__type_info_new(void *type_info, const char *type);
	probe variant__type_info_free(void *type_info);
	probe variant__start_serialise(void *variant, void *type_info);
	probe variant__end_serialise(void *variant, void *type_info);
	VARIANT(from_buffer);
	VARIANT(from_children);
	VARIANT(unref);
	VARIANT(ref);
	FLOATING(ref_sink);
	FLOATING(take_ref);
	probe variant__from_parent(void *variant, void *type_info, int ref_count, int state, void *parent);
};

provider gobject {
	probe type__new(char *name, uintptr_t parent_type, uintptr_t type);
	probe object__new(void *object, uintptr_t type);
	probe object__ref(void *object, uintptr_t type, int old_ref_count);
	probe object__unref(void *object, uintptr_t type, int old_ref_count);
	probe object__dispose(void *object, uintptr_t type, int last_unref);
	probe object__dispose__end(void *object, uintptr_t type, int last_unref);
	probe object__finalize(void *object, uintptr_t type);
	probe object__finalize__end(void *object, uintptr_t type);
	probe signal__new(unsigned int signal, char *name, uintptr_t type);
	probe signal__emit(unsigned int signal, unsigned int detail, void *instance, uintptr_t type);
	probe signal__emit__end(unsigned int signal, unsigned int detail, void *instance, uintptr_t type);
};
