// Fires the probe pids:tick(number, process id, thread id) while a tracer is attached.
//
//     pids ticks COUNT PAUSE            COUNT hits, one every PAUSE microseconds
//     pids wait COUNT PAUSE             the same, after a tracer has attached
//     pids thread COUNT PAUSE           `ticks` on a second thread
//     pids leaderless COUNT PAUSE       `wait` on a second thread, after the main thread has exited
//     pids daemon COUNT PAUSE           `wait`, and then `ticks` in a child after the parent has exited
//     pids workers N COUNT PAUSE        forks N workers once a tracer has attached; each does `ticks`
//     pids prefork N COUNT PAUSE        forks N workers at once; each does `wait`
//     pids chain N COUNT PAUSE          `wait`, and then each of N generations forks and does `ticks`
//     pids run PROGRAM ARGS...          forks once a tracer has attached; the child executes PROGRAM
//     pids spawn PROGRAM ARGS...        the same with posix_spawn
//     pids shell PROGRAM ARGS...        executes PROGRAM in a child at once
#define _GNU_SOURCE
#define _SDT_HAS_SEMAPHORES 1
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sdt.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

unsigned short pids_tick_semaphore __attribute__((section(".probes")));

static int count, pause_us;

// Ends the process when its test has ended without it, which would wait for ever.
static void limit_time(void)
{
	alarm(60);
}

static void wait_for_tracer(void)
{
	limit_time();
	while (!*(volatile unsigned short *)&pids_tick_semaphore)
		usleep(1000);
}

static void ticks(void)
{
	limit_time();
	for (int i = 0; i < count; i++) {
		if (*(volatile unsigned short *)&pids_tick_semaphore)
			STAP_PROBE3(pids, tick, i, (int)getpid(), (int)gettid());
		if (pause_us)
			usleep(pause_us);
	}
}

static void *ticks_on_thread(void *waits)
{
	if (waits)
		wait_for_tracer();
	ticks();
	return NULL;
}

static void wait_for_children(void)
{
	while (wait(NULL) > 0)
		;
}

static int execute(const char *mode, char **program)
{
	pid_t child;
	if (strcmp(mode, "shell"))
		wait_for_tracer();
	if (!strcmp(mode, "spawn"))
		return posix_spawn(&child, program[0], NULL, NULL, program, environ) || wait(NULL) < 0;
	if (fork() == 0) {
		execv(program[0], program);
		_exit(127);
	}
	return wait(NULL) < 0;
}

static void fork_workers(int n, int waits)
{
	for (int i = 0; i < n; i++) {
		if (fork() == 0) {
			if (waits)
				wait_for_tracer();
			ticks();
			_exit(0);
		}
	}
	wait_for_children();
}

static void fork_chain(int n)
{
	for (int i = 0; i < n && fork() == 0; i++)
		ticks();
	wait_for_children();
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	const char *mode = argv[1];
	if (!strcmp(mode, "run") || !strcmp(mode, "spawn") || !strcmp(mode, "shell"))
		return execute(mode, argv + 2);
	int forks = !strcmp(mode, "workers") || !strcmp(mode, "prefork") || !strcmp(mode, "chain");
	if (argc != 4 + forks)
		return 2;
	count = atoi(argv[2 + forks]);
	pause_us = atoi(argv[3 + forks]);
	pthread_t thread;
	if (!strcmp(mode, "workers") || !strcmp(mode, "chain") || !strcmp(mode, "daemon") ||
	    !strcmp(mode, "wait"))
		wait_for_tracer();
	if (!strcmp(mode, "workers") || !strcmp(mode, "prefork")) {
		fork_workers(atoi(argv[2]), !strcmp(mode, "prefork"));
	} else if (!strcmp(mode, "chain")) {
		fork_chain(atoi(argv[2]));
	} else if (!strcmp(mode, "daemon")) {
		if (fork() == 0)
			ticks();
	} else if (!strcmp(mode, "thread")) {
		pthread_create(&thread, NULL, ticks_on_thread, NULL);
		pthread_join(thread, NULL);
	} else if (!strcmp(mode, "leaderless")) {
		pthread_create(&thread, NULL, ticks_on_thread, argv);
		pthread_exit(NULL);
	} else {
		ticks();
	}
	return 0;
}
