// A FUSE file system with one file, `file`, which a child process maps executable. With a command, the
// child executes it instead, with the file as descriptor 3. After that, the file system never answers
// again (`hang`) or answers each request with EIO (`eio`).
//
// Prints the child's process id when the file is mapped or open. Ends, and with it the file system and the
// child, when its standard input ends.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static const size_t size = 1 << 20;

static void map(const char *folder, int ready, int fuse, char **command)
{
	char path[4096];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	// The last descriptor of the device ends the file system. At exit, this process would wait for
	// an answer before its own is closed.
	close(fuse);
	snprintf(path, sizeof path, "%s/file", folder);
	int file = open(path, O_RDONLY);
	if (file >= 0 && *command) {
		// Standard output is the caller's pipe, of which it reads one line.
		dprintf(ready, "%d\n", getpid());
		if (dup2(file, 3) == 3 && dup2(2, 1) == 1)
			execv(*command, command);
		_exit(1);
	}
	if (file < 0 || mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0) == MAP_FAILED)
		_exit(1);
	dprintf(ready, "%d\n", getpid());
	for (;;)
		pause();
}

static void reply(int fuse, const struct fuse_in_header *in, int error, const void *body, size_t len)
{
	char buffer[4096];
	struct fuse_out_header out = { sizeof out + len, error, in->unique };
	memcpy(buffer, &out, sizeof out);
	memcpy(buffer + sizeof out, body, len);
	if (write(fuse, buffer, out.len) < 0 && errno != ENOENT)
		exit(1);
}

static struct fuse_attr attributes(unsigned long inode)
{
	return (struct fuse_attr) {
		.ino = inode, .size = size, .nlink = 1, .blksize = 4096,
		.mode = inode == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0755,
	};
}

static void serve(int fuse, const char *request)
{
	const struct fuse_in_header *in = (const void *)request;
	switch (in->opcode) {
	case FUSE_INIT: {
		struct fuse_init_out out = { .major = 7, .minor = 31, .max_write = 4096 };
		return reply(fuse, in, 0, &out, sizeof out);
	}
	case FUSE_LOOKUP: {
		struct fuse_entry_out out = { .nodeid = 2, .attr = attributes(2) };
		int known = strcmp(request + sizeof *in, "file") == 0;
		return reply(fuse, in, known ? 0 : -ENOENT, &out, known ? sizeof out : 0);
	}
	case FUSE_GETATTR: {
		struct fuse_attr_out out = { .attr = attributes(in->nodeid) };
		return reply(fuse, in, 0, &out, sizeof out);
	}
	case FUSE_OPEN: {
		struct fuse_open_out out = { 0 };
		return reply(fuse, in, 0, &out, sizeof out);
	}
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return;
	default:
		return reply(fuse, in, -ENOSYS, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	static char request[1 << 17];
	char options[100], line[20];
	int ready[2], fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC), mapped = 0;
	if (argc < 3 || fuse < 0 || pipe2(ready, O_CLOEXEC) < 0)
		return 1;
	snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fuse);
	if (mount("hanging", argv[2], "fuse", MS_NOSUID | MS_NODEV, options) < 0)
		return 1;
	pid_t child = fork();
	if (child == 0)
		map(argv[2], ready[1], fuse, argv + 3);
	struct pollfd waits[] = { { 0, POLLIN, 0 }, { ready[0], POLLIN, 0 }, { fuse, POLLIN, 0 } };
	while (poll(waits, 3, -1) > 0 && !waits[0].revents) {
		if (waits[1].revents) {
			ssize_t len = read(ready[0], line, sizeof line);
			if (len > 0 && write(1, line, len) == len)
				mapped = 1;
			waits[1].fd = -1;
		}
		if (mapped && strcmp(argv[1], "hang") == 0) {
			waits[2].fd = -1;
		} else if (waits[2].revents && read(fuse, request, sizeof request) > 0) {
			if (mapped)
				reply(fuse, (void *)request, -EIO, NULL, 0);
			else
				serve(fuse, request);
		}
	}
	// Closing the device ends what waits for an answer.
	close(fuse);
	umount2(argv[2], MNT_DETACH);
	if (child > 0)
		kill(child, SIGKILL);
	return 0;
}
