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

/// Copies the corpus of definitions as seeds for the targets that read definitions.
fn seed(target: &str) -> Outcome {
    if !["parser", "preprocessor", "formatter"].contains(&target) {
        return Ok(());
    }
    let folder = root().join("fuzz/corpus").join(target);
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
