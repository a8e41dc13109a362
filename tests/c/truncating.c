// Maps a copy of a program executable, and truncates and rewrites the file until it is killed, as
// any user may do with a file of their own.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static char content[1 << 22];
	int from = open(argv[1], O_RDONLY), file = open(argv[2], O_RDWR | O_CREAT, 0755);
	ssize_t len = read(from, content, sizeof content);
	if (argc != 3 || len <= 0 || write(file, content, len) != len)
		return 1;
	if (mmap(NULL, len, PROT_READ | PROT_EXEC, MAP_SHARED, file, 0) == MAP_FAILED)
		return 1;
	puts("mapped");
	fflush(stdout);
	for (unsigned n = 0;; n++) {
		// To nothing, to a page, and into the section headers.
		off_t cut = n % 3 == 0 ? 0 : n % 3 == 1 ? 4096 : len - 100;
		if (ftruncate(file, cut) < 0 || pwrite(file, content, len, 0) != len)
			return 1;
	}
}
