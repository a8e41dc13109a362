provider k { probe a(task_t *t, const file_t *f); };
