// Fires the probe pids:tick(number, process id, thread id) while a tracer is attached.
//
//     pids ticks COUNT PAUSE            COUNT hits, one every PAUSE microseconds
//     pids thread COUNT PAUSE           the same on a second thread
//     pids wait COUNT PAUSE             the same, after a tracer has attached
//     pids workers N COUNT PAUSE        forks N workers once a tracer has attached; each does `ticks`
//     pids run PROGRAM ARGS...          forks once a tracer has attached; the child executes PROGRAM
#define _GNU_SOURCE
#define _SDT_HAS_SEMAPHORES 1
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sdt.h>
#include <sys/wait.h>
#include <unistd.h>

unsigned short pids_tick_semaphore __attribute__((section(".probes")));

static int count, pause_us;

static void *ticks(void *unused)
{
	(void)unused;
	for (int i = 0; i < count; i++) {
		if (*(volatile unsigned short *)&pids_tick_semaphore)
			STAP_PROBE3(pids, tick, i, (int)getpid(), (int)gettid());
		if (pause_us)
			usleep(pause_us);
	}
	return NULL;
}

static void wait_for_tracer(void)
{
	while (!*(volatile unsigned short *)&pids_tick_semaphore)
		usleep(1000);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	int is_workers = !strcmp(argv[1], "workers");
	if (!strcmp(argv[1], "run")) {
		wait_for_tracer();
		if (fork() == 0) {
			execv(argv[2], argv + 2);
			_exit(127);
		}
		return wait(NULL) < 0;
	}
	if (argc != 4 + is_workers)
		return 2;
	count = atoi(argv[2 + is_workers]);
	pause_us = atoi(argv[3 + is_workers]);
	if (is_workers) {
		wait_for_tracer();
		for (int i = 0; i < atoi(argv[2]); i++) {
			if (fork() == 0) {
				ticks(NULL);
				_exit(0);
			}
		}
		while (wait(NULL) > 0)
			;
	} else if (!strcmp(argv[1], "thread")) {
		pthread_t thread;
		pthread_create(&thread, NULL, ticks, NULL);
		pthread_join(thread, NULL);
	} else {
		if (!strcmp(argv[1], "wait"))
			wait_for_tracer();
		ticks(NULL);
	}
	return 0;
}
