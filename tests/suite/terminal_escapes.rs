//! Names of files and processes reach no terminal unescaped, whatever command prints them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use usdt_e2e::{Fixture, Mode, Need, Process, command, have, json_lines, text, tools, write};

/// Color, window title, bell, carriage return, newline, a C1 control sequence, a bidirectional
/// override, and a byte that is not UTF-8.
const NAME: &[u8] = b"e\x1b[31m\x1b]0;x\x07\r\nerror: forged\xc2\x9b2J\xe2\x80\xae\x7f\xff";

/// Copies a program to a file with the hostile name.
fn hostile_copy(folder: &Path, program: &Path) -> PathBuf {
    let path = folder.join(OsStr::from_bytes(NAME));
    let copied = command("cp").arg(program).arg(&path).status().unwrap();
    assert!(copied.success());
    path
}

/// Makes the section headers unreadable. The kernel executes the file anyway.
fn damage(path: &Path) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&0x7fff_ffff_ffff_0000u64.to_le_bytes(), 0x28).unwrap();
}

/// Removes the color sequences `ESC [ … m`.
fn without_colors(output: &str) -> String {
    let mut parts = output.split("\x1b[");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        match rest.strip_prefix('m') {
            Some(rest) => out.push_str(rest),
            None => out.extend(["\x1b[", part]),
        }
    }
    out
}

/// Checks that a terminal would obey nothing in the output but newlines, tabs and, with colors,
/// color sequences.
fn check(what: &str, output: &Output, color: bool) {
    assert!(matches!(output.status.code(), Some(0..=3)), "{what}: {:?}", output.status);
    for bytes in [&output.stdout, &output.stderr] {
        let printed =
            std::str::from_utf8(bytes).unwrap_or_else(|e| panic!("{what}: {e}: {bytes:?}"));
        let plain = if color { without_colors(printed) } else { printed.to_owned() };
        let obeyed = |c: char| stapsdt::escape::is_obeyed(c) && !matches!(c, '\n' | '\t');
        assert!(!plain.contains(obeyed), "{what}: {printed:?}");
        assert!(!plain.contains("\nerror: forged"), "{what}: {printed:?}");
        assert!(!plain.contains("panicked"), "{what}: {printed}");
    }
}

/// Runs a program with words of the form of a command line, in which `PATH`, `PID` and `OUT` are
/// replaced.
struct Runner<'a> {
    path: &'a Path,
    pid: String,
    folder: &'a Path,
}

impl Runner<'_> {
    fn run(&self, tool: &str, line: &str, color: bool) -> Output {
        let word = |word: &str| -> OsString {
            match word {
                "PATH" => self.path.into(),
                "PID" => self.pid.clone().into(),
                "OUT" => self.folder.join("out").into(),
                "PROGRAM.c" => self.folder.join("program.c").into(),
                word => word.into(),
            }
        };
        let mut command = command(tools().join(tool));
        let mut words = line.split(' ').map(word);
        command.args(words.next());
        if color {
            command.arg("--color=always");
        }
        command.args(words).output().unwrap()
    }

    fn check_all(&self, tool: &str, lines: &[&str]) {
        for line in lines {
            for color in [false, true] {
                let output = self.run(tool, line, color);
                check(&format!("{tool} {line}"), &output, color);
            }
        }
    }
}

const ATTACH: &[&str] = &[
    "list PATH",
    "list PATH no:such",
    "list -p PID",
    "list -p PID no:such",
    "list --json PATH",
    "list --json -p PID",
    "doctor PATH",
    "doctor -p PID",
    "doctor --json PATH",
    "trace --dry-run --exe PATH",
    "trace --dry-run --json --exe PATH",
    "trace --schema PATH --exe PATH",
    "trace --cgroup PATH",
    "trace --exe PATH --nonsense",
    "trace PATH",
    "trace -- PATH/x",
    "record --dry-run -o OUT --exe PATH",
    "run PATH -p PID",
    "export --config PATH -p PID",
    "agent --check --config PATH",
];

const TRACING: &[&str] = &[
    "trace -p PID --duration 50ms",
    "trace -p PID --duration 50ms --stack",
    "trace -p PID --json --duration 50ms",
    "trace --exe PATH --duration 50ms",
    "count -p PID --duration 50ms",
    "count -p PID --by comm --duration 50ms",
    "hist -p PID --duration 50ms e2e:hit n",
    "latency -p PID --duration 50ms e2e:hit other:hit",
    "go -p PID --interval 50ms --duration 120ms",
    "cost -p PID --duration 50ms",
    "record -p PID --duration 50ms -o -",
    "record -p PID --duration 50ms --format csv -o -",
    "record -p PID --duration 50ms --format chrome -o -",
    "record -p PID --duration 50ms -o PATH/out",
    "run PROGRAM.c -p PID --duration 50ms",
    "export -p PID --prometheus 127.0.0.1:0 --duration 50ms",
    "snapshot -p PID --warmup 10ms",
];

const GEN: &[&str] = &[
    "verify PATH",
    "verify --json PATH",
    "schema PATH",
    "doc PATH",
    "bpftrace PATH",
    "diff PATH PATH",
    "fmt --check PATH",
    "PATH",
    "PATH --check",
    "seal PATH -o OUT",
    "seal PATH -o PATH/out",
    "toolexec PATH/link -o x",
    "overlay --go PATH/go",
];

#[test]
fn commands_escape_names_of_files_and_processes() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = Fixture::get("ticks", Mode::Sealed);
    for is_damaged in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = hostile_copy(folder.path(), &app);
        if is_damaged {
            damage(&path);
        }
        write(folder.path(), "program.c", "USDT(e2e, hit) { return 0; }\n");
        let process = Process::start(&mut command(&path));
        process.wait_for_exec(&path);
        let runner = Runner { path: &path, pid: process.pid().to_string(), folder: folder.path() };
        runner.check_all("usdt-attach", ATTACH);
        runner.check_all("usdt-attach", TRACING);
        runner.check_all("usdt-gen", GEN);
        let listed = runner.run("usdt-attach", "list --json PATH", false);
        if is_damaged {
            assert_eq!(listed.status.code(), Some(2), "{}", text(&listed.stderr));
            assert!(text(&listed.stderr).contains("\\u{1b}[31m"), "{}", text(&listed.stderr));
        } else {
            // JSON keeps the string.
            let object = json_lines(&text(&listed.stdout))[0]["object"].clone();
            assert_eq!(object.as_str(), Some(&*path.to_string_lossy()));
        }
        drop(process);
        // Sealing in place needs a file that does not run.
        runner.check_all("usdt-gen", &["seal PATH", "seal --fix PATH"]);
        std::fs::remove_file(&path).unwrap();
        runner.check_all("usdt-attach", &["list PATH", "trace --exe PATH", "trace -- PATH"]);
        runner.check_all("usdt-gen", &["seal PATH", "verify PATH", "PATH"]);
    }
}
