//! Fuzzing: feeds arbitrary bytes to each parser.

use crate::command::{Explain, Failure, Outcome, command, execute, install_cargo_tool, root};
use crate::setup;
use std::ffi::OsString;
use std::path::Path;

const TARGETS: &[&str] = &[
    "parser",
    "preprocessor",
    "formatter",
    "note",
    "argspec",
    "blob",
    "sealer",
    "gobinary",
    "dwarf",
    "elf",
    "demangle",
    "filter",
    "operands",
    "events",
    "endpoint",
    "otlp_answer",
    "process_files",
    "kernel_types",
    "configuration",
];
/// The targets whose inputs are changes of a valid file.
const MUTATORS: &[&str] = &["gobinary", "dwarf", "elf"];
/// Default run time of each target, in seconds.
const DEFAULT_SECONDS: &str = "600";

/// Go binaries that a target changes.
struct GoBinaries {
    target: &'static str,
    /// The environment variable that names the files.
    variable: &'static str,
    /// The folder of the module, and the package in it.
    source: (&'static str, &'static str),
    /// The names of the files, and flags of the go command.
    builds: [(&'static str, &'static str); 2],
}

const GO_BINARIES: &[GoBinaries] = &[
    // Any binary with a function table and DWARF will do, and one without DWARF and symbols.
    GoBinaries {
        target: "gobinary",
        variable: "USDT_FUZZ_GO",
        source: ("tests/go", "./hits"),
        builds: [("go-binary", "-ldflags="), ("go-stripped", "-ldflags=-s -w")],
    },
    GoBinaries {
        target: "dwarf",
        variable: "USDT_FUZZ_DWARF",
        source: ("tests/go/functions", "."),
        builds: [
            ("go-dwarf", "-ldflags=-compressdwarf=false"),
            ("go-compressed", "-ldflags=-compressdwarf=true"),
        ],
    },
];

impl GoBinaries {
    /// Builds the files, and returns the environment variable that names them.
    fn build(&self) -> Outcome<(&'static str, OsString)> {
        let tools = setup::build()?;
        let (folder, package) = self.source;
        let files = self.builds.map(|(name, _)| root().join("fuzz/target").join(name));
        for (file, (_, flags)) in files.iter().zip(self.builds) {
            let file = file.display().to_string();
            let mut build = tools.go("go", &["build", flags, "-o", &file, package]);
            execute(build.current_dir(root().join(folder)))?;
        }
        let files = std::env::join_paths(files).explain("cannot name the Go binaries")?;
        Ok((self.variable, files))
    }
}

/// `fuzz [TARGET|all] [--seconds N]`.
pub(crate) fn run(args: &[String]) -> Outcome {
    let (chosen, seconds) = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => ("all", DEFAULT_SECONDS),
        [chosen] => (chosen, DEFAULT_SECONDS),
        ["--seconds", seconds] => ("all", seconds),
        [chosen, "--seconds", seconds] => (chosen, seconds),
        _ => return Err(Failure("usage: fuzz [TARGET|all] [--seconds N]".to_owned())),
    };
    let targets: Vec<&str> =
        TARGETS.iter().copied().filter(|t| chosen == "all" || *t == chosen).collect();
    if targets.is_empty() {
        return Err(Failure(format!("no target `{chosen}`; there are {}", TARGETS.join(", "))));
    }
    install_cargo_tool("fuzz")?;
    let binaries = GO_BINARIES.iter().filter(|binaries| targets.contains(&binaries.target));
    let variables = binaries.map(GoBinaries::build).collect::<Outcome<Vec<_>>>()?;
    for target in targets {
        seed(target)?;
        // No sanitizer is needed: the code is safe Rust, and the targets check memory themselves.
        let mut limits = vec![
            format!("-max_total_time={seconds}"),
            "-timeout=10".into(),
            "-rss_limit_mb=700".into(),
        ];
        if MUTATORS.contains(&target) {
            // Short inputs change nothing, and each costs as much as a long one.
            limits.extend(["-len_control=0".into(), "-max_len=257".into()]);
        }
        let mut fuzz = command("cargo", &["fuzz", "run", "--sanitizer", "none", target, "--"]);
        execute(fuzz.args(limits).envs(variables.clone()).current_dir(root().join("fuzz")))?;
    }
    Ok(())
}

