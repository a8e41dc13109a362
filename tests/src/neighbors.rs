//! Hostile neighbors: programs of other users that attack the reader of their files.

use crate::{Process, command, root, stdout, wait_for, write};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A C program of `tests/c` that serves or maps files until its standard input ends or it is
/// dropped.
pub struct Helper {
    child: Child,
    /// The first line that it printed.
    pub line: String,
}

impl Helper {
    /// Builds the program in a folder, and starts it as the last part of the command `run`.
    pub fn start(folder: &Path, name: &str, run: &mut Command, args: &[&str]) -> Helper {
        let program = folder.join(name);
        let source = root().join(format!("tests/c/{name}.c"));
        stdout(command("cc").args(["-O1", "-o"]).arg(&program).arg(source));
        let run = run.arg(&program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = run.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let line = line.trim().to_owned();
        let helper = Helper { child, line };
        assert_ne!(helper.line, "", "{name} failed");
        helper
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // A file system ends with its standard input, and with it the processes that wait for it.
        drop(self.child.stdin.take());
        std::thread::sleep(Duration::from_millis(100));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a FUSE file system in a mount namespace of its own, and returns the path of its only
/// file. A process maps the file; its process id is [`Helper::line`]. After that, the file system
/// never answers (mode `hang`) or answers with EIO (mode `eio`).
pub fn hanging_file(folder: &Path, mode: &str) -> (Helper, PathBuf) {
    hanging_file_of(folder, mode, &[])
}

/// As [`hanging_file`]. With a command, the process executes it instead, with the file as
/// descriptor 3.
pub fn hanging_file_of(folder: &Path, mode: &str, command: &[&str]) -> (Helper, PathBuf) {
    let mount = folder.join("mnt");
    std::fs::create_dir(&mount).unwrap();
    let mut unshare = crate::command("unshare");
    let args = [&[mode, mount.to_str().unwrap()], command].concat();
    (Helper::start(folder, "hanging_fs", unshare.arg("--mount"), &args), mount.join("file"))
}

/// With arguments, maps these files executable until it is killed. Without, it waits for a tracer,
/// fires five hits and prints its limit on open files.
const PROGRAM: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
unsigned short PROVIDER_hit_semaphore __attribute__((section(".probes")));
int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    int fd = open(argv[i], O_RDONLY);
    if (mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED) return 1;
    close(fd);
  }
  puts("ready");
  fflush(stdout);
  while (argc > 1) pause();
  for (int i = 0; i < 60000 && !PROVIDER_hit_semaphore; i++) usleep(1000);
  usleep(200000);
  for (volatile long i = 0; i < 5; i++) STAP_PROBE1(PROVIDER, hit, i);
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  fprintf(stderr, "limit %ld\n", (long)limit.rlim_cur);
  return 0;
}
"#;

/// Builds a program that maps the files of its arguments, or fires five hits without arguments.
/// Tests attach to the whole host, so each has a provider of its own.
pub fn build(folder: &Path, provider: &str) -> PathBuf {
    let source = write(folder, &format!("{provider}.c"), PROGRAM.replace("PROVIDER", provider));
    let app = folder.join(provider);
    stdout(command("gcc").args(["-O2", "-o"]).arg(&app).arg(source));
    app
}

/// Copies a program `count` times; each copy has its own inode.
pub fn copies(program: &Path, folder: &Path, count: usize) -> Vec<PathBuf> {
    let copies: Vec<PathBuf> = (0..count).map(|i| folder.join(format!("copy-{i}"))).collect();
    let script = r#"from=$1; shift; for to in "$@"; do cp "$from" "$to"; done"#;
    stdout(command("sh").args(["-c", script, "sh"]).arg(program).args(&copies));
    copies
}

/// Starts a process of [`build`] that maps files.
pub fn map_files(program: &Path, files: &[PathBuf]) -> Process {
    let hog = Process::start(command(program).args(files));
    let last = files.last().unwrap().to_str().unwrap().to_owned();
    wait_for("the files to be mapped", || {
        std::fs::read_to_string(format!("/proc/{}/maps", hog.pid())).unwrap().contains(&last)
    });
    hog
}

/// Starts a process that maps `count` copies of a program, each with its own inode.
pub fn start_hog(program: &Path, folder: &Path, count: usize) -> Process {
    map_files(program, &copies(program, folder, count))
}
