// Loads libraries and fires probes as told on standard input, one command per line. Answers each with
// `done`. With arguments LIBRARY and N, loads the library, fires its probe N times, and exits.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sdt.h>
#include <sys/wait.h>
#include <unistd.h>

static void *library;
static void (*plug)(int);

static void use(void *loaded)
{
	if (!loaded) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	library = loaded;
	plug = (void (*)(int))dlsym(loaded, "plug");
}

// Loads a library from memory, as libstapsdt does with the ones that it makes.
static void load_from_memory(const char *path)
{
	char bytes[1 << 16], name[64];
	int from = open(path, O_RDONLY), to = memfd_create("provider", 0);
	for (ssize_t n; (n = read(from, bytes, sizeof bytes)) > 0;)
		if (write(to, bytes, n) != n)
			exit(1);
	close(from);
	snprintf(name, sizeof name, "/proc/self/fd/%d", to);
	use(dlopen(name, RTLD_NOW));
}

static void fire(int n)
{
	for (int i = 0; i < n; i++)
		plug(i);
}

static void tick(int n)
{
	for (int i = 0; i < n; i++)
		DTRACE_PROBE1(host, tick, i);
}

int main(int argc, char **argv)
{
	char line[4096], word[16], argument[4096];
	if (argc == 3) {
		use(dlopen(argv[1], RTLD_NOW));
		fire(atoi(argv[2]));
		return 0;
	}
	while (fgets(line, sizeof line, stdin)) {
		argument[0] = 0;
		sscanf(line, "%15s %4095s", word, argument);
		if (!strcmp(word, "load"))
			use(dlopen(argument, RTLD_NOW));
		else if (!strcmp(word, "namespace"))
			use(dlmopen(LM_ID_NEWLM, argument, RTLD_NOW));
		else if (!strcmp(word, "memory"))
			load_from_memory(argument);
		else if (!strcmp(word, "unload"))
			dlclose(library);
		else if (!strcmp(word, "fire"))
			fire(atoi(argument));
		else if (!strcmp(word, "tick"))
			tick(atoi(argument));
		else if (!strcmp(word, "fork")) {
			if (fork() == 0) {
				fire(atoi(argument));
				_exit(0);
			}
			wait(NULL);
		}
		puts("done");
		fflush(stdout);
	}
	return 0;
}