/// Fails if a target does not build: targets use interfaces that nothing else uses.
pub(crate) fn check() -> Outcome {
    let mut check = command("cargo", &["check", "--quiet", "--manifest-path", "fuzz/Cargo.toml"]);
    // The flag that cargo-fuzz sets. Checking links nothing, so no sanitizer is needed.
    execute(check.env("RUSTFLAGS", "--cfg fuzzing -D warnings"))
}

/// Valid inputs, as seeds for the targets that read messages, configurations and files of the kernel.
const INPUTS: &[(&str, &[&str])] = &[
    (
        "endpoint",
        &[
            "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/vnd.google.protobuf;q=0.5,*/*;q=0.1\r\n\r\n",
            "HEAD /healthz HTTP/1.0\r\nContent-Length: 100000000000000\r\n\r\n",
            "POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
            "tls_server_config:\n  cert_file: a\n  key_file: b\n  min_version: TLS13\nhttp_server_config:\n  headers: {X-Frame-Options: deny}\n",
            "Basic YW5uOnNlY3JldA==",
        ],
    ),
    (
        "otlp_answer",
        &[
            // The first two bytes are a status: 200, and 503.
            "\0\u{c8}\n{\"partialSuccess\":{\"rejectedSpans\":\"3\",\"errorMessage\":\"x\"}}",
            "\u{1}\u{f7}Wed, 21 Oct 2015 07:28:00 GMT\n",
        ],
    ),
    (
        "process_files",
        &[
            "00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/a b (deleted)\n",
            "7ffc0000-7ffd0000 rw-p 00000000 00:00 0          [stack]\n",
            "42 (a) b) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 900 1 2 3 4 5 6 7 8 9 0 0 0 0 0 0 0 17 1 0 0 0 0 0 1 2 3 4 5 6 0\nTgid:\t42\nTracerPid:\t7\nNSpid:\t42\t1\n",
            "98 30 0:52 / /proc rw,nosuid shared:1 master:2 - fuse.sshfs h:\\040/ rw,hidepid=invisible,user_id=0\n",
        ],
    ),
    (
        "configuration",
        &[
            "[prometheus]\nlisten = \"127.0.0.1:9464\"\n[otlp]\nendpoint = \"http://a:4318\"\ninterval = \"10s\"\nresource = {a = \"b\"}\n[target]\nall = true\n[limits]\nseries = 1000\n",
            "[[count]]\nprobes = [\"app:a-*\", \"go:gc\"]\nname = \"a\"\nlabels = [\"method\", \"status\"]\nfilter = \"status >= 500 && method == \\\"GET\\\"\"\n",
            "[[hist]]\nprobes = \"app:done\"\nvalue = \"bytes\"\nunit = \"bytes\"\nbuckets = {start = 0, end = 100, width = 10}\n[[latency]]\nstart = \"app:start\"\nend = \"app:done\"\nkey = \"id\"\n",
            "[[span]]\nstart = \"app:start\"\nend = \"app:done\"\nkey = \"id\"\nattributes = [\"url\"]\n",
        ],
    ),
];

/// Writes seeds for the targets that read text.
fn seed(target: &str) -> Outcome {
    let folder = root().join("fuzz/corpus").join(target);
    if let Some((_, inputs)) = INPUTS.iter().find(|(name, _)| *name == target) {
        std::fs::create_dir_all(&folder).explain("cannot create the corpus")?;
        for (number, input) in inputs.iter().enumerate() {
            // Each character is a byte.
            let bytes: Vec<u8> = input.chars().filter_map(|c| u8::try_from(c).ok()).collect();
            std::fs::write(folder.join(format!("input-{number}")), bytes)
                .explain("cannot write the corpus")?;
        }
    }
    if !["parser", "preprocessor", "formatter"].contains(&target) {
        return Ok(());
    }
    std::fs::create_dir_all(&folder).explain("cannot create the corpus")?;
    for kind in ["files", "mistakes"] {
        let from = root().join("usdt-gen/corpus").join(kind);
        for entry in std::fs::read_dir(&from).explain("cannot read the corpus")? {
            let path = entry.explain("cannot read the corpus")?.path();
            copy_small(&path, &folder)?;
        }
    }
    Ok(())
}

/// Copies a file unless it is large, because large seeds slow fuzzing down.
fn copy_small(path: &Path, folder: &Path) -> Outcome {
    let text = std::fs::read(path).explain("cannot read a definition")?;
    if text.len() > 4096 {
        return Ok(());
    }
    let name = path.file_name().unwrap_or_default();
    std::fs::write(folder.join(name), text).explain("cannot write the corpus")
}
