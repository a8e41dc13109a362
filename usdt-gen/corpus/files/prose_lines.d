# file: src/worker.d
# The probes of the worker.
#   loop: one round of the event loop
provider worker {
	# prefix: loop
	probe loop__start(int round);
	probe loop__end(int round);
};
