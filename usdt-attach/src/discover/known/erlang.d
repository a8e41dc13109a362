// Erlang/OTP: erts/emulator/beam/erlang_dtrace.d. Processes and ports are strings.

#define TOKEN int token_label, int token_previous, int token_current
#define FUNCTION(name) probe name(char *process, char *mfa, int depth)
#define CALL(name) probe name(char *process, char *mfa)
#define DRIVER(name) probe driver__##name(char *process, char *port, char *port_name)

provider erlang {
	probe message__send(char *sender, char *receiver, unsigned int words, TOKEN);
	probe message__send__remote(char *sender, char *node_name, char *receiver, unsigned int words, TOKEN);
	probe message__queued(char *receiver, unsigned int words, unsigned int queue_length, TOKEN);
	probe message__receive(char *receiver, unsigned int words, unsigned int queue_length, TOKEN);
	probe copy__struct(unsigned int words);
	probe copy__object(char *process, unsigned int words);

	FUNCTION(local__function__entry);
	FUNCTION(global__function__entry);
	FUNCTION(function__return);
	CALL(bif__entry);
	CALL(bif__return);
	CALL(nif__entry);
	CALL(nif__return);

	probe gc_major__start(char *process, int need);
	probe gc_minor__start(char *process, int need);
	probe gc_major__end(char *process, int reclaimed);
	probe gc_minor__end(char *process, int reclaimed);

	CALL(process__spawn);
	CALL(process__scheduled);
	CALL(process__hibernate);
	probe process__exit(char *process, char *reason);
	probe process__exit_signal(char *sender, char *receiver, char *reason);
	probe process__exit_signal__remote(char *sender, char *node_name, char *receiver, char *reason, TOKEN);
	probe process__unscheduled(char *process);
	probe process__port_unblocked(char *process, char *port);
	probe process__heap_grow(char *process, int old_size, int new_size);
	probe process__heap_shrink(char *process, int old_size, int new_size);

	probe dist__monitor(char *node, char *what, char *monitored_node, char *type, char *reason);
	probe dist__port_busy(char *node, char *port, char *remote_node, char *process);
	probe dist__output(char *node, char *port, char *remote_node, int bytes);
	probe dist__outputv(char *node, char *port, char *remote_node, int bytes);
	probe dist__port_not_busy(char *node, char *port, char *remote_node);

	probe port__open(char *process, char *port_name, char *port);
	probe port__command(char *process, char *port, char *port_name, char *command_type);
	probe port__control(char *process, char *port, char *port_name, int command);
	probe port__exit(char *process, char *port, char *port_name, char *reason);
	probe port__connect(char *process, char *port, char *port_name, char *new_process);
	probe port__busy(char *port);
	probe port__not_busy(char *port);

	probe driver__init(char *name, int major, int minor, int flags);
	probe driver__start(char *process, char *name, char *port);
	probe driver__stop(char *process, char *name, char *port);
	probe driver__finish(char *name);
	probe driver__stop_select(char *name);
	DRIVER(flush);
	DRIVER(event);
	DRIVER(ready_input);
	DRIVER(ready_output);
	DRIVER(timeout);
	DRIVER(ready_async);
	DRIVER(process_exit);
	probe driver__output(char *process, char *port, char *port_name, int bytes);
	probe driver__outputv(char *process, char *port, char *port_name, int bytes);
	probe driver__control(char *process, char *port, char *port_name, int command, int bytes);
	probe driver__call(char *process, char *port, char *port_name, int command, int bytes);

	probe trace(char *process, char *event, char *state, char *argument1, char *argument2);
	probe trace_seq(char *state, char *label, char *seq_info);
};
