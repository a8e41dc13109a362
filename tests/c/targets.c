// A program with a probe in its executable, in a library that it is linked to and in one that it
// loads later. Each step waits for a file in the folder that is its first argument.
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sdt.h>
#include <unistd.h>

#define FIRE(provider, probe, n) DTRACE_PROBE1(provider, probe, n)

#ifdef LINKED
void fire_linked(int n) { FIRE(PROVIDER, linked, n); }
#elif defined(LOADED)
void fire_loaded(int n) { FIRE(PROVIDER, loaded, n); }
#else
extern void fire_linked(int n);

static const char *folder;

static void create(const char *name)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	close(open(path, O_CREAT | O_WRONLY, 0666));
}

static void wait_for(const char *name)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	while (access(path, F_OK))
		usleep(2000);
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	folder = argv[1];
	create("started");
	wait_for("load");
	void *library = dlopen(argv[2], RTLD_NOW);
	void (*fire_loaded)(int) = library ? dlsym(library, "fire_loaded") : NULL;
	if (!fire_loaded) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	create("loaded");
	wait_for("fire");
	for (int n = 0; n < atoi(argv[3]); n++) {
		FIRE(PROVIDER, executable, n);
		fire_linked(n);
		fire_loaded(n);
	}
}
#endif
