// Nested calls of one thread. The first argument chooses what they do.
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sdt.h>
#include <unistd.h>

static int depth;
static jmp_buf error;

// An interpreter's function calls: the outermost takes 60 ms, the next 40 ms, the innermost 20 ms.
static void sleepy(int level) {
  DTRACE_PROBE1(interp, function__entry, level);
  usleep(10000);
  if (level < 3) sleepy(level + 1);
  usleep(10000);
  DTRACE_PROBE1(interp, function__return, level);
}

// Nests down to `depth`.
static void deep(int level) {
  DTRACE_PROBE1(interp, function__entry, level);
  if (level < depth) deep(level + 1);
  DTRACE_PROBE1(interp, function__return, level);
}

// Two pairs of probes that call each other.
static void query(int level);
static void request(int level) {
  DTRACE_PROBE1(app, request__start, level);
  if (level < depth) query(level + 1);
  DTRACE_PROBE1(app, request__end, level);
}
static void query(int level) {
  DTRACE_PROBE1(app, query__start, level);
  if (level < depth) request(level + 1);
  DTRACE_PROBE1(app, query__end, level);
}

// Every call that is nested three levels deep fails: no return of the three is reached.
static void failing(int level) {
  DTRACE_PROBE1(interp, function__entry, level);
  if (level < 3) failing(level + 1);
  longjmp(error, 1);
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  depth = atoi(argv[2]);
  for (volatile int i = 0; i < 20; i++) {
    if (!strcmp(argv[1], "sleepy")) sleepy(1);
    if (!strcmp(argv[1], "deep")) deep(1);
    if (!strcmp(argv[1], "mutual")) request(1);
    if (!strcmp(argv[1], "errors")) {
      if (!setjmp(error)) failing(1);
      deep(1);
    }
    // An end without a start, before and after a call.
    if (!strcmp(argv[1], "ends")) {
      DTRACE_PROBE1(interp, function__return, 0);
      deep(1);
      DTRACE_PROBE1(interp, function__return, 0);
    }
  }
  return 0;
}
