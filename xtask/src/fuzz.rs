//! Fuzzing: feeds arbitrary bytes to each parser.

use crate::command::{Explain, Failure, Outcome, command, execute, install_cargo_tool, root};
use crate::setup;
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
    "elf",
    "demangle",
    "filter",
    "operands",
    "events",
    "endpoint",
    "otlp_answer",
];
/// Default run time of each target, in seconds.
const DEFAULT_SECONDS: &str = "600";

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
    let go = root().join("fuzz/target/go-binary");
    if targets.contains(&"gobinary") {
        // Any Go binary with a function table and DWARF will do.
        let tools = setup::build()?;
        let mut build = tools.go("go", &["build", "-o", &go.display().to_string(), "./hits"]);
        execute(build.current_dir(root().join("tests/go")))?;
    }
    for target in targets {
        seed(target)?;
        // No sanitizer is needed: the code is safe Rust, and the targets check memory themselves.
        let limits = [
            format!("-max_total_time={seconds}"),
            "-timeout=10".into(),
            "-rss_limit_mb=700".into(),
        ];
        let mut fuzz = command("cargo", &["fuzz", "run", "--sanitizer", "none", target, "--"]);
        execute(fuzz.args(limits).env("USDT_FUZZ_GO", &go).current_dir(root().join("fuzz")))?;
    }
    Ok(())
}

/// Fails if a target does not build: targets use interfaces that nothing else uses.
pub(crate) fn check() -> Outcome {
    let mut check = command("cargo", &["check", "--quiet", "--manifest-path", "fuzz/Cargo.toml"]);
    // The flag that cargo-fuzz sets. Checking links nothing, so no sanitizer is needed.
    execute(check.env("RUSTFLAGS", "--cfg fuzzing"))
}

/// Valid messages, as seeds for the targets that read what comes over the network.
const MESSAGES: &[(&str, &[&str])] = &[
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
];

/// Writes seeds for the targets that read definitions or messages.
fn seed(target: &str) -> Outcome {
    let folder = root().join("fuzz/corpus").join(target);
    if let Some((_, messages)) = MESSAGES.iter().find(|(name, _)| *name == target) {
        std::fs::create_dir_all(&folder).explain("cannot create the corpus")?;
        for (number, message) in messages.iter().enumerate() {
            // Each character is a byte.
            let bytes: Vec<u8> = message.chars().filter_map(|c| u8::try_from(c).ok()).collect();
            std::fs::write(folder.join(format!("message-{number}")), bytes)
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
